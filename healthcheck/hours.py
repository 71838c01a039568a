"""Trading hours as contract details state them (liquidHours and timeZoneId of ContractDetails, TWS API reference)."""

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

STAMP = "%Y%m%d:%H%M"


@dataclass(frozen=True)
class Hours:
    """Sessions, in order, as pairs of aware times; `time_zone` is the exchange's."""

    sessions: tuple[tuple[datetime, datetime], ...]
    time_zone: ZoneInfo

    def open_at(self, moment: datetime) -> bool:
        return any(start <= moment < end for start, end in self.sessions)

    def next_open(self, moment: datetime) -> datetime | None:
        """When the next session begins, as far as the gateway told (about a week)."""
        return min((start for start, _ in self.sessions if start > moment), default=None)


def parse_hours(text: str, time_zone_id: str) -> Hours | None:
    """`20261123:0930-20261123:1600;20261128:CLOSED` to sessions; None when it cannot be read or says nothing.

    The zone comes as `US/Eastern` or, from old gateways, as `EST (Eastern Standard Time)`.
    """
    try:
        zone = ZoneInfo(time_zone_id.split(" (")[0])
        sessions = []
        for part in filter(None, text.split(";")):
            if part.endswith("CLOSED"):
                continue
            start, end = part.split("-")
            sessions.append(
                (
                    datetime.strptime(start, STAMP).replace(tzinfo=zone).astimezone(UTC),
                    datetime.strptime(end, STAMP).replace(tzinfo=zone).astimezone(UTC),
                )
            )
    except (ValueError, OverflowError, OSError, ZoneInfoNotFoundError):  # OSError: a zone that is a folder of zones
        return None
    return Hours(tuple(sorted(sessions)), zone) if text else None
