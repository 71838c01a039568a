"""The rules of `deployment.rules` over what the program is about to declare, so that a plain `pulumi up` is covered.

Pure. The policy pack (infra/policy) applies the same rules to what the engine was asked for, and the verification to
what runs.
"""

from collections.abc import Sequence
from dataclasses import replace

from deployment.errors import ExitCode, IbgwError
from deployment.names import Label, Role
from deployment.properties import Facts, Part, Table, declared, facts_of_inputs
from deployment.rules import GatewayRecord, violations
from deployment.tables import CONTAINER, NETWORK
from infra.spec import GatewaySpec, HostSpec, StackSpec


def _facts(table: Table[Part], part: Part) -> Facts:
    return facts_of_inputs(table, declared(table, part))


def record(stack: StackSpec, host: HostSpec, gateway: GatewaySpec) -> GatewayRecord:
    """What one gateway will be, out of the inputs that it is about to be declared with."""
    judged = GatewayRecord(name=gateway.name, mode=stack.mode).with_container(_facts(CONTAINER, gateway.container))
    judged = judged.with_api(_facts(NETWORK, gateway.api_network)).with_egress(_facts(NETWORK, host.egress))
    strangers = (
        container.name
        for other in host.gateways.values()
        for container in other.containers.values()
        if container.labels.get(Label.ROLE) != Role.GATEWAY
        and host.egress.name in {attachment.network for attachment in container.networks}
    )
    return replace(judged, image=stack.image, egress_strangers=tuple(sorted(strangers)), accepted=stack.accepted)


def records(stack: StackSpec) -> list[GatewayRecord]:
    gateways = [record(stack, host, gateway) for host in stack.hosts for gateway in host.gateways.values()]
    # What is on the gateways' networks is no less confined than they are.
    watching = [
        replace(
            GatewayRecord(name=container.name, mode=stack.mode).with_container(_facts(CONTAINER, container)),
            image=None,
            accepted=stack.accepted,
        )
        for host in stack.hosts
        if host.monitoring is not None
        for container in host.monitoring.containers.values()
    ]
    return gateways + watching


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
            + "\n".join(f"  - {text}" for text in broken),
            exit_code=ExitCode.REFUSED,
        )
