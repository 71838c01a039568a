"""The course of a deployment to live: what follows from each outcome, and from being killed anywhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deployment.errors import ExitCode, IbgwError
from healthcheck.report import Report
from operations.promotion.deployer import Deployed, deploy_release, resume
from operations.promotion.journal import Entry, Journal, Phase
from tests.unit.promotion_reports import report

NEW, OLD = "20261123T010000Z-bbbbbbbbbbbb", "20261101T010000Z-aaaaaaaaaaaa"


class Killed(BaseException):
    """SIGKILL: nothing of the program runs after it."""


@dataclass
class FakeLive:
    """Live's file, what runs there and how well. Every side effect passes `effect`, where the program can be killed."""

    journal_path: Path
    reasons: dict[str, str]  # release -> why it is not verified on live; "" where it is
    file: str | None = OLD
    runs: str | None = OLD
    running: bool = True
    locked: bool = False
    refuses: bool = False
    done: list[str] = field(default_factory=list)
    kill_at: int | None = None
    killed_after: bool = False

    def effect(self, name: str) -> Iterator[None]:
        """Use: `for _ in self.effect(name): do it`."""
        number = len(self.done)
        self.done.append(name)
        if number == self.kill_at and not self.killed_after:
            raise Killed(name)
        yield
        if number == self.kill_at:
            raise Killed(name)

    def name_release(self, release: str | None) -> None:
        for _ in self.effect(f"name {release}"):
            self.file = release

    def deploy(self, release: str) -> Deployed:
        assert release == self.file, "the program is the one of the release that the file names"
        assert not self.locked, "Pulumi refuses a stack that a killed update has locked"
        number = len(self.done)
        if self.refuses:
            self.done.append("deploy")
            return Deployed(succeeded=False, touched=False, report=None)
        self.locked = number == self.kill_at
        touched = self.runs != self.file
        for _ in self.effect("deploy"):
            self.runs = self.file
            self.running = self.running or touched
        assert self.runs is not None
        reason = self.reasons[self.runs] if self.running else "stopped"
        # A verification stops a gateway whose credentials were rejected.
        self.running = self.running and reason != "login_failed"
        return Deployed(succeeded=not reason, touched=touched, report=self.verdict(reason))

    @staticmethod
    def verdict(reason: str) -> Report | None:
        return report(*([reason] if reason else []))

    def repair(self) -> None:
        for _ in self.effect("repair"):
            self.locked = False

    def stop(self, gateways: Sequence[str]) -> None:
        for _ in self.effect(f"stop {' '.join(gateways)}"):
            self.running = False

    def start(self, gateways: Sequence[str]) -> None:
        for _ in self.effect(f"start {' '.join(gateways)}"):
            self.running = True

    @property
    def journal(self) -> Journal:
        return KillableJournal(self.journal_path, self)

    @property
    def verified(self) -> bool:
        return self.running and self.runs is not None and not self.reasons[self.runs]


@dataclass(frozen=True)
class KillableJournal(Journal):
    live: FakeLive

    def write(self, entry: Entry) -> None:
        for _ in self.live.effect(f"journal {entry.phase}"):
            super().write(entry)

    def close(self) -> None:
        for _ in self.live.effect("journal closed"):
            super().close()


def live(tmp_path: Path, new: str = "", old: str = "") -> FakeLive:
    return FakeLive(tmp_path / "promotion-live.json", {NEW: new, OLD: old})


def entry(previous: str | None = OLD) -> Entry:
    return Entry(stack="live", release=NEW, previous=previous, target=NEW, phase=Phase.DEPLOYING)


def promote(made: FakeLive, previous: str | None = OLD) -> ExitCode:
    return deploy_release(made, made.journal, entry(previous), lambda _: None)


def resume_deployment(made: FakeLive) -> ExitCode:
    found = made.journal.read()
    assert found is not None
    return resume(made, made.journal, found, lambda _: None)


