"""Times of day as the configuration writes them (`HH:MM`, 24 h) and as the image's variables want them."""

import re
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DAY = timedelta(days=1)


def parse_time_of_day(text: str) -> time:
    """Reads `07:05`. Raises ValueError, naming what was found."""
    match = _TIME_OF_DAY.fullmatch(text)
    if match is None:
        meant = re.fullmatch(r"(0?[0-9]|1[0-2]):([0-5][0-9]) ?([AP])M", text.upper())
        hour = int(meant[1]) % 12 + (12 if meant[3] == "P" else 0) if meant else None
        example = "such as 23:59" if meant is None else f"did you mean {hour:02}:{meant[2]}?"
        raise ValueError(f"{text!r} is not a time of day in the form HH:MM (24 hours); {example}")
    return time(int(match[1]), int(match[2]))


def twelve_hour(text: str) -> str:
    """`23:59` as `11:59 PM`: the form of AUTO_RESTART_TIME and AUTO_LOGOFF_TIME, two-digit hour (IBC's config.ini).

    Another form is only logged as an error by IBC, and the restart never happens.
    """
    return parse_time_of_day(text).strftime("%I:%M %p")


def apart(first: str, second: str) -> timedelta:
    """How far two times of day lie from each other around the clock, at most 12 hours."""
    moments = [datetime.combine(datetime.min, parse_time_of_day(text)) for text in (first, second)]
    distance = abs(moments[0] - moments[1])
    return min(distance, _DAY - distance)


def in_new_york(text: str, zone: str, *, weekday: int) -> list[datetime]:
    """The moments at which it is `text` in `zone` on `weekday` (Monday is 0), told in New York's time.

    IBKR's weekly rules are told in US Eastern time, the configuration in the gateway's zone. One moment for each week
    of a year, since zones change to summer time on different days: what is allowed must not depend on today's date.
    """
    at = parse_time_of_day(text)
    first = datetime(2026, 1, 5, at.hour, at.minute) + timedelta(days=weekday)  # a Monday, and `weekday` days
    local = (first + timedelta(weeks=week) for week in range(52))
    return [moment.replace(tzinfo=ZoneInfo(zone)).astimezone(ZoneInfo("America/New_York")) for moment in local]
