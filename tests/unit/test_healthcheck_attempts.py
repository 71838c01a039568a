"""Waiting for what may heal, and not for what cannot."""

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from healthcheck import attempts
from healthcheck.report import CheckName, CheckResult, GatewayReport
from healthcheck.session import Timeouts
from tests.unit.gateways import gateway
from tests.unit.tws_server import Script, TwsServer, closed_port, serving

HASTY = Timeouts(handshake=0.3, ready=0.3)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "PAUSES", (0.01,))


def verify(port: int, *, wait: float, told: Callable[[list[CheckResult]], None]) -> GatewayReport:
    def progress(checks: list[CheckResult], elapsed: float) -> None:
        assert elapsed >= 0
        told(checks)

    return asyncio.run(attempts.verify_gateway(gateway(port), "paper", wait=wait, progress=progress, timeouts=HASTY))


def nothing(checks: list[CheckResult]) -> None:
    raise AssertionError(f"no second attempt is expected, but: {checks}")


def test_what_heals_is_waited_for() -> None:
    reasons: list[str] = []
    with serving(Script(next_id=None)) as server:

        def heal_at_the_second(checks: list[CheckResult]) -> None:
            reasons.append(str(checks[2].reason))
            if len(reasons) == 2:
                server.script.next_id = 1

        report = verify(server.port, wait=60, told=heal_at_the_second)
    assert report.verdict.value == "verified"
    assert reasons == ["half_open", "half_open"]
    assert report.waited_ms > 0
    assert (report.vantage.api, report.vantage.docker) == (True, False)


def test_what_may_heal_and_does_not_times_out() -> None:
    told: list[list[CheckResult]] = []
    report = verify(closed_port(), wait=0.3, told=told.append)
    assert told
    assert report.verdict.value == "timed_out"
    assert report.checks[0].reason == "port_closed"


def test_one_attempt_that_fails_is_a_failure_and_no_timeout() -> None:
    assert verify(closed_port(), wait=0, told=nothing).verdict.value == "failed"


@pytest.mark.parametrize(
    ("script", "reason"),
    [(Script(accounts=["U7654321"]), "account_kind_mismatch"), (Script(order_error=(200, "none")), "contract_unknown")],
)
def test_what_cannot_heal_ends_the_wait_at_once(script: Script, reason: str) -> None:
    with serving(script) as server:
        report = verify(server.port, wait=3600, told=nothing)
    assert report.verdict.value == "failed"
    assert reason in [str(check.reason) for check in report.checks]


def test_a_warning_is_not_waited_for() -> None:
    with serving(Script(quotes={}, quote_error={1: (10197, "competing live session")})) as server:
        report = verify(server.port, wait=3600, told=nothing)
    assert report.verdict.value == "verified_with_warnings"


@dataclass
class Mute:
    """Accepts and never reads, as a wedged gateway: what a client leaves stays. With `answers`, it speaks again; one
    that `dies` ends the connections that it had first."""

    dies: bool = False
    accepted: int = 0
    answers: bool = False
    server: TwsServer | None = None

    def talk(self, connection: socket.socket) -> None:
        self.accepted += 1
        was_mute = not self.answers
        while not self.answers:
            time.sleep(0.01)
        if self.dies and was_mute:
            return
        assert self.server is not None
        self.server._api(connection)


def test_a_wedged_gateway_gets_one_connection_however_long_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one more would stay half open on its side (gnzsnz/ib-gateway-docker#336)."""
    monkeypatch.setattr(attempts, "HOLD", 0.1)
    mute = Mute()
    told: list[list[CheckResult]] = []
    with serving(talk=mute.talk) as server:
        mute.server = server
        report = verify(server.port, wait=1.5, told=told.append)
        accepted, mute.answers = mute.accepted, True
    assert report.verdict.value == "timed_out"
    assert report.checks[1].reason == "wedged"
    assert accepted == 1
    assert len(told) > 2, "progress goes on"


def test_a_wedged_gateway_that_answers_at_last_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "HOLD", 0.1)
    mute = Mute()

    def answer(checks: list[CheckResult]) -> None:
        mute.answers = True

    with serving(talk=mute.talk) as server:
        mute.server = server
        report = verify(server.port, wait=60, told=answer)
    assert report.verdict.value == "verified"
    assert mute.accepted == 2, "the one that was held, and one for the checks"


def test_a_wedged_gateway_that_is_restarted_is_asked_anew() -> None:
    """The held connection ends with the gateway, and a fresh one is answered."""
    mute = Mute(dies=True)

    def restart(checks: list[CheckResult]) -> None:
        assert checks[1].reason == "wedged"
        mute.answers = True

    with serving(talk=mute.talk) as server:
        mute.server = server
        report = verify(server.port, wait=60, told=restart)
    assert report.verdict.value == "verified"
    assert mute.accepted == 2


def test_some_checks_alone_are_reported_with_what_failed_before_them() -> None:
    def run(port: int, *names: CheckName) -> GatewayReport:
        made = attempts.verify_gateway(
            gateway(port), "paper", wait=0, names=names, progress=lambda checks, elapsed: None, timeouts=HASTY
        )
        return asyncio.run(made)

    with serving() as server:
        report = run(server.port, CheckName.AUTHENTICATED)
        assert [check.name.value for check in report.checks] == ["authenticated"]
        assert report.verdict.value == "verified"
        assert {message[0] for message in server.messages} == {"71", "49"}
    report = run(closed_port(), CheckName.AUTHENTICATED)
    assert [check.name.value for check in report.checks] == ["reachable", "authenticated"]


def test_what_needs_docker_does_not_apply_and_is_no_success_alone() -> None:
    with serving() as server:
        made = attempts.verify_gateway(
            gateway(server.port),
            "paper",
            wait=0,
            names=[CheckName.ISOLATION],
            progress=lambda checks, elapsed: None,
        )
        report = asyncio.run(made)
    assert [(check.name.value, check.verdict.value, str(check.reason)) for check in report.checks] == [
        ("isolation", "not_applicable", "needs_docker")
    ]
    assert report.verdict.value == "could_not_run"


def test_the_time_for_all_checks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("healthcheck.checks.BUDGET", 0.6)
    with serving(Script(summary=None)) as server:
        report = verify(server.port, wait=0, told=nothing)
    found = {check.name.value: check for check in report.checks}
    assert found["authenticated"].verdict.value == "pass"
    assert found["account_access"].reason == "too_slow"
    assert found["market_data"].reason == "too_slow"
