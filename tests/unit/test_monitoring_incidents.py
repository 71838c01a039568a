"""What of a stack is news, and that it gets to whom it concerns."""

import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tenacity import wait_fixed

from healthcheck.monitoring import channels, handover, watching
from healthcheck.monitoring.channels import Channel, Channels, Message, Sender
from healthcheck.monitoring.handover import GatewaySeen, Weekly
from healthcheck.monitoring.incidents import Memory, Tracker
from healthcheck.monitoring.watching import Watching
from healthcheck.reasons import Reason
from tests.helpers import until
from tests.unit.monitored import SUPERVISED, gateway_seen, seen, webhook

TOKEN = "tok3nThatNobodySees"  # noqa: S105 - made up
R = Reason


class Told:
    """A tracker that is stepped through a story, and what it told."""

    def __init__(self) -> None:
        self.tracker = Tracker("paper")
        self.now = 1_000_000.0
        self.messages: list[Message] = []
        self.lines: list[dict[str, Any]] = []

    def go(self, seconds: float, *gateways: GatewaySeen, step: float = 5) -> list[str]:
        """The titles of what is told meanwhile; without gateways the prober is silent."""
        before = len(self.messages)
        end = self.now + seconds
        while self.now < end:
            self.now += step
            lines, messages = self.tracker.step(seen(*gateways) if gateways else None, self.now)
            self.lines += lines
            self.messages += messages
            # What outlives the watcher is all that there is of it.
            self.tracker.memory = Memory.model_validate_json(self.tracker.memory.model_dump_json())
        return [message.title for message in self.messages[before:]]

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]


@pytest.fixture
def told() -> Told:
    story = Told()
    assert story.go(60, gateway_seen()) == []
    return story


def test_what_needs_somebody_is_told_once_again_while_it_lasts_and_when_it_is_over(told: Told) -> None:
    down = gateway_seen(reason=R.LOGIN_FAILED)
    assert told.go(60, down) == ["ibgw paper/main: login failed"]
    assert "docs/runbook.md#login_failed" in told.messages[-1].body
    assert told.go(3500, down) == []
    assert told.go(200, down) == ["ibgw paper/main: still login failed"]
    assert told.go(7000, down) == []
    assert told.go(400, down) == ["ibgw paper/main: still login failed"]
    assert told.go(30, gateway_seen()) == []
    assert told.go(60, gateway_seen()) == ["ibgw paper/main: over"]
    assert [line["verdict"] for line in told.events("state")] == ["verified", "failed", "verified"]
    assert len(told.events("incident")) == len(told.events("over")) == 1


def test_what_may_heal_is_told_after_two_minutes_and_not_at_all_where_it_does(told: Told) -> None:
    away = gateway_seen(reason=R.PORT_CLOSED)
    assert told.go(110, away) == []
    assert told.go(200, gateway_seen()) == []
    assert told.go(110, away) == []
    assert told.go(40, away) == ["ibgw paper/main: port closed"]


def test_what_comes_and_goes_is_one(told: Told) -> None:
    down = gateway_seen(reason=R.LOGIN_FAILED)
    titles = told.go(60, down)
    for _ in range(10):
        titles += told.go(30, gateway_seen()) + told.go(30, down)
    assert titles == ["ibgw paper/main: login failed"]


def test_a_reason_that_turns_into_another_is_the_same_until_somebody_has_to_do_something(told: Told) -> None:
    titles = told.go(150, gateway_seen(reason=R.PORT_CLOSED)) + told.go(60, gateway_seen(reason=R.STARTING))
    assert titles == ["ibgw paper/main: port closed"]
    assert told.go(60, gateway_seen(reason=R.GUARD_HELD)) == ["ibgw paper/main: guard held"]


def test_one_cause_is_one_page_for_all_that_it_meets(told: Told) -> None:
    lost = [gateway_seen(name, R.CONNECTIVITY_LOST) for name in ("a", "b", "main")]
    assert told.go(60, *lost[:2], gateway_seen()) == []
    titles = told.go(120, *lost)
    assert titles == ["ibgw paper (a, b, main): connectivity lost"]
    # What follows from it is no news either, nor that one of them is back before the others.
    after = [gateway_seen("a", R.STARTING), gateway_seen("b", R.SERVER_UNREACHABLE), gateway_seen()]
    assert told.go(300, *after) == []
    assert told.go(200, *map(gateway_seen, ("a", "b", "main"))) == ["ibgw paper/b: over"]


