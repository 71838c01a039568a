"""The login automation: takes a login form through to a session, with the log lines and decisions of IBC.

Sources, by the event that they handle: AbstractLoginHandler, LoginManager, SecondFactorAuthenticationDialogHandler,
ExistingSessionDetectedDialogHandler, ReloginDialogHandler, TradingLoginHandoffDialogHandler, LoginFailedDialogHandler
and TooManyFailedLoginAttemptsDialogHandler of IBC 3.24.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn

from . import console
from .clock import CLOCK
from .jsonlines import Message
from .launcher import LAUNCHER, WRONG_PASSWORD
from .link import BrokerLink, LinkLost
from .settings import LOGIN_TIMED_OUT, Exit, Settings
from .windows import WINDOWS

INVALID_STATE = 1110  # of IBC's ErrorCodes

CONNECT_SECONDS = 5.0  # for how long the gateway tries to reach the login server
SECOND_FACTOR_SECONDS = 180
HEARTBEAT_SECONDS = 20  # between two lines of launcher.log while a second factor is waited for
DEVICE_SECONDS = 1  # from the chosen device to the dialog that takes its code
SLOW_SECONDS = 20  # of a dialog that is late
RELOGIN_SECONDS = 5  # IBC's LoginManager: pause before a login after a timed-out second factor


class ColdRestart(Exception):
    """The process ends and the start script starts another one, which logs in anew."""


class GiveUp(Exception):
    """The gateway stays where it is, at a dialog that nobody handles, until it is stopped."""


@dataclass(frozen=True)
class LoggedIn:
    link: BrokerLink
    token: str
    state: Message


class Automation:
    """`open_link` makes a connection to the broker that is not connected yet."""

    def __init__(self, settings: Settings, open_link: Callable[[], BrokerLink]) -> None:
        self._settings = settings
        self._open_link = open_link
        self._link: BrokerLink | None = None
        self._attempts = 0
        self._typing: asyncio.Task[None] | None = None

    async def log_in(self) -> LoggedIn:
        """Fills in the login form and submits it, again if the settings say so.

        Raises GiveUp, ColdRestart or Exit when there will be no session.
        """
        console.log("Login dialog WINDOW_OPENED: LoginState is LOGGED_OUT")
        WINDOWS.order("form", self._settings.user_id)
        while True:
            wait = await self._attempt()
            if isinstance(wait, LoggedIn):
                return wait
            await self._pause(wait)

    async def stay(self) -> NoReturn:
        """Where it gave up, for ever."""
        await stay(self._link)

    async def _pause(self, seconds: float) -> None:
        """Between two attempts, by the broker's clock."""
        assert self._link is not None
        following = asyncio.create_task(self._link.run())
        try:
            await CLOCK.sleep(seconds)
        finally:
            following.cancel()
            await self._link.close()

    async def _attempt(self) -> LoggedIn | float:
        """One submitted form: a session, or the seconds to wait before the next attempt."""
        settings = self._settings
        console.log(f"Setting Trading mode = {settings.mode}")
        if not settings.user_id or not settings.password:
            raise GiveUp("the login form lacks the user id or the password")
        console.log("Setting user name")
        console.log("Setting password")
        self._attempts += 1
        console.log(f"Login attempt: {self._attempts}")
        console.log(f"Click button: {'Paper Log In' if settings.mode == 'paper' else 'Log In'}")
        LAUNCHER.connecting(self._attempts)
        link = self._link = self._open_link()
        try:
            await self._connect(link)
            LAUNCHER.authenticating(password=True)
            link.send(
                {
                    "type": "login",
                    "user_id": settings.user_id,
                    "password": settings.password,
                    "mode": settings.mode,
                    "existing": existing_action(settings),
                }
            )
            return await self._conversation(link)
        except LinkLost:
            console.log("Connection to server failed: Server disconnected, please try again")
            console.log("Cold restart in progress")
            raise ColdRestart from None

    async def _connect(self, link: BrokerLink) -> None:
        deadline = time.monotonic() + CONNECT_SECONDS
        number = 0
        while True:
            number += 1
            try:
                return await link.connect(max(0.1, deadline - time.monotonic()))
            except LinkLost:
                LAUNCHER.unreachable(number)
                if time.monotonic() + 1 > deadline:
                    raise
                await asyncio.sleep(1)

    async def _conversation(self, link: BrokerLink) -> LoggedIn | float:
        handlers: dict[str, Callable[[BrokerLink, Message], Awaitable[float | None]]] = {
            "rejected": self._rejected,
            "failed": self._failed,
            "login-error": self._error,
            "locked": self._locked,
            "unavailable": self._unavailable,
            "outdated": self._outdated,
            "blocked": self._blocked,
            "second-factor": self._second_factor,
            "second-factor-closed": self._second_factor_closed,
            "code-refused": self._code_refused,
            "existing-session": self._existing_session,
            "handoff": self._handoff,
            "contested": self._contested,
            "give-way": self._give_way,
        }
        exit_at: float | None = None
        challenged: asyncio.Task[None] | None = None
        try:
            while True:
                event = await self._next(link, exit_at)
                if challenged is not None:
                    challenged.cancel()
                if event["event"] == "accepted":
                    console.log("Login has completed")
                    WINDOWS.order("main")
                    LAUNCHER.completed(second_factor=challenged is not None)
                    return LoggedIn(link, event["token"], event["state"])
                wait = await handlers[event["event"]](link, event)
                if event["event"] == "second-factor":
                    challenged = asyncio.create_task(_heartbeats())
                if wait is None:
                    continue
                if event["event"] == "second-factor-closed" and event["elapsed"] < SECOND_FACTOR_SECONDS:
                    exit_at = CLOCK.now() + wait
                    continue
                return wait
        except LinkLost:
            LAUNCHER.write("Authentication timeout")
            raise
        finally:
            if challenged is not None:
                challenged.cancel()
            if self._typing is not None:
                self._typing.cancel()

    async def _next(self, link: BrokerLink, exit_at: float | None) -> Message:
        """The next event; with `exit_at`, the process ends when it has not come by then."""
        if exit_at is None:
            return await link.event()
        event = asyncio.create_task(link.event())
        passed = asyncio.create_task(CLOCK.sleep_until(exit_at))
        try:
            await asyncio.wait({event, passed}, return_when=asyncio.FIRST_COMPLETED)
            if event.done():
                return event.result()
        finally:
            event.cancel()
            passed.cancel()
        raise Exit(LOGIN_TIMED_OUT, "IBC closing because login has not completed after Second Factor Authentication")

    async def _rejected(self, link: BrokerLink, event: Message) -> None:
        LAUNCHER.refused(WRONG_PASSWORD)
        console.dialog("Unrecognized Username or Password")
        raise GiveUp("no handler for this dialog")

    async def _failed(self, link: BrokerLink, event: Message) -> None:
        LAUNCHER.refused("Login failed")
        console.dialog("Login failed")
        console.log("Login failed")
        console.log("Cold restart in progress")
        raise ColdRestart

    async def _error(self, link: BrokerLink, event: Message) -> None:
        LAUNCHER.refused(event["text"])
        console.dialog("Login Error")
        console.log(f"Login error message:\n{event['text']}")
        console.log("Cold restart in progress")
        raise ColdRestart

    async def _locked(self, link: BrokerLink, event: Message) -> float:
        LAUNCHER.write(event["text"])
        console.dialog("Login failed")
        console.log(event["text"])
        if not self._settings.relogin:
            raise GiveUp("locked out")
        # IBC waits three seconds longer than the text says (TooManyFailedLoginAttemptsDialogHandler).
        wait = waiting_seconds(event["text"]) + 3
        console.log(f"Will re-login at {console.stamp(CLOCK.now() + wait)}; login number: {self._attempts + 1}")
        return wait

    async def _unavailable(self, link: BrokerLink, event: Message) -> None:
        LAUNCHER.refused("The system is not currently available.")
        console.dialog("Login")
        console.error("The system is not currently available.")
        raise GiveUp("the system is not available")

    async def _outdated(self, link: BrokerLink, event: Message) -> None:
        # "The current version of the application you are running, 974.4g, is no longer supported. Please download the
        # current version from our website." (mvberg/ib-gateway-docker#29). IBC has no handler for it and logs only its
        # title, which nobody has reported: this one is a guess.
        LAUNCHER.refused("The current version of the application you are running is no longer supported.")
        console.dialog("IBKR Gateway")
        raise GiveUp("no handler for this dialog")

    async def _blocked(self, link: BrokerLink, event: Message) -> None:
        # A task of the user's account that has to be done first (IBAutomater, HandleLoginMessages).
        console.dialog("Login Messages")
        raise GiveUp("no handler for this dialog")

    async def _second_factor(self, link: BrokerLink, event: Message) -> None:
        name = "Mobile Authenticator App" if event["code"] else "IB Key"
        LAUNCHER.authenticating(password=True, second_factor=name)
        LAUNCHER.write("Received CHALLENGE")
        if self._settings.mode == "live":
            console.log("Waiting for Login frame to become SecondFactorAuthenticationDialog")
            console.log("Login frame has now become SecondFactorAuthenticationDialog")
        console.dialog("Second Factor Authentication")
        console.log("Second Factor Authentication initiated")
        if not event["code"]:
            WINDOWS.order("push")
            return
        if event["devices"]:
            WINDOWS.order("list", *event["devices"])
            chosen = self._settings.text("SecondFactorDevice", "")
            if chosen not in event["devices"]:
                if chosen:
                    console.error(f"could not find second factor device '{chosen}' in the list")
                else:
                    console.log(
                        "You should specify the required second factor device using the SecondFactorDevice setting in "
                        "config.ini"
                    )
                return
            # Its OK closes the dialog, and a second one takes the code.
            await asyncio.sleep(DEVICE_SECONDS)
        self._typing = asyncio.create_task(self._pass_codes(link, event["meets"]))

    async def _pass_codes(self, link: BrokerLink, meets: str) -> None:
        """The dialog for a code, and what comes in its way: `slow`, `front`, `steal` or `gone`."""
        if meets == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        WINDOWS.order("code", meets)
        if meets in ("front", "steal"):
            WINDOWS.order(meets, "Anything")
        while True:
            link.send({"type": "code", "code": await WINDOWS.typed.get()})

    async def _code_refused(self, link: BrokerLink, event: Message) -> None:
        WINDOWS.order("refuse", "The code was not accepted.")

    async def _second_factor_closed(self, link: BrokerLink, event: Message) -> float | None:
        """After an answer: seconds within which the login must complete. After none: seconds to the next login."""
        console.dialog("Second Factor Authentication", "Closed")
        console.log(f"Duration since login: {event['elapsed']} seconds")
        unanswered = event["elapsed"] >= SECOND_FACTOR_SECONDS
        if not event["approved"]:
            LAUNCHER.refused("SUPPRESS_MESSAGE_BOX" if unanswered else "Second factor authentication was denied")
        if unanswered:
            if not self._settings.relogin:
                console.log("Re-login after second factor authentication timeout not required")
                raise GiveUp("nobody answered the second factor")
            console.log(f"Re-login after second factor authentication timeout in {RELOGIN_SECONDS} second")
            return RELOGIN_SECONDS
        if not self._settings.relogin:
            return None
        interval = self._settings.number("SecondFactorAuthenticationExitInterval", 60)
        console.log(f"If login has not completed, IBC will exit in {interval} seconds")
        return interval

    async def _existing_session(self, link: BrokerLink, event: Message) -> None:
        """The dialog at a login that is not complete: IBC's scenarios 1 to 3."""
        console.dialog("Existing session detected")
        action = existing_action(self._settings, say=True)
        if action == "manual":
            console.log("User must choose whether to continue with this session (scenario 1)")
            raise GiveUp("nobody answers the dialog")
        if action == "secondary":
            console.log("End this session and let the other session proceed (scenario 2)")
            raise Exit(0)
        console.log("Don't know the type of the other session, so continue this one (scenario 3)")

    async def _handoff(self, link: BrokerLink, event: Message) -> None:
        """After the second factor, the same question again. IBC logs its placeholders as they stand."""
        console.dialog("Trading Login Handoff")
        if existing_action(self._settings) != "primary":
            raise Exit(INVALID_STATE, "Trading Login Handoff dialog; error: {}")
        console.log("Trading Login Handoff dialog; {}")

    async def _contested(self, link: BrokerLink, event: Message) -> None:
        relogin()

    async def _give_way(self, link: BrokerLink, event: Message) -> None:
        console.dialog("Existing session detected")
        console.log(
            "Other session must be primary or primary override, so end this session and let the other one proceed "
            "(scenario 4)"
        )
        raise Exit(0)


