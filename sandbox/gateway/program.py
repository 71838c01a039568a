"""The process that stands in for Java: login, API, daily schedule, clean logout.

It is started as IBC's start script starts the real one: VM options, the entry point's name, the path of config.ini.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from . import console, notices, starting
from .api import ApiServer
from .automation import Automation, ColdRestart, GiveUp, LoggedIn, existing_action, relogin, stay, taken_over
from .clients import ApiState
from .clock import CLOCK
from .commands import CommandServer
from .display import Display
from .jsonlines import Message
from .launcher import LAUNCHER
from .link import BrokerLink, LinkLost
from .settings import Exit, GatewaySettings, Settings, clock_time, user_folder
from .starting import Start

ENTRY_POINT = "ibcalpha.ibc.IbcGateway"
IBC_VERSION = "3.24.1"
BROKER_FILE = Path(__file__).with_name("broker")  # host and port
PORTS = {"live": 4001, "paper": 4002}  # on 127.0.0.1 (common.sh of the image, set_ports)

# From the process's start to the submission of the login form. The real program takes many seconds; anything that
# watches for new processes needs the time before a login is submitted.
FORM_SECONDS = 1.0
SIGTERM_STATUS = 128 + signal.SIGTERM
# Measured with the image's scripts and a Java under Xvfb: it dies 0.3 to 1.3 s after its display, with status 1 and
# without a logout. The handlers of a SIGTERM take as long or longer, so that one who loses both has not logged out.
DISPLAY_LOST_STATUS = 1
DISPLAY_LOST_SECONDS = 0.3
SHUTDOWN_SECONDS = 0.5
RESTART_SECONDS = 0.3  # from the login to a restart that was asked for before it; measured too
RECONNECT_SECONDS = 1.0
GROWTH_SECONDS = 0.1  # between two steps of a program whose memory grows


class Options:
    """The command line: `-Dname=value` options among others, then the entry point and config.ini."""

    def __init__(self, arguments: list[str]) -> None:
        self.properties = dict(
            argument[2:].split("=", 1) for argument in arguments if argument.startswith("-D") and "=" in argument
        )
        self.ini = Path(arguments[arguments.index(ENTRY_POINT) + 1])
        self.folder = Path(self.properties["jtsConfigDir"])
        self.restart = self.properties.get("restart", "")
        self.session_id = self.properties.get("ibcsessionid", "")


class Gateway:
    """One run of the program."""

    def __init__(
        self,
        options: Options,
        broker: tuple[str, int],
        *,
        started: float,
        start: Start | None = None,
        ports: Mapping[str, int] = PORTS,
        display: str | None = None,
    ) -> None:
        """`display`: as in DISPLAY, for a process of its own; None: one that is always there."""
        self._options = options
        self._broker = broker
        self._start = start or Start()
        self._started = started  # time.monotonic()
        self._ports = ports
        self._display_name = display
        self._display: Display | None = None
        self._settings = Settings({})
        self._session: GatewaySession | None = None
        self._api: ApiServer | None = None
        self._restart_wanted = False
        self._halted: asyncio.Future[tuple[int, bool]] = asyncio.get_running_loop().create_future()

    async def run(self) -> int:
        """Runs until something ends it; returns the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        work = asyncio.create_task(self._work())
        logs_out = True
        try:
            ends: set[asyncio.Future[Any]] = {work, self._halted}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not self._halted.done():
                return await self._outcome(work)
            status, logs_out = self._halted.result()
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exit, ColdRestart):
                await work
            return status
        finally:
            await self._close(log_out=logs_out)

    def _halt(self, status: int, *, log_out: bool = False) -> None:
        """Ends the process whatever it is doing."""
        if not self._halted.done():
            self._halted.set_result((status, log_out))

    def _on_signal(self) -> None:
        if not self.deaf:
            asyncio.get_running_loop().call_later(SHUTDOWN_SECONDS, self._shut_down)

    def _shut_down(self) -> None:
        if self._display is None or not self._display.gone:
            self._halt(SIGTERM_STATUS, log_out=True)

    def _open_display(self) -> None:
        if self._display_name is None:
            return
        display = self._display = Display(self._display_name)
        loop = asyncio.get_running_loop()

        def lost() -> None:
            loop.remove_reader(display.descriptor)
            loop.call_later(DISPLAY_LOST_SECONDS, self._halt, DISPLAY_LOST_STATUS)

        loop.add_reader(display.descriptor, lost)

    # what the command server acts on

    @property
    def deaf(self) -> bool:
        return self._start.deaf if self._session is None else self._session.deaf

    @property
    def _logged_in(self) -> bool:
        return self._session is not None and self._session.logged_in

    def stop(self) -> None:
        """IBC's StopTask."""
        if self._session is not None and self._session.logged_in:
            console.log("Login has completed: exiting via [File, Close] menu")
            self._session.end(restart=False)
        else:
            console.log("Login has not completed: exiting immediately")
            self._halt(0)

    def restart(self) -> None:
        """IBC's RestartTask: at once, or as soon as the main window is there."""
        self._restart_wanted = True
        if self._session is not None:
            self._session.end(restart=True)

    async def _outcome(self, work: "asyncio.Task[None]") -> int:
        try:
            await work
        except Exit as exit_:
            if exit_.text:
                console.error(exit_.text)
                console.log(f"Exiting after error with exit code={exit_.code}")
            return exit_.code % 256
        except ColdRestart:
            if self._logged_in:
                console.log("Login has completed: exiting via [File, Close] menu")
            else:
                console.log("Login has not completed: exiting immediately")
            (self._options.folder / f"COLDRESTART{self._options.session_id}").touch()
            return 0
        return 0

    async def _close(self, *, log_out: bool) -> None:
        if not log_out:
            return  # the process ends, and its connections with it
        if self._api is not None:
            await self._api.stop()
        if self._session is not None:
            await self._session.log_out()

    async def _work(self) -> None:
        """From start to end. Raises Exit or ColdRestart; returns when a soft restart or a logoff is due."""
        console.log(f"version: {IBC_VERSION}")
        self._start.before_session()
        settings = self._settings = Settings.load(self._options.ini)
        settings.dump()
        mode = settings.mode
        async with CommandServer(settings, self).serving():
            cold_restart = settings.cold_restart(_local(CLOCK.now()))
            if cold_restart is not None:
                console.log(f"Gateway will be cold restarted at {cold_restart:%Y/%m/%d %H:%M}")
            self._open_display()
            settings.announce_ignored()
            saves = asyncio.create_task(_save_settings(settings.announce_saves()))
            console.log(f"TWS Settings directory is: {self._options.folder}")
            automation = Automation(settings, lambda: BrokerLink(*self._broker, down=self._start.down))
            schedule = asyncio.create_task(_cold_restart(settings))
            session = asyncio.create_task(self._serve(automation, mode))
            try:
                await asyncio.wait({schedule, session}, return_when=asyncio.FIRST_COMPLETED)
                await (session if session.done() else schedule)
            finally:
                for task in (schedule, session, saves):
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError, Exit, ColdRestart):
                        await task

    async def _serve(self, automation: Automation, mode: str) -> None:
        try:
            logged_in = await self._log_in(automation)
        except GiveUp:
            await automation.stay()
        folder = self._options.folder / (self._options.restart or user_folder(self._settings.user_id))
        session = self._session = GatewaySession(logged_in, self._broker, self._settings)
        if self._restart_wanted:
            asyncio.get_running_loop().call_later(RESTART_SECONDS, lambda: session.end(restart=True))
        gateway_settings = GatewaySettings.load(folder)
        gateway_settings.configure(self._settings)
        master = gateway_settings.master_client_id
        self._api = session.api = ApiServer(
            session,
            read_only=gateway_settings.read_only,
            master_client_id=int(master) if master.isdigit() else None,
            log=console.raw,
            on_write_refused=lambda: console.dialog("API client needs write access action confirmation"),
        )
        await self._api.start("127.0.0.1", self._ports[mode])
        soft = asyncio.create_task(session.run())
        daily = asyncio.create_task(_daily(gateway_settings))
        try:
            await asyncio.wait({soft, daily}, return_when=asyncio.FIRST_COMPLETED)
            restart = await soft if soft.done() else await daily
        finally:
            for task in (soft, daily):
                task.cancel()
        if restart:
            console.dialog("Restart in progress")
            (folder / "autorestart").write_text(session.token, encoding="ascii")
            session.keep_token = True
        else:
            console.dialog("Shutdown progress")

    async def _log_in(self, automation: Automation) -> LoggedIn:
        """With a session token after a soft restart, else through the login form."""
        if self._options.restart:
            console.log("Re-starting session")
            self._start.in_session()
            LAUNCHER.begin(self._options.folder)
            return await self._resume()
        timeout = self._settings.number("LoginDialogDisplayTimeout", 60)
        console.log(f"Starting session: will exit if login dialog is not displayed within {timeout} seconds")
        self._start.in_session()
        LAUNCHER.begin(self._options.folder)
        await asyncio.sleep(max(0.0, self._started + FORM_SECONDS - time.monotonic()))
        await self._start.form_opens(timeout)
        return await automation.log_in()

    async def _resume(self) -> LoggedIn:
        """With the token that a soft restart left, which stays where it is: neither the program nor IBC (since 3.21.1)
        deletes the file. Without one, or with one that is refused, there is the login form, which IBC leaves alone
        (AbstractLoginHandler, `isRestart`), for ever."""
        autorestart = self._options.folder / self._options.restart / "autorestart"
        token = autorestart.read_text(encoding="ascii") if autorestart.is_file() else ""
        link = BrokerLink(*self._broker)
        LAUNCHER.write("Running in auto-restart mode")
        for number in itertools.count(1) if token else ():
            LAUNCHER.connecting(1)
            LAUNCHER.authenticating(password=False)
            try:
                resumed = await resume(link, self._settings, token)
            except LinkLost:
                LAUNCHER.unreachable(number)
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            if resumed is not None:
                console.log("Login has completed")
                LAUNCHER.completed(second_factor=False)
                return resumed
            LAUNCHER.refused("Session token is not valid")
            break
        console.log("Login dialog WINDOW_OPENED: LoginState is LOGGED_OUT")
        return await stay(link)


