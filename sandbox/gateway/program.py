"""The process that stands in for Java: login, API, daily schedule, clean logout.

It is started as IBC's start script starts the real one: VM options, the entry point's name, the path of config.ini.
"""

import asyncio
import contextlib
import signal
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from . import console, notices
from .api import ApiServer, ApiState
from .automation import Automation, ColdRestart, GiveUp, LoggedIn
from .jsonlines import Message
from .link import BrokerLink, LinkLost
from .settings import Exit, GatewaySettings, Settings, clock_time, user_folder

ENTRY_POINT = "ibcalpha.ibc.IbcGateway"
IBC_VERSION = "3.24.1"
PORTS = {"live": 4001, "paper": 4002}  # on 127.0.0.1 (common.sh of the image, set_ports)

# From the process's start to the submission of the login form. The real program takes many seconds; anything that
# watches for new processes needs the time before a login is submitted.
FORM_SECONDS = 1.0
SIGTERM_STATUS = 128 + signal.SIGTERM
RECONNECT_SECONDS = 1.0


class Stopped(Exception):
    """SIGTERM or SIGINT."""


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

    def __init__(self, options: Options, broker: tuple[str, int], *, started: float) -> None:
        self._options = options
        self._broker = broker
        self._started = started  # time.monotonic()
        self._settings = Settings({})
        self._session: GatewaySession | None = None
        self._api: ApiServer | None = None

    async def run(self) -> int:
        """Runs until something ends it; returns the exit status."""
        stop = asyncio.get_running_loop().create_future()

        def on_signal() -> None:
            if not stop.done():
                stop.set_exception(Stopped())

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, on_signal)
        work = asyncio.create_task(self._work())
        try:
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            if stop.done():
                stop.exception()
                work.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exit, ColdRestart):
                    await work
                return SIGTERM_STATUS
            return await self._outcome(work)
        finally:
            await self._log_out()

    async def _outcome(self, work: "asyncio.Task[None]") -> int:
        try:
            await work
        except Exit as exit_:
            if exit_.text:
                console.error(exit_.text)
                console.log(f"Exiting after error with exit code={exit_.code}")
            return exit_.code % 256
        except ColdRestart:
            if self._session is None:
                console.log("Login has not completed: exiting immediately")
            else:
                console.log("Login has completed: exiting via [File, Close] menu")
            (self._options.folder / f"COLDRESTART{self._options.session_id}").touch()
            return 0
        return 0

    async def _log_out(self) -> None:
        if self._api is not None:
            await self._api.stop()
        if self._session is not None:
            await self._session.log_out()

    async def _work(self) -> None:
        """From start to end. Raises Exit or ColdRestart; returns when a soft restart or a logoff is due."""
        console.log(f"version: {IBC_VERSION}")
        settings = self._settings = Settings.load(self._options.ini)
        settings.dump()
        mode = settings.mode
        now = datetime.now().astimezone()
        cold_restart = settings.cold_restart(now)
        if cold_restart is not None:
            console.log(f"Gateway will be cold restarted at {cold_restart:%Y/%m/%d %H:%M}")
        console.log(f"TWS Settings directory is: {self._options.folder}")
        automation = Automation(settings, lambda: BrokerLink(*self._broker))
        schedule = asyncio.create_task(_cold_restart_at(cold_restart))
        session = asyncio.create_task(self._serve(automation, mode))
        try:
            await asyncio.wait({schedule, session}, return_when=asyncio.FIRST_COMPLETED)
            await (session if session.done() else schedule)
        finally:
            for task in (schedule, session):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exit, ColdRestart):
                    await task

    async def _serve(self, automation: Automation, mode: str) -> None:
        try:
            logged_in = await self._log_in(automation)
        except GiveUp:
            await asyncio.Event().wait()
            raise
        folder = self._options.folder / user_folder(self._settings.user_id)
        session = self._session = GatewaySession(logged_in, automation, self._broker, self._settings)
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
        await self._api.start("127.0.0.1", PORTS[mode])
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
            resumed = await self._resume()
            if resumed is not None:
                console.log("Login has completed")
                return resumed
            console.log("Autorestart file contains invalid credentials: performing full login")
            console.log("Deleting Autorestart file")
        else:
            timeout = self._settings.number("LoginDialogDisplayTimeout", 60)
            console.log(f"Starting session: will exit if login dialog is not displayed within {timeout} seconds")
        await asyncio.sleep(max(0.0, self._started + FORM_SECONDS - time.monotonic()))
        return await automation.log_in()

    async def _resume(self) -> LoggedIn | None:
        autorestart = self._options.folder / self._options.restart / "autorestart"
        token = autorestart.read_text(encoding="ascii")
        autorestart.unlink()
        try:
            return await resume(BrokerLink(*self._broker), self._settings, token)
        except LinkLost:
            return None


