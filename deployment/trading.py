"""The hours in which a stack's owner trades (`ibgw:tradingHours`): whether a moment lies in them. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Hours(Protocol):
    """As the settings have them, or whoever was told them. `open` and `close` as `HH:MM` in the zone; `days`: of
    DAYS."""

    @property
    def time_zone(self) -> str: ...
    @property
    def days(self) -> Sequence[str]: ...
    @property
    def open(self) -> str: ...
    @property
    def close(self) -> str: ...


class ToldHours(BaseModel):
    """Hours, as an argument brings them. They were checked as settings."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    time_zone: str
    days: tuple[str, ...]
    open: str
    close: str


def trading(hours: Hours, now: datetime) -> bool:
    """Whether `now` lies in them; their end is out."""
    return any(opens <= now < closes for opens, closes in sessions(hours, now, now))


def sessions(hours: Hours, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """All that touch that time, in their order, in UTC. Those across midnight belong to the day on which they begin."""
    zone = ZoneInfo(hours.time_zone)
    opens, closes = time.fromisoformat(hours.open), time.fromisoformat(hours.close)
    day, last = since.astimezone(zone).date() - timedelta(days=1), until.astimezone(zone).date()
    while day <= last:
        if DAYS[day.weekday()] in hours.days:
            ends = day if opens < closes else day + timedelta(days=1)
            yield (
                datetime.combine(day, opens, zone).astimezone(UTC),
                datetime.combine(ends, closes, zone).astimezone(UTC),
            )
        day += timedelta(days=1)
