"""What repair decides, from what is recorded and what there is."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from deployment.parts import Attachment
from deployment.tables import Kind
from operations.repair.inventory import Existing, Guest, Inventory
from operations.repair.lock import Lock
from operations.repair.plan import Action, Plan, Verb, make_plan
from operations.repair.processes import Process
from operations.repair.state import Recorded, State

HOSTS = frozenset({"unix:///var/run/docker.sock"})


def urn(name: str) -> str:
    return f"urn:pulumi:paper::ibgw::x::{name}"


def container(id: str, role: str = "gateway", **more: object) -> Existing:
    values: dict[str, object] = {"running": True, "grace": 90, "exit_code": None, "networks": {}, **more}
    return Existing(Kind.CONTAINER, id, f"ibgw-paper-{id}", role, gateway="main", **values)  # type: ignore[arg-type]


def network(id: str, *guests: Guest, name: str | None = None) -> Existing:
    shared = id == "egress"
    role, gateway = ("egress", None) if shared else ("api", "main")
    return Existing(Kind.NETWORK, id, name or f"ibgw-paper-{id}", role, gateway, guests=guests)


def volume(name: str) -> Existing:
    return Existing(Kind.VOLUME, name, name, "settings", gateway="main")


def recorded(existing: Existing, **more: object) -> Recorded:
    return Recorded(urn(existing.id), existing.kind, existing.id, existing.name, **more)  # type: ignore[arg-type]


def plan(
    found: list[Existing],
    known: list[Recorded] | None = None,
    *,
    pending: tuple[str, ...] = (),
    missing: tuple[str, ...] = (),
    locks: tuple[Lock, ...] = (),
    strays: tuple[Process, ...] = (),
) -> Plan:
    state = State(HOSTS, tuple(known or ()), pending)
    return make_plan("paper", state, Inventory(tuple(found), frozenset(missing)), locks, strays)


def verbs(actions: tuple[Action, ...]) -> list[Verb]:
    return [action.verb for action in actions]


def test_a_settled_stack_needs_nothing() -> None:
    things = [container("c"), network("n"), volume("v")]
    assert plan(things, [recorded(thing) for thing in things]) == Plan()


def test_an_unrecorded_gateway_is_stopped_with_its_grace_and_removed() -> None:
    [action] = plan([container("c", grace=75)]).actions
    assert (action.verb, action.id, action.running, action.grace) == (Verb.REMOVE_CONTAINER, "c", True, 75)
    assert "75 s to log out" in action.text


def test_a_running_gateway_of_which_not_even_a_network_is_recorded_is_lost() -> None:
    api, egress = network("api"), network("egress")
    running = container("c", networks={"api": "ibgw-paper-api", "egress": "ibgw-paper-egress"})
    things = [running, api, egress, volume("v")]
    assert plan(things).lost == ("ibgw-paper-c",)
    # A first update after the loss records the volume, whose name may be there already.
    assert plan(things, [recorded(volume("v"))]).lost == ("ibgw-paper-c",)
    # So is that of a stack of which another gateway is recorded.
    assert plan(things, [recorded(egress)]).lost == ("ibgw-paper-c",)
    # An update records a gateway's networks before it makes the gateway: killed there, it has left this one.
    assert plan(things, [recorded(api)]).lost == ()


@pytest.mark.parametrize("other", [container("c", running=False, exit_code=143), container("c", "verifier")])
def test_what_has_no_session_is_not_lost(other: Existing) -> None:
    assert plan([other]).lost == ()


@pytest.mark.parametrize("role", ["settings-owner", "verifier"])
def test_other_unrecorded_containers_are_removed(role: str) -> None:
    [action] = plan([container("c", role, running=False, exit_code=0)]).actions
    assert action.verb is Verb.REMOVE_CONTAINER


def test_an_unrecorded_container_does_not_hide_behind_a_recorded_one_of_its_name() -> None:
    old = container("old")
    new = Existing(Kind.CONTAINER, "new", old.name, "gateway", gateway="main", running=True, networks={})
    made = plan([new], [recorded(old)], missing=(urn("old"),))
    assert [(action.verb, action.id) for action in made.actions] == [
        (Verb.REMOVE_CONTAINER, "new"),
        (Verb.FORGET, urn("old")),
    ]


def test_an_unrecorded_network_is_removed_and_its_foreign_guests_are_named() -> None:
    ours = container("c")
    [remove, action] = plan([ours, network("n", Guest("c", ours.name), Guest("g", "bot"))]).actions
    assert remove.verb is Verb.REMOVE_CONTAINER
    assert (action.verb, action.id, action.guests) == (Verb.REMOVE_NETWORK, "n", ("g",))
    assert "disconnect bot" in action.text
    assert ours.name not in action.text


def test_a_recorded_container_on_an_unrecorded_network_counts_as_a_guest() -> None:
    ours = container("c")
    [action] = plan([ours, network("n", Guest("c", ours.name))], [recorded(ours)]).actions
    assert action.guests == ("c",)


def test_an_unrecorded_volume_is_left_for_adoption() -> None:
    made = plan([volume("ibgw-paper-main-settings")])
    assert made.actions == ()
    [note] = made.notes
    assert "ibgw-paper-main-settings" in note
    assert "adopts" in note


def test_a_settings_owner_that_failed_runs_again() -> None:
    owner = container("o", "settings-owner", running=False, exit_code=137)
    made = plan([owner], [recorded(owner)])
    assert [(action.verb, action.id) for action in made.actions] == [
        (Verb.REMOVE_CONTAINER, "o"),
        (Verb.FORGET, urn("o")),
    ]


def test_a_settings_owner_that_did_its_work_stays() -> None:
    owner = container("o", "settings-owner", running=False, exit_code=0)
    assert plan([owner], [recorded(owner)]) == Plan()


def test_pending_operations_are_cleared_by_name() -> None:
    [action] = plan([], pending=(urn("egress"), urn("main-api"))).actions
    assert action.verb is Verb.CLEAR_PENDING
    assert "egress, main-api" in action.text


def test_what_is_recorded_and_gone_is_forgotten() -> None:
    gone = recorded(container("c"))
    [action] = plan([], [gone], missing=(gone.urn,)).actions
    assert (action.verb, action.id) == (Verb.FORGET, gone.urn)


def test_what_is_kept_only_to_be_deleted_is_left_to_the_next_update() -> None:
    gone = recorded(container("c"), doomed=True)
    assert plan([], [gone], missing=(gone.urn,)) == Plan()


def test_a_stopped_gateway_is_left_with_the_command_that_starts_it() -> None:
    stopped = container("c", running=False, exit_code=0)
    made = plan([stopped], [recorded(stopped)])
    assert made.actions == ()
    assert made.notes[0].endswith("`ibgw start --stack paper --gateway main` does")


def test_a_renamed_container_gets_its_name_back() -> None:
    now = container("c")
    was = Recorded(urn("c"), Kind.CONTAINER, "c", "ibgw-paper-main")
    [action] = plan([now], [was]).actions
    assert (action.verb, action.id, action.name) == (Verb.RENAME, "c", "ibgw-paper-main")


API, EGRESS = network("api"), network("egress")
DECLARED = (Attachment("api", ("ibgw-paper-main",)), Attachment("egress"))


def attached(networks: Mapping[str, str], *, running: bool = True) -> tuple[Action, ...]:
    now = container("c", networks=networks, running=running)
    known = [recorded(now, attachments=DECLARED), recorded(API), recorded(EGRESS)]
    return plan([now, API, EGRESS], known).actions


def test_a_network_that_was_added_by_hand_is_taken_away() -> None:
    [action] = attached({"api": API.name, "egress": EGRESS.name, "b": "bridge"})
    assert (action.verb, action.id, action.network) == (Verb.DISCONNECT, "c", "b")
    assert "bridge" in action.text


def test_a_network_that_was_taken_away_by_hand_is_connected_with_its_alias() -> None:
    [action] = attached({"egress": EGRESS.name})
    assert (action.verb, action.network, action.aliases) == (Verb.CONNECT, "api", ("ibgw-paper-main",))


def test_a_container_on_its_declared_networks_is_left_alone() -> None:
    assert attached({"api": API.name, "egress": EGRESS.name}) == ()


def test_the_networks_of_a_stopped_container_are_not_judged() -> None:
    assert attached({"": "bridge"}, running=False) == ()


def test_a_declared_network_without_our_labels_is_never_disconnected() -> None:
    now = container("c", networks={"elsewhere": "net"})
    was = recorded(now, attachments=(Attachment("elsewhere"),))
    assert plan([now], [was]).actions == ()


def test_everything_at_once_goes_in_an_order_that_works() -> None:
    lock = Lock(7, "me", "here", "now")
    stray = Process(8, 1, ("pulumi-resource-docker", "127.0.0.1:1"), Path("/srv"))
    gone = Recorded(urn("gone"), Kind.CONTAINER, "gone", "ibgw-paper-gone")
    made = plan(
        [network("n"), container("c")], [gone], pending=(urn("p"),), missing=(gone.urn,), locks=(lock,), strays=(stray,)
    )
    assert verbs(made.actions) == [
        Verb.END_PROCESS,
        Verb.CANCEL_LOCK,
        Verb.REMOVE_CONTAINER,
        Verb.REMOVE_NETWORK,
        Verb.CLEAR_PENDING,
        Verb.FORGET,
    ]
    assert "process 8 (pulumi-resource-docker 127.0.0.1:1)" in made.actions[0].text
    assert "me@here, process 7" in made.actions[1].text
