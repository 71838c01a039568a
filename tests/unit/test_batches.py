"""Several gateways acted on: who is first, who is alone, when it stops, and how it goes on."""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from deployment.description import Deployment
from deployment.errors import ExitCode, IbgwError
from healthcheck.report import Report
from operations import batches
from operations.batches import GOES_ON_SECONDS, Progress, Result, Rules, act_on, run
from operations.lifecycle import Acted, Outcome
from operations.stack import matching, parse_contract
from tests.unit.fake_docker import FakeDocker
from tests.unit.operations_contract import contract_json
from tests.unit.promotion_reports import report

NAMES = ("a", "b", "c", "d", "e", "f")
FLEET = parse_contract(contract_json(*NAMES), "x")


@pytest.mark.parametrize(
    ("rules", "asking", "expected"),
    [
        (Rules(parallel=2), "", ["a", "bc", "de", "f"]),
        (Rules(parallel=9), "", ["a", "bcdef"]),
        (Rules(parallel=1), "", list("abcdef")),
        (Rules(parallel=4, canary=False), "", ["abcd", "ef"]),
        # Two requests on one phone cannot be told apart.
        (Rules(parallel=4), "abcdef", list("abcdef")),
        (Rules(parallel=2), "d", ["a", "bc", "d", "ef"]),
        (Rules(parallel=9, canary=False), "c", ["ab", "c", "def"]),
    ],
)
def test_a_canary_then_so_many_and_alone_whom_somebody_approves(rules: Rules, asking: str, expected: list[str]) -> None:
    assert ["".join(batch) for batch in rules.batches(NAMES, asking)] == expected


def ran(results: dict[str, Result], max_failures: int | None, before: Callable[[], None]) -> tuple[str, dict[str, str]]:
    """Who was acted on, and what came of all."""
    acted, said = list[str](), list[str]()

    def act(batch: Sequence[str]) -> dict[str, Result]:
        acted.extend(batch)
        return {name: results.get(name, Result.VERIFIED) for name in batch}

    came = run(["a", "bc", "de"], act, max_failures=max_failures, say=said.append, before=before)
    return "".join(acted), {name: str(result) for name, result in came.items()}


@pytest.mark.parametrize(
    ("results", "max_failures", "reached"),
    [
        ({}, 0, "abcde"),
        ({"a": Result.FAILED}, 0, "a"),
        # Those beside it come to their end.
        ({"b": Result.FAILED}, 0, "abc"),
        ({"b": Result.FAILED}, 1, "abcde"),
        ({"a": Result.FAILED, "b": Result.FAILED}, 1, "abc"),
        ({"a": Result.FAILED, "b": Result.FAILED}, None, "abcde"),
        ({"c": Result.WAITING}, None, "abc"),
    ],
)
def test_it_stops_after_a_failure_too_many_and_while_somebody_is_waited_for(
    results: dict[str, Result], max_failures: int | None, reached: str
) -> None:
    acted, came = ran(results, max_failures, lambda: None)
    assert acted == reached
    assert [name for name in "abcde" if came[name] == "not_reached"] == [name for name in "abcde" if name not in acted]


def test_before_each_batch_but_the_first_it_is_asked_whether_that_is_still_allowed() -> None:
    asked = list[int]()

    def before() -> None:
        asked.append(1)
        if len(asked) == 2:
            raise IbgwError("It is within live's trading hours", exit_code=ExitCode.REFUSED)

    acted, came = ran({}, 0, before)
    assert (acted, came["d"], len(asked)) == ("abc", "not_reached", 2)


# --- acts on containers -------------------------------------------------------------------------------------------