def test_what_somebody_has_to_do_after_it_is_a_page_of_its_own(told: Told) -> None:
    told.go(200, gateway_seen("a", R.CONNECTIVITY_LOST), gateway_seen("main", R.CONNECTIVITY_LOST))
    assert told.go(60, gateway_seen("a", R.LOGIN_FAILED), gateway_seen("main", R.CONNECTIVITY_LOST)) == [
        "ibgw paper/a: login failed"
    ]


def test_what_begins_at_once_is_told_at_once(told: Told) -> None:
    titles = told.go(200, *(gateway_seen(name, R.UNREACHABLE) for name in ("a", "b", "main")))
    assert titles == ["ibgw paper (a, b, main): unreachable"]


def test_a_second_factor_is_told_in_the_same_step_with_the_time_left(told: Told) -> None:
    waiting = SUPERVISED.model_copy(update={"factor": told.now})
    pending = gateway_seen(reason=R.SECOND_FACTOR_PENDING, supervised=waiting)
    assert told.go(5, pending) == ["ibgw paper/main: second factor pending"]
    assert "2 min 55 s left" in told.messages[-1].body


def test_what_is_planned_is_no_news_and_what_goes_wrong_in_it_is(told: Told) -> None:
    assert told.go(300, gateway_seen(reason=R.PLANNED_RESTART, window="planned_restart")) == []
    assert told.go(300, gateway_seen(reason=R.RELAY_ONLY, window="planned_restart")) == []
    assert told.go(3000, gateway_seen(reason=R.CONNECTIVITY_LOST, window="maintenance")) == []
    assert told.go(3000, gateway_seen(reason=R.OFFLINE, window="offline")) == []
    assert told.go(3000, gateway_seen(reason=R.PAUSED, window="paused")) == []
    assert told.events("incident") == []
    pending = gateway_seen(reason=R.SECOND_FACTOR_PENDING, window="planned_restart")
    assert told.go(5, pending) == ["ibgw paper/main: second factor pending"]


def test_the_weekly_login_is_announced_a_day_and_an_hour_before(told: Told) -> None:
    coming = told.now + 3 * 86_400
    week = [gateway_seen(name, weekly=Weekly(last=0, coming=coming)) for name in ("main", "second")]
    assert told.go(2 * 86_400 - 60, *week, step=60) == []
    assert told.go(120, *week, step=60) == ["ibgw paper (main, second): the weekly login comes"]
    assert told.go(82_020, *week, step=60) == []
    assert told.go(1020, *week, step=60) == ["ibgw paper (main, second): the weekly login comes"]
    assert "main: at " in told.messages[-1].body
    assert told.go(4020, *week, step=60) == []
    coming += 7 * 86_400
    week = [gateway_seen(name, weekly=Weekly(last=0, coming=coming)) for name in ("main", "second")]
    assert told.go(5 * 86_400, *week, step=60) == []
    assert told.go(86_400 * 2, *week, step=60).count("ibgw paper (main, second): the weekly login comes") == 2


def test_a_warning_is_told_after_ten_minutes_and_never_again(told: Told) -> None:
    warned = gateway_seen(reason=R.FARM_BROKEN, warns=True)
    assert told.go(590, warned) == []
    assert told.go(40_000, warned) == ["ibgw paper/main: farm broken"]
    assert told.messages[-1].kind == "warning"
    assert told.go(60, gateway_seen(reason=R.LOGIN_FAILED)) == ["ibgw paper/main: login failed"]


def test_while_the_prober_is_silent_that_is_all_there_is(told: Told) -> None:
    told.go(30, gateway_seen(reason=R.PORT_CLOSED))
    assert told.go(100) == []
    assert told.go(1000) == ["ibgw paper: prober silent"]
    assert told.go(30, gateway_seen()) == ["ibgw paper: over"]


# --- to whom it concerns ----------------------------------------------------------------------------------------------


def channel(url: str, scheme: str = "json") -> Channel:
    return Channel(secret=f"ibgw/paper/{scheme}", address=SecretStr(f"{scheme}://user:{TOKEN}@{url}/hook"))


