"""From where a gateway is tried, and what this machine itself can say: only from beyond the Docker host."""

from collections.abc import Sequence
from typing import Any

import pytest

from deployment.description import Deployment
from healthcheck import reachability
from healthcheck.docker_host import DockerError, NotFound
from healthcheck.reachability import Origin, ProbeTarget, Reachability, ReachabilityRounds
from healthcheck.verifier_container import Verifiers
from tests.unit.fake_docker import VerifyingDocker, address
from tests.unit.gateways import entry, gateway, stack
from tests.unit.tws_server import closed_port, serving

API, EGRESS, SECOND = "ibgw-paper-main-api", "ibgw-paper-egress", "ibgw-paper-second-api"
ELSEWHERE = ("192.0.2.1",)  # RFC 5737: nobody's own address


def over_ssh(*names: str) -> Deployment:
    gateways = [gateway(name=name, api=entry()["api"] | {"network": f"ibgw-paper-{name}-api"}) for name in names]
    return stack(*gateways).model_copy(update={"docker_host": "ssh://user@host"})


def look(
    deployment: Deployment,
    port: int,
    *,
    routers: tuple[str, ...] = ELSEWHERE,
    host: VerifyingDocker | None = None,
    address: str = "127.0.0.1",
) -> Reachability:
    found = host or VerifyingDocker(API, EGRESS, SECOND)
    target = ProbeTarget("main", (address,), routers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reachability, "TRIED_PORTS", (port,))
        return looked(found, deployment, [target])["main"]


def looked(host: VerifyingDocker, deployment: Deployment, targets: Sequence[ProbeTarget]) -> dict[str, Reachability]:
    client: Any = host
    host.verifier_stays = True
    with Verifiers(client, deployment, lambda line: None) as verifiers:
        verifiers.start([*deployment.gateways.values()], [], wait=0, show_accounts=False)
        return ReachabilityRounds(client, deployment, verifiers.starting).ask(targets)


def test_over_ssh_this_machine_is_an_origin() -> None:
    with serving() as server:
        port = server.port
        views = look(over_ssh("main"), port)
    assert views.answers[Origin.BEYOND] == {f"127.0.0.1:{port}": "api"}
    port = closed_port()
    assert look(over_ssh("main"), port).answers[Origin.BEYOND] == {f"127.0.0.1:{port}": "closed"}


@pytest.mark.parametrize(
    ("deployment", "routers", "why"),
    [
        (stack(), ELSEWHERE, "this machine is the Docker host; judged"),
        # ssh to oneself, or the same pool used here as well: what answers would not be what was meant.
        (over_ssh("main"), ("192.0.2.1", "127.0.0.1"), "this machine is the Docker host or has the same addresses"),
    ],
)
def test_on_the_docker_host_nothing_can_be_said_about_beyond(
    deployment: Deployment, routers: tuple[str, ...], why: str
) -> None:
    views = look(deployment, closed_port(), routers=routers)
    assert Origin.BEYOND not in views.answers
    assert why in views.not_applicable[Origin.BEYOND]


def test_the_other_gateways_network_is_tried_from_and_none_is_not_applicable() -> None:
    host = VerifyingDocker(API, EGRESS, SECOND, answers={(SECOND, "127.0.0.1:4004"): "api"})
    assert look(over_ssh("main", "second"), 4004, host=host).answers[Origin.OTHER_API] == {"127.0.0.1:4004": "api"}
    assert look(over_ssh("main"), 4004).not_applicable[Origin.OTHER_API] == "the stack has one gateway"


@pytest.mark.parametrize(("again", "told"), [("unreachable", "unreachable"), ("api", "api"), ("closed", "closed")])
def test_what_answers_from_outside_is_asked_again_and_that_counts(again: str, told: str) -> None:
    """Docker lets packets through for a moment whenever a network is made (setup_ip_tables.go, EnsureJumpRule)."""
    host = VerifyingDocker(API, EGRESS)
    said = iter(["api", again])
    host.answer = lambda networks, address: next(said) if EGRESS in networks else "unreachable"  # type: ignore[method-assign]
    assert look(stack(), 4004, host=host).answers[Origin.EGRESS] == {"127.0.0.1:4004": told}
    assert next(said, None) is None


def test_inside_the_verifier_is_asked_for_the_addresses_that_are_tried_from_outside() -> None:
    """Where the gateway is at another one meanwhile, its answer would say nothing of theirs."""
    now = address(API)
    for tried, answer in ((now, "api"), ("127.0.0.1", "unreachable")):
        host = VerifyingDocker(API, EGRESS, answers={(API, f"{now}:4004"): "api"})
        assert look(stack(), 4004, host=host, address=tried).answers[Origin.INSIDE] == {f"{tried}:4004": answer}
        assert host.verifiers[0].probed == [[f"{tried}:4004"]]
        assert len(host.probes) == 2  # a throwaway bridge, egress


def test_a_probe_that_ends_without_its_answers_has_failed() -> None:
    host = VerifyingDocker(API, EGRESS)
    host.probes_say = []
    views = look(stack(), 4004, host=host)
    assert {Origin.BRIDGE, Origin.EGRESS} <= set(views.failed)
    assert "ended with exit code 0" in views.failed[Origin.EGRESS]


@pytest.mark.parametrize("exists", [True, False])
def test_only_a_neighbour_whose_network_is_gone_is_not_applicable(exists: bool) -> None:
    host = VerifyingDocker(API, EGRESS, SECOND)
    start = host.create

    def create(image: str, command: Any = None, **options: Any) -> str:
        if options["network"] == SECOND and options["entrypoint"]:
            if not exists:
                del host.networks[SECOND]
            raise NotFound("no such image, or no such network")
        return start(image, command, **options)

    host.create = create  # type: ignore[method-assign]
    views = look(over_ssh("main", "second"), 4004, host=host)
    assert (Origin.OTHER_API in views.failed) is exists
    assert (Origin.OTHER_API in views.not_applicable) is not exists


def test_a_verifier_that_is_gone_is_no_control() -> None:
    host = VerifyingDocker(API, EGRESS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host, "start", lambda name: host.stop(name, grace=0))
        views = look(stack(), 4004, host=host)
    assert "not running" in views.failed[Origin.INSIDE]


def test_what_cannot_be_tried_says_why_at_its_origin() -> None:
    host = VerifyingDocker(API, EGRESS)
    host.failing["start"] = DockerError("cannot start")
    views = look(stack(), 4004, host=host)
    assert set(views.failed) == {Origin.INSIDE, Origin.BRIDGE, Origin.EGRESS}
    assert all("cannot start" in text for text in views.failed.values())
    assert host.left == [], "also what has been created only"


def test_nothing_to_try_makes_no_container() -> None:
    host = VerifyingDocker()
    assert looked(host, stack(), []) == {}
    assert host.probes == []


def test_the_ports_are_those_of_both_modes_the_status_and_vnc() -> None:
    # README of the image (gnzsnz/ib-gateway): 4001 to 4004, and 5900 for VNC; 4010 is our own.
    assert reachability.TRIED_PORTS == (4001, 4002, 4003, 4004, 4010, 5900)
