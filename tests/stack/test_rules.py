"""The rules of deployment.rules over the program: what it judges is what it declares, and each rule stops it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pulumi
import pytest

from deployment.description import Mode
from deployment.errors import ExitCode, IbgwError
from deployment.names import Role
from deployment.parts import Attachment, LogSpec, Restart
from deployment.rules import RULES, GatewayRecord
from infra import rules, spec
from infra.policy import inputs
from tests.stack.conftest import Engine, Program
from tests.stack.test_program import plain

REAL_RESOURCES = ("docker:", "aws:", "ibgw:")


def declared(engine: Engine, suffix: str, name: str) -> GatewayRecord:
    found = engine.declared(suffix, name)
    return inputs.record(found.type, name, plain(found.inputs), Mode.PAPER)


def test_what_the_program_judges_is_what_it_declares(program: Program) -> None:
    """Every fact of the record, out of the specification and out of the declared resources' inputs."""
    deployed = program.run()
    [judged] = rules.records(deployed.verified[0])
    container = declared(deployed.engine, "Container", "main")
    api = declared(deployed.engine, "Network", "main-api")
    egress = declared(deployed.engine, "Network", "egress")
    image = declared(deployed.engine, "RemoteImage", "gateway-image")
    assert judged == replace(
        container,
        image=image.image,
        api_driver=api.api_driver,
        api_internal=api.api_internal,
        egress_driver=egress.egress_driver,
        egress_traffic=egress.egress_traffic,
        egress_strangers=(),
    )


def test_the_program_judges_by_every_rule(program: Program) -> None:
    [judged] = rules.records(program.run().verified[0])
    assert {rule.name: rule.unseen(judged) for rule in RULES} == {rule.name: [] for rule in RULES}


def test_the_owner_step_breaks_no_rule_that_is_for_it(program: Program) -> None:
    owner = program.run().engine.declared("Container", "main-settings-owner")
    given = plain(owner.inputs)
    found = inputs.record(owner.type, owner.name, given, Mode.PAPER)
    assert [rule.name for rule in RULES if inputs.applies(rule, owner.type, given) and rule.violations(found)] == []


Tamper = Callable[[spec.StackSpec], spec.StackSpec]


def on_host(**changes: Any) -> Tamper:
    return lambda stack: replace(stack, hosts=(replace(stack.hosts[0], **changes),))


def gateway(**changes: Any) -> Tamper:
    return lambda stack: on_host(gateways={"main": replace(stack.gateways["main"], **changes)})(stack)


def container(**changes: Any) -> Tamper:
    def tamper(stack: spec.StackSpec) -> spec.StackSpec:
        containers = stack.gateways["main"].containers
        return gateway(containers={**containers, Role.GATEWAY: replace(containers[Role.GATEWAY], **changes)})(stack)

    return tamper


def labelled(**changes: str) -> Tamper:
    return lambda stack: container(labels={**stack.gateways["main"].container.labels, **changes})(stack)


def api(**changes: Any) -> Tamper:
    return lambda stack: gateway(networks={Role.API: replace(stack.gateways["main"].api_network, **changes)})(stack)


def egress(**changes: Any) -> Tamper:
    return lambda stack: on_host(egress=replace(stack.hosts[0].egress, **changes))(stack)


def owner_on_egress(stack: spec.StackSpec) -> spec.StackSpec:
    containers = stack.gateways["main"].containers
    bot = replace(containers[Role.SETTINGS_OWNER], networks=(Attachment(stack.hosts[0].egress.name),))
    return gateway(containers={**containers, Role.SETTINGS_OWNER: bot})(stack)


def with_environment(**changes: str) -> Tamper:
    return lambda stack: container(environment={**stack.gateways["main"].container.environment, **changes})(stack)


