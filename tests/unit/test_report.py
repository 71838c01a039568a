"""`ibgw report`: a made-up fortnight through the watcher's own history, and what is said of it, also in a browser."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from deployment.errors import ExitCode
from deployment.trading import sessions, trading
from healthcheck import docker_host
from healthcheck.monitoring import history
from healthcheck.monitoring.handover import CheckSeen, Supervised
from healthcheck.monitoring.history import History, Hour
from healthcheck.observation import CheckName
from healthcheck.reasons import Reason
from healthcheck.verdict import CheckVerdict
from infra.settings import TradingHours
from operations import cli
from operations.report import facts as report
from operations.report.facts import GatewayFacts, StackFacts, facts
from operations.report.page import page
from operations.report.text import text
from tests.unit.fake_docker import FakeDocker
from tests.unit.monitored import SUPERVISED, gateway_seen, seen
from tests.unit.operations_contract import contract_document
from tests.unit.operations_pulumi import install

NEW_YORK = ZoneInfo("America/New_York")
BEGAN = datetime(2026, 10, 26, tzinfo=UTC)
"""A Monday. New York goes to winter time on 1 November."""
ENDED = BEGAN + timedelta(days=14)
STEP = 60
HOURS = TradingHours()


@lru_cache
def at(text: str) -> float:
    """New York's time of day, in October or November."""
    return datetime.strptime(f"2026 {text}", "%Y %d %b %H:%M").replace(tzinfo=NEW_YORK).timestamp()


def within(now: float, began: str, minutes: float) -> bool:
    return at(began) <= now < at(began) + 60 * minutes


class Story:
    """A gateway that restarts each night at 23:45, logs in anew on Sundays at 07:05 with a second factor, is wedged for
    half an hour in the market of the 28th and healed, killed on the 31st, and asks for a second factor in vain on 4
    November. The watcher is away through the market's opening of the 5th."""

    def __init__(self) -> None:
        self.told = replace_told(SUPERVISED, started=BEGAN.timestamp() - 4000, login=BEGAN.timestamp() - 3990)

    def watched(self, now: float) -> bool:
        return not within(now, "05 Nov 09:00", 60)

    def seen_at(self, now: float) -> Any:
        local = datetime.fromtimestamp(now, NEW_YORK)
        nightly = local.hour == 23 and 45 <= local.minute < 47
        weekly = local.weekday() == 6 and local.hour == 7 and 5 <= local.minute < 8
        if nightly and local.minute == 45:
            self.restarts(now, "auto_restart", "saved", 20)
        if weekly and local.minute == 5:
            self.restarts(now, "cold_restart", "password", 100, factor=True)
        if nightly or weekly:
            return self.one(Reason.PLANNED_RESTART, window="planned_restart", at=now)
        if within(now, "28 Oct 11:00", 30):
            return self.one(Reason.WEDGED, at=now)
        if within(now, "28 Oct 11:30", 1):
            self.told = replace_told(self.told, started=now, login=now + 20, heals=1, kind="saved")
        if within(now, "31 Oct 12:00", 5):
            self.told = replace_told(self.told, started=at("31 Oct 12:01"), stopped="killed", kind="password")
            return self.one(Reason.PORT_CLOSED, at=now)
        if within(now, "31 Oct 12:05", 1):
            self.told = replace_told(self.told, login=now)
        if within(now, "04 Nov 18:00", 3):
            self.told = replace_told(self.told, started=at("04 Nov 18:00"), factor=at("04 Nov 18:00"), login=0.0)
            return self.one(Reason.SECOND_FACTOR_PENDING, at=now)
        if within(now, "04 Nov 18:03", 7):
            self.told = replace_told(self.told, factor=0.0)
            return self.one(Reason.SECOND_FACTOR_TIMEOUT, at=now)
        if within(now, "04 Nov 18:10", 1):
            self.told = replace_told(self.told, started=now, login=now + 30, stopped="no_session", kind="password")
        if within(now, "06 Nov 10:00", 20):
            return self.one(Reason.DELAYED_DATA, warns=True, at=now)
        return self.one(at=now)

    def restarts(self, now: float, event: str, kind: str, takes: int, *, factor: bool = False) -> None:
        self.told = replace_told(
            self.told, started=now + 5, login=now + 5 + takes, event=event, due=now, done=now + 2, kind=kind
        )
        self.asked = factor

    def one(self, reason: Reason | None = None, *, at: float, **more: Any) -> Any:
        slow = at % 3600 < 60
        check = CheckSeen(
            name=CheckName.AUTHENTICATED,
            verdict=CheckVerdict.PASS if reason is None or "warns" in more else CheckVerdict.FAIL,
            reason=None if "warns" in more else reason,
            duration_ms=800 if slow else 40,
            at=at,
        )
        other = [] if "warns" not in more else [*gateway_seen(reason=reason, warns=True).checks]
        return gateway_seen(reason=reason, checks=(check, *other), looked=at, supervised=self.told, **more)


