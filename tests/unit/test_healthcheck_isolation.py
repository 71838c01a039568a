"""Who can reach the API, from what `docker inspect` and Docker's events show and from what answers where."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from deployment.description import PROBER as PROBING_ALWAYS
from deployment.description import Mode, Monitoring
from deployment.rules import GatewayRecord
from healthcheck.attachments import Attached
from healthcheck.isolation import IsolationEvidence, Surroundings, conclusive, joined, judge, judge_views
from healthcheck.observation import Observation
from healthcheck.probe import Answer
from healthcheck.reachability import Origin, Reachability
from healthcheck.reasons import Reason
from healthcheck.remedies import steps
from healthcheck.verifier_container import PROBE, USER
from tests.unit.fake_docker import VERIFIER_IMAGE
from tests.unit.gateways import HEX, gateway, stack

OURS = {"ibgw.prefix": "ibgw", "ibgw.project": "ibgw", "ibgw.stack": "paper"}
VOLUMES = "/var/lib/docker/volumes"
LAYER = "/var/lib/docker/overlay2/0123"
IMAGE = {"Id": f"sha256:{HEX}", "Config": VERIFIER_IMAGE}


def container(
    identity: str,
    name: str,
    labels: Mapping[str, str] = MappingProxyType({}),
    *,
    mounts: Sequence[Mapping[str, str]] = (),
    image: str = "sha256:bot",
    config: Mapping[str, Any] = MappingProxyType({}),
    **host_config: Any,
) -> Attached:
    """As `docker inspect` has it; `identity` is one letter of its id."""
    inspected = {
        "Id": identity * 64,
        "Image": image,
        "Mounts": mounts,
        "Config": {"Entrypoint": None, "Cmd": ["bot"], "Env": [], "User": "", **config},
        "HostConfig": {"NetworkMode": "default", "PidMode": "", "IpcMode": "private", **host_config},
        "GraphDriver": {"Data": {"UpperDir": f"{LAYER}{identity}/diff", "MergedDir": f"{LAYER}{identity}/merged"}},
    }
    return Attached(identity * 64, name, labels, inspected)


def volume(name: str, at: str = "/data") -> dict[str, str]:
    return {"Type": "volume", "Name": name, "Source": f"{VOLUMES}/{name}/_data", "Destination": at}


SETTINGS = volume("ibgw-paper-main-settings", "/home/ibgateway/tws_settings")
GATEWAY = container(
    "a",
    "ibgw-paper-main",
    OURS | {"ibgw.role": "gateway"},
    mounts=[SETTINGS],
    image="sha256:gateway",
    config={"Env": ["LANG=C.UTF-8", "TRADING_MODE=paper"]},
)
BOT = container("b", "bot")
LABELLED = container("c", "compose-bot-1", {"app": "bot"})


def verifier(**changes: Any) -> Attached:
    """As healthcheck.verifier_container makes it."""
    as_made: dict[str, Any] = {
        "image": f"sha256:{HEX}",
        "config": {**VERIFIER_IMAGE, "User": USER, "Cmd": ["verify", "--wait", "0"], **changes.pop("config", {})},
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "Sysctls": {"net.ipv4.ip_forward": "0"},
    }
    return container("d", "ibgw-paper-main-verifier-1234", OURS | {"ibgw.role": "verifier"}, **(as_made | changes))


VERIFIER = verifier()
PROBING = verifier(config={"Entrypoint": PROBE, "Cmd": ["10.213.1.2:4004"]})
SECOND = container("e", "ibgw-paper-second", OURS | {"ibgw.role": "gateway"})
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
    second = gateway(name="second", container={"name": "ibgw-paper-second", "id": "e" * 64})
    return judge(stack(main, second), main, replace(seen, image=IMAGE))


WATCHING = container("f", "ibgw-paper.prober", config={"Entrypoint": [*PROBING_ALWAYS]})


def watched(found: Surroundings, recorded: Sequence[str] = (), *, described: str = "f" * 64) -> Observation:
    """Of a stack whose description has that prober."""
    container_of = {"name": "ibgw-paper.prober", "id": described}
    monitoring = Monitoring.model_validate(
        {"prober": container_of, "watcher": container_of, "network": "ibgw-paper.monitoring"}
    )
    main = gateway()
    deployment = stack(main).model_copy(update={"monitoring": monitoring})
    return judge(deployment, main, IsolationEvidence((FINE, found), image=IMAGE, recorded=recorded))


def test_the_prober_is_known_by_its_id_alone() -> None:
    attached = replace(FINE, attached=(GATEWAY, WATCHING))
    assert watched(attached).reason is None
    assert watched(attached, described="9" * 64).reason is Reason.UNDECLARED_CLIENT
    assert look(attached).reason is Reason.UNDECLARED_CLIENT


def test_a_prober_that_leaves_with_this_update_is_no_stranger_and_another_of_the_state_s_is_one() -> None:
    attached = replace(FINE, attached=(GATEWAY, WATCHING))
    assert watched(attached, ["f" * 64], described="9" * 64).reason is None
    assert watched(replace(FINE, attached=(GATEWAY, BOT)), ["b" * 64]).reason is Reason.UNDECLARED_CLIENT


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


def test_a_probe_may_look_from_where_a_client_is_and_from_no_gateway() -> None:
    """`ibgw doctor --from`, beside a verification in another process."""

    def judged(joined: str) -> Observation:
        probe = verifier(
            config={"Entrypoint": PROBE, "Cmd": ["ibgw-paper-main:4004"]},
            NetworkMode=f"container:{joined}",
            Sysctls=None,
        )
        on_api = replace(FINE, attached=(GATEWAY, BOT))
        everyone = {other.id: other for other in (GATEWAY, BOT, probe)}
        return observe(IsolationEvidence((on_api, on_api), everyone=everyone), {"container": "bot"})

    assert judged("b" * 64).reason is None
    assert "shares its network namespace" in judged("a" * 64).seen


def test_gateways_and_verifiers_may_be_on_egress() -> None:
    assert look(replace(FINE, on_egress=(GATEWAY, SECOND, VERIFIER, PROBING))).reason is None


@pytest.mark.parametrize("stack_name", ["paper", "live"])
def test_a_container_with_a_gateways_labels_is_none_unless_the_state_has_it(stack_name: str) -> None:
    """One that has just left the configuration is there until the update's end."""
    labels = {**SECOND.labels, "ibgw.stack": stack_name}
    forged = replace(FINE, on_egress=(GATEWAY, container("f", "ibgw-paper-third", labels)))
    assert look(forged).reason == "exposed"
    assert observe(IsolationEvidence((FINE, forged), recorded={"f" * 64})).reason is None