# Stack, rule, what is changed in its specification, what the refusal says.
TAMPERED: list[tuple[str, str, Tamper, str]] = [
    ("paper", "api_internal", api(internal=False), "api network: found not internal, expected internal"),
    ("paper", "egress_separates", egress(separates=False), "egress network: found traffic between its containers"),
    (
        "live",
        "image_by_digest_on_live",
        lambda stack: replace(stack, image="mock/gateway:10.45.1j"),
        "image: found mock/gateway:10.45.1j, expected repository@sha256:... on live",
    ),
    (
        "paper",
        "no_credential_in_sight",
        with_environment(TWS_PASSWORD="x"),  # noqa: S106 - made up
        "environment: found what looks like a credential under TWS_PASSWORD",
    ),
    ("paper", "egress_for_gateways", owner_on_egress, "egress network: found ibgw-paper-main-settings-owner attached"),
    ("paper", "no_capabilities", container(capabilities=("NET_ADMIN",)), "capabilities added: found CAP_NET_ADMIN"),
    ("paper", "memory_limited", container(memory=None), "memory: found no limit, expected a limit in MiB"),
    ("paper", "log_rotated", container(log=LogSpec("", 5)), "log option max-size: found none, expected a limit"),
    ("paper", "log_rotated", container(log=None), "log driver: found none, expected json-file"),
    (
        "paper",
        "time_to_log_out",
        container(stop_grace=timedelta(seconds=59)),
        "stop grace: found 59 s, expected 60 s or more",
    ),
    (
        "paper",
        "time_to_log_out_at_removal",
        container(stop_grace=timedelta(seconds=59)),
        "grace at removal: found 59 s, expected 60 s or more",
    ),
    ("paper", "restarted_unless_stopped", container(restart=Restart.NEVER), "restart policy: found no"),
    (
        "paper",
        "probed",
        container(probe=None),
        "probe: found none, expected one that does the API's handshake",
    ),
    ("paper", "secret_of_this_mode", labelled(**{"ibgw.secret-id": "ibgw/live/main"}), "secret: found ibgw/live/main"),
    (
        "live",
        "no_vnc_on_live",
        with_environment(VNC_SERVER_PASSWORD_FILE="/x"),  # noqa: S106 - a path
        "environment VNC_SERVER_PASSWORD_FILE: found set",
    ),
]

# What no specification can say, since it has no word for it: rule, what the record would hold.
UNDECLARABLE: list[tuple[str, dict[str, Any], str]] = [
    ("no_published_port", {"published": ("4004/tcp on 0.0.0.0:4002",)}, "published port: found 4004/tcp"),
    ("own_network", {"network_mode": "host"}, "network mode: found host"),
    ("bridges", {"api_driver": "macvlan"}, "api network's driver: found macvlan, expected bridge"),
    ("bridges", {"egress_driver": "macvlan"}, "egress network's driver: found macvlan, expected bridge"),
    ("no_capabilities", {"capabilities_dropped": ()}, "capabilities dropped: found none, expected ALL"),
    ("no_new_privileges", {"security_options": ()}, "security options: found none"),
    ("no_capabilities", {"privileged": True}, "privileged: found true"),
]


def test_no_rule_is_left_out() -> None:
    assert {rule for _, rule, _, _ in TAMPERED} | {rule for rule, _, _ in UNDECLARABLE} == {rule.name for rule in RULES}


@pytest.mark.parametrize(("stack", "rule", "tamper", "says"), TAMPERED)
def test_a_program_that_breaks_a_rule_is_refused_before_the_first_resource(
    stack: str, rule: str, tamper: Tamper, says: str, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe = spec.describe
    monkeypatch.setattr(spec, "describe", lambda *args, **options: tamper(describe(*args, **options)))
    with pytest.raises(pulumi.RunError) as refused:
        program.run(stack, preview=True)
    assert f"ibgw-{stack}-main, rule {rule}: {says}" in " ".join(str(refused.value).split())
    assert program.engine is not None
    assert [found.type for found in program.engine.resources if found.type.startswith(REAL_RESOURCES)] == []
    assert program.engine.calls == [], "a secret was read"


@pytest.mark.parametrize(("rule", "change", "says"), UNDECLARABLE)
def test_what_no_specification_can_say_would_be_refused(
    rule: str, change: dict[str, Any], says: str, program: Program
) -> None:
    [judged] = rules.records(program.run().verified[0])
    with pytest.raises(IbgwError, match=f"ibgw-paper-main, rule {rule}: {says}") as refused:
        rules.check_rules("paper", [replace(judged, **change)])
    assert refused.value.exit_code is ExitCode.REFUSED
