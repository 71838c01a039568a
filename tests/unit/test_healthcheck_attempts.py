"""Waiting for what may heal, and not for what cannot."""

import asyncio
from collections.abc import Callable

import pytest

from healthcheck import attempts
from healthcheck.report import CheckResult, GatewayReport
from healthcheck.session import Timeouts
from tests.unit.gateways import gateway
from tests.unit.tws_server import Script, closed_port, serving

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
            reasons.append(str(checks[1].reason))
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
