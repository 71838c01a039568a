"""The page of a watched stack, also in a real browser."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from healthcheck.monitoring import handover
from healthcheck.monitoring.channels import Channels
from healthcheck.monitoring.handover import GatewaySeen, Planned
from healthcheck.monitoring.incidents import Memory, Tracker
from healthcheck.monitoring.page import page
from healthcheck.monitoring.watching import Watching
from healthcheck.reasons import Reason
from healthcheck.schedule import Event
from tests.unit.monitored import SUPERVISED, gateway_seen, seen

NOW = 1_795_000_000.0
WAITING = SUPERVISED.model_copy(update={"hold": "attempts", "until": NOW + 600, "factor": NOW - 30})


def through(*gateways: GatewaySeen) -> str:
    """The page after two minutes of this, behind an incident that is over."""
    tracker = Tracker("paper")
    for ago, shown in ((7000, (gateway_seen("main", Reason.LOGIN_FAILED),)), (6000, (gateway_seen(),))):
        tracker.step(seen(*shown), NOW - ago)
        tracker.step(seen(*shown), NOW - ago + 100)
    tracker.step(seen(*gateways), NOW - 120)
    return page("paper", seen(*gateways), "", tracker.memory, NOW)


def incident() -> str:
    down = gateway_seen("second", Reason.GUARD_HELD, since=NOW - 120, looked=NOW - 4, supervised=WAITING)
    well = gateway_seen(since=NOW - 90_000, looked=NOW - 3, planned=Planned(event=Event.AUTO_RESTART, at=NOW + 5000))
    return through(well, down)


class Words(HTMLParser):
    """The page as it is read, and its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.read: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, _: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.read.append(data)


def test_it_says_in_words_what_is_down_why_and_until_when_and_that_comes_first() -> None:
    words = "|".join(Words(incident()).read)
    assert words.index("second: DOWN \u2013 guard held") < words.index("main: UP")
    assert "paper: 1 of 2 down" in words
    assert "waits for|attempts" in words
    assert re.search(r"waits until\|\w{3} \d+ \w+ [\d:]+ UTC", words)
    assert "next|auto restart at " in words
    assert "login failed" in words.partition("Incidents")[2]
    assert "goes on: second (guard held)" in words


def test_it_asks_for_nothing_and_changes_nothing() -> None:
    tags = {*Words(incident()).tags}
    assert not tags & {"script", "form", "button", "input", "a", "link", "img", "iframe"}


def test_nothing_known_is_no_picture_of_a_well_stack() -> None:
    words = "|".join(Words(page("paper", None, "the prober <b>handed</b> nothing over", Memory(), NOW)).read)
    assert "paper: nothing is known" in words
    assert "the prober <b>handed</b> nothing over" in words
    assert "UP" not in words


def test_the_watcher_shows_what_it_has(tmp_path: Path) -> None:
    file = tmp_path / "seen.json"
    handover.write(seen(gateway_seen(), written=NOW), file)
    assert "main: UP" in Watching("paper", Channels(), file=file, folder=tmp_path).page(NOW + 1)


@pytest.mark.exhaustive
@pytest.mark.parametrize("width", [360, 1000])
def test_a_browser_shows_it_on_a_phone_too(tmp_path: Path, width: int) -> None:
    """In Debian's Chromium: nothing is wider than the screen, and each gateway can be reached by keyboard."""
    asks = (
        "<script>addEventListener('load', () => { document.title = [document.documentElement.scrollWidth <= innerWidth,"
        " [...document.querySelectorAll('section')].every(one => one.tabIndex === 0)].join() })</script></body>"
    )
    file = tmp_path / "page.html"
    file.write_text(incident().replace("</body>", asks), encoding="utf-8")
    chromium = shutil.which("chromium")
    assert chromium is not None, "chromium is missing: apt-get install chromium"
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},800", "--dump-dom"]
    shown = subprocess.run([*command, file.as_uri()], capture_output=True, text=True, check=True, timeout=120).stdout
    assert "<title>true,true</title>" in shown


if __name__ == "__main__":
    # For docs/images/monitoring.png.
    print(incident())  # noqa: T201
