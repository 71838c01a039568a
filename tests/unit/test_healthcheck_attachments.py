"""Who was attached, of containers that are gone when they are looked at: another run's verifier comes and goes too."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deployment.tables import Kind
from healthcheck.attachments import Attachments, Shared
from healthcheck.docker_host import DockerError
from healthcheck.report import CheckResult
from tests.unit.fake_docker import FakeDocker, VerifyingDocker, network
from tests.unit.test_healthcheck_runner import API, container_event, healthy_host, network_event, verify

GONE = "8" * 64
NAME = "ibgw-paper-main-verifier-01234567"
BOT = {"name": "bot", "app": "bot"}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> VerifyingDocker:
    return healthy_host(monkeypatch)


def isolation(host: VerifyingDocker) -> CheckResult:
    return verify(host).gateways[0].checks[6]


@pytest.mark.parametrize("listed", [GONE, "ep-" + "1" * 62])  # the second as seen with Docker 20.10
@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"name": NAME, "ibgw.role": "verifier"}, "undeclared_client"),  # a label alone proves nothing
        ({"name": NAME, "ibgw.role": "gateway"}, "undeclared_client"),
        ({"name": NAME, "app": "bot"}, None),
    ],
)
def test_a_listed_container_that_is_gone_is_known_by_its_last_events(
    host: VerifyingDocker, listed: str, told: dict[str, str], reason: str | None
) -> None:
    """Gone before it could be inspected: what is declared is believed, and nothing else."""
    host.networks[API]["Containers"] = {"a" * 64: {"Name": "ibgw-paper-main"}, listed: {"Name": NAME}}
    attributes = {key: value for key, value in told.items() if key != "name"}
    host.happened = [container_event("die", GONE, name=told["name"], **attributes)]
    found = verify(host, clients=[{"label": "app=bot"}]).gateways[0].checks[6]
    assert found.reason == reason


def test_a_listed_container_that_nobody_tells_of_is_a_stranger(host: VerifyingDocker) -> None:
    host.networks[API]["Containers"] = {"a" * 64: {"Name": "ibgw-paper-main"}, GONE: {"Name": NAME}}
    found = isolation(host)
    assert (found.verdict.value, found.reason) == ("fail", "undeclared_client")
    assert NAME in found.seen


def test_a_container_that_goes_after_its_connection_was_read_is_known_by_what_follows() -> None:
    pieces: list[list[dict[str, Any]]] = [
        [network_event(GONE)],
        [container_event("die", GONE, **BOT)],
    ]

    class Host(FakeDocker):
        def events(self, *_: Any, **__: Any) -> Any:
            return iter(pieces.pop(0))

    attachments = Attachments(Host(), [API], "ibgw-paper-egress")
    attachments.begin()
    attachments.look()
    [found] = attachments.came(API)
    assert (found.id, found.name, found.labels["app"]) == (GONE, "bot", "bot")


def test_a_container_is_asked_for_once_and_keeps_the_name_that_its_network_tells() -> None:
    """Each of fifty gateways finds the other forty-nine on egress."""
    host = VerifyingDocker()
    host.add_container("bot", container_id=GONE, labels={"app": "bot"})
    attachments = Attachments(host, [API], "ibgw-paper-egress")
    assert attachments.who(GONE, "bot").labels == {"app": "bot"}
    renamed = attachments.who(GONE, "renamed")
    assert (renamed.name, renamed.labels) == ("renamed", {"app": "bot"})
    assert len(host.looks("there")) == 1


def test_those_who_ask_while_a_question_is_under_way_share_the_next_one() -> None:
    answers = iter(range(100))
    under_way, go_on = threading.Event(), threading.Event()

    def ask() -> int:
        answer = next(answers)
        under_way.set()
        assert go_on.wait(30)
        return answer

    shared = Shared(ask)
    with ThreadPoolExecutor(max_workers=9) as pool:
        first = pool.submit(shared.get)
        assert under_way.wait(30)
        # What is under way was put before they asked: it may miss what they want to know.
        others = [pool.submit(shared.get) for _ in range(8)]
        while sum(one.running() for one in others) < 8:
            time.sleep(0.01)
        time.sleep(0.2)
        go_on.set()
        assert first.result() == 0
        found = {one.result() for one in others}
    assert 0 not in found
    assert len(found) < len(others)


@pytest.mark.parametrize("failure", [DockerError("no"), ZeroDivisionError("no")])
def test_what_was_asked_before_is_asked_again_after_a_failure_too(failure: Exception) -> None:
    answers: Iterator[int | Exception] = iter([1, failure, 2])

    def ask() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    shared = Shared(ask)
    assert shared.get() == 1
    with pytest.raises(type(failure), match="no"):
        shared.get()
    assert shared.get() == 2


def test_who_came_keeps_the_name_that_is_known() -> None:
    """One that comes to two gateways' networks by `docker network connect`, of which its own events tell nothing."""
    host = VerifyingDocker()
    host.add_container("bot", container_id=GONE)
    networks = [API, "ibgw-paper-other-api"]
    attachments = Attachments(host, networks, "ibgw-paper-egress")
    attachments.begin()
    host.happened = [network_event(GONE, network=name) for name in networks]
    attachments.look()
    assert [[one.name for one in attachments.came(name)] for name in (*networks, API)] == [["bot"]] * 3


