"""The simulated program's launcher.log: what it tells of a login, and that it ends with one.

The texts are those that ib-gateway-mcp 0.2.2 reads, whose author has seen them with 10.45 and 10.50.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.gateway.automation import ColdRestart, GiveUp
from sandbox.gateway.launcher import LAUNCHER
from sandbox.gateway.settings import Exit
from tests.helpers import until
from tests.leaks import leaks
from tests.unit.gateway_sim_start import Installation, end
from tests.unit.simulated_gateway import INI, SimulatedGateway, simulated_gateway

MONDAY_NOON = 1_795_435_200.0  # 2026-11-23 12:00 UTC
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO  \[JTS-Main\] - (.*)")

RESTART = "-" * 40 + " IB GATEWAY RESTART " + "-" * 40
DONE = "Switching to a new encrypted log..."


def texts(folder: Path) -> list[str]:
    found = []
    for line in (folder / "launcher.log").read_text().splitlines():
        match = LINE.fullmatch(line)
        assert match, line
        found.append(match[1])
    return found


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    LAUNCHER.begin(tmp_path)
    yield lambda: texts(tmp_path)
    LAUNCHER.completed(second_factor=False)  # nothing more into this folder


async def attempt(place: SimulatedGateway, **ini: str) -> None:
    try:
        logged_in = await place.automation(**ini).log_in()
    except (ColdRestart, GiveUp, Exit):
        return
    await logged_in.link.close()


def test_a_login(log: Callable[[], list[str]]) -> None:
    with simulated_gateway(logged_in=False) as place:
        place.run(attempt(place))
    restart, _, connecting, authenticating, *rest = log()
    assert restart == RESTART
    assert re.fullmatch(r"LauncherLoginThread\.runLoginWithUI\(\)\[.*,loginAttempt=1,.*\]", connecting)
    assert re.fullmatch(r"NS_AUTH_START version=\d+ pwd=1 soft=0 token\(s\)=\[\] initialTokenType=PWD", authenticating)
    assert rest == ["### onAuthenticationCompleted tokenProtocol=0; authenticated=true", DONE]
    LAUNCHER.write("nothing is written any more")
    assert log()[-1] == DONE


def test_nobody_reached(log: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.gateway.automation.CONNECT_SECONDS", 0.2)
    with simulated_gateway(logged_in=False) as place:
        place.run(place.broker.stop())
        place.run(attempt(place))
    assert log()[-1] == "SPLASH Attempt 1: network error, will retry"


def test_a_second_factor_is_named_and_waited_for(log: Callable[[], list[str]]) -> None:
    """A line every 20 seconds, by the clock, until the phone has answered."""
    with simulated_gateway(logged_in=False) as place:
        place.broker._second_factor_seconds = 180
        place.control.scenario("push-pending", "pusher")
        place.control.clock(at=MONDAY_NOON, speed=200.0)
        running = asyncio.run_coroutine_threadsafe(attempt(place, IbLoginId="pusher"), place.loop)
        until(lambda: "Heartbeat" in log())
        place.control.clock(speed=1.0)
        assert place.control.approve("pusher") == 1
        running.result(10)
    found = log()
    named = [line for line in found if "NS_AUTH_START" in line]
    assert re.fullmatch(r"NS_AUTH_START .* pwd=1 soft=0 token\(s\)=\[.*\[IB Key\]\] initialTokenType=PWD", named[-1])
    assert found.index("Received CHALLENGE") < found.index("Heartbeat")
    assert found[-2:] == ["### onAuthenticationCompleted tokenProtocol=5; authenticated=true", DONE]


def test_each_start_of_the_program_adds_its_own(tmp_path: Path) -> None:
    """A login, a restart that resumes it, and a start whose token is refused; by the container's wall clock."""
    with simulated_gateway(logged_in=False) as place:
        place.control.clock(at=MONDAY_NOON)
        installation = Installation(tmp_path, place.broker_port)
        process = installation.start(**INI)
        try:
            assert process.stdout is not None
            assert any("Configuration tasks completed" in line for line in process.stdout)
            place.control.scenario("nightly-restart", "trader")
            assert any("Re-starting session" in line for line in process.stdout)
            assert any("Configuration tasks completed" in line for line in process.stdout)
        finally:
            end(process)
        place.broker.states["trader"].revoke("paper")
        process = installation.start(**INI)
        try:
            assert process.stdout is not None
            assert any("Login dialog WINDOW_OPENED" in line for line in process.stdout)
        finally:
            end(process)
    log = (tmp_path / "Jts" / "launcher.log").read_text()
    assert log.startswith("2026-11-23 12:00:")
    assert leaks(log, INI["IbPassword"]) == []
    found = texts(tmp_path / "Jts")
    runs = [index for index, line in enumerate(found) if line == RESTART]
    assert len(runs) == 3
    first, resumed, refused = found[: runs[1]], found[runs[1] : runs[2]], found[runs[2] :]
    assert first[-1] == resumed[-1] == DONE
    assert "Running in auto-restart mode" not in first
    assert "Running in auto-restart mode" in resumed
    assert any(" pwd=0 soft=1 " in line for line in resumed)
    assert refused[-1] == "Authorization failed: Session token is not valid"