def test_a_container_in_the_gateways_place_is_none_unless_the_state_has_it() -> None:
    replaced = container("f", "ibgw-paper-main", GATEWAY.labels)
    found = replace(FINE, gateway_id="f" * 64, attached=(replaced,), on_egress=(replaced,))
    evidence = IsolationEvidence((found, found))
    assert observe(evidence).reason == "exposed"
    assert "container ibgw-paper-main: found id ffffffffffff, expected aaaaaaaaaaaa" in observe(evidence).seen
    assert observe(replace(evidence, recorded={"f" * 64})).reason is None


NO_VERIFIERS = [
    container("d", "sidecar", {"ibgw.role": "verifier"}),
    container("d", "sidecar", VERIFIER.labels, image=f"sha256:{HEX}"),
    verifier(image="sha256:another"),
    verifier(config={"Entrypoint": ["sleep"], "Cmd": ["300"]}),
    verifier(config={"Entrypoint": None, "Cmd": ["python3", "-m", "healthcheck", "verify"]}),
    verifier(config={"Env": ["PYTHONUNBUFFERED=1", "PYTHONSTARTUP=/tmp/evil.py"]}),
    verifier(config={"WorkingDir": "/tmp"}),
    verifier(config={"Healthcheck": {"Test": ["CMD", "bot"]}}),
    verifier(config={"User": "0"}),
    verifier(mounts=[volume("evil", "/opt/ibgw")]),
    verifier(Tmpfs={"/tmp": ""}),
    verifier(CapAdd=["NET_ADMIN"]),
    verifier(Privileged=True),
    verifier(ReadonlyRootfs=False),
    verifier(PidMode="host"),
    verifier(PortBindings={"8000/tcp": [{"HostPort": "8000"}]}),
    verifier(NetworkMode=f"container:{'b' * 64}", Sysctls=None),
    verifier(NetworkMode="host", config={"Entrypoint": PROBE}),
    verifier(Sysctls={"net.ipv4.ip_forward": "1"}),
    verifier(Sysctls=None),
    verifier(SecurityOpt=["seccomp=unconfined"]),
    verifier(SecurityOpt=None),
    verifier(GroupAdd=["0"]),
    verifier(DeviceRequests=[{"Count": -1}]),
    verifier(ExtraHosts=["ibgw-paper-main:192.0.2.1"]),
]