# --- what Docker's events do not tell ------------------------------------------------------------------------------


def attachments_of(docker: FakeDocker) -> Attachments:
    found = Attachments(docker, [API], "ibgw-paper-egress")
    found.begin()
    return found


def remembered(first: int, last: int) -> list[dict[str, Any]]:
    """Events that happened before they were asked for, one each nanosecond."""
    return [container_event("exec_start", GONE) | {"timeNano": at} for at in range(first, last)]


@pytest.mark.parametrize(
    ("pieces", "lost"),
    [
        ([remembered(0, 10), remembered(10, 20)], False),
        ([remembered(0, 10), remembered(10, 265)], False),  # fewer than Docker remembers: those are all
        ([remembered(0, 10), remembered(9, 265)], False),  # with one that is known, so none between
        ([remembered(0, 10), remembered(10, 266)], True),
        ([remembered(0, 256)], True),
        ([[], remembered(0, 400), remembered(144, 400)], True),
    ],
)
def test_events_that_docker_may_have_forgotten_are_told(
    monkeypatch: pytest.MonkeyPatch, pieces: list[list[dict[str, Any]]], lost: bool
) -> None:
    monkeypatch.setattr("healthcheck.attachments.SLICE", 0.0)
    over = threading.Event()

    class Host(FakeDocker):
        def events(self, since: float, until: float) -> Iterator[Any]:
            yield from pieces.pop(0)
            if not pieces:
                over.set()

    attachments = attachments_of(Host())
    attachments.watch(over)
    assert attachments.missed() == (("more than the 256 events that Docker remembers came at once",) if lost else ())


def test_a_burst_that_comes_while_somebody_listens_is_no_loss() -> None:
    host = FakeDocker()
    attachments = attachments_of(host)
    later = int((time.time() + attachments._ahead + 60) * 1e9)
    host.happened = remembered(later, later + 1000)
    attachments.look()
    assert attachments.missed() == ()


def test_a_connection_that_is_cut_off_is_taken_up_where_it_began() -> None:
    """Docker ends an answer at its time; one that ends before was cut off, and what came after is asked for again."""
    over, asked = threading.Event(), list[float]()

    class Host(FakeDocker):
        def events(self, since: float, until: float) -> Iterator[Any]:
            asked.append(since)
            if len(asked) == 2:
                yield network_event(GONE)
                over.set()

    attachments = attachments_of(Host())
    attachments.watch(over)
    assert asked[0] == asked[1]
    assert [one.id for one in attachments.came(API)] == [GONE]


def test_a_verification_does_not_wait_for_docker_to_end_its_answer(host: VerifyingDocker) -> None:
    """And what is told after that is taken in no more."""
    reported, taken = threading.Event(), list[str]()

    def events(since: float, until: float) -> Iterator[Any]:
        if threading.current_thread().name == "watch-attachments":
            assert reported.wait(60)
            yield container_event("start", GONE, name="late")
            taken.append("a further one was asked for")

    host.events = events  # type: ignore[method-assign]
    found = isolation(host)
    watching = [thread for thread in threading.enumerate() if thread.name == "watch-attachments" and thread.is_alive()]
    reported.set()
    for thread in watching:
        thread.join()
    assert (found.verdict.value, len(watching), taken) == ("pass", 1, [])


@pytest.mark.parametrize("action", ["create", "start"])
def test_a_container_that_is_made_meanwhile_is_inspected_at_once(action: str) -> None:
    """What it shares with others is told nowhere else; it may be gone at the end."""
    host = VerifyingDocker()
    host.add_container("sidecar", container_id=GONE, host_config={"PidMode": "container:x"})
    attachments = attachments_of(host)
    host.happened = [container_event(action, GONE, name="sidecar")]
    attachments.look()
    attachments.everyone()
    host.containers.clear()
    inspected = attachments.everyone()[GONE].inspected
    assert inspected is not None
    assert inspected["HostConfig"]["PidMode"] == "container:x"
    assert attachments.missed() == ()