class GatewaySession:
    """The session behind the API. Reconnects by itself when the connection to the broker is lost."""

    def __init__(
        self, logged_in: LoggedIn, automation: Automation, broker: tuple[str, int], settings: Settings
    ) -> None:
        self.api: ApiServer | None = None
        self.keep_token = False
        self._link = logged_in.link
        self.token = logged_in.token
        self._state = ApiState.from_message(logged_in.state)
        self._automation = automation
        self._broker = broker
        self._settings = settings
        self._ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    @property
    def state(self) -> ApiState:
        return self._state

    async def ask(self, what: str, **request: Any) -> dict[str, Any]:
        return await self._link.ask(what, **request)

    async def run(self) -> bool:
        """Until the session ends: True for a soft restart. Raises Exit or ColdRestart."""
        while True:
            serving = asyncio.ensure_future(self._link.run(self._on_event))
            waiting: set[asyncio.Future[Any]] = {serving, self._ended}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                serving.cancel()
                return self._ended.result()
            self._connection(False)
            await self._reconnect()
            self._connection(True)

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
                console.dialog("Re-login is required")
                console.log("Re-login to session")
                try:
                    resumed = await self._automation.log_in()
                except GiveUp:
                    await asyncio.Event().wait()
                    raise
            self._link, self.token = resumed.link, resumed.token
            self._state = ApiState.from_message(resumed.state)
            return

    def _on_event(self, event: Message) -> None:
        if event["event"] == "state":
            self._state = ApiState.from_message(event["state"])
        elif event["event"] == "notice" and self.api is not None:
            self.api.notice(event["code"], event["text"])
        elif event["event"] == "restart":
            self._end(True)
        elif event["event"] == "other-session":
            console.dialog("Existing session detected")
            if event["continue"]:
                console.log("Continue this session and let the other session exit (scenario 5)")
            else:
                console.log(
                    "Other session may be primary, so end this session and let the other session proceed (scenario 6)"
                )
                self._end(False)

    def _end(self, restart: bool) -> None:
        if not self._ended.done():
            self._ended.set_result(restart)

    async def log_out(self) -> None:
        with contextlib.suppress(LinkLost):
            self._link.send({"type": "logout", "keep_token": self.keep_token})
        await self._link.close()


async def resume(link: BrokerLink, settings: Settings, token: str) -> LoggedIn | None:
    """A session by its token; None when the broker refuses it. Raises LinkLost when there is no answer."""
    await link.connect(RECONNECT_SECONDS * 5)
    link.send(
        {
            "type": "login",
            "user_id": settings.user_id,
            "mode": settings.mode,
            "existing": settings.text("ExistingSessionDetectedAction", "manual").lower(),
            "token": token,
        }
    )
    event = await link.event()
    if event["event"] != "accepted":
        await link.close()
        return None
    return LoggedIn(link, event["token"], event["state"])


async def _cold_restart_at(at: datetime | None) -> None:
    if at is None:
        await asyncio.Event().wait()
        return
    await _sleep_until(at)
    raise ColdRestart


async def _daily(settings: GatewaySettings) -> bool:
    """Waits for the time of day at which the gateway ends; True when it restarts itself then."""
    at = clock_time(settings.auto_time)
    if at is None:
        raise ValueError(f"auto time {settings.auto_time!r}")
    now = datetime.now().astimezone()
    due = now.replace(hour=at[0], minute=at[1], second=0, microsecond=0)
    await _sleep_until(due if due > now else due + timedelta(days=1))
    return settings.auto_action == "Auto restart"


async def _sleep_until(at: datetime) -> None:
    while (left := (at - datetime.now().astimezone()).total_seconds()) > 0:
        await asyncio.sleep(min(left, 60.0))


def main() -> None:
    started = time.monotonic()
    options = Options(sys.argv[1:])
    Path("/proc/self/comm").write_text("java", encoding="ascii")
    host, port = Path(__file__).with_name("broker").read_text(encoding="ascii").split()
    sys.exit(asyncio.run(Gateway(options, (host, int(port)), started=started).run()))
