"""Who can reach the API, from what `docker inspect` and Docker's events show and from what answers where."""

from dataclasses import replace

import pytest

from deployment.description import Mode
from deployment.rules import GatewayRecord
from healthcheck.attachments import Attached
from healthcheck.isolation import IsolationEvidence, Surroundings, conclusive, joined, judge, judge_views
from healthcheck.observation import Observation
from healthcheck.probe import Answer
from healthcheck.reachability import Origin, Reachability
from tests.unit.gateways import gateway, stack

OURS = {"ibgw.prefix": "ibgw", "ibgw.project": "ibgw", "ibgw.stack": "paper"}
GATEWAY = Attached("a" * 64, "ibgw-paper-main", OURS | {"ibgw.role": "gateway"})
BOT = Attached("b" * 64, "bot")
LABELLED = Attached("c" * 64, "compose-bot-1", {"app": "bot"})
VERIFIER = Attached("d" * 64, "ibgw-paper-main-verifier-1234", OURS | {"ibgw.role": "verifier"})
SECOND = Attached("e" * 64, "ibgw-paper-second", OURS | {"ibgw.role": "gateway"})
RECORD = GatewayRecord(
    name="ibgw-paper-main",
    mode=Mode.PAPER,
    published=(),
    network_mode="ibgw-paper-main-api",
    api_driver="bridge",
    api_internal=True,
    egress_driver="bridge",
    egress_traffic=False,
)
FINE = Surroundings(
    gateway_id="a" * 64,
    record=RECORD,
    networks=("ibgw-paper-main-api", "ibgw-paper-egress"),
    attached=(GATEWAY,),
    on_egress=(GATEWAY,),
)


def look(found: Surroundings, *clients: dict[str, str]) -> Observation:
    return observe(IsolationEvidence((FINE, found)), *clients)


def observe(seen: IsolationEvidence, *clients: dict[str, str]) -> Observation:
    main = gateway(clients=clients)
    return judge(stack(main), main, seen)


def test_alone_on_an_internal_network_is_isolated() -> None:
    finding = look(FINE)
    assert finding.reason is None
    assert finding.seen == "no published port, internal network, attached: the gateway only"


EXPOSED = [
    (
        replace(FINE, record=replace(RECORD, published=("4004/tcp on 127.0.0.1:4002",))),
        "published port: found 4004/tcp on 127.0.0.1:4002",
    ),
    (replace(FINE, record=replace(RECORD, api_internal=False)), "api network: found not internal"),
    (replace(FINE, record=replace(RECORD, network_mode="host")), "network mode: found host"),
    (replace(FINE, record=replace(RECORD, network_mode="container:abc")), "network mode: found container:abc"),
    (replace(FINE, record=replace(RECORD, egress_traffic=True)), "egress network: found traffic"),
    (replace(FINE, networks=(*FINE.networks, "bridge")), "attached to network bridge too"),
    (replace(FINE, on_egress=(GATEWAY, BOT)), "egress network: found bot attached, expected gateways only"),
]


@pytest.mark.parametrize(("found", "said"), EXPOSED)
def test_every_way_in_is_exposure(found: Surroundings, said: str) -> None:
    for looks in ((FINE, found), (found, FINE)):
        finding = observe(IsolationEvidence(looks))
        assert finding.reason == "exposed"
        assert said in finding.seen


def test_gateways_and_verifiers_may_be_on_egress_and_a_forged_role_of_another_stack_may_not() -> None:
    assert look(replace(FINE, on_egress=(GATEWAY, SECOND, VERIFIER))).reason is None
    of_live = Attached("f" * 64, "ibgw-live-main", {**SECOND.labels, "ibgw.stack": "live"})
    assert look(replace(FINE, on_egress=(GATEWAY, of_live))).reason == "exposed"


def test_whoever_was_on_egress_for_a_moment_is_exposure() -> None:
    finding = observe(IsolationEvidence((FINE, FINE), came_to_egress=(GATEWAY, SECOND, BOT)))
    assert finding.reason == "exposed"
    assert "found bot attached" in finding.seen


def test_an_undeclared_container_is_named() -> None:
    finding = look(replace(FINE, attached=(GATEWAY, BOT, LABELLED)), {"label": "app=bot"})
    assert finding.reason == "undeclared_client"
    assert finding.seen == "attached to ibgw-paper-main-api and not declared: bot"
    assert finding.data == {"clients": ["compose-bot-1"], "verifiers": 0, "undeclared": ["bot"]}


@pytest.mark.parametrize(
    "seen",
    [
        IsolationEvidence((replace(FINE, attached=(GATEWAY, BOT)), FINE)),
        IsolationEvidence((FINE, FINE), came_to_api=(GATEWAY, BOT)),
    ],
)
def test_whoever_was_attached_for_a_moment_is_named(seen: IsolationEvidence) -> None:
    finding = observe(seen)
    assert finding.reason == "undeclared_client"
    assert finding.seen == "for a moment attached to ibgw-paper-main-api and not declared: bot"
    assert observe(seen, {"container": "bot"}).reason is None


