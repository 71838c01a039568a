"""Why the API is not there, where it cannot tell itself: from the gateway's log, its schedule and IBKR's hours. Pure.

Nothing here makes a failed check pass.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import JsonValue

from deployment.description import Gateway
from healthcheck.automation.base import OUTCOMES, REASONS, LoginState, Reading
from healthcheck.automation.launcher import PUSH as PUSH_MESSAGE
from healthcheck.automation.status import Status
from healthcheck.maintenance import reset_at
from healthcheck.observation import HELD, UNTIL, CheckObservation, Observation, timestamp
from healthcheck.reasons import PUSH, START, Reason
from healthcheck.schedule import just_planned
from healthcheck.second_factor.handover import MEANINGS, STOPS, Phase
from healthcheck.verdict import SEEN_THROUGH_API

# What the API alone cannot explain.
VAGUE = frozenset(
    {
        Reason.UNREACHABLE,
        Reason.PORT_CLOSED,
        Reason.RELAY_ONLY,
        Reason.WEDGED,
        Reason.NOT_LOGGED_IN,
        Reason.HALF_OPEN,
        Reason.NO_ACCOUNTS,
        Reason.CONNECTION_DROPPED,
        Reason.CONNECTIVITY_LOST,
    }
)
# While it restarts as planned, a gateway shows one of these.
AWAY = frozenset(
    {
        Reason.UNREACHABLE,
        Reason.PORT_CLOSED,
        Reason.RELAY_ONLY,
        Reason.NOT_LOGGED_IN,
        Reason.CONNECTION_DROPPED,
        Reason.CONNECTIVITY_LOST,
        Reason.STARTING,
        Reason.PLANNED_RESTART,
    }
)
# While IBKR resets its servers, one of these.
CUT_OFF = frozenset({Reason.CONNECTIVITY_LOST, Reason.SERVER_UNREACHABLE})

# What passes by itself, within START_TAKES.
PASSING = frozenset({Reason.STARTING, Reason.PLANNED_RESTART, Reason.HEALING})

START_TAKES = timedelta(seconds=START)
"""A start that has written nothing for so long stands still."""

ANSWERED_BY_CODE = frozenset(
    {
        LoginState.SECOND_FACTOR_PENDING,
        LoginState.SECOND_FACTOR_DEVICE,
        LoginState.SECOND_FACTOR_CLOSED,
        LoginState.SECOND_FACTOR_TIMEOUT,
    }
)
"""In which what types codes may know more."""

# Where the log tells less than the gateway's first process: it remembers how the attempts before ended, counts its
# clients, and hears of what types its codes.
TOLD_BY_STATUS = frozenset(
    {
        LoginState.UNKNOWN,
        LoginState.LOGGED_IN,
        LoginState.SESSION_KEPT,
        LoginState.WAITING,
        LoginState.TOO_MANY_LOGINS,
        LoginState.GUARD_HELD,
        *ANSWERED_BY_CODE,
    }
)

MOST_CLIENTS = 32
"""Places of the gateway's API (ibapi, errors.py, 502)."""

PUSH_LASTS = timedelta(seconds=PUSH)
"""A dialog that stays longer than a push message wants a code to be typed, which its log lines do not say."""


def explained(
    checks: Iterable[CheckObservation],
    reading: Reading,
    gateway: Gateway,
    now: datetime,
    *,
    status: Status | None = None,
    quiet: timedelta = timedelta(),
    clients: int = 0,
) -> tuple[CheckObservation, ...]:
    """The same checks; where the API alone could not tell what is wrong, with the cause.

    `now`: aware, by the clock that the gateway's log has its times from. `status`: what its first process tells, where
    that was asked. `quiet`: for how long it has written nothing.
    `clients`: connections to its API.
    """
    if reading.reason is None and (clients >= MOST_CLIENTS or (status is not None and status.api == "full")):
        full = Observation(f"it is logged in and has {max(clients, MOST_CLIENTS)} clients", Reason.CLIENTS_FULL)
        return tuple(_because(check, full) if vague(check) else check for check in checks)
    return tuple(_explained(check, reading, gateway, now, status, quiet) for check in checks)


def vague(check: CheckObservation) -> bool:
    return check.reason in VAGUE