def test_a_good_one_is_kept(tmp_path: Path) -> None:
    made = live(tmp_path)
    assert promote(made) is ExitCode.OK
    assert made.done == ["journal deploying", f"name {NEW}", "deploy", "journal closed"]
    assert (made.file, made.runs, made.journal.read()) == (NEW, NEW, None)


def test_a_broken_image_is_taken_back(tmp_path: Path) -> None:
    made = live(tmp_path, new="wedged")
    assert promote(made) is ExitCode.ROLLED_BACK
    assert (made.file, made.runs, made.verified, made.journal.read()) == (OLD, OLD, True, None)


def test_a_broken_image_with_none_before_it_needs_a_person(tmp_path: Path) -> None:
    made = live(tmp_path, new="wedged")
    made.file = made.runs = None
    assert promote(made, previous=None) is ExitCode.NEEDS_A_PERSON
    found = made.journal.read()
    assert found is not None
    assert (found.phase, found.why) == (Phase.STOPPED, ("wedged",))


def test_a_way_back_that_fails_too_needs_a_person_and_is_tried_once(tmp_path: Path) -> None:
    made = live(tmp_path, new="wedged", old="wedged")
    assert promote(made) is ExitCode.NEEDS_A_PERSON
    assert made.done.count("deploy") == 2


def test_a_second_factor_stops_the_gateway_and_waits(tmp_path: Path) -> None:
    made = live(tmp_path, new="second_factor_pending")
    assert promote(made) is ExitCode.TIMED_OUT
    assert (made.runs, made.running) == (NEW, False)
    made.reasons[NEW] = ""
    assert resume_deployment(made) is ExitCode.OK
    assert (made.verified, made.runs) == (True, NEW)


def test_the_broker_s_side_is_waited_for_with_the_gateway_running(tmp_path: Path) -> None:
    made = live(tmp_path, new="system_unavailable")
    assert promote(made) is ExitCode.TIMED_OUT
    assert (made.runs, made.running, "stop main" in made.done) == (NEW, True, False)


def test_rejected_credentials_are_not_tried_with_the_image_before(tmp_path: Path) -> None:
    made = live(tmp_path, new="login_failed", old="login_failed")
    assert promote(made) is ExitCode.NEEDS_A_PERSON
    assert (made.runs, made.done.count("deploy")) == (NEW, 1)


def test_an_update_that_refuses_leaves_no_trace(tmp_path: Path) -> None:
    made = live(tmp_path)
    made.refuses = True
    assert promote(made) is ExitCode.REFUSED
    assert (made.file, made.runs, made.journal.read()) == (OLD, OLD, None)


def test_an_update_that_refuses_when_going_on_keeps_the_journal(tmp_path: Path) -> None:
    made = live(tmp_path, new="second_factor_pending")
    promote(made)
    made.refuses = True
    assert resume_deployment(made) is ExitCode.COULD_NOT_RUN
    found = made.journal.read()
    assert found is not None
    assert (made.file, found.target) == (NEW, NEW)


def test_an_update_that_ended_in_the_middle_is_nobody_s_proven_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = live(tmp_path, new="-")
    monkeypatch.setattr(FakeLive, "verdict", staticmethod(lambda reason: None if reason else report()))
    assert promote(made) is ExitCode.NEEDS_A_PERSON
    assert made.done.count("deploy") == 1


def test_a_release_that_is_the_one_before_has_no_way_back(tmp_path: Path) -> None:
    made = live(tmp_path, new="wedged")
    same = Entry(stack="live", release=NEW, previous=NEW, target=NEW, phase=Phase.DEPLOYING)
    assert deploy_release(made, made.journal, same, lambda _: None) is ExitCode.NEEDS_A_PERSON
    assert made.done.count("deploy") == 1


def test_a_way_back_whose_update_refuses_needs_a_person(tmp_path: Path) -> None:
    class Refusing(FakeLive):
        def deploy(self, release: str) -> Deployed:
            self.refuses = self.file == OLD
            return super().deploy(release)

    made = Refusing(tmp_path / "promotion-live.json", {NEW: "wedged", OLD: ""})
    assert promote(made) is ExitCode.NEEDS_A_PERSON
    found = made.journal.read()
    assert found is not None
    assert (found.phase, found.target) == (Phase.STOPPED, OLD)


