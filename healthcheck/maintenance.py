"""When IBKR resets its servers. Explains why a gateway is cut off; never a reason to call one well.

Source: IBKR's page System Status (interactivebrokers.co.uk/pt/software/systemStatus.php, read in November 2026): daily
resets from Sunday to Friday, one region at a time, and the weekend's for all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

SUNDAY_TO_FRIDAY = frozenset({6, 0, 1, 2, 3, 4})  # datetime.weekday
FRIDAY = frozenset({4})


@dataclass(frozen=True)
class Reset:
    """`days`: on which it begins. `areas`: first parts of time zones whose gateways it concerns; none means all."""

    where: str
    zone: str
    days: frozenset[int]
    begins: time
    lasts: timedelta
    areas: frozenset[str] = frozenset()


AMERICA = frozenset({"America", "US", "Canada"})
EUROPE = frozenset({"Europe", "Africa"})
ASIA = frozenset({"Asia", "Australia", "Pacific"})

RESETS = (
    Reset("North America", "America/New_York", SUNDAY_TO_FRIDAY, time(0, 15), timedelta(minutes=90), AMERICA),
    Reset("Europe", "Europe/Zurich", SUNDAY_TO_FRIDAY, time(6, 25), timedelta(minutes=80), EUROPE),
    Reset("Asia-Pacific", "Asia/Hong_Kong", SUNDAY_TO_FRIDAY, time(4, 45), timedelta(minutes=80), ASIA),
    Reset("Asia-Pacific", "Asia/Hong_Kong", SUNDAY_TO_FRIDAY, time(20, 15), timedelta(minutes=60), ASIA),
    Reset("all regions", "America/New_York", FRIDAY, time(23, 0), timedelta(hours=4)),
)


def reset_at(moment: datetime, time_zone: str) -> str | None:
    """Which reset `moment` (aware) lies in, and until when; None for none.

    IBKR assigns users to a region by where they are: `time_zone`, the gateway's, tells which. Where it tells nothing
    (Etc/UTC), every region counts.
    """
    for reset in _concerning(time_zone.partition("/")[0]):
        local = moment.astimezone(ZoneInfo(reset.zone))
        for day in (local.date() - timedelta(days=1), local.date()):
            begins = datetime.combine(day, reset.begins, tzinfo=local.tzinfo)
            if day.weekday() in reset.days and begins <= local < begins + reset.lasts:
                return f"IBKR resets its servers ({reset.where}) until {begins + reset.lasts:%H:%M} {reset.zone}"
    return None


def _concerning(area: str) -> Iterator[Reset]:
    known = any(area in reset.areas for reset in RESETS)
    return (reset for reset in RESETS if not reset.areas or not known or area in reset.areas)
