"""A week of a gateway's life, by the broker's clock: nightly restarts, the end of the week, the cold restart.

Sources: the image's AUTO_RESTART_TIME and TWS_COLD_RESTART (Sundays only), IBC's ibcstart.sh (which restart keeps the
session), and IBC's config.ini, ColdRestartTime: from Sunday 01:00 US Eastern on a full login is needed.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox.broker.server import Broker
from sandbox.gateway import program
from sandbox.gateway.clock import CLOCK, Clock
from sandbox.gateway.program import Gateway, Options
from tests.unit.simulated_gateway import INI, TRADER

Week = Callable[..., list[tuple[str, tuple[int, ...]]]]

MONDAY = datetime(2026, 11, 16, 12, 0, tzinfo=UTC).timestamp()
DAY = 86_400.0
COUNTERS = ("attempts", "logins", "soft_logins", "logouts")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(program, "FORM_SECONDS", 0.0)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    CLOCK.real()
    monkeypatch.undo()
    time.tzset()


class Container:
    """The program in the loop of ibcstart.sh: started again after a soft and after a cold restart."""

    def __init__(self, folder: Path, broker: Broker, port: int, **ini: str) -> None:
        self.folder = folder
        self.broker = broker
        self._port = port
        self._ini = folder / "config.ini"
        self._ini.write_text("".join(f"{key}={value}\n" for key, value in {**INI, **ini}.items()))
        self.ends: list[str] = []

    async def run(self) -> None:
        cold = self.folder / "COLDRESTARTs"
        while True:
            # Nobody deletes the file, so only a cold restart does without it.
            found = [path.parent.name for path in self.folder.glob("*/autorestart") if self.ends[-1:] != ["cold"]]
            arguments = [f"-DjtsConfigDir={self.folder}", "-Dibcsessionid=s", program.ENTRY_POINT, str(self._ini)]
            options = Options([*(f"-Drestart={name}" for name in found), *arguments])
            running = Gateway(options, ("127.0.0.1", self._port), started=0.0, ports={"paper": 0})
            await running.run()
            soft = any(self.folder.glob("*/autorestart"))
            self.ends.append("cold" if cold.exists() else "soft" if soft else "off")
            cold.unlink(missing_ok=True)
            if self.ends[-1] == "off":
                return

    @property
    def counted(self) -> tuple[int, ...]:
        counters = self.broker.states["trader"].counters
        return tuple(getattr(counters, name) for name in COUNTERS)


async def until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


@pytest.fixture
def week(tmp_path: Path) -> Week:
    """Lives through times (days after Monday noon, UTC) and returns, for each, how runs ended since the last one and
    the counters then."""

    def run(*days: float, **ini: str) -> list[tuple[str, tuple[int, ...]]]:
        async def main() -> list[tuple[str, tuple[int, ...]]]:
            broker = Broker({TRADER.user_id: TRADER}, login_delay=0.0)
            broker.clock.set(MONDAY)
            CLOCK.set(MONDAY)
            port, _ = await broker.start("127.0.0.1", 0, 0)
            container = Container(tmp_path, broker, port, **ini)
            running = asyncio.create_task(container.run())
            await until(lambda: broker.status()["users"]["trader"]["sessions"])
            seen = []
            for day in days:
                before = len(container.ends)
                broker._control_clock({"at": MONDAY + day * DAY})  # as the control port does
                await settled(container)
                seen.append((" ".join(container.ends[before:]), container.counted))
            running.cancel()
            await asyncio.wait({running})
            await broker.stop()
            return seen

        return asyncio.run(main())

    return run


async def settled(container: Container) -> None:
    """Until the clock's change has had its effects: for a moment nothing has ended and nobody has logged in."""
    quiet = time.monotonic()
    before = (len(container.ends), container.counted)
    while time.monotonic() < quiet + 0.3:
        await asyncio.sleep(0.01)
        if (now := (len(container.ends), container.counted)) != before:
            before, quiet = now, time.monotonic()


EVENING = (23 * 60 + 59 - 12 * 60) / (24 * 60)  # 11:59 PM, in days after noon
PAST = 1 / (24 * 60)  # a minute later


def test_nightly_restarts_keep_the_session_until_the_week_ends(
    week: Week,
) -> None:
    """Restart at 11:59 PM UTC: Monday to Saturday with the token, which is refused on Sunday. From then on the gateway
    is at its login form, and no password is typed: the nightly restart has taken the week's login away (Lean #246)."""
    nights = [day + EVENING + PAST for day in range(8)]
    seen = week(*nights, AutoRestartTime="11:59 PM")
    assert [ends for ends, _ in seen] == ["soft"] * 7 + [""]
    # attempts, logins, soft logins; each end logs out and keeps its token
    assert [counted[:3] for _, counted in seen] == [
        (1, 1, 1),  # Monday
        (1, 1, 2),
        (1, 1, 3),
        (1, 1, 4),
        (1, 1, 5),
        (1, 1, 6),  # Saturday, 18:59 in New York: the week has six hours left
        (1, 1, 6),  # Sunday
        (1, 1, 6),  # Monday
    ]