class Fleet:
    """Gateways that are acted on. `reasons`: why one is not logged in afterwards; `broken`: whose act fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reasons: dict[str, str] = {}
        self.broken: set[str] = set()
        self.acted: list[str] = []
        self.said: list[str] = []
        self.told: list[Acted] = []
        self.looked: list[list[str]] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        monkeypatch.setattr("healthcheck.runner.look", self.look)

    def look(self, _: Deployment, *, gateways: Sequence[str], **__: Any) -> Report:
        self.looked.append(list(gateways))
        seen = [
            report(*filter(None, [self.reasons.get(name)])).gateways[0].model_copy(update={"gateway": name})
            for name in gateways
        ]
        return Report.of("paper", seen)

    def act(self, _: Any, __: Any, gateway: Any, say: Any) -> Outcome:
        with self._lock:
            self.acted.append(gateway.name)
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            if gateway.name in self.broken:
                raise IbgwError("its container is gone")
            return Outcome.RESTARTED
        finally:
            with self._lock:
                self._now -= 1

    def run(self, rules: Rules, **more: Any) -> "IbgwError | None":
        self.acted, self.told = [], []
        try:
            gateways = [FLEET.gateways[name] for name in NAMES]
            act_on(self.act, FakeDocker(), FLEET, gateways, rules, self.told, self.said.append, **more)
        except IbgwError as error:
            return error
        return None

    def outcomes(self) -> dict[str, str]:
        return {one.gateway: str(one.outcome or one.error) for one in self.told}


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    return Fleet(monkeypatch)


def test_each_batch_is_logged_in_before_the_next_is_begun(fleet: Fleet) -> None:
    assert fleet.run(Rules(parallel=3)) is None
    assert [sorted(batch) for batch in fleet.looked] == [["a"], ["b", "c", "d"], ["e", "f"]]
    assert fleet.outcomes() == dict.fromkeys(NAMES, "restarted")
    assert fleet.most <= 3


def test_a_canary_that_does_not_log_in_is_the_only_one_that_was_touched(fleet: Fleet) -> None:
    fleet.reasons = {"a": "login_failed"}
    error = fleet.run(Rules(parallel=3))
    assert fleet.acted == ["a"]
    assert error is not None
    assert error.exit_code is ExitCode.FAILED
    assert str(error) == "1 of 6 gateways of paper failed, 5 not reached:\n  a: not logged in (login_failed)"
    assert fleet.outcomes() == {"a": "not logged in (login_failed)"} | dict.fromkeys(NAMES[1:], "not_reached")


def test_one_that_is_offline_by_its_hours_is_no_failure(fleet: Fleet) -> None:
    fleet.reasons = {"a": "offline"}
    assert fleet.run(Rules(parallel=9)) is None
    assert "a: offline by its hours" in fleet.said
    assert "a" in batches.logged_in(FLEET, NAMES)


def test_one_that_fails_keeps_none_of_its_batch_from_its_end(fleet: Fleet) -> None:
    fleet.broken = {"c"}
    error = fleet.run(Rules(parallel=3))
    assert sorted(fleet.acted) == ["a", "b", "c", "d"]
    assert fleet.looked == [["a"], ["b", "d"]]
    assert error is not None
    assert error.exit_code is ExitCode.COULD_NOT_RUN
    assert {name: fleet.outcomes()[name] for name in "bcde"} == {
        "b": "restarted",
        "c": "its container is gone",
        "d": "restarted",
        "e": "not_reached",
    }


def test_while_an_approval_is_pending_nothing_is_begun(fleet: Fleet) -> None:
    fleet.reasons = {"a": "second_factor_pending"}
    error = fleet.run(Rules(parallel=3, max_failures=9))
    assert (fleet.acted, error and error.exit_code) == (["a"], ExitCode.TIMED_OUT)


def test_what_only_ends_sessions_passes_failures_by_and_waits_for_no_login(fleet: Fleet) -> None:
    fleet.broken = {"a", "e"}
    error = fleet.run(Rules(parallel=2, max_failures=None, canary=False, logs_in=False))
    assert (sorted(fleet.acted), fleet.looked) == (list(NAMES), [])
    assert "2 of 6 gateways of paper failed:" in str(error)


def test_an_interrupted_one_goes_on_where_it_was(fleet: Fleet, tmp_path: Path) -> None:
    progress = Progress(tmp_path / "batches" / "paper.restart.json")
    fleet.broken = {"d"}
    assert fleet.run(Rules(parallel=2), progress=progress, done=progress.done()) is not None
    assert progress.done() == {"a", "b", "c", "e"}
    fleet.broken = set()
    assert fleet.run(Rules(parallel=2), progress=progress, done=progress.done()) is None
    assert (fleet.acted, fleet.outcomes()["a"]) == (["d", "f"], "skipped")
    assert "a, b, c, e: done already, skipped." in fleet.said
    # It is over: the next one begins anew.
    assert progress.done() == frozenset()


def test_what_was_left_long_ago_is_not_gone_on_with(tmp_path: Path) -> None:
    progress = Progress(tmp_path / "paper.restart.json")
    progress.note({"a"})
    before = progress.file.stat().st_mtime - GOES_ON_SECONDS - 1
    os.utime(progress.file, (before, before))
    assert progress.done() == frozenset()
    progress.file.write_text("{")
    with pytest.raises(IbgwError, match="remove it to begin anew"):
        progress.done()


def test_those_that_are_logged_in_are_known_at_one_look(fleet: Fleet) -> None:
    fleet.reasons = {"b": "stopped", "c": "connectivity_lost"}
    assert batches.logged_in(FLEET, NAMES) == {"a", "d", "e", "f"}
    assert fleet.looked == [list(NAMES)]


# --- patterns -----------------------------------------------------------------------------------------------------

KNOWN = ("eu-1", "eu-2", "us-1", "us-10")


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], list(KNOWN)),
        (["us-*"], ["us-1", "us-10"]),
        (["us-?", "eu-2"], ["us-1", "eu-2"]),
        (["eu-2", "eu-*"], ["eu-2", "eu-1"]),
        (["[eu]*-1"], ["eu-1", "us-1"]),
    ],
)
def test_patterns_choose_each_gateway_once(patterns: list[str], expected: list[str]) -> None:
    assert matching(patterns, KNOWN, "none") == expected


@pytest.mark.parametrize(("pattern", "meant"), [("eu1", "'eu-1'"), ("us_1", "'us-1'"), ("us-2*", "'us-1")])
def test_a_pattern_without_a_match_is_bad_usage_and_says_what_is_near(pattern: str, meant: str) -> None:
    with pytest.raises(IbgwError, match=f"--gateway {pattern[:3]}.*Did you mean {meant}") as refused:
        matching(["eu-1", pattern], KNOWN, "none")
    assert refused.value.exit_code is ExitCode.BAD_USAGE


def test_of_a_hundred_only_some_are_named() -> None:
    with pytest.raises(IbgwError, match=r"only f-00, .*f-19 and 80 more\."):
        matching(["zzz"], [f"f-{at:02}" for at in range(100)], "none")
