"""What `ibgw promote` and `ibgw rollback` ask for before they do anything: stacks that answer from a table."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deployment.description import Deployment
from deployment.errors import ExitCode, IbgwError
from deployment.paths import RELEASES
from infra.release import PaperReport, Release, Soak, write_release
from infra.settings import Settings, load
from operations import cli, verification
from operations.commands.shared import confirmation
from operations.promotion import command
from operations.promotion.command import Options
from operations.promotion.journal import Entry, Journal, Phase, PromotionAnswer
from operations.promotion.live import LiveStack
from operations.promotion.paper import Watch
from tests.helpers import git
from tests.unit.operations_contract import contract_document
from tests.unit.promotion_reports import check, report
from tests.unit.test_settings import as_engine, tracked

SUNDAY = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MONDAY = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)  # 10:00 in New York
NO_CHANGE = '{"steps": []}'
PREVIEWS = Path(__file__).parent / "previews"


@dataclass
class FakeStacks:
    folder: Path
    previews: dict[str, str] = field(default_factory=lambda: {"paper": NO_CHANGE, "live": NO_CHANGE})
    with_release: str = NO_CHANGE
    contracts: dict[str, Deployment] = field(default_factory=dict)
    verifications: list[Callable[[], None]] = field(default_factory=list)
    now: datetime = SUNDAY
    named: list[str | None] = field(default_factory=list)
    gone: list[Entry] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    no: bool = False
    refused_elsewhere: str = ""
    """By another program than the one that is checked out."""
    previewed_in: list[Mapping[str, str]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)

    def promote(self, **options: Any) -> ExitCode:
        chosen: dict[str, Any] = {"source": "paper", "target": "live", "soak": 0.0} | options
        watch = Watch(sleep=lambda _: None, now=lambda: self.now)
        return command.promote(Options(**chosen), say=self.said.append, confirm=self.confirm, watch=watch)

    def rollback(self, to: str | None = None) -> ExitCode:
        return command.rollback("live", to, say=self.said.append, confirm=self.confirm)

    def confirm(self, question: str, name: str) -> None:
        self.asked.append(name)
        if self.no:
            raise IbgwError("no", exit_code=ExitCode.DECLINED)

    @property
    def journal(self) -> Journal:
        return Journal.of(self.folder, "live")

    @property
    def records(self) -> list[str]:
        return sorted(path.stem for path in (self.folder / RELEASES).glob("*"))

    def deployed_live(self, release: str | None) -> None:
        self.contracts["live"] = Deployment.model_validate(contract_document(mode="live") | {"release": release})


def settings_of(name: str) -> Settings:
    config = tracked(name)
    return load(name, as_engine(config))


@pytest.fixture
def stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeStacks:
    made = FakeStacks(tmp_path, contracts={"paper": Deployment.model_validate(contract_document())})

    @dataclass(frozen=True)
    class FakeStack:
        name: str
        environment: Mapping[str, str] = field(default_factory=dict)

        def settings(self) -> Settings:
            return settings_of(self.name)

        def deployment(self) -> Deployment:
            return made.contracts[self.name]

        def deployed(self) -> bool:
            return self.name in made.contracts

        def preview(self, *, release: str | None = None) -> str:
            found = made.previews[self.name] if release is None else made.with_release
            made.previewed_in += [self.environment] if self.environment else []
            if found.startswith("refused"):
                raise IbgwError(found)
            if self.environment and made.refused_elsewhere:
                raise IbgwError(made.refused_elsewhere)
            return found

        def name_release(self, release: str | None) -> None:
            made.named.append(release)

        def history(self) -> list[dict[str, Any]]:
            return made.history

    def verify(*_: Any, **__: Any) -> Any:
        if made.verifications:
            made.verifications.pop(0)()
        return report(stack="paper", checks=[check("market_data", data={"type": "live"})])

    def deploy_release(_: Any, __: Any, entry: Entry, ___: Any) -> ExitCode:
        made.gone.append(entry)
        return ExitCode.OK

    monkeypatch.setattr(command, "Stack", FakeStack)
    monkeypatch.setattr(command, "project_folder", lambda: tmp_path)
    monkeypatch.setattr(verification, "run", verify)
    monkeypatch.setattr(command, "deploy_release", deploy_release)
    monkeypatch.setattr(LiveStack, "repair", lambda self: None)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "user.email", "trader@example.com")
    git(tmp_path, "config", "user.name", "A Trader")
    (tmp_path / "Pulumi.yaml").write_text("main: infra/\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return made


def refused(stacks: FakeStacks, act: Callable[[], ExitCode]) -> str:
    before = stacks.records
    with pytest.raises(IbgwError) as found:
        act()
    assert found.value.exit_code is ExitCode.REFUSED
    assert (stacks.gone, stacks.named, stacks.records) == ([], [], before)
    return str(found.value)


def test_a_good_one_is_written_asked_for_and_deployed(stacks: FakeStacks) -> None:
    before = record(stacks, 1)
    stacks.history = ran(before)
    assert stacks.promote() is ExitCode.OK
    [release] = [one for one in stacks.records if one != before]
    assert stacks.asked == ["live"]
    assert stacks.gone == [Entry(stack="live", release=release, previous=before, target=release, phase=Phase.DEPLOYING)]


def test_the_first_one_has_none_before_it(stacks: FakeStacks) -> None:
    stacks.promote()
    assert stacks.gone[0].previous is None


def test_a_no_keeps_the_record_and_touches_nothing(stacks: FakeStacks) -> None:
    stacks.no = True
    with pytest.raises(IbgwError) as declined:
        stacks.promote()
    assert declined.value.exit_code is ExitCode.DECLINED
    assert (len(stacks.records), stacks.gone, stacks.named) == (1, [], [])
    assert stacks.said[-1].endswith(f"ibgw promote --to live --release {stacks.records[0]}")


def test_prepared_is_written_and_named_and_not_deployed(stacks: FakeStacks) -> None:
    stacks.now = MONDAY  # nothing is deployed, so the hour does not matter
    assert stacks.promote(prepare=True) is ExitCode.OK
    assert (stacks.named, stacks.gone, stacks.asked) == (stacks.records, [], [])


def test_a_prepared_one_needs_no_paper(stacks: FakeStacks) -> None:
    stacks.promote(prepare=True)
    del stacks.contracts["paper"]
    stacks.previews["paper"] = "refused"
    [release] = stacks.records
    assert stacks.promote(release=release) is ExitCode.OK
    assert stacks.gone[0].target == release


def test_within_the_trading_hours_only_when_told(stacks: FakeStacks) -> None:
    stacks.now = MONDAY
    assert "--during-market" in refused(stacks, stacks.promote)
    assert stacks.promote(during_market=True) is ExitCode.OK


def test_a_soak_that_ends_within_the_trading_hours_does_not_deploy(stacks: FakeStacks) -> None:
    def open_market() -> None:
        stacks.now = MONDAY

    stacks.verifications = [open_market]
    with pytest.raises(IbgwError, match="--during-market"):
        stacks.promote()
    assert (stacks.gone, stacks.asked) == ([], [])


def test_one_under_way_comes_first(stacks: FakeStacks) -> None:
    stacks.journal.write(Entry(stack="live", release="r", previous=None, target="r", phase=Phase.WAITING))
    assert "Next: ibgw promote --continue --to live" in refused(stacks, stacks.promote)


def test_one_that_needs_a_person_can_be_replaced_by_another(stacks: FakeStacks) -> None:
    before = record(stacks, 1)
    (stacks.folder / ".gitignore").write_text(".ibgw/\n")
    git(stacks.folder, "add", "-A")
    git(stacks.folder, "commit", "--quiet", "-m", "ignore")
    stopped = Entry(stack="live", release="r", previous=before, target="r", phase=Phase.STOPPED)
    stacks.journal.write(stopped)
    assert stacks.promote() is ExitCode.OK
    assert stacks.gone[0].previous == before


def test_one_that_began_meanwhile_is_not_overwritten(stacks: FakeStacks) -> None:
    def begin() -> None:
        (stacks.folder / ".git" / "info" / "exclude").write_text(".ibgw/\n")
        stacks.journal.write(Entry(stack="live", release="r", previous=None, target="r", phase=Phase.DEPLOYING))

    stacks.verifications = [begin]
    with pytest.raises(IbgwError, match="began meanwhile"):
        stacks.promote()
    assert stacks.gone == []


def test_without_the_record_of_what_runs_there_is_no_way_back(stacks: FakeStacks) -> None:
    stacks.history = ran("20261101T000000Z-111111111111")
    assert "no file releases/20261101T000000Z-111111111111.json" in refused(stacks, stacks.promote)


def test_a_prepared_one_is_deployed_by_the_program_that_paper_ran(stacks: FakeStacks) -> None:
    stacks.promote(prepare=True)
    [release] = stacks.records
    stacks.named.clear()
    (stacks.folder / "infra").mkdir()
    (stacks.folder / "infra" / "spec.py").write_text("changed")
    assert "infra/" in refused(stacks, lambda: stacks.promote(release=release))  # not committed
    git(stacks.folder, "add", "infra")
    git(stacks.folder, "commit", "--quiet", "-m", "a change")
    assert "infra/spec.py. Check that" in refused(stacks, lambda: stacks.promote(release=release))
    git(stacks.folder, "reset", "--hard", "--quiet", "HEAD^")
    (stacks.folder / "README.md").write_text("no part of the program")
    git(stacks.folder, "add", "README.md")
    git(stacks.folder, "commit", "--quiet", "-m", "documentation")
    assert stacks.promote(release=release) is ExitCode.OK


def test_a_prepared_one_without_a_live_quote_is_not_one_with(stacks: FakeStacks) -> None:
    release = record(stacks, 1, live_quote=False)
    assert "without a live quote" in refused(stacks, lambda: stacks.promote(release=release, require_market_data=True))


def test_a_secret_that_cannot_be_read_only_prepares(stacks: FakeStacks) -> None:
    warning = "warning: the values of 'ibgw/live/main' were not read"
    step = {"op": "same", "urn": "urn:pulumi:live::ibgw::docker:index/container:Container::main"}
    unread = {**step, "newState": {"ignoreChanges": ["uploads[0].content"]}}
    stacks.previews["live"] = stacks.with_release = json.dumps(
        {"steps": [unread], "diagnostics": [{"message": warning}]}
    )
    assert "cannot be read by this identity" in refused(stacks, stacks.promote)
    assert stacks.promote(prepare=True) is ExitCode.OK
    assert warning in stacks.said


def test_going_on_without_one_under_way_is_refused(stacks: FakeStacks) -> None:
    refused(stacks, lambda: command.resume_promotion("live", say=lambda _: None))


def test_paper_runs_what_the_commit_declares(stacks: FakeStacks) -> None:
    stacks.previews["paper"] = (PREVIEWS / "time_zone.json").read_text()
    assert "session.timeZone" in refused(stacks, stacks.promote)


def test_live_has_no_change_that_a_release_does_not_bring(stacks: FakeStacks) -> None:
    stacks.previews["live"] = (PREVIEWS / "memory.json").read_text()
    assert "resources.memory" in refused(stacks, stacks.promote)
    stacks.previews["live"], stacks.with_release = NO_CHANGE, (PREVIEWS / "memory.json").read_text()
    assert "resources.memory" in refused(stacks, stacks.promote)


def test_what_live_s_program_refuses_is_refused(stacks: FakeStacks) -> None:
    stacks.previews["live"] = "refused: secret 'ibgw/live/main': access denied"
    assert "access denied" in refused(stacks, stacks.promote)


def test_paper_that_changes_meanwhile_is_not_promoted(stacks: FakeStacks) -> None:
    changed = contract_document()
    changed["gateways"]["main"]["container"]["id"] = "f" * 64

    def change() -> None:
        stacks.contracts["paper"] = Deployment.model_validate(changed)

    stacks.verifications = [lambda: None, change]
    assert "changed while it was verified" in refused(stacks, stacks.promote)


def test_a_work_tree_that_changes_meanwhile_is_not_promoted(stacks: FakeStacks) -> None:
    stacks.verifications = [lambda: (stacks.folder / "new.py").touch()]
    assert "new.py" in refused(stacks, stacks.promote)


def test_paper_is_no_target_and_live_no_source(stacks: FakeStacks) -> None:
    assert "paper stack" in refused(stacks, lambda: stacks.promote(target="paper"))
    stacks.deployed_live(None)
    assert "its mode is live" in refused(stacks, lambda: stacks.promote(source="live"))


# --- back ---------------------------------------------------------------------------------------------------------


def record(
    stacks: FakeStacks, day: int, *, live_quote: bool = True, commit: str | None = None, digest: str | None = None
) -> str:
    release = Release(
        image="registry.invalid/gateway",
        digest=f"sha256:{(digest or str(day)) * 64}",
        version=None,
        commit=commit or git(stacks.folder, "rev-parse", "HEAD"),
        created=datetime(2026, 11, day, tzinfo=UTC),
        who="trader@example.com",
        soak=Soak(seconds=0, verifications=3),
        live_quote=live_quote,
        report=PaperReport(stack="paper", verdict="verified"),
    )
    write_release(stacks.folder / RELEASES, release)
    return release.id


def ran(*releases: str) -> list[dict[str, Any]]:
    """Newest first."""
    return [
        {"kind": "update", "result": "succeeded", "endTime": "t", "config": {"ibgw:release": {"value": one}}}
        for one in releases
    ]


def test_back_goes_to_what_ran_before(stacks: FakeStacks) -> None:
    first, second = record(stacks, 1), record(stacks, 2)
    stacks.deployed_live(second)
    stacks.history = ran(second, first)
    assert stacks.rollback() is ExitCode.OK
    assert stacks.asked == ["live"]
    assert stacks.gone == [
        Entry(stack="live", release=second, previous=first, target=first, phase=Phase.ROLLING_BACK, asked=True)
    ]


def test_back_never_goes_forward(stacks: FakeStacks) -> None:
    first, second, third = (record(stacks, day) for day in (1, 2, 3))
    stacks.deployed_live(second)
    stacks.history = ran(second, third, first)  # it was taken back from the third already
    stacks.rollback()
    assert stacks.gone[0].target == first
    stacks.gone.clear()
    stacks.history = ran(second, first)
    assert "has never run" in refused(stacks, lambda: stacks.rollback(third))


def test_back_goes_to_any_that_is_named(stacks: FakeStacks) -> None:
    first, second, third = (record(stacks, day) for day in (1, 2, 3))
    stacks.deployed_live(third)
    stacks.history = ran(third, second, first)
    stacks.rollback(first)
    assert stacks.gone[0].target == first


def test_back_out_of_one_that_hangs_goes_to_what_ran_before_it(stacks: FakeStacks) -> None:
    first, second = record(stacks, 1), record(stacks, 2)
    stacks.deployed_live(second)
    stacks.history = ran(first)
    stacks.journal.write(Entry(stack="live", release=second, previous=first, target=second, phase=Phase.STOPPED))
    stacks.rollback()
    assert (stacks.gone[0].target, stacks.gone[0].release) == (first, second)


def test_there_is_no_way_back_before_the_first(stacks: FakeStacks) -> None:
    assert "ran no release before" in refused(stacks, stacks.rollback)
    only = record(stacks, 1)
    stacks.deployed_live(only)
    stacks.history = ran(only)
    assert "ran no release before" in refused(stacks, stacks.rollback)
    assert "runs" in refused(stacks, lambda: stacks.rollback(only))


def test_a_way_back_whose_commit_is_gone_is_none(stacks: FakeStacks) -> None:
    first, second = record(stacks, 1, commit="c" * 40), record(stacks, 2)
    stacks.deployed_live(second)
    stacks.history = ran(second, first)
    assert "git fetch origin cccc" in refused(stacks, stacks.rollback)
    stacks.history = ran(first)
    assert "git fetch origin cccc" in refused(stacks, stacks.promote)


def changed_since(stacks: FakeStacks, name: str) -> str:
    """A release at the present commit, after which the program has changed."""
    (stacks.folder / ".git" / "info" / "exclude").write_text(f"{RELEASES}/\n.ibgw/\n")
    found = git(stacks.folder, "rev-parse", "HEAD")
    (stacks.folder / "infra").mkdir(exist_ok=True)
    (stacks.folder / "infra" / name).write_text("changed")
    (stacks.folder / "Pulumi.live.yaml").touch()
    git(stacks.folder, "add", "-A")
    git(stacks.folder, "commit", "--quiet", "-m", "a change")
    return found


def test_back_to_another_program_is_planned_by_that_one(stacks: FakeStacks) -> None:
    first = record(stacks, 1, commit=changed_since(stacks, "spec.py"))
    second = record(stacks, 2)
    stacks.deployed_live(second)
    stacks.history = ran(second, first)
    assert stacks.rollback() is ExitCode.OK
    [environment] = stacks.previewed_in
    assert Path(environment["PULUMI_OPTION_CWD"]) != stacks.folder


def test_a_key_that_the_release_s_program_refuses_is_told_before_anything_is_changed(stacks: FakeStacks) -> None:
    first = record(stacks, 1, commit=changed_since(stacks, "spec.py"))
    second = record(stacks, 2)
    stacks.deployed_live(second)
    stacks.history = ran(second, first)
    stacks.with_release = "refused: ibgw:gateways.main.session.offline: unknown"
    told = refused(stacks, stacks.rollback)
    assert "session.offline: unknown" in told
    assert "Where it does not know a key, take that out of Pulumi.live.yaml" in told


@pytest.mark.parametrize("takes", [True, False])
def test_a_way_back_that_today_s_configuration_bars_is_told_before_the_question(
    stacks: FakeStacks, takes: bool
) -> None:
    before = record(stacks, 1, commit=changed_since(stacks, "spec.py"))
    stacks.history = ran(before)
    if not takes:
        stacks.refused_elsewhere = "ibgw:gateways.main.session.offline: unknown key"
    stacks.no = True
    with pytest.raises(IbgwError):
        stacks.promote()
    told = [text for text in stacks.said if f"cannot be taken back to {before}" in text]
    assert len(told) == (not takes)
    assert all("session.offline: unknown key" in text and "Pulumi.live.yaml" in text for text in told)


@pytest.mark.parametrize(("changes", "started"), [(False, ["main"]), (True, [])])
def test_what_was_stopped_is_started_where_going_back_replaces_nothing(
    stacks: FakeStacks, monkeypatch: pytest.MonkeyPatch, changes: bool, started: list[str]
) -> None:
    """Of two releases of one image only the program may differ; a container that it replaces logs in by itself."""
    found: list[str] = []
    monkeypatch.setattr(LiveStack, "start", lambda _, names: found.extend(names))
    first = record(stacks, 1, commit=changed_since(stacks, "spec.py"))
    second = record(stacks, 2, digest="1", commit=None if changes else git(stacks.folder, "rev-parse", "HEAD^"))
    stacks.deployed_live(second)
    stacks.history = ran(first)
    hangs = Entry(
        stack="live", release=second, previous=first, target=second, phase=Phase.WAITING, unapproved=("main",)
    )
    stacks.journal.write(hangs)
    stacks.rollback()
    assert found == started


# --- the command line ---------------------------------------------------------------------------------------------


def test_ways_to_promote_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["promote", "--prepare", "--continue"]) == 2
    assert "exclude each other" in capsys.readouterr().err


@pytest.mark.parametrize("under_way", [True, False])
@pytest.mark.parametrize("command_line", ["promote --to live", "promote --to live --continue", "rollback live"])
def test_programs_are_told_how_it_ended_and_what_is_under_way(
    command_line: str,
    under_way: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: ibgw\n")
    monkeypatch.setenv("PULUMI_OPTION_CWD", str(tmp_path))
    journal = Journal.of(tmp_path, "live")
    code = ExitCode.TIMED_OUT if under_way else ExitCode.OK

    def ends(*_: Any, **__: Any) -> ExitCode:
        if under_way:
            journal.write(Entry(stack="live", release="r2", previous="r1", target="r2", phase=Phase.WAITING))
        return code

    for name in ("promote", "resume_promotion", "rollback"):
        monkeypatch.setattr(command, name, ends)
    monkeypatch.setattr("operations.live.check_hours", lambda *_: None)
    assert cli.run([*command_line.split(), "--json"]) == code
    answer = PromotionAnswer.model_validate_json(capsys.readouterr().out)
    assert (answer.stack, answer.exit_code) == ("live", code)
    assert (answer.under_way and answer.under_way.phase) == (Phase.WAITING if under_way else None)
    assert answer.next == ("ibgw promote --continue --to live" if under_way else None)


def test_a_yes_names_the_stack() -> None:
    confirmation("live")("Go on?", "live")
    with pytest.raises(IbgwError, match="expected live") as declined:
        confirmation("paper")("Go on?", "live")
    assert declined.value.exit_code is ExitCode.DECLINED