def replace_told(told: Supervised, **changed: Any) -> Supervised:
    return told.model_copy(update=changed)


@lru_cache
def fortnight() -> tuple[Hour | None, ...]:
    story = Story()
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "EVERY", 3600.0)
        kept = History(Path(folder))
        now = BEGAN.timestamp()
        while now <= ENDED.timestamp():
            if story.watched(now):
                kept.take(seen(story.seen_at(now), written=now).model_copy(update={"interval": float(STEP)}))
            now += STEP
        kept.keep()
        return tuple(Hour.model_validate_json(line) for line in [*history.lines(0, Path(folder))][:-1])


def of_fortnight(hours: TradingHours | None = HOURS) -> StackFacts:
    now = ENDED.timestamp()
    return facts("paper", fortnight(), since=BEGAN.timestamp(), now=now, trading=hours, told="as it were")


def main(found: StackFacts) -> GatewayFacts:
    [one] = found.gateways
    return one


def times(moments: Iterator[datetime]) -> list[str]:
    return [f"{moment.astimezone(NEW_YORK):%d %b %H:%M}" for moment in moments]


def test_the_share_of_trading_hours_is_of_what_was_watched_through_the_change_of_summer_time() -> None:
    """Ten days of 6.5 h. Half an hour of it was wedged, half an hour was not watched."""
    share = main(of_fortnight()).trading
    assert share is not None
    assert share.seconds == 10 * 6.5 * 3600
    assert abs(share.seconds - share.watched - 1800) <= 2 * STEP
    assert abs(share.watched - share.up - 1800) <= 2 * STEP
    assert share.percent == pytest.approx(100 * (64 / 64.5), abs=0.1)


def test_outside_of_windows_is_all_that_is_not_planned() -> None:
    share = main(of_fortnight()).outside_windows
    planned = 14 * 120 + 2 * 180
    assert abs(14 * 86_400 - planned - share.seconds) <= 20 * STEP
    # Wedged, killed, and without a second factor.
    assert abs(share.watched - share.up - (30 + 5 + 10) * 60) <= 6 * STEP


def test_without_trading_hours_there_is_no_share_of_them() -> None:
    found = main(of_fortnight(None))
    assert found.trading is None
    assert found.outside_windows.percent
    assert "-" in text([of_fortnight(None)]).splitlines()[5]


def test_what_nobody_saw_is_neither_up_nor_down() -> None:
    found = main(of_fortnight())
    assert abs(found.unknown - 3600) <= 2 * STEP
    [piece] = [piece for piece in found.pieces if piece.state == "unknown"]
    assert times(iter([piece.began, piece.ended])) == ["05 Nov 08:59", "05 Nov 10:00"]
    nothing = facts("paper", [], since=0, now=3600, trading=None, told="")
    assert nothing.gateways == ()
    assert "Nothing was watched" in text([nothing])


def test_incidents_have_their_reasons_and_what_was_planned_is_none() -> None:
    found = main(of_fortnight()).incidents
    assert [(one.reasons, round(one.down / 60)) for one in found] == [
        ((Reason.WEDGED,), 30),
        ((Reason.PORT_CLOSED,), 5),
        ((Reason.SECOND_FACTOR_PENDING, Reason.SECOND_FACTOR_TIMEOUT), 10),
        ((Reason.DELAYED_DATA,), 0),
    ]
    assert times(one.began + timedelta(seconds=STEP) for one in found) == [
        "28 Oct 11:00", "31 Oct 12:00", "04 Nov 18:00", "06 Nov 10:00",
    ]  # fmt: skip
    assert [round(one.in_hours / 60) for one in found] == [30, 0, 0, 0]
    assert all(one.ended is not None and not one.earlier for one in found)


def test_an_incident_that_goes_on_or_whose_end_nobody_saw_has_no_end() -> None:
    cut = at("28 Oct 11:10")
    going_on = facts("paper", fortnight(), since=at("28 Oct 11:05"), now=cut, trading=HOURS, told="")
    [one] = main(going_on).incidents
    assert (one.ended, one.earlier, one.seconds) == (None, True, 300)
    assert "over 5 min, goes on" in text([going_on])


def test_an_incident_that_comes_and_goes_is_one_as_the_watcher_tells_it(tmp_path: Path) -> None:
    kept = History(tmp_path)
    for at_ in range(0, 1200, 10):
        reason = Reason.WEDGED if at_ // 50 % 2 and at_ < 1000 else None
        kept.take(seen(gateway_seen(reason=reason, looked=3600.0 + at_), written=3600.0 + at_))
    kept.keep()
    hours = [history.read(file) for file in history.hours(tmp_path)]
    [one] = main(facts("paper", hours, since=3600, now=4800, trading=None, told="")).incidents
    assert (one.seconds, one.down) == (950, 500)


