"""Why the API is not there, where it cannot tell itself: from the gateway's log, its schedule and IBKR's hours. Pure.

Nothing here makes a failed check pass.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import JsonValue

from deployment.description import Gateway
from healthcheck.automation.base import LoginState, Reading
from healthcheck.automation.launcher import PUSH
from healthcheck.maintenance import reset_at
from healthcheck.observation import CheckObservation, Observation, timestamp
from healthcheck.reasons import AGAIN, Reason
from healthcheck.schedule import just_planned
from healthcheck.verdict import HELD, SEEN_THROUGH_API

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

PUSH_LASTS = timedelta(seconds=200)
"""A push message is over after 180 s (IBC, SecondFactorAuthenticationTimeout); a dialog that stays longer wants a code
to be typed, which its log lines do not say."""


def explained(
    checks: Iterable[CheckObservation], reading: Reading, gateway: Gateway, now: datetime
) -> tuple[CheckObservation, ...]:
    """The same checks; where the API alone could not tell what is wrong, with the cause.

    `now`: aware, by the clock that the gateway's log has its times from.
    """
    return tuple(_explained(check, reading, gateway, now) for check in checks)


def vague(check: CheckObservation) -> bool:
    return check.reason in VAGUE


def _explained(check: CheckObservation, reading: Reading, gateway: Gateway, now: datetime) -> CheckObservation:
    cause = _cause(check.reason, reading, gateway, now) if check.reason in VAGUE else None
    if cause is None:
        return check
    return replace(
        check,
        seen=f"{check.seen}; {cause.seen}",
        reason=cause.reason,
        data={**check.data, SEEN_THROUGH_API: check.reason, **cause.data},
        note=cause.note,
    )


def _cause(seen: Reason | None, reading: Reading, gateway: Gateway, now: datetime) -> Observation | None:
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
    if reading.until is not None:
        data["until"] = timestamp(reading.until)
        text += f" ({reading.until.astimezone(ZoneInfo(gateway.schedule.time_zone)):%a %H:%M %Z})"
    if reading.held:
        data[HELD] = True
    if reading.state is LoginState.GUARD_HELD and reading.reason is not Reason.GUARD_HELD:
        note += f"; the start guard lets it log in once more after {AGAIN}"
    reason = Reason.SECOND_FACTOR_CODE if _wants_code(reading, gateway, now) else reading.reason
    return Observation(text, reason, data, note)


def _wants_code(reading: Reading, gateway: Gateway, now: datetime) -> bool:
    if reading.state is not LoginState.SECOND_FACTOR_PENDING or reading.at is None or reading.second_factor == PUSH:
        return False
    # Where clocks are put back, the later of two hours: too short a wait is the safe mistake.
    began = reading.at.replace(tzinfo=ZoneInfo(gateway.schedule.time_zone), fold=1)
    return now - began > PUSH_LASTS