def _explained(
    check: CheckObservation,
    reading: Reading,
    gateway: Gateway,
    now: datetime,
    status: Status | None,
    quiet: timedelta,
) -> CheckObservation:
    cause = _cause(check.reason, reading, gateway, now, status) if check.reason in VAGUE else None
    if cause is None:
        return check
    if cause.reason in PASSING and cause.reason is reading.reason and quiet > START_TAKES:
        still = f"{cause.seen}, and nothing since, for {quiet.total_seconds() / 60:.0f} min"
        cause = replace(cause, seen=still, reason=Reason.START_STUCK)
    return _because(check, cause)


def _because(check: CheckObservation, cause: Observation) -> CheckObservation:
    """The check with the cause in place of what the API alone showed."""
    return replace(
        check,
        seen=f"{check.seen}; {cause.seen}",
        reason=cause.reason,
        data={**check.data, SEEN_THROUGH_API: check.reason, **cause.data},
        note=cause.note,
        because=cause.because,
        retry=cause.retry,
    )


def _cause(
    seen: Reason | None, reading: Reading, gateway: Gateway, now: datetime, status: Status | None
) -> Observation | None:
    known = reading.reason or seen
    planned = just_planned(gateway.schedule, now)
    if planned is not None and known in AWAY:
        at = f"{planned.at:%H:%M} {gateway.schedule.time_zone}"
        return Observation(f"planned: {planned.event} at {at}", Reason.PLANNED_RESTART)
    # What is held back stays so when the reset is over.
    reset = None if reading.held else reset_at(now, gateway.schedule.time_zone)
    if reset is not None and known in CUT_OFF:
        return Observation(reset, Reason.MAINTENANCE_WINDOW)
    if reading.reason is None:
        return None
    data: dict[str, JsonValue] = {"log_state": reading.state}
    text = f"log: {reading.line}" if reading.line else f"the gateway's own log: {reading.state}"
    note = f"; the lock lasts {reading.retry_after} s" if reading.retry_after else ""
    if reading.second_factor is not None:
        data["second_factor"] = reading.second_factor
    until = reading.until or _pause_ends(reading, status)
    if until is not None:
        data[UNTIL] = timestamp(until)
        text += f" (until {until.astimezone(ZoneInfo(gateway.schedule.time_zone)):%a %H:%M %Z})"
    if reading.held:
        data[HELD] = True
    reason = Reason.SECOND_FACTOR_CODE if _wants_code(reading, gateway, now) else reading.reason
    if reading.state in ANSWERED_BY_CODE and (phase := _typing(status)) is not None:
        data["codes"] = phase
        text += f"; codes: {MEANINGS[phase]}"
        reason = _of_phase(phase, reading.state) or reason
    return Observation(text, reason, data, note, because=_remembered(reading, status), retry=reading.retry)


def _typing(status: Status | None) -> Phase | None:
    """What types its codes does, where something does."""
    return Phase(status.code) if status is not None and status.code in {*Phase} else None


def _of_phase(phase: Phase, state: LoginState) -> Reason | None:
    if phase is Phase.HELD:
        return Reason.SECOND_FACTOR_HELD
    if phase in STOPS:
        return Reason.SECOND_FACTOR_UNTYPED
    return Reason.SECOND_FACTOR_TYPING if state is LoginState.SECOND_FACTOR_PENDING else None


def _pause_ends(reading: Reading, status: Status | None) -> datetime | None:
    """When a gateway that waits for its next login begins it, where its first process says so."""
    return status.until if status is not None and reading.state is LoginState.WAITING else None


def _remembered(reading: Reading, status: Status | None) -> Reason | None:
    """Why a gateway waits or is held, where its log says only that it is: how its last attempt ended of which that is
    known. That it was rejected is what being held means already."""
    unsaid = reading.outcome in (None, LoginState.UNKNOWN)
    if status is None or reading.state not in (LoginState.WAITING, LoginState.GUARD_HELD) or not unsaid:
        return None
    known = [state for word in status.outcomes if (state := OUTCOMES.get(word, LoginState.UNKNOWN)) in REASONS]
    if not known or (reading.state is LoginState.GUARD_HELD and known[-1] is LoginState.REJECTED):
        return None
    return REASONS[known[-1]]


def _wants_code(reading: Reading, gateway: Gateway, now: datetime) -> bool:
    if (
        reading.state is not LoginState.SECOND_FACTOR_PENDING
        or reading.at is None
        or reading.second_factor == PUSH_MESSAGE
    ):
        return False
    # Where clocks are put back, the later of two hours: too short a wait is the safe mistake.
    began = reading.at.replace(tzinfo=ZoneInfo(gateway.schedule.time_zone), fold=1)
    return now - began > PUSH_LASTS
