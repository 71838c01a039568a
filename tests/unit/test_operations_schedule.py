"""When a gateway next restarts by itself. Days and offsets by hand from a calendar; New York leaves daylight saving on
2026-11-01 and enters it on 2027-03-14."""

from datetime import datetime

import pytest

from deployment.description import Schedule
from healthcheck.schedule import next_planned

DAILY = {"auto_restart": "23:59"}
BOTH = {"auto_restart": "23:59", "cold_restart": "07:05"}


@pytest.mark.parametrize(
    ("times", "now", "at", "event"),
    [
        (DAILY, "2026-11-20T12:00-05:00", "2026-11-20T23:59-05:00", "auto restart"),
        (DAILY, "2026-11-20T23:59-05:00", "2026-11-21T23:59-05:00", "auto restart"),
        (DAILY, "2026-11-21T03:00+00:00", "2026-11-20T23:59-05:00", "auto restart"),  # still Friday in New York
        ({"auto_logoff": "22:00"}, "2026-11-20T12:00-05:00", "2026-11-20T22:00-05:00", "auto logoff"),
        (BOTH, "2026-11-21T12:00-05:00", "2026-11-21T23:59-05:00", "auto restart"),
        (BOTH, "2026-11-22T00:10-05:00", "2026-11-22T07:05-05:00", "cold restart"),  # a Sunday
        (BOTH, "2026-11-22T07:06-05:00", "2026-11-22T23:59-05:00", "auto restart"),
        (DAILY, "2026-11-01T01:30-04:00", "2026-11-01T23:59-05:00", "auto restart"),  # a day of 25 hours
        ({"cold_restart": "07:05"}, "2027-03-07T07:05-05:00", "2027-03-14T07:05-04:00", "cold restart"),
    ],
)
def test_the_first_event_after_now(times: dict[str, str], now: str, at: str, event: str) -> None:
    planned = next_planned(Schedule(time_zone="America/New_York", **times), datetime.fromisoformat(now))
    assert planned is not None
    assert (planned.at, planned.event) == (datetime.fromisoformat(at), event)


def test_nothing_may_be_planned() -> None:
    assert next_planned(Schedule(time_zone="America/New_York"), datetime.fromisoformat("2026-11-20T12:00Z")) is None
