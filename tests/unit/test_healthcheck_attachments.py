"""Who was attached, of containers that are gone when they are looked at: another run's verifier comes and goes too."""

from typing import Any

import pytest

from healthcheck.attachments import Attachments
from healthcheck.report import CheckResult
from tests.unit.docker_host import FakeHost
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

    class Host(FakeHost):
        def events(self, **_: Any) -> Any:  # type: ignore[override]
            return iter(pieces.pop(0))

    attachments = Attachments(Host(), [API])  # type: ignore[arg-type]
    attachments.begin()
    attachments.look()
    [found] = attachments.came(API)
    assert (found.id, found.name, found.labels["ibgw.role"]) == (GONE, NAME, "verifier")