async def _heartbeats() -> None:
    while True:
        await CLOCK.sleep(HEARTBEAT_SECONDS)
        LAUNCHER.write("Heartbeat")


async def stay(link: BrokerLink | None) -> NoReturn:
    """For ever where nobody answers. The broker's clock is still followed, for whatever else the process waits for."""
    if link is not None:
        await link.run()
    while True:
        await asyncio.sleep(3600)


def existing_action(settings: Settings, *, say: bool = False) -> str:
    """ExistingSessionDetectedAction as IBC takes it: `manual`, `primary`, `primaryoverride` or `secondary`."""
    action = settings.text("ExistingSessionDetectedAction", "manual").lower()
    if action in ("manual", "primary", "primaryoverride", "secondary"):
        return action
    if say:
        console.log(f"ExistingSessionDetectedAction has an invalid value: {action}: assuming 'secondary'")
    return "secondary"


def relogin() -> None:
    """Another session of the user interrupts this one, and IBC answers at once."""
    console.dialog("Re-login is required")
    console.log("Re-login to session")


def taken_over(settings: Settings) -> bool | None:
    """The dialog in a session that was complete: whether it goes on, IBC's scenarios 5 and 6; None when nobody answers.

    A `manual` or `secondary` session answers as at the login.
    """
    relogin()
    console.dialog("Existing session detected")
    action = existing_action(settings, say=True)
    if action == "primary":
        console.log("Continue this session and let the other session exit (scenario 5)")
        return True
    if action == "primaryoverride":
        console.log("Other session may be primary, so end this session and let the other one proceed (scenario 6)")
        return False
    if action == "secondary":
        console.log("End this session and let the other session proceed (scenario 2)")
        return False
    console.log("User must choose whether to continue with this session (scenario 1)")
    return None


def waiting_seconds(text: str) -> int:
    """The waiting time that a lockout's text names (IBC, TooManyFailedLoginAttemptsDialogHandler)."""
    words = text.replace("&", " ").split()
    seconds = 0
    for number, unit in itertools.pairwise(words):
        if number.isdigit() and unit.startswith(("minute", "second")):
            seconds += int(number) * (60 if unit.startswith("minute") else 1)
    return seconds