@pytest.mark.parametrize(
    ("events", "missed"),
    [
        (
            [("create", "sidecar"), ("start", "sidecar"), ("destroy", "sidecar")],
            ("sidecar was gone before Docker could be asked about it",),
        ),
        ([("create", "a trial of an update"), ("destroy", "a trial of an update")], ()),
        ([("start", "sidecar"), ("die", "sidecar")], ("sidecar was gone before Docker could be asked about it",)),
        ([("die", "sidecar"), ("destroy", "sidecar")], ()),  # it had ended when the run began
        ([("create", "ours"), ("destroy", "ours")], ()),
    ],
)
def test_a_container_that_came_and_went_unseen_is_told(
    monkeypatch: pytest.MonkeyPatch, events: list[tuple[str, str]], missed: tuple[str, ...]
) -> None:
    monkeypatch.setattr("healthcheck.attachments.OWN", {"ours"})
    host = VerifyingDocker()
    attachments = attachments_of(host)
    host.happened = [container_event(action, GONE, name=name) for action, name in events]
    attachments.look()
    attachments.everyone()
    assert attachments.missed() == missed


@pytest.mark.parametrize(
    ("joins", "network_id", "waits"),
    [
        ([API], "", True),
        (["4e5f" * 16], "", True),
        (["4e5f4e5f4e5f"], "", True),
        (["renamed"], "4e5f" * 16, True),
        (["4e5f"], "", False),  # another network's name
        (["elsewhere"], "", False),
        ([], "", False),
    ],
)
def test_a_stopped_container_that_is_set_to_join_is_found(joins: list[str], network_id: str, waits: bool) -> None:
    """By the network's name, its id, or the id's beginning: as `docker create --network` takes them."""
    host = FakeDocker()
    host.objects[Kind.NETWORK] = {API: network(API, Id="4e5f" * 16), "4e5f": network("4e5f", Id="1" * 64)}
    host.add_container("bot", container_id=GONE, status="created")
    real = host.find

    def find(kind: Kind, labels: Any = None, *, network: str = "") -> Any:
        if kind is not Kind.CONTAINER:
            return real(kind, labels)
        return [{"Id": GONE, "NetworkSettings": {"Networks": {key: {"NetworkID": network_id} for key in joins}}}]

    host.find = find  # type: ignore[method-assign]
    attachments = attachments_of(host)
    attachments.scan()
    assert [one.name for one in attachments.waiting(API)] == (["bot"] if waits else [])


def test_one_that_is_removed_while_all_are_asked_about_waits_for_nothing() -> None:
    """As the verifier of a run that ends at that moment: it is no stranger's container that is set to join."""
    host = FakeDocker()
    host.add_container("verifier", container_id=GONE)
    host.objects[Kind.NETWORK] = {API: network(API, Id="4e5f" * 16)}
    real = host.find

    def find(kind: Kind, labels: Any = None, *, network: str = "") -> Any:
        if kind is not Kind.CONTAINER:
            return real(kind, labels)
        host.remove(GONE)
        return [{"Id": GONE, "NetworkSettings": {"Networks": {API: {"NetworkID": "4e5f" * 16}}}}]

    host.find = find  # type: ignore[method-assign]
    attachments = attachments_of(host)
    attachments.scan()
    assert attachments.waiting(API) == ()


def test_who_is_on_a_network_on_top_of_an_interface_is_known_from_lists_and_events() -> None:
    """macvlan's and ipvlan's networks, by their parent; one of its VLANs lies on the same interface."""
    on_top = {"Id": "5" * 64, "Name": "mine", "Driver": "macvlan", "Options": {"parent": "br-4e5f4e5f4e5f"}}
    vlan = {"Id": "6" * 64, "Name": "tagged", "Driver": "ipvlan", "Options": {"parent": "br-4e5f4e5f4e5f.7"}}
    plain = {"Id": "4e5f" * 16, "Name": API, "Driver": "bridge", "Options": None}
    listed: dict[Kind, list[Any]] = {
        Kind.NETWORK: [on_top, vlan, plain],
        Kind.CONTAINER: [{"Id": "1" * 64, "NetworkSettings": {"Networks": {"mine": {"NetworkID": "5" * 64}}}}],
        Kind.VOLUME: [],
    }
    host = VerifyingDocker()
    host.find = lambda kind, labels=None, *, network="": listed[kind]  # type: ignore[method-assign]
    host.happened = [network_event("2" * 64, "tagged"), network_event("3" * 64)]
    attachments = attachments_of(host)
    attachments.look()
    attachments.scan()
    assert attachments.interfaces() == {
        "1" * 64: {"br-4e5f4e5f4e5f": "mine"},
        "2" * 64: {"br-4e5f4e5f4e5f": "tagged"},
        "3" * 64: {},
    }
