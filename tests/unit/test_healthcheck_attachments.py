"""Who was attached, of containers that are gone when they are looked at: another run's verifier comes and goes too."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from healthcheck.attachments import Attachments, Shared
from healthcheck.docker_host import DockerError
from healthcheck.report import CheckResult
from tests.unit.docker_host import FakeContainer, FakeHost
from tests.unit.fake_docker import FakeDocker
from tests.unit.test_healthcheck_runner import API, container_event, healthy_host, network_event, verify

GONE = "8" * 64
NAME = "ibgw-paper-main-verifier-01234567"
VERIFIER = {"name": NAME, "ibgw.role": "verifier"}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    return healthy_host(monkeypatch)


def isolation(host: FakeHost) -> CheckResult:
    return verify(host).gateways[0].checks[6]


@pytest.mark.parametrize("listed", [GONE, "ep-" + "1" * 62])  # the second as seen with Docker 20.10
@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        (VERIFIER, "pass"),
        ({"name": NAME, "ibgw.role": "gateway"}, "fail"),  # a name alone proves nothing
        ({"name": "bot", "ibgw.role": "verifier"}, None),
    ],
)
def test_a_listed_container_that_is_gone_is_known_by_its_last_events(
    host: FakeHost, listed: str, told: dict[str, str], verdict: str | None
) -> None:
    host.network_records[API] = {"Containers": {"a" * 64: {"Name": "ibgw-paper-main"}, listed: {"Name": NAME}}}
    attributes = {key: value for key, value in told.items() if key != "name"}
    host.happened = [container_event("die", GONE, name=told["name"], **attributes)]
    # By an endpoint's id, the name is all that leads to the events.
    expected = verdict or ("pass" if listed == GONE else "fail")
    assert isolation(host).verdict.value == expected


def test_a_listed_container_that_nobody_tells_of_is_a_stranger(host: FakeHost) -> None:
    host.network_records[API] = {"Containers": {"a" * 64: {"Name": "ibgw-paper-main"}, GONE: {"Name": NAME}}}
    found = isolation(host)
    assert (found.verdict.value, found.reason) == ("fail", "undeclared_client")
    assert NAME in found.seen


def test_a_container_that_goes_after_its_connection_was_read_is_known_by_what_follows() -> None:
    pieces: list[list[dict[str, Any]]] = [
        [network_event(GONE)],
        [container_event("die", GONE, **VERIFIER)],
    ]

    class Host(FakeDocker):
        def events(self, *_: Any, **__: Any) -> Any:
            return pieces.pop(0)

    attachments = Attachments(Host(), [API], "ibgw-paper-egress")
    attachments.begin()
    attachments.look()
    [found] = attachments.came(API)
    assert (found.id, found.name, found.labels["ibgw.role"]) == (GONE, NAME, "verifier")


def test_a_container_is_asked_for_once_and_keeps_the_name_that_its_network_tells() -> None:
    """Each of fifty gateways finds the other forty-nine on egress."""
    host = FakeHost()
    host.all.append(FakeContainer(host, "bot", container_id=GONE, labels={"app": "bot"}))
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
    host = FakeHost()
    host.all.append(FakeContainer(host, "bot", container_id=GONE))
    networks = [API, "ibgw-paper-other-api"]
    attachments = Attachments(host, networks, "ibgw-paper-egress")
    attachments.begin()
    host.happened = [network_event(GONE, network=name) for name in networks]
    attachments.look()
    assert [[one.name for one in attachments.came(name)] for name in (*networks, API)] == [["bot"]] * 3