@pytest.mark.parametrize("forged", NO_VERIFIERS)
def test_a_verifier_is_known_by_what_it_is(forged: Attached) -> None:
    """Its labels anybody can set."""
    assert look(replace(FINE, attached=(GATEWAY, forged))).reason == "undeclared_client"
    assert look(replace(FINE, on_egress=(GATEWAY, forged))).reason == "exposed"


# --- what is the gateway's own ------------------------------------------------------------------------------------


def beside(*others: Attached, volumes: Mapping[str, Any] = MappingProxyType({}), **clients: str) -> Observation:
    everyone = {one.id: one for one in (GATEWAY, *others)}
    return observe(IsolationEvidence((FINE, FINE), everyone=everyone, volumes=volumes), *([clients] if clients else []))


def bind(source: str) -> dict[str, str]:
    return {"Type": "bind", "Source": source, "Destination": "/data"}


@pytest.mark.parametrize(
    ("sidecar", "said"),
    [
        ({"NetworkMode": f"container:{'a' * 64}"}, "its network namespace"),
        ({"NetworkMode": "container:ibgw-paper-main"}, "its network namespace"),
        ({"NetworkMode": f"container:{'a' * 12}"}, "its network namespace"),
        ({"PidMode": f"container:{'a' * 64}"}, "its process namespace"),
        ({"IpcMode": f"container:{'a' * 64}"}, "its IPC namespace"),
        ({"mounts": [volume("ibgw-paper-main-settings")]}, "its volume ibgw-paper-main-settings"),
        ({"mounts": [bind(f"{VOLUMES}/ibgw-paper-main-settings/_data")]}, "its volume ibgw-paper-main-settings, by "),
        ({"mounts": [bind(f"{VOLUMES}/ibgw-paper-main-settings/_data/guard")]}, "its volume"),
        ({"mounts": [bind(f"{VOLUMES}/ibgw-paper-main-settings")]}, "its volume"),
        ({"mounts": [bind(VOLUMES)]}, f"by {VOLUMES}"),
        ({"mounts": [volume("alias")]}, f"by {VOLUMES}/ibgw-paper-main-settings/_data"),
        ({"mounts": [bind(f"{LAYER}a/merged/run/secrets")]}, "its file system"),
    ],
)
def test_whoever_has_what_is_the_gateways_own_is_named(sidecar: dict[str, Any], said: str) -> None:
    """Also one that the configuration declares: that is about the api network."""
    device = {"o": "bind", "type": "none", "device": f"{VOLUMES}/ibgw-paper-main-settings/_data"}
    for clients in ({}, {"container": "sidecar"}):
        finding = beside(container("f", "sidecar", **sidecar), volumes={"alias": {"Options": device}}, **clients)
        assert finding.reason == "gateway_shared"
        assert finding.seen.startswith("sidecar shares its ")
        assert said in finding.seen