def test_logins_say_how_long_by_what_and_after_what() -> None:
    found = main(of_fortnight()).logins
    planned = [one for one in found if one.why == "auto restart"]
    assert len(planned) == 14
    assert {(one.seconds, one.by) for one in planned} == {(20, "saved session")}
    others = [(one.seconds, one.by, one.why) for one in found if one.why != "auto restart"]
    assert others == [
        (20, "saved session", "to heal it"),
        (240, "password", "killed, without a logout"),
        (100, "password", "cold restart"),
        (30, "password", "was not logged in"),
        (100, "password", "cold restart"),
    ]


def test_restarts_are_planned_or_not() -> None:
    found = main(of_fortnight()).restarts
    assert sum(one.planned for one in found) == 14 + 2
    assert [one.why for one in found if not one.planned] == [
        "to heal it", "killed, without a logout", "killed, without a logout", "was not logged in",
    ]  # fmt: skip


def test_a_planned_restart_that_did_not_take_place_is_told() -> None:
    told = [
        history.Told(at=at_, event="auto_restart", due=1000.0, done=0.0, factor=0.0, heals=0, kind="saved",
                     started=1.0, login=2.0, stopped="none")
        for at_ in (1001.0, 2000.0)
    ]  # fmt: skip
    [missed] = report._missed(told, 0)
    assert (missed.due.timestamp(), missed.event) == (1000, "auto restart")
    assert [*report._missed(told[:1], 0)] == []
    assert [*report._missed([*told, told[1].model_copy(update={"done": 1010.0})], 0)] == []


def test_second_factors_are_approved_or_not() -> None:
    [one] = main(of_fortnight()).second_factors
    assert (one.approved, one.seconds) == (False, 180)
    asked = history.Told(at=10.0, started=1.0, login=0.0, kind="password", factor=9.0, event="none", due=0.0, done=0.0,
                         heals=0, stopped="none")  # fmt: skip
    later = asked.model_copy(update={"at": 31.0, "factor": 0.0, "login": 30.0})
    [approved] = report._factors([asked, asked.model_copy(update={"at": 29.0, "factor": 0.0}), later], 0)
    assert (approved.approved, approved.seconds) == (True, 21)
    [awaited] = report._factors([asked], 0)
    assert (awaited.approved, awaited.seconds) == (False, None)


def test_latencies_are_those_that_were_kept() -> None:
    one, _ = main(of_fortnight()).latencies
    assert one.check is CheckName.AUTHENTICATED
    assert one.p50 == one.p95 == pytest.approx(40, abs=2)
    assert one.longest == 800


def test_an_hour_that_is_there_twice_counts_once() -> None:
    twice = sorted((*fortnight(), *fortnight()[5:9]), key=lambda hour: 0 if hour is None else hour.began)
    once, again = of_fortnight(), facts(
        "paper", twice, since=BEGAN.timestamp(), now=ENDED.timestamp(), trading=HOURS, told="as it were"
    )  # fmt: skip
    assert main(again).outside_windows == main(once).outside_windows
    assert main(again).logins == main(once).logins


def test_a_broken_hour_is_told_and_counts_as_not_watched() -> None:
    broken = [None if at_ == 14 else hour for at_, hour in enumerate(fortnight())]
    found = facts("paper", broken, since=BEGAN.timestamp(), now=ENDED.timestamp(), trading=HOURS, told="")
    assert found.broken == 1
    assert main(found).unknown - main(of_fortnight()).unknown == pytest.approx(3600, abs=STEP)
    assert "1 of the hours kept cannot be read" in text([found])


@pytest.mark.parametrize("close", ["16:00", "02:00", "09:29"])
def test_the_hours_are_the_same_as_those_that_keep_a_command_off_live(close: str) -> None:
    hours = TradingHours(close=close)
    spans = [*sessions(hours, BEGAN, ENDED)]
    now = BEGAN
    while now < ENDED:
        assert trading(hours, now) is any(opens <= now < closes for opens, closes in spans)
        now += timedelta(minutes=17)


def test_the_text_has_eighty_columns_and_says_what_there_is() -> None:
    shown = text([of_fortnight()])
    for line in shown.splitlines():
        assert len(line) <= 80, line
    for words in ("99.2", "wedged", "not approved", "to heal it", "Not watched", "cold restart"):
        assert words in shown


