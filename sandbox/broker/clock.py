"""The broker's clock. Everything in the broker that has a time takes it from here, and its gateways follow it."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sandbox.gateway.clock import Clock

__all__ = ["Clock", "week_end"]

NEW_YORK = ZoneInfo("America/New_York")
WEEK_ENDS_AT = 1  # o'clock on Sundays


def week_end(after: float) -> float:
    """When a session that began at a time can be resumed no more (both in seconds since the epoch).

    Sunday 01:00 US Eastern: from then on IBKR wants a full login (IBC's config.ini, ColdRestartTime).
    """
    local = datetime.fromtimestamp(after, UTC).astimezone(NEW_YORK)
    sunday = local.date() + timedelta(days=(6 - local.weekday()) % 7)
    end = datetime(sunday.year, sunday.month, sunday.day, WEEK_ENDS_AT, tzinfo=NEW_YORK)
    if end.timestamp() <= after:
        end = datetime.combine(sunday + timedelta(days=7), end.timetz())
    return end.timestamp()
