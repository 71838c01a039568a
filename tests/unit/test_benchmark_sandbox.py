"""The pure parts of the sandbox's benchmark: what it makes of latencies, of /proc and of Docker's log."""

from pathlib import Path

import pytest

from benchmarks.load import Answers, summarize
from benchmarks.processes import Memory, Process, descendants, parse_memory, parse_stat
from benchmarks.sandbox import CONFIRMED, LOGGED_IN, moment, seconds_to, spread
from infra import supervisor


def test_a_steady_latency_has_no_slope() -> None:
    answered = [(100 + at / 10, 0.002) for at in range(50)]
    found = summarize(5, 50, answered)
    assert (found.connections, found.asked, found.answered) == (5, 50, 50)
    assert found.p50 == pytest.approx(2.0)
    assert found.p99 == pytest.approx(2.0)
    assert found.slope == pytest.approx(0.0, abs=1e-6)
    assert found.rate == pytest.approx(50 / 4.902)  # from the first at 0 s to the last at 4.9 s, answered 2 ms later


def test_a_queue_that_grows_shows_as_a_slope() -> None:
    """A server that takes 15 ms for each of 100 requests a second falls 5 ms further behind with each."""
    answered = [(at * 0.010, 0.015 + at * 0.005) for at in range(200)]
    found = summarize(1, 200, list(reversed(answered)))
    assert found.slope == pytest.approx(500.0)
    assert found.rate == pytest.approx(200 / 3.0)
    assert found.p50 == pytest.approx(512.5)


def test_requests_without_answers_are_missing() -> None:
    assert summarize(50, 1000, []) == Answers(50, 1000, 0, 0.0, 0.0, 0.0, 0.0)
    assert summarize(1, 4, [(0.0, 0.1), (0.1, 0.1), (0.2, 0.1)]).answered == 3


def test_spread() -> None:
    found = spread([5.0, 1.0, 2.0, 3.0, 4.0])
    assert (found.median, found.minimum, found.p90, found.maximum) == (3.0, 1.0, 5.0, 5.0)


def test_a_process_may_have_any_name() -> None:
    """proc_pid_stat(5): the name in parentheses may hold some itself; fields 4, 14 to 17 are parent and times."""
    text = "42 (a) b (c) S 7 42 42 0 -1 4194560 100 0 0 0 150 50 300 100 20 0 1 0 12345 1000 200"
    assert parse_stat(text, ticks=100) == Process(parent=7, name="a) b (c", seconds=2.0, reaped=4.0)


def test_memory() -> None:
    text = "5555-7ffd ---p 0 00:00 0    [rollup]\nRss:  3000 kB\nPss:  1000 kB\nPss_Dirty:  500 kB\n"
    assert parse_memory(text) == Memory(rss=3_072_000, pss=1_024_000)
    assert parse_memory("") == Memory(0, 0)
    assert Memory(1, 2) + Memory(10, 20) == Memory(11, 22)


def test_descendants_of_a_process() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1}
    assert descendants(10, {pid: Process(parent, "", 0.0, 0.0) for pid, parent in parents.items()}) == {10, 11, 12}


def test_moments_of_docker() -> None:
    """RFC 3339 with up to nine digits: Docker leaves zeros at the end away."""
    assert moment("1970-01-01T00:01:00Z") == 60.0
    assert moment("1970-01-01T00:00:01.5Z") == 1.5
    assert moment("1970-01-01T00:00:00.123456789Z") == pytest.approx(0.123456789)


LOG = """\
1970-01-01T00:00:11.5Z 1970-01-01 01:00:11:500 IBC: Login has completed
1970-01-01T00:01:00.1Z .> Starting IBC/IB gateway
1970-01-01T00:01:01.75Z 1970-01-01 01:01:01:750 IBC: Login has completed
1970-01-01T00:01:01.76Z 1970-01-01 01:01:01:760 IBC: Configuration tasks completed
"""


@pytest.mark.parametrize(
    ("started", "seconds"),
    [("1970-01-01T00:00:10Z", 1.5), ("1970-01-01T00:01:00Z", 1.75), ("1970-01-01T00:02:00Z", None)],
)
def test_seconds_from_this_start_to_the_login(started: str, seconds: float | None) -> None:
    assert seconds_to(LOGGED_IN, started, LOG) == seconds


def test_the_benchmark_waits_for_the_supervisors_own_words() -> None:
    script = (Path(supervisor.__file__).with_name("supervisor.sh")).read_text(encoding="utf-8")
    assert CONFIRMED.startswith("ibgw: ")
    assert f'say "{CONFIRMED.removeprefix("ibgw: ")}"' in script