def test_a_quiet_night_between_restarts_changes_nothing(week: Week) -> None:
    seen = week(EVENING - PAST, EVENING + PAST, 1 + EVENING - 2 * PAST, AutoRestartTime="11:59 PM")
    assert [ends for ends, _ in seen] == ["", "soft", ""]
    assert seen[-1][1][:3] == (1, 1, 1)


def test_a_clock_that_is_put_back_brings_the_night_again(week: Week) -> None:
    seen = week(EVENING + PAST, EVENING - 60 * PAST, EVENING + PAST, AutoRestartTime="11:59 PM")
    assert [ends for ends, _ in seen] == ["soft", "", "soft"]


def test_cold_restart_comes_on_sundays_only_and_logs_in_anew(
    week: Week,
) -> None:
    """ColdRestartTime 07:30, an hour and a half after the week's end in New York; Sunday is the sixth day after Monday.
    The soft restart at 11:59 AM shows that no other day has one."""
    sunday = 5 + 19.5 / 24 + PAST
    seen = week(1, 2, 3, 4, 5, sunday, 6, 7, ColdRestartTime="07:30", AutoRestartTime="11:59 AM")
    assert [ends for ends, _ in seen] == ["soft", "soft", "soft", "soft", "soft", "cold", "soft", "soft"]
    assert [counted[1:3] for _, counted in seen] == [
        (1, 1),
        (1, 2),
        (1, 3),
        (1, 4),
        (1, 5),  # Saturday
        (2, 5),  # Sunday 07:31: a full login
        (2, 6),  # Sunday noon: the new session is resumed
        (2, 7),
    ]


def test_a_gateway_that_hangs_at_a_dialog_still_cold_restarts_by_the_clock(tmp_path: Path) -> None:
    """Its link stays open, and the broker tells it of the clock there too."""

    async def main() -> None:
        broker = Broker({TRADER.user_id: TRADER}, login_delay=0.0)
        broker.clock.set(MONDAY)
        CLOCK.set(MONDAY)
        port, _ = await broker.start("127.0.0.1", 0, 0)
        container = Container(tmp_path, broker, port, IbPassword="wrong", ColdRestartTime="07:30")
        running = asyncio.create_task(container.run())
        await until(lambda: container.counted[0] == 1)
        broker._control_clock({"at": MONDAY + (5 + 19.5 / 24 + PAST) * DAY})  # Sunday 07:31
        await until(lambda: container.counted[0] == 2)
        assert container.ends == ["cold"]
        running.cancel()
        await asyncio.wait({running})
        await broker.stop()

    asyncio.run(main())


def test_settings_are_saved_at_each_of_their_times(capsys: pytest.CaptureFixture[str]) -> None:
    """TwsSettingsSaver: a line at each, every day."""

    async def main() -> None:
        saves = asyncio.create_task(program._save_settings([(8, 0), (12, 30)]))
        printed = ""
        for count, stop in enumerate(["2026-11-16T08:00", "2026-11-16T12:30", "2026-11-17T08:00"], 1):
            await asyncio.sleep(0)
            CLOCK.set(datetime.fromisoformat(stop).timestamp() + 0.1)

            def saved() -> bool:
                nonlocal printed
                printed += capsys.readouterr().out
                return printed.count("IBC: Saving Tws settings\n") >= count  # noqa: B023 - called in this turn only

            await until(saved)
        saves.cancel()
        await asyncio.wait({saves})
        assert printed.count("Saving Tws settings") == 3

    CLOCK.set(datetime.fromisoformat("2026-11-16T07:59").timestamp())
    asyncio.run(main())


def test_clock() -> None:
    """Speed, jumps, and waits that are computed anew when the clock is changed."""

    async def main() -> None:
        ours = Clock()
        assert abs(ours.now() - time.time()) < 1
        ours.set(1000.0, speed=2000.0)
        async with asyncio.timeout(60):
            await ours.sleep_until(1600.0)  # ten minutes within a moment
        assert ours.now() >= 1600.0
        waiting = asyncio.create_task(ours.sleep_until(1_000_000.0))
        noticed = asyncio.create_task(ours.wait(2_000_000.0))
        await asyncio.sleep(0)
        ours.set(1_000_001.0)
        async with asyncio.timeout(10):
            await waiting
            assert await noticed is False
        assert await ours.wait(1_000_001.0) is True
        other = Clock()
        other.follow(ours.setting())
        assert other.setting() == ours.setting()
        ours.real()
        assert abs(ours.now() - time.time()) < 1

    asyncio.run(main())


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_clock_runs_forwards(speed: float) -> None:
    with pytest.raises(ValueError, match="expected a number above 0"):
        Clock().set(speed=speed)
