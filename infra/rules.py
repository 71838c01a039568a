"""The rules of `deployment.rules` over what the program is about to declare, so that a plain `pulumi up` is covered.

Pure. The policy pack (infra/policy) applies the same rules to what the engine was asked for, and the verification to
what runs.
"""

from collections.abc import Sequence

from deployment.errors import ExitCode, IbgwError
from deployment.rules import GatewayRecord, violations
from infra.spec import ICC, GatewaySpec, StackSpec


def record(stack: StackSpec, gateway: GatewaySpec) -> GatewayRecord:
    """What one gateway will be. The constants are what the components have no input for; tests/stack compares all of
    it with what they declare."""
    grace = round(gateway.stop_grace.total_seconds())
    return GatewayRecord(
        name=gateway.container_name,
        mode=stack.mode,
        image=stack.image,
        secret_id=gateway.secret_id,
        environment=gateway.environment,
        labels=gateway.labels,
        arguments=(*gateway.command, *gateway.probe.test),
        published=(),
        network_mode="bridge",
        api_driver=gateway.api_network.driver,
        api_internal=gateway.api_network.internal,
        egress_driver=stack.egress.driver,
        egress_traffic=stack.egress.options.get(ICC) != "false",
        egress_strangers=(),
        privileged=False,
        capabilities_added=(),
        capabilities_dropped=gateway.capabilities_dropped,
        security_options=gateway.security_options,
        memory=gateway.memory,
        memory_swap=gateway.memory,
        stop_grace=grace,
        removal_grace=grace,
        restart=gateway.restart,
        log_driver=gateway.log_driver,
        log_options=gateway.log_options,
        probe=gateway.probe.test,
    )


def records(stack: StackSpec) -> list[GatewayRecord]:
    return [record(stack, gateway) for gateway in stack.gateways.values()]


def check_rules(stack: str, gateways: Sequence[GatewayRecord]) -> None:
    """Raises IbgwError (REFUSED) that lists each broken rule with the gateway's container, what was found and what was
    expected."""
    broken = [
        f"{gateway.name}, rule {rule}: {text}"
        for gateway in gateways
        for rule, texts in violations(gateway).items()
        for text in texts
    ]
    if broken:
        raise IbgwError(
            f"stack {stack!r} breaks rules that hold for every gateway (deployment/rules.py):\n"
            + "\n".join(f"  - {one}" for one in broken),
            exit_code=ExitCode.REFUSED,
        )
