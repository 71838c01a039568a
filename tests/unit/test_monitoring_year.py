"""No planned event wakes anybody: weeks of a gateway that restarts each night and logs in anew each Sunday, minute by
minute, with IBKR's resets and both changes of summer time, put to the rules by promtool."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

import pytest

from deployment.description import Schedule
from healthcheck.maintenance import reset_at
from healthcheck.monitoring import prober
from healthcheck.schedule import Event, just_planned, weekly_login
from tests.unit.gateways import gateway
from tests.unit.prometheus import complaints, of_main, series

SCHEDULE = {"time_zone": "America/New_York", "auto_restart": "23:45", "cold_restart": "07:05"}
WEEK, WEEKEND, NIGHT = 7 * 24 * 60, 36 * 60, 13 * 60
"""Minutes."""
AWAY = timedelta(minutes=4)
WINDOWS = ("none", "planned_restart", "maintenance")
FIRST = datetime(2026, 1, 2, tzinfo=UTC)
"""A Friday."""
IN_AUTUMN = FIRST + timedelta(weeks=43, days=1, hours=16)
"""The Saturday before New York's clocks go back; the next day has a reset, the week's login and a restart."""


def minute(now: datetime, begin: datetime, watch: prober.Watch, event: Event | None) -> Iterator[tuple[str, float]]:
    """What is told at that minute, by the series; times from the week's begin on, as promtool counts them."""
    weekly = weekly_login(watch.gateway.schedule, now)
    assert weekly is not None
    reset = reset_at(now, watch.gateway.schedule.time_zone) is not None
    last, coming = ((moment - begin).total_seconds() for moment in weekly)
    yield of_main("ib_gateway_up"), event is None and not reset
    yield of_main("ibgw_gateway_connectivity"), event is None and not reset
    yield of_main("ibgw_gateway_last_weekly_login_timestamp_seconds"), last
    yield of_main("ibgw_gateway_next_weekly_login_timestamp_seconds"), coming
    yield of_main("ibgw_gateway_login_timestamp_seconds"), 0 if event is Event.COLD_RESTART else last + 240
    for window in WINDOWS:
        yield of_main("ibgw_gateway_window", window=window), watch._window(None, now) == window


def told(begin: datetime, minutes: int) -> dict[str, str]:
    watch = prober.Watch(gateway(schedule=SCHEDULE))
    values: dict[str, list[float]] = {}
    for number in range(minutes):
        now = begin + timedelta(minutes=number)
        planned = just_planned(watch.gateway.schedule, now)
        event = planned.event if planned is not None and now - planned.at < AWAY else None
        for name, value in minute(now, begin, watch, event):
            values.setdefault(name, []).append(float(value))
    constant = {name: value.replace("x1000", f"x{minutes}") for name, value in series().items()}
    return constant | {name: shortened(each) for name, each in values.items()}


def shortened(values: Sequence[float]) -> str:
    """In promtool's notation."""
    return " ".join(f"{value:g}x{len([*same]) - 1}" for value, same in groupby(values))


def pages(folder: Path, inputs: dict[str, str], minutes: int) -> str:
    """What promtool says of alerts of all the time that wake somebody; empty where there is none."""
    expression = f'count by (alertname) (count_over_time(ALERTS{{alertstate="firing",severity!="info"}}[{minutes}m]))'
    none = {"expr": expression, "eval_time": f"{minutes}m", "exp_samples": []}
    return complaints(folder, inputs, promql_expr_test=[none])


def test_a_weekend_with_a_change_of_summer_time_wakes_nobody(tmp_path: Path) -> None:
    assert pages(tmp_path, told(IN_AUTUMN, WEEKEND), WEEKEND) == ""
    # It would, were the windows not told.
    night = told(IN_AUTUMN, NIGHT)
    without = {name: values for name, values in night.items() if "window=" not in name}
    assert 'alertname="IBGatewayDown"' in pages(tmp_path, without, NIGHT)


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", range(52))
def test_a_year_wakes_nobody(number: int, tmp_path: Path) -> None:
    assert pages(tmp_path, told(FIRST + timedelta(weeks=number), WEEK), WEEK) == ""


def test_the_weeks_have_both_changes_of_summer_time() -> None:
    def offset(moment: datetime) -> timedelta | None:
        due = weekly_login(Schedule(**SCHEDULE), moment)
        assert due is not None
        return due[1].utcoffset()

    offsets = [offset(FIRST + timedelta(weeks=number)) for number in range(52)]
    assert len([*groupby(offsets)]) == 3
    assert offset(IN_AUTUMN) != offset(IN_AUTUMN - timedelta(weeks=1))