def test_what_types_a_gateways_codes_has_its_display() -> None:
    """By its id, as the description has it; another one that has the same is named."""
    main = gateway(codes={"name": "ibgw-paper-main.codes", "id": "f" * 64})
    second = gateway(name="second", container={"name": "ibgw-paper-second", "id": "e" * 64})
    typing, other = (container(digit, "codes", mounts=[volume("ibgw-paper-main-settings")]) for digit in ("f", "d"))
    for beside_it, reason in ((typing, None), (other, "gateway_shared")):
        seen = IsolationEvidence((FINE, FINE), everyone={one.id: one for one in (GATEWAY, beside_it)}, image=IMAGE)
        assert judge(stack(main, second), main, seen).reason == reason


@pytest.mark.parametrize("clients", [{}, {"container": "sidecar"}])
def test_whoever_is_on_a_network_that_lies_on_the_gateways_bridge_is_named(clients: dict[str, str]) -> None:
    """As macvlan and ipvlan lie on it: the bridge's own network lists nobody who comes that way."""
    assert GATEWAY.inspected is not None
    networks = {"ibgw-paper-main-api": {"NetworkID": "1" * 64}, "ibgw-paper-egress": {"NetworkID": "2" * 64}}
    attached = replace(GATEWAY, inspected={**GATEWAY.inspected, "NetworkSettings": {"Networks": networks}})

    def finding(interface: str) -> Observation:
        everyone = {one.id: one for one in (attached, container("f", "sidecar"))}
        seen = IsolationEvidence((FINE, FINE), everyone=everyone, interfaces={"f" * 64: {interface: "mine"}})
        return observe(seen, *([clients] if clients else []))

    for digit, name in (("1", "ibgw-paper-main-api"), ("2", "ibgw-paper-egress")):
        on_top = finding(f"br-{digit * 12}")
        assert (on_top.reason, on_top.seen) == (
            "gateway_shared",
            f"sidecar shares its network {name}, by network mine",
        )
    assert finding("br-333333333333").reason is finding("eth0").reason is None


def test_whoever_joins_one_that_has_joined_is_named_too() -> None:
    first = container("f", "first", NetworkMode=f"container:{'a' * 64}")
    second = container("9", "second", NetworkMode=f"container:{'f' * 64}")
    round_about = container("8", "itself", NetworkMode=f"container:{'8' * 64}")
    finding = beside(first, second, round_about)
    assert finding.seen == "first shares its network namespace; second shares its network namespace"


@pytest.mark.parametrize(
    "neighbour",
    [
        {"mounts": [bind("/"), bind("/var/lib/docker"), bind("/var/run/docker.sock")]},
        {"mounts": [bind(f"{VOLUMES}/ibgw-paper-main-settings-2/_data"), bind(f"{LAYER}b/diff")]},
        {"mounts": [volume("its-own"), {"Type": "tmpfs", "Source": "", "Destination": "/tmp"}]},
        {"NetworkMode": f"container:{'b' * 64}", "PidMode": "host", "IpcMode": "host"},
        {"NetworkMode": "container:ibgw-paper-main-2"},
        {"NetworkMode": "host", "Privileged": True},
    ],
)
def test_a_neighbour_with_a_place_of_its_own_is_no_fault(neighbour: dict[str, Any]) -> None:
    """Nor is one that has the whole host: that is for whoever runs the host."""
    assert beside(BOT, container("f", "neighbour", **neighbour)).reason is None


STEP: dict[str, Any] = {
    "image": "sha256:gateway",
    "mounts": [SETTINGS],
    "config": {"Entrypoint": ["chown"], "Cmd": ["1000:1000", "/home"], "Env": ["LANG=C.UTF-8"]},
    "NetworkMode": "none",
}


@pytest.mark.parametrize(
    "changed",
    [
        {"image": "sha256:another"},
        {"mounts": [SETTINGS, volume("evil", "/bin")]},
        {"mounts": [SETTINGS | {"Destination": "/bin"}]},
        {"config": STEP["config"] | {"Entrypoint": ["bash"]}},
        {"config": STEP["config"] | {"Cmd": ["0:0", "/home"]}},
        {"config": STEP["config"] | {"Env": ["LD_PRELOAD=/evil.so"]}},
        {"NetworkMode": "default"},
        {"PidMode": f"container:{'a' * 64}"},
    ],
)
def test_the_step_that_prepares_the_volumes_is_known_by_what_it_does(changed: dict[str, Any]) -> None:
    name, labels = "ibgw-paper-main-settings-owner", OURS | {"ibgw.role": "settings-owner"}
    assert beside(container("f", name, labels, **STEP)).reason is None
    assert beside(container("f", name, labels, **(STEP | changed))).reason == "gateway_shared"


