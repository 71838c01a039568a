"""Codes typed into real windows: Swing's, on a display for each user, judged as the simulated broker does."""

import asyncio
import io
import multiprocessing
import os
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from healthcheck.screen.display import Screen
from healthcheck.second_factor import helper
from healthcheck.second_factor.handover import AT_WORK, TOLD, Kind, Phase, Wanted, told
from healthcheck.second_factor.helper import PERIOD, Helper
from sandbox import windows
from sandbox.broker import users
from sandbox.broker.logins import UserState
from sandbox.environment import default_cache
from sandbox.gateway import automation, console
from sandbox.gateway.launcher import LAUNCHER
from sandbox.gateway.windows import Windows
from tests.displays import TestDisplay, display
from tests.unit.simulated_gateway import simulated_gateway

SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one of the sandbox's image, with the windows that it shows."""
    root = tmp_path_factory.mktemp("windows")
    with tarfile.open(fileobj=io.BytesIO(windows.context(default_cache(), print)["windows.tar"].content)) as tar:
        tar.extractall(root)  # of our own making
    return root / windows.HOME[1:]


class Typing:
    """A user's login, over and over: the program's windows, the helper beside it, and what the broker takes."""

    def __init__(self, java: Path, shown: TestDisplay, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.broker = UserState(users.User("a", "b", (), ("DU1",), users.SecondFactor.TOTP, SEED))
        self.wanted = Wanted()
        self.ahead = 0.0  # seconds
        self.logins = 0
        self.helper = Helper(
            folder,
            seed=SEED,
            version="v-1",
            wanted=lambda: self.wanted,
            screen=lambda: Screen.at(shown.path),
            synchronised=lambda: True,
            now=self.now,
        )
        self.program = subprocess.Popen(
            [java / "jre/bin/java", "-Xmx64m", "-XX:TieredStopAtLevel=1", "-cp", java / "classes", "Windows"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "DISPLAY": shown.name, "LD_LIBRARY_PATH": str(java / "lib")},
        )
        self.reader = threading.Thread(target=self.read)
        self.reader.start()
        self.order("form", "someone")

    def now(self) -> float:
        return time.time() + self.ahead

    def order(self, *words: str) -> None:
        assert self.program.stdin is not None
        self.program.stdin.write("\t".join(words) + "\n")
        self.program.stdin.flush()

    def read(self) -> None:
        assert self.program.stdout is not None
        for line in self.program.stdout:
            word, _, text = line.rstrip("\n").partition("\t")
            if word == "code" and self.broker.takes_code(text, self.now()):
                self.logins += 1
            elif word == "code":
                self.order("refuse", "The code was not accepted.")

    @property
    def phase(self) -> Phase:
        found = told(self.folder / TOLD)
        assert found is not None
        return found.phase

    def begin(self, number: int, *orders: str) -> None:
        self.wanted = Wanted(login=f"{number}:1", at=1, kind=Kind.CODE)
        for order in orders:
            self.order(*order.split("|"))

    def until_logged_in(self, number: int, seconds: float = 180) -> None:
        end = time.monotonic() + seconds
        while self.logins < number and time.monotonic() < end and (self.phase in AT_WORK):
            self.helper.look()
            time.sleep(0.1)
        assert self.logins == number, self.phase
        self.order("main")
        self.wanted = self.wanted.model_copy(update={"kind": Kind.IN})
        self.helper.look()
        self.ahead += PERIOD

    def log_in(self, times: int) -> None:
        for number in range(self.logins + 1, self.logins + times + 1):
            # Every other time with a list of devices before it, which IBC closes.
            self.begin(number, *(["list|IB Key|Authenticator"] if number % 2 else []), "code|")
            self.until_logged_in(number)

    def close(self) -> None:
        self.program.kill()
        self.program.wait(10)
        self.reader.join(10)


@contextmanager
def typing(java: Path, folder: Path, number: int) -> Iterator[list[Typing]]:
    """So many users, each with a display of its own."""
    made: list[Typing] = []
    if number == 0:
        yield made
        return
    with display() as shown, typing(java, folder, number - 1) as others:
        mine = Typing(java, shown, folder / str(number))
        try:
            yield [mine, *others]
        finally:
            mine.close()


def log_in(java: Path, folder: Path, number: int, times: int) -> None:
    """All at the same time. One code a login, none twice, none that was about to end."""
    with typing(java, folder, number) as each, ThreadPoolExecutor(number) as pool:
        for done in [pool.submit(user.log_in, times) for user in each]:
            done.result()
        for user in each:
            assert user.logins == times
            assert (user.broker.counters.codes, user.broker.counters.codes_refused) == (times, 0)
            assert user.broker.counters.least_code_life >= helper.LIFE


def test_five_logins(java: Path, tmp_path: Path) -> None:
    log_in(java, tmp_path, number=1, times=5)


@pytest.mark.exhaustive
def test_a_hundred_logins_of_many_users(java: Path, tmp_path: Path) -> None:
    log_in(java, tmp_path, number=10, times=10)


def test_a_gateway_of_the_sandbox_passes_on_what_is_typed(
    java: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the broker, after a list of devices of which IBC chooses one; its own log names what is asked for."""
    user = users.User("trader", "right", ("U1111111",), ("DU1111111",), users.SecondFactor.TOTP, SEED)
    script = tmp_path / "java"
    shows = Windows()
    monkeypatch.setattr("sandbox.gateway.windows.JAVA", script)
    for module in (automation, console):
        monkeypatch.setattr(module, "WINDOWS", shows)
    LAUNCHER.begin(tmp_path)
    with display() as shown, simulated_gateway(user, logged_in=False) as place:
        script.write_text(
            f"#!/bin/sh\nexport DISPLAY={shown.name} LD_LIBRARY_PATH={java}/lib\n"
            f"exec {java}/jre/bin/java -Xmx64m -cp {java}/classes Windows\n"
        )
        script.chmod(0o755)
        place.control.scenario("totp-devices")
        # So that a code has its whole life.
        place.control.clock(at=(time.time() // PERIOD + 1) * PERIOD)
        helping = Helper(
            tmp_path,
            seed=SEED,
            version="v-1",
            wanted=lambda: Wanted(login="1:1", at=1, kind=Kind.CODE),
            screen=lambda: Screen.at(shown.path),
            synchronised=lambda: True,
            now=place.broker.clock.now,
        )
        login = asyncio.run_coroutine_threadsafe(
            place.open_gateway(SecondFactorDevice="Mobile Authenticator App"), place.loop
        )
        end = time.monotonic() + 60
        while not login.done() and time.monotonic() < end:
            helping.look()
            time.sleep(0.1)
        login.result(1)
        counters = place.broker.states["trader"].counters
        assert (counters.logins, counters.codes, counters.codes_refused) == (1, 1, 0)
        shows.close()
    assert "[Mobile Authenticator App]]" in (tmp_path / "launcher.log").read_text()


def _burn() -> None:
    while True:
        pass


@pytest.mark.exhaustive
def test_logins_beside_a_machine_that_is_busy(java: Path, tmp_path: Path) -> None:
    burning = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(2 * (os.cpu_count() or 1))]
    for each in burning:
        each.start()
    try:
        log_in(java, tmp_path, number=2, times=3)
    finally:
        for each in burning:
            each.kill()


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("orders", "phase"),
    [
        (("code|", "front|Anything"), Phase.WINDOW_IN_FRONT),
        (("code|", "steal"), Phase.WINDOW_IN_FRONT),
        (("code|gone",), Phase.NO_DIALOG),
        (("list|IB Key|Authenticator",), Phase.NO_FIELD),
        (("push",), Phase.NO_FIELD),
        (("dialog|Existing session detected|Continue?",), Phase.NO_DIALOG),
    ],
)
def test_what_is_in_the_way_ends_the_typing(
    orders: tuple[str, ...], phase: Phase, java: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper, "PATIENCE", 2.0)
    monkeypatch.setattr(helper, "DIALOG_PATIENCE", 4.0)
    with typing(java, tmp_path, 1) as (user,):
        user.begin(1, *orders)
        end = time.monotonic() + 60
        while user.phase in AT_WORK and time.monotonic() < end:
            user.helper.look()
            time.sleep(0.1)
        assert (user.phase, user.broker.counters.codes) == (phase, 0)


@pytest.mark.exhaustive
def test_a_clock_that_is_off_ends_after_two_codes(java: Path, tmp_path: Path) -> None:
    with typing(java, tmp_path, 1) as (user,):
        # The broker's is 40 s behind.
        user.broker.takes_code = lambda code, now, takes=user.broker.takes_code: takes(code, now - 40)  # type: ignore[method-assign,misc]
        user.begin(1, "code|")
        end = time.monotonic() + 90
        while user.phase is not Phase.HELD and time.monotonic() < end:
            user.helper.look()
            if user.broker.counters.codes_refused and user.phase is Phase.WAITING:
                user.ahead += PERIOD - user.now() % PERIOD
            time.sleep(0.1)
        assert (user.phase, user.broker.counters.codes_refused, user.logins) == (Phase.HELD, 2, 0)
