"""Durations as Go and Docker write them (`90s`, `1m30s`): one parser and one canonical form for every part.

The canonical form matters: Docker reads a probe's interval back as `1m0s`, and the provider compares texts, so any
other spelling of the same duration shows up as a change after a refresh.
"""

import re
from datetime import timedelta

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_LONGEST = 366 * 24 * 3600.0
"""Seconds. More overflows a clock somewhere."""
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|h|m|s)")
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|h|m|s))+$"
"""The same of a whole text, for a schema."""


def parse_duration(text: str) -> timedelta:
    """Reads `1h`, `1m30s`, `250ms`. Raises ValueError, naming what was found, for anything else."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration such as 60s, 1m30s or 10m")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds > _LONGEST:
        shown = text if len(text) <= 20 else f"{text[:20]}..."
        raise ValueError(f"{shown!r} is longer than a year; nothing here takes so long")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Go's own form of a whole number of seconds: 60 s is `1m0s`, 3600 s is `1h0m0s`."""
    seconds = round(duration.total_seconds())
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