def test_a_long_name_costs_a_column_and_no_fold() -> None:
    hours = [hour and hour.model_copy(update={"gateways": {"a-quite-long-name": hour.gateways["main"]}})
             for hour in fortnight()]  # fmt: skip
    shown = text([facts("paper", hours, since=BEGAN.timestamp(), now=ENDED.timestamp(), trading=HOURS, told="")])
    assert "(a wider terminal, or --json, shows: unplanned)" in shown
    assert "a-quite-long-name  99.2" in shown


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes


def test_the_page_needs_nothing_else() -> None:
    found = Tags(page([of_fortnight()]))
    assert not {*found.tags} & {"script", "link", "img", "iframe", "a"}
    assert not {name for name, _ in found.attributes} & {"src", "href"}
    assert "@import" not in page([of_fortnight()])
    assert found.tags.count("svg") == 5


def test_a_name_commands_nothing() -> None:
    nasty = StackFacts(stack="<b>\x1b[2J", error="<script>")
    assert "<b>" not in page([nasty])
    assert "<script>" not in page([nasty])


@pytest.mark.exhaustive
@pytest.mark.parametrize("width", [360, 1000])
def test_a_browser_shows_it_on_a_phone_too(tmp_path: Path, width: int) -> None:
    """In Debian's Chromium: nothing is wider than the screen, and all that is wide by itself can be scrolled."""
    asks = (
        "<script>addEventListener('load', () => { document.title = [document.documentElement.scrollWidth <= innerWidth,"
        " [...document.querySelectorAll('.table')].every(one => one.tabIndex === 0)].join() })</script></body>"
    )
    file = tmp_path / "page.html"
    shown = page([of_fortnight()]).replace("</body>", asks)
    file.write_text(shown.replace("default-src 'none'", "script-src 'unsafe-inline'"), encoding="utf-8")
    chromium = shutil.which("chromium")
    assert chromium is not None, "chromium is missing: apt-get install chromium"
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},800", "--dump-dom"]
    shown = subprocess.run([*command, file.as_uri()], capture_output=True, text=True, check=True, timeout=120).stdout
    assert "<title>true,true</title>" in shown


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeDocker:
    """A watched stack whose watcher saw the last hour, and another stack that nothing watches."""
    found = FakeDocker()
    monkeypatch.setattr(docker_host, "DockerHost", lambda _: found)
    container = {"name": "ibgw-paper.watcher", "id": "e" * 64}
    watched = {"prober": container, "watcher": container, "network": "ibgw-paper.monitoring"}
    document = contract_document() | {"monitoring": watched}
    from deployment.tables import Kind

    found.objects[Kind.CONTAINER]["e" * 64] = {"State": {"Running": True}}
    kept = History(tmp_path / "history")
    now = datetime.now(UTC).timestamp()
    for ago in range(3000, 0, -30):
        kept.take(seen(gateway_seen(looked=now - ago), written=now - ago))
    kept.keep()
    found.prints["healthcheck.monitoring.history"] = "\n".join(history.lines(0, tmp_path / "history"))
    pulumi = install(tmp_path / "pulumi", monkeypatch, sys.executable)
    pulumi.answers({"stack output": (0, json.dumps({"contract": document}), "")})
    (tmp_path / "Pulumi.yaml").write_text("name: ibgw\n")
    (tmp_path / "Pulumi.paper.yaml").write_text("config: {}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PULUMI_OPTION_CWD")
    return found


def test_the_command_asks_the_watcher_alone(host: FakeDocker, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["report", "paper", "--json"]) == ExitCode.OK
    [stack] = json.loads(capsys.readouterr().out)["stacks"]
    [gateway] = stack["gateways"]
    assert gateway["gateway"] == "main"
    assert gateway["outside_windows"]["percent"] == 100
    assert [done for done in host.done if done[0] == "run"] == host.done
    [asked] = host.done
    assert asked[1] == "e" * 64


def test_the_command_writes_a_page_and_prints_the_text(
    host: FakeDocker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["report", "--stack", "paper", "--since", "2h", "--html", "report.html"]) == ExitCode.OK
    said = capsys.readouterr()
    assert said.out.startswith("paper, ")
    assert "Wrote report.html" in said.err
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_a_watcher_that_does_not_know_the_question_is_no_empty_report(
    host: FakeDocker, capsys: pytest.CaptureFixture[str]
) -> None:
    host.prints["healthcheck.monitoring.history"] = host.prints["healthcheck.monitoring.history"].rpartition("\n")[0]
    assert cli.run(["report", "paper"]) == ExitCode.COULD_NOT_RUN
    assert "an update puts a watcher of this version there" in capsys.readouterr().err
    assert cli.run(["report", "--all"]) == ExitCode.COULD_NOT_RUN
    assert "paper: The watcher" in capsys.readouterr().out