class GatewaySession:
    """The session behind the API. Reconnects by itself when the connection to the broker is lost."""

    def __init__(self, logged_in: LoggedIn, broker: tuple[str, int], settings: Settings) -> None:
        self.api: ApiServer | None = None
        self.keep_token = False
        self.logged_in = True
        self._broker = broker
        self._settings = settings
        self._ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._grows = asyncio.Event()
        self._taken: list[bytes] = []
        self._log_in(logged_in)

    def _log_in(self, logged_in: LoggedIn) -> None:
        self._link, self.token = logged_in.link, logged_in.token
        self._ends_after = float(logged_in.state["ends"])
        self._take_state(logged_in.state)

    def _take_state(self, state: Message) -> None:
        self._state = ApiState.from_message(state)
        self.deaf = bool(state["deaf"])
        self._growth = float(state["memory_growth"])
        if self._growth:
            self._grows.set()
        else:
            self._grows.clear()

    @property
    def state(self) -> ApiState:
        return self._state

    async def ask(self, what: str, **request: Any) -> dict[str, Any]:
        return await self._link.ask(what, **request)

    async def run(self) -> bool:
        """Until the session ends: True for a soft restart. Raises Exit or ColdRestart."""
        others = (asyncio.create_task(self._grow()), asyncio.create_task(self._end_by_itself()))
        try:
            while True:
                if await self._ends_during(self._link.run(self._on_event)):
                    return self._ended.result()
                await self._link.close()  # who asks over it is told at once
                self._connection(False)
                if await self._ends_during(self._reconnect()):
                    return self._ended.result()
                self._connection(True)
        finally:
            for other in others:
                other.cancel()

    async def _ends_during(self, work: Coroutine[Any, Any, None]) -> bool:
        """Whether the session is ended before the work is done, which is given up then."""
        task = asyncio.create_task(work)
        waiting: set[asyncio.Future[Any]] = {task, self._ended}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not self._ended.done():
                await task
            return self._ended.done()
        finally:
            task.cancel()

    async def _end_by_itself(self) -> None:
        if self._ends_after:
            await CLOCK.sleep(self._ends_after)
            self.end(restart=False)

    async def _grow(self) -> None:
        """Takes memory and never gives it back, while the broker says so."""
        while await self._grows.wait():
            await asyncio.sleep(GROWTH_SECONDS)
            self._taken.append(b"x" * int(self._growth * GROWTH_SECONDS * 2**20))

    def _connection(self, up: bool) -> None:
        """The gateway's own view of its connection, while the broker cannot tell."""
        notice = notices.RESTORED if up else notices.LOST
        if not up:
            self._state = replace(self._state, connected=False, greeting=(notices.SERVER_BROKEN,))
        if self.api is not None:
            self.api.notice(*notice)

    async def _reconnect(self) -> None:
        while True:
            await asyncio.sleep(RECONNECT_SECONDS)
            link = BrokerLink(*self._broker)
            try:
                resumed = await resume(link, self._settings, self.token)
            except LinkLost:
                continue
            if resumed is None:
                # IBC clicks the button and types no password.
                relogin()
                self.logged_in = False
                await stay(link)
            self._log_in(resumed)
            return

    def _on_event(self, event: Message) -> None:
        if event["event"] == "state":
            self._take_state(event["state"])
        elif event["event"] == "notice" and self.api is not None:
            self.api.notice(event["code"], event["text"])
        elif event["event"] == "restart":
            self.end(restart=True)
        elif event["event"] == "taken-over":
            self._taken_over()

    def _taken_over(self) -> None:
        """Another login of the user has interrupted the session."""
        goes_on = taken_over(self._settings)
        if goes_on is False:
            self.end(restart=False)
            return
        before = self._state
        self._connection(False)
        if goes_on:
            self._state = before
            self._connection(True)

    def end(self, *, restart: bool) -> None:
        if not self._ended.done():
            self._ended.set_result(restart)

    async def log_out(self) -> None:
        with contextlib.suppress(LinkLost):
            self._link.send({"type": "logout", "keep_token": self.keep_token})
        await self._link.close()


