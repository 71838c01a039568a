"""Waiting for what may heal, and not for what cannot."""

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from healthcheck import attempts
from healthcheck.check_sequence import OVER_API, with_needs
from healthcheck.observation import Attempt, CheckName
from healthcheck.session import Timeouts
from healthcheck.verdict import gateway_verdict
from tests.unit.gateways import gateway
from tests.unit.tws_server import Script, TwsServer, closed_port, serving

HASTY = Timeouts(handshake=0.3, ready=0.3)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "PAUSES", (0.01,))


def verify(
    port: int, *, wait: float, told: Callable[[Attempt], None], timeouts: Timeouts | None = HASTY, **options: Any
) -> tuple[Attempt, str]:
    """The last attempt, and the verdict that follows; `told` gets those before it."""

    async def last() -> Attempt:
        async for attempt in attempts.attempts(gateway(port), wait=wait, timeouts=timeouts, **options):
            if not attempt.last:
                told(attempt)
        return attempt

    attempt = asyncio.run(last())
    return attempt, gateway_verdict(attempt.checks, gateway(port), waited=wait > 0).value


def nothing(attempt: Attempt) -> None:
    raise AssertionError(f"no second attempt is expected, but: {attempt}")


def test_what_heals_is_waited_for() -> None:
    reasons: list[str] = []
    with serving(Script(next_id=None)) as server:

        def heal_at_the_second(attempt: Attempt) -> None:
            reasons.append(str(attempt.checks[2].reason))
            if len(reasons) == 2:
                server.script.next_id = 1

        attempt, verdict = verify(server.port, wait=60, told=heal_at_the_second)
    assert verdict == "verified"
    assert reasons == ["half_open", "half_open"]
    assert attempt.waited_ms > 0
    assert attempt.started_at


def test_what_may_heal_and_does_not_times_out() -> None:
    told: list[Attempt] = []
    attempt, verdict = verify(closed_port(), wait=0.3, told=told.append)
    assert told
    assert verdict == "timed_out"
    assert attempt.checks[0].reason == "port_closed"


def test_one_attempt_that_fails_is_a_failure_and_no_timeout() -> None:
    assert verify(closed_port(), wait=0, told=nothing)[1] == "failed"


@pytest.mark.parametrize(
    ("script", "reason"),
    [(Script(accounts=["U7654321"]), "account_kind_mismatch"), (Script(order_error=(200, "none")), "contract_unknown")],
)
def test_what_cannot_heal_ends_the_wait_at_once(script: Script, reason: str) -> None:
    with serving(script) as server:
        attempt, verdict = verify(server.port, wait=3600, told=nothing)
    assert verdict == "failed"
    assert reason in [str(check.reason) for check in attempt.checks]


def test_a_warning_is_not_waited_for() -> None:
    with serving(Script(quotes={}, quote_error={1: (10197, "competing live session")})) as server:
        _, verdict = verify(server.port, wait=3600, told=nothing)
    assert verdict == "verified_with_warnings"


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
    told: list[Attempt] = []
    with serving(talk=mute.talk) as server:
        mute.server = server
        attempt, verdict = verify(server.port, wait=1.5, told=told.append)
        accepted, mute.answers = mute.accepted, True
    assert verdict == "timed_out"
    assert attempt.checks[1].reason == "wedged"
    assert accepted == 1
    assert len(told) > 2, "progress goes on"


def test_a_wedged_gateway_that_answers_at_last_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "HOLD", 0.1)
    mute = Mute()

    def answer(attempt: Attempt) -> None:
        mute.answers = True

    with serving(talk=mute.talk) as server:
        mute.server = server
        _, verdict = verify(server.port, wait=60, told=answer)
    assert verdict == "verified"
    assert mute.accepted == 2, "the one that was held, and one for the checks"


def test_a_wedged_gateway_that_is_restarted_is_asked_anew() -> None:
    """The held connection ends with the gateway, and a fresh one is answered."""
    mute = Mute(dies=True)

    def restart(attempt: Attempt) -> None:
        assert attempt.checks[1].reason == "wedged"
        mute.answers = True

    with serving(talk=mute.talk) as server:
        mute.server = server
        _, verdict = verify(server.port, wait=60, told=restart)
    assert verdict == "verified"
    assert mute.accepted == 2


def test_some_checks_alone() -> None:
    names = with_needs([CheckName.AUTHENTICATED]) & OVER_API
    with serving() as server:
        attempt, _ = verify(server.port, wait=0, told=nothing, names=names)
        assert [check.name.value for check in attempt.checks] == ["reachable", "connected", "authenticated"]
        assert {message[0] for message in server.messages} == {"71", "49"}


def test_the_time_for_all_checks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("healthcheck.checks.BUDGET", 0.6)
    with serving(Script(summary=None)) as server:
        attempt, _ = verify(server.port, wait=0, told=nothing)
    found = {check.name.value: check for check in attempt.checks}
    assert found["authenticated"].reason is None
    assert found["account_access"].reason == "too_slow"
    assert found["market_data"].reason == "too_slow"