@pytest.mark.parametrize(("other", "code"), [("", 6), ("login_failed", 11), ("exposed", 11)])
def test_only_the_gateway_that_nobody_approved_is_stopped_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str, code: int
) -> None:
    pending = report("second_factor_pending").gateways[0]
    beside = report(*([other] if other else [])).gateways[0].model_copy(update={"gateway": "beside"})
    both = Report.of("live", [pending, beside])
    made = live(tmp_path, new="-")
    monkeypatch.setattr(FakeLive, "verdict", staticmethod(lambda reason: both if reason else report()))
    assert promote(made) == code
    assert made.done[-1] == "stop main"
    made.reasons[NEW] = ""
    resume_deployment(made)
    assert [done for done in made.done if done.startswith("start")] == ["start main"]


def test_a_failed_update_is_not_kept_whatever_its_report_says(tmp_path: Path) -> None:
    class Failing(FakeLive):
        def deploy(self, release: str) -> Deployed:
            return Deployed(succeeded=False, touched=True, report=super().deploy(release).report)

    made = Failing(tmp_path / "promotion-live.json", {NEW: "", OLD: ""})
    assert promote(made) is ExitCode.NEEDS_A_PERSON


# What the new release comes to, and whether the cause is over by the time somebody goes on.
STORIES = {
    "good": ("", ""),
    "broken image": ("crash_looping", "crash_looping"),
    "second factor": ("second_factor_timeout", ""),
    "login server down": ("server_unreachable", ""),
    "credentials": ("login_failed", ""),
}


def effects_of(story: str, tmp_path: Path) -> int:
    made = live(tmp_path, new=STORIES[story][0])
    promote(made)
    return len(made.done)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("story", STORIES)
def test_killed_at_any_side_effect_it_goes_on(tmp_path: Path, story: str, after: bool) -> None:
    first, then = STORIES[story]
    for number in range(effects_of(story, tmp_path / "count")):
        folder = tmp_path / str(number)
        made = FakeLive(folder / "promotion-live.json", {NEW: first, OLD: ""}, kill_at=number, killed_after=after)
        with pytest.raises(Killed):
            promote(made)
        killed_at = made.done[-1]
        made.kill_at = None
        for _ in range(3):
            made.reasons[NEW] = then
            found = made.journal.read()
            if found is None:
                break
            assert found.next_command == "ibgw promote --continue --to live"
            if resume_deployment(made) is ExitCode.NEEDS_A_PERSON:
                # Stopped for its credentials: mended, and started by hand, as its remedy says.
                made.running = True
        assert made.journal.read() is None, killed_at
        assert made.runs in (NEW, OLD), killed_at
        assert made.verified, killed_at
        assert made.file == made.runs, killed_at
        assert not made.locked, killed_at


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("story", STORIES)
def test_killed_at_any_side_effect_it_can_be_taken_back(tmp_path: Path, story: str, after: bool) -> None:
    for number in range(effects_of(story, tmp_path / "count")):
        folder = tmp_path / str(number)
        made = FakeLive(
            folder / "promotion-live.json", {NEW: STORIES[story][0], OLD: ""}, kill_at=number, killed_after=after
        )
        with pytest.raises(Killed):
            promote(made)
        made.kill_at = None
        found = made.journal.read()
        if found is None:
            assert made.file == made.runs
            continue
        made.repair()
        back = Entry(stack="live", release=NEW, previous=OLD, target=OLD, phase=Phase.ROLLING_BACK, asked=True)
        code = deploy_release(made, made.journal, back, lambda _: None)
        assert code is ExitCode.OK
        assert (made.file, made.runs, made.verified, made.journal.read()) == (OLD, OLD, True, None)


def test_a_journal_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "promotion-live.json"
    path.write_text('{"schema": 2, "stack": "live"}')
    with pytest.raises(IbgwError, match="is not a promotion's journal") as refused:
        Journal(path).read()
    assert refused.value.exit_code is ExitCode.REFUSED