def test_declared_clients_and_verifiers_are_reported_and_pass() -> None:
    found = replace(FINE, attached=(GATEWAY, BOT, LABELLED, VERIFIER))
    finding = look(found, {"container": "bot"}, {"label": "app=bot"})
    assert finding.reason is None
    assert finding.data == {"clients": ["bot", "compose-bot-1"], "verifiers": 1}
    assert finding.seen.endswith("attached: the gateway and 2 declared clients")


def test_a_label_must_match_with_its_value() -> None:
    assert look(replace(FINE, attached=(GATEWAY, LABELLED)), {"label": "app=other"}).reason == "undeclared_client"
    assert look(replace(FINE, attached=(GATEWAY, LABELLED)), {"label": "app"}).reason == "undeclared_client"


def test_a_container_that_only_bears_the_gateways_name_is_a_stranger() -> None:
    impostor = Attached("e" * 64, "ibgw-paper-main")
    assert look(replace(FINE, attached=(GATEWAY, impostor))).reason == "undeclared_client"


# --- what answers where -------------------------------------------------------------------------------------------

API, EGRESS = "10.213.1.2", "10.213.0.2"


def answers(**changed: Answer) -> dict[str, Answer]:
    """Of every port at both addresses; `changed` by the port, as `p4004` for the api network's."""
    found = {f"{host}:{port}": Answer.UNREACHABLE for host in (API, EGRESS) for port in (4001, 4002, 4003, 4004, 5900)}
    return found | {f"{API}:{port[1:]}": answer for port, answer in changed.items()}


def views(
    *, inside: dict[str, Answer] | None = None, bridge: dict[str, Answer] | None = None, failed: str = ""
) -> Reachability:
    found = Reachability(
        {
            Origin.INSIDE: answers(p4004=Answer.API) if inside is None else inside,
            Origin.BRIDGE: answers() if bridge is None else bridge,
            Origin.EGRESS: answers(),
        },
        {Origin.OTHER_API: "the stack has one gateway", Origin.BEYOND: "this machine is the Docker host"},
    )
    if failed:
        del found.answers[Origin.EGRESS]
        found.failed[Origin.EGRESS] = failed
    return found


def test_silence_outside_beside_an_answer_inside_is_a_pass() -> None:
    finding = judge_views(gateway(), views())
    assert finding.reason is None
    assert finding.seen == "no answer from throwaway_bridge, egress"
    assert finding.data == {
        "control": "connects",
        "vantage_points": {
            "throwaway_bridge": "silent",
            "egress": "silent",
            "other_api": "the stack has one gateway",
            "beyond_the_host": "this machine is the Docker host",
        },
        "tried_for_ms": 0,
    }


@pytest.mark.parametrize("inside", [{}, answers(), answers(p4004=Answer.CLOSED), answers(p4001=Answer.API)])
def test_silence_proves_nothing_where_the_control_does_not_connect(inside: dict[str, Answer]) -> None:
    finding = judge_views(gateway(), views(inside=inside))
    assert finding.reason == "isolation_unproven"
    assert "not even from inside" in finding.seen
    assert not conclusive(gateway(), views(inside=inside))


def test_a_wedged_gateway_is_a_control_too() -> None:
    assert judge_views(gateway(), views(inside=answers(p4004=Answer.SILENT))).reason is None


@pytest.mark.parametrize("answer", [Answer.API, Answer.OTHER, Answer.HUNG_UP, Answer.SILENT, Answer.CLOSED])
def test_any_answer_outside_is_exposure(answer: Answer) -> None:
    """A refusal too: the packet went to the gateway and back."""
    finding = judge_views(gateway(), views(bridge=answers(p5900=answer)))
    assert finding.reason == "exposed"
    assert finding.seen == f"{API}:5900 answers from throwaway_bridge"
    assert conclusive(gateway(), views(inside={}, bridge=answers(p5900=answer)))


def test_a_firewall_that_refuses_for_the_gateway_is_no_answer_of_the_gateways() -> None:
    refused = answers(p4001=Answer.CLOSED, p4004=Answer.CLOSED)
    assert judge_views(gateway(), views(bridge=refused)).reason is None


def test_what_could_not_be_tried_is_no_pass() -> None:
    finding = judge_views(gateway(), views(failed="no address pool is free"))
    assert finding.reason == "isolation_unproven"
    assert finding.seen == "not tried: egress: no address pool is free"
    assert not conclusive(gateway(), views(failed="no address pool is free"))


def test_records_and_packets_become_one_finding() -> None:
    fine, stranger = look(FINE), look(replace(FINE, attached=(GATEWAY, BOT)))
    silent, answered = judge_views(gateway(), views()), judge_views(gateway(), views(bridge=answers(p4004=Answer.API)))
    unproven = judge_views(gateway(), views(inside={}))
    assert joined(fine, silent).reason is None
    assert joined(fine, silent).seen.endswith("the gateway only; no answer from throwaway_bridge, egress")
    assert joined(fine, answered).reason == "exposed"
    assert joined(stranger, answered).reason == "exposed"
    assert "bot; 10.213.1.2:4004 answers from throwaway_bridge" in joined(stranger, answered).seen
    assert joined(stranger, unproven).reason == "undeclared_client"
    assert joined(fine, unproven).reason == "isolation_unproven"
    assert joined(stranger, silent).data["control"] == "connects"