def test_whoever_is_in_the_network_namespace_of_a_client_is_attached_with_it() -> None:
    sidecar = container("f", "sidecar", NetworkMode=f"container:{'b' * 64}")
    everyone = {one.id: one for one in (GATEWAY, BOT, sidecar)}
    seen = IsolationEvidence((FINE, replace(FINE, attached=(GATEWAY, BOT))), everyone=everyone)
    finding = observe(seen, {"container": "bot"})
    assert (finding.reason, finding.data["undeclared"]) == ("undeclared_client", ["sidecar"])
    assert observe(seen, {"container": "bot"}, {"container": "sidecar"}).reason is None


def test_a_stopped_container_that_would_be_attached_is_named() -> None:
    finding = observe(IsolationEvidence((FINE, FINE), waiting_for_api=(GATEWAY, BOT, VERIFIER)))
    assert finding.reason == "undeclared_client"
    assert finding.seen == "when it runs attached to ibgw-paper-main-api and not declared: bot"
    finding = observe(IsolationEvidence((FINE, FINE), waiting_for_egress=(GATEWAY, BOT)))
    assert finding.reason == "exposed"
    assert observe(IsolationEvidence((FINE, FINE), waiting_for_api=(BOT,)), {"container": "bot"}).reason is None


def test_what_could_not_be_seen_is_no_pass() -> None:
    finding = observe(IsolationEvidence((FINE, FINE), missed=("bot was gone before Docker could be asked about it",)))
    assert finding.reason == "isolation_unproven"
    assert finding.seen == "not seen: bot was gone before Docker could be asked about it"


def test_one_that_had_ended_when_the_run_began_was_not_there() -> None:
    """A network lists it for a moment yet; nothing tells what it was, as for the verifier's of the run before."""
    gone = Attached("ep-1", "ibgw-paper-main-verifier-5678")
    ending = replace(FINE, attached=(GATEWAY, gone), on_egress=(GATEWAY, gone))
    assert observe(IsolationEvidence((ending, FINE))).reason is None
    assert observe(IsolationEvidence((FINE, ending))).reason == "exposed"


def test_whoever_was_on_egress_for_a_moment_is_exposure() -> None:
    finding = observe(IsolationEvidence((FINE, FINE), came_to_egress=(GATEWAY, SECOND, BOT)))
    assert finding.reason == "exposed"
    assert "found bot attached" in finding.seen


def test_an_undeclared_container_is_named() -> None:
    finding = look(replace(FINE, attached=(GATEWAY, BOT, LABELLED)), {"label": "app=bot"})
    assert finding.reason == "undeclared_client"
    assert finding.seen == "attached to ibgw-paper-main-api and not declared: bot"
    assert finding.data == {
        "clients": ["compose-bot-1"],
        "verifiers": 0,
        "undeclared": ["bot"],
        "attached_strangers": ["bot"],
    }


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
    assert finding.data["attached_strangers"] == [], "nobody can detach who is gone"
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
    assert (joined(fine, answered).reason, joined(fine, answered).because) == ("exposed", "unfiltered")
    assert '"iptables": false' in steps(joined(fine, answered), gateway(), "paper")[0]
    exposed = look(replace(FINE, on_egress=(GATEWAY, BOT)))
    assert (joined(exposed, answered).reason, joined(exposed, answered).because) == ("exposed", None)
    assert joined(stranger, answered).reason == "exposed"
    assert "bot; 10.213.1.2:4004 answers from throwaway_bridge" in joined(stranger, answered).seen
    assert joined(stranger, unproven).reason == "undeclared_client"
    assert joined(fine, unproven).reason == "isolation_unproven"
    assert joined(stranger, silent).data["control"] == "connects"
