"""When a gateway will next end or restart by itself, from the schedule in its description."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from deployment.description import Schedule

SUNDAY = 6  # datetime.weekday

RESTART_TAKES = timedelta(minutes=5)
"""For how long after its time a planned restart explains that a gateway is away."""


class Event(StrEnum):
    AUTO_RESTART = "auto restart"  # keeps the session
    AUTO_LOGOFF = "auto logoff"  # ends the program, and Docker starts the container again: a full login
    COLD_RESTART = "cold restart"  # a full login


@dataclass(frozen=True)
class Planned:
    at: datetime
    """In the gateway's own time zone."""

    event: Event


def next_planned(schedule: Schedule, now: datetime) -> Planned | None:
    """The first event after `now` (aware); None where nothing is planned."""
    zone = ZoneInfo(schedule.time_zone)
    local = now.astimezone(zone)
    daily = ((schedule.auto_restart, Event.AUTO_RESTART), (schedule.auto_logoff, Event.AUTO_LOGOFF))
    planned = [Planned(_next(local, at, zone), event) for at, event in daily if at is not None]
    if schedule.cold_restart is not None:
        planned.append(Planned(_next(local, schedule.cold_restart, zone, weekday=SUNDAY), Event.COLD_RESTART))
    return min(planned, key=lambda event: event.at, default=None)


def weekly_login(schedule: Schedule, now: datetime) -> tuple[datetime, datetime] | None:
    """When the full login of this week was due, and the next one's time; None where none is planned."""
    if schedule.cold_restart is None:
        return None
    zone = ZoneInfo(schedule.time_zone)
    coming = _next(now.astimezone(zone), schedule.cold_restart, zone, weekday=SUNDAY)
    # The same time of day a week before, whatever summer time did meanwhile.
    return coming - timedelta(days=7), coming


def just_planned(schedule: Schedule, now: datetime) -> Planned | None:
    """The event whose time has come within the last minutes (RESTART_TAKES)."""
    planned = next_planned(schedule, now - RESTART_TAKES)
    return planned if planned is not None and planned.at <= now else None


def _next(local: datetime, at: str, zone: ZoneInfo, *, weekday: int | None = None) -> datetime:
    """The next time after `local` at which clocks in `zone` show `at`. Steps dates, not hours: a day may have 23."""
    clock = time.fromisoformat(at)
    for ahead in range(8):
        day = local.date() + timedelta(days=ahead)
        moment = datetime.combine(day, clock, tzinfo=zone)
        if moment > local and weekday in (None, day.weekday()):
            return moment
    raise AssertionError("a week has every day")
