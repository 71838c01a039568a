"""What a watcher keeps of what was seen: what of it outlives a restart, how much it is, and what a disk or a clock does
to it."""

import json
import stat
from pathlib import Path

import pytest

from healthcheck.monitoring import handover, history
from healthcheck.monitoring.channels import Channels
from healthcheck.monitoring.handover import CheckSeen, GatewaySeen
from healthcheck.monitoring.history import History, Hour, bucket, milliseconds
from healthcheck.monitoring.watching import Watching
from healthcheck.observation import CheckName
from healthcheck.reasons import Reason
from healthcheck.verdict import CheckVerdict
from tests.unit.monitored import SUPERVISED, gateway_seen, seen

BEGAN = 1_795_003_200.0
"""A whole hour."""


def take(kept: History, at: float, *gateways: GatewaySeen) -> None:
    kept.take(seen(*(one.model_copy(update={"looked": at}) for one in gateways), written=at))


def hours(folder: Path, since: float = 0.0) -> list[Hour | None]:
    *lines, end = history.lines(since, folder)
    assert json.loads(end) == history.END
    return [None if line == "null" else Hour.model_validate_json(line) for line in lines]


def stretches(folder: Path, name: str = "main") -> list[tuple[float, float, bool, str | None]]:
    return [
        (one.began - BEGAN, one.ended - BEGAN, one.up, one.reason)
        for hour in hours(folder)
        if hour is not None
        for one in hour.gateways[name].stretches
    ]


def test_what_stays_the_same_is_one_stretch_and_a_change_begins_another(tmp_path: Path) -> None:
    kept = History(tmp_path)
    for at in range(0, 100, 10):
        take(kept, BEGAN + at, gateway_seen())
    for at in range(100, 200, 10):
        take(kept, BEGAN + at, gateway_seen(reason=Reason.WEDGED))
    kept.keep()
    assert stretches(tmp_path) == [(0, 90, True, None), (90, 190, False, "wedged")]


def test_what_nobody_saw_is_in_no_stretch(tmp_path: Path) -> None:
    kept = History(tmp_path)
    for at in (0, 10, 300, 310):
        take(kept, BEGAN + at, gateway_seen())
    kept.keep()
    assert stretches(tmp_path) == [(0, 10, True, None), (300, 310, True, None)]


def test_a_gateway_that_is_not_looked_at_any_more_is_not_seen(tmp_path: Path) -> None:
    kept = History(tmp_path)
    for at in range(0, 300, 10):
        kept.take(seen(gateway_seen(looked=BEGAN), written=BEGAN + at))
    kept.keep()
    assert stretches(tmp_path) == [(0, 70, True, None)]


def test_a_clock_that_was_set_back_or_ahead_makes_no_time_seen(tmp_path: Path) -> None:
    kept = History(tmp_path)
    for at in (1000, 1010, 200, 210, 3000, 3010):
        take(kept, BEGAN + at, gateway_seen())
    kept.keep()
    assert stretches(tmp_path) == [(1000, 1010, True, None), (200, 210, True, None), (3000, 3010, True, None)]


def test_a_new_watcher_goes_on_with_the_hour_and_with_the_next(tmp_path: Path) -> None:
    for begin in (0, 200, 3580):
        kept = History(tmp_path)
        for at in range(begin, begin + 50, 10):
            take(kept, BEGAN + at, gateway_seen())
        kept.keep()
    assert stretches(tmp_path)[:3] == [(0, 40, True, None), (200, 240, True, None), (3580, 3590, True, None)]
    assert stretches(tmp_path)[3] == (3590, 3620, True, None)
    assert [hour and hour.began for hour in hours(tmp_path)] == [BEGAN, BEGAN + 3600]
    assert [hour and hour.began for hour in hours(tmp_path, BEGAN + 3700)] == [BEGAN + 3600]


def test_it_is_on_the_disk_after_a_minute_without_a_word(tmp_path: Path) -> None:
    kept = History(tmp_path)
    for at in range(0, 130, 10):
        take(kept, BEGAN + at, gateway_seen())
    assert stretches(tmp_path) == [(0, 120, True, None)]


@pytest.mark.parametrize("torn", [b"", b'{"schema":1,"began":17', b"\xff\xfe"])
def test_a_torn_hour_is_told_and_costs_no_other(tmp_path: Path, torn: bytes) -> None:
    kept = History(tmp_path)
    for at in (0, 10, 3600, 3610):
        take(kept, BEGAN + at, gateway_seen())
    kept.keep()
    history.hours(tmp_path)[0].write_bytes(torn)
    assert [hour is None for hour in hours(tmp_path)] == [True, False]
    # The hour that broke is begun anew.
    take(History(tmp_path), BEGAN + 20, gateway_seen())