def test_it_gets_to_a_webhook_also_where_that_is_away_for_a_while(capfd: pytest.CaptureFixture[str]) -> None:
    failed: list[Channel] = []
    with webhook(refuses=2) as hook:
        sender = Sender(channel(hook.url), failed.append, wait_fixed(0.01))
        sender.start()
        sender.take(Message("title", "body", "failure"))
        until(lambda: bool(hook.took), lambda: str(hook.refuses))
    ((method, path, body),) = hook.took
    assert (method, path) == ("POST", "/hook")
    assert (body["title"], body["message"], body["type"]) == ("title", "body", "failure")
    assert failed == []
    assert TOKEN not in "".join(capfd.readouterr())


def test_a_failure_says_nothing_of_the_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with webhook(refuses=1) as hook, pytest.raises(channels.UndeliveredError):
        channels.send(channel(f"{hook.url}/{TOKEN}"), Message("title", "body", "failure"))
    for address in (channel("127.0.0.1:1"), channel("127.0.0.1:1", "nosuch")):
        with pytest.raises(channels.UndeliveredError) as failed:
            channels.send(address, Message("title", "body", "failure"))
        assert TOKEN not in str(failed.value) + repr(address)
    with pytest.raises(channels.UndeliveredError) as failed:
        channels.beat(SecretStr(f"http://127.0.0.1:1/{TOKEN}"))
    assert TOKEN not in str(failed.value)
    assert TOKEN not in "".join(record.getMessage() for record in caplog.records)


def test_a_channel_that_takes_nothing_holds_up_no_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "seen.json"
    ended = threading.Event()
    with webhook() as hook:
        to = Channels(
            notify=(channel("127.0.0.1:1"), channel(hook.url)), heartbeat=SecretStr(f"http://{hook.url}/beat/{TOKEN}")
        )
        watch = Watching("paper", to, file=file, folder=tmp_path)
        for sender in watch.senders:
            sender.start()
        down = gateway_seen(reason=R.SECOND_FACTOR_PENDING)
        handover.write(seen(down, written=1000.0), file)
        watch.tick(1000.0)
        until(lambda: hook.titles == ["ibgw paper/main: second factor pending"], lambda: str(hook.took))
        # Another watcher tells it no second time.
        again = Watching("paper", to, file=file, folder=tmp_path)
        again.senders[1].start()
        again.tick(1002.0)
        handover.write(seen(gateway_seen(), written=1010.0), file)
        again.tick(1010.0)
        again.tick(1011.0 + 60)
        until(lambda: len(hook.titles) == 2, lambda: str(hook.took))
        assert hook.titles[1] == "ibgw paper/main: over"
        assert watching.try_channels(to) == [
            {"channel": "ibgw/paper/json", "delivered": False, "why": "it did not take the message"},
            {"channel": "ibgw/paper/json", "delivered": True, "why": ""},
            {"channel": "the heartbeat", "delivered": True, "why": ""},
        ]
        ended.set()
    said = capfd.readouterr().out
    assert TOKEN not in said
    assert [json.loads(line)["event"] for line in said.splitlines()] == [
        "state", "incident", "told", "state", "over", "told"
    ]  # fmt: skip


def test_a_heartbeat_is_sent_while_all_is_watched_and_not_of_a_silent_prober(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "HEARTBEAT", 0.01)
    file, ended, now = tmp_path / "seen.json", threading.Event(), 1000.0
    monkeypatch.setattr("time.time", lambda: now)
    handover.write(seen(gateway_seen(), written=1000.0), file)
    with webhook() as hook:
        watch = Watching("paper", Channels(heartbeat=SecretStr(f"http://{hook.url}/beat")), file=file, folder=tmp_path)
        threading.Thread(target=watch.run, args=(ended,), daemon=True).start()
        until(lambda: ("GET", "/beat", "") in hook.took, lambda: str(hook.took))
        now = 2000.0
        until(lambda: _still(hook.took), lambda: str(len(hook.took)))
        ended.set()


def _still(took: list[Any]) -> bool:
    """Nothing comes any more."""
    before = len(took)
    threading.Event().wait(0.2)
    return len(took) == before


def test_a_file_that_holds_something_else_is_refused_without_repeating_it(tmp_path: Path) -> None:
    file = tmp_path / "channels"
    assert channels.read(file) == Channels()
    for text in (TOKEN, json.dumps({"notify": TOKEN})):
        file.write_text(text)
        with pytest.raises(ValueError, match="not a document of channels") as refused:
            channels.read(file)
        assert TOKEN not in str(refused.value)