async def resume(link: BrokerLink, settings: Settings, token: str) -> LoggedIn | None:
    """A session by its token; None, with the link left open, when the broker refuses it. Raises LinkLost when there is
    no answer."""
    await link.connect(RECONNECT_SECONDS * 5)
    link.send(
        {
            "type": "login",
            "user_id": settings.user_id,
            "mode": settings.mode,
            "existing": existing_action(settings),
            "token": token,
        }
    )
    event = await link.event()
    if event["event"] != "accepted":
        return None
    return LoggedIn(link, event["token"], event["state"])


async def _cold_restart(settings: Settings) -> None:
    if settings.cold_restart(_local(CLOCK.now())) is None:
        await asyncio.Event().wait()

    def next_due() -> float:
        due = settings.cold_restart(_local(CLOCK.now()))
        assert due is not None
        return due.timestamp()

    await _until(next_due)
    raise ColdRestart


async def _daily(settings: GatewaySettings) -> bool:
    """Waits for the time of day at which the gateway ends; True when it restarts itself then."""
    at = clock_time(settings.auto_time)
    if at is None:
        raise ValueError(f"auto time {settings.auto_time!r}")
    await _until(lambda: _next(at))
    return settings.auto_action == "Auto restart"


async def _save_settings(times: list[tuple[int, int]]) -> None:
    """IBC has the gateway save its settings at these times of day (TwsSettingsSaver). Here they are saved anyway."""
    while times:
        await _until(lambda: min(map(_next, times)))
        console.log("Saving Tws settings")


def _next(time_of_day: tuple[int, int]) -> float:
    """When the clock will next show an hour and a minute, in seconds since the epoch."""
    now = CLOCK.now()
    hour, minute = time_of_day
    due = _local(now).replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (due if due.timestamp() > now else due + timedelta(days=1)).timestamp()


async def _until(next_due: Callable[[], float]) -> None:
    """Waits for the time that `next_due` names at first; for an earlier one when the clock was put back meanwhile."""
    due = next_due()
    while not await CLOCK.wait(due):
        due = min(due, next_due())


def _local(seconds: float) -> datetime:
    """In the container's time zone, but without it: a day later is the same time of day, whatever summer time does."""
    return datetime.fromtimestamp(seconds)


def main() -> None:
    started = time.monotonic()
    options = Options(sys.argv[1:])
    Path("/proc/self/comm").write_text("java", encoding="ascii")
    host, port = BROKER_FILE.read_text(encoding="ascii").split()
    broker = (host, int(port))
    start = starting.ask(broker, options.ini)

    async def run() -> int:
        display = os.environ.get("DISPLAY", "")
        return await Gateway(options, broker, started=started, start=start, display=display).run()

    sys.exit(asyncio.run(run()))