def test_the_oldest_go_where_there_are_too_many_whatever_the_clock_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "FILES", 5)
    kept = History(tmp_path)
    for hour in (*range(8), 9_000, 8, 9):
        take(kept, BEGAN + 3600 * hour, gateway_seen())
    kept.keep()
    found = [hour for hour in hours(tmp_path) if hour is not None]
    assert [(hour.began - BEGAN) / 3600 for hour in found] == [6, 7, 8, 9, 9_000]


def test_the_oldest_go_where_they_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = History(tmp_path)
    take(kept, BEGAN, gateway_seen())
    kept.keep()
    monkeypatch.setattr(history, "BYTES", history.hours(tmp_path)[0].stat().st_size * 5 // 2)
    for hour in range(1, 6):
        take(kept, BEGAN + 3600 * hour, gateway_seen())
    kept.keep()
    assert len(history.hours(tmp_path)) == 3


def test_a_gateway_that_flaps_fills_no_disk(tmp_path: Path) -> None:
    kept = History(tmp_path)
    for at in range(3599):
        supervised = SUPERVISED.model_copy(update={"started": float(at)})
        take(kept, BEGAN + at, gateway_seen(reason=Reason.WEDGED if at % 2 else None, supervised=supervised))
    kept.keep()
    [file] = history.hours(tmp_path)
    assert file.stat().st_size < 70_000
    [hour] = hours(tmp_path)
    assert hour is not None
    assert (len(hour.gateways["main"].stretches), len(hour.gateways["main"].told)) == (history.STRETCHES, history.TOLD)


def test_a_day_of_a_gateway_takes_some_kilobytes(tmp_path: Path) -> None:
    kept = History(tmp_path)
    for at in range(0, 86_400, 60):
        checks = tuple(
            CheckSeen(name=name, verdict=CheckVerdict.PASS, reason=None, duration_ms=7 + at * 31 % 90, at=BEGAN + at)
            for name in CheckName
        )
        take(kept, BEGAN + at, gateway_seen(checks=checks))
    kept.keep()
    assert sum(file.stat().st_size for file in history.hours(tmp_path)) < 60_000


def test_a_check_counts_when_it_was_run_and_not_when_it_is_told_again(tmp_path: Path) -> None:
    kept = History(tmp_path)

    def checked(at: float, milliseconds: int, verdict: CheckVerdict = CheckVerdict.PASS) -> GatewaySeen:
        check = CheckSeen(name=CheckName.AUTHENTICATED, verdict=verdict, reason=None, duration_ms=milliseconds, at=at)
        return gateway_seen(checks=(check,))

    for at, one in enumerate(
        (checked(1, 40), checked(1, 40), checked(2, 900), checked(3, 0, CheckVerdict.SKIPPED), checked(4, 41))
    ):
        take(kept, BEGAN + at, one)
    kept.keep()
    [hour] = hours(tmp_path)
    assert hour is not None
    durations = hour.gateways["main"].durations[CheckName.AUTHENTICATED]
    assert sum(durations.counted.values()) == 3
    assert durations.longest == 900


@pytest.mark.parametrize("duration", [0, 1, 2, 9, 40, 333, 5_000, 180_000])
def test_a_bucket_is_narrow(duration: int) -> None:
    assert abs(milliseconds(bucket(duration)) - duration) <= 0.05 * duration + 0.6


def test_nothing_of_an_account_is_kept_and_nobody_else_reads_it(tmp_path: Path) -> None:
    kept = History(tmp_path)
    take(kept, BEGAN, gateway_seen(reason=Reason.WRONG_ACCOUNT))
    kept.keep()
    [file] = history.hours(tmp_path)
    assert {*json.loads(file.read_text())["gateways"]["main"]} == {"stretches", "told", "durations"}
    assert not stat.S_IMODE(file.stat().st_mode) & 0o022


def test_the_watcher_keeps_what_the_prober_hands_over_and_its_end_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "seen.json"
    watching = Watching("paper", Channels(), file=file, folder=tmp_path)
    for at in (0.0, 5.0):
        handover.write(seen(gateway_seen(looked=BEGAN + at), written=BEGAN + at), file)
        watching.tick(BEGAN + at)
    watching.end()
    assert stretches(tmp_path / history.HISTORY) == [(0, 5, True, None)]


def test_a_disk_that_takes_nothing_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "seen.json"
    (tmp_path / history.HISTORY).write_text("no folder")
    watching = Watching("paper", Channels(), file=file, folder=tmp_path)
    for at in range(3):
        handover.write(seen(gateway_seen(looked=BEGAN + at), written=BEGAN + at), file)
        watching.tick(BEGAN + at)
    (tmp_path / history.HISTORY).unlink()
    watching.end()
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["recorded"] for line in told if line["event"] == "history"] == [False, True]
    assert stretches(tmp_path / history.HISTORY) == [(0, 2, True, None)]
