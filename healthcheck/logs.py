"""What the image's log says about the login: known lines to a state.

A versioned profile, since the login automation under the image is being replaced. Lines explain a failure and end a
wait that cannot succeed; they never make a gateway healthy, and nothing is read from them while the API is well.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from healthcheck.reasons import Reason


class LoginState(StrEnum):
    UNKNOWN = "unknown"
    STARTING = "starting"
    RESTARTING = "restarting"
    LOGIN_FORM = "login_form"
    SUBMITTED = "submitted"
    SECOND_FACTOR_PENDING = "second_factor_pending"
    SECOND_FACTOR_DEVICE = "second_factor_device"
    SECOND_FACTOR_CLOSED = "second_factor_closed"
    SECOND_FACTOR_TIMEOUT = "second_factor_timeout"
    DIALOG = "dialog"
    DIALOG_CLOSED = "dialog_closed"
    EXISTING_SESSION = "existing_session"
    SESSION_KEPT = "session_kept"
    SERVER_UNREACHABLE = "server_unreachable"
    SYSTEM_UNAVAILABLE = "system_unavailable"
    VERSION_REFUSED = "version_refused"
    RELOGIN_REQUIRED = "relogin_required"
    REJECTED = "rejected"
    LOCKED_OUT = "locked_out"
    GUARD_HELD = "guard_held"
    LOGGED_IN = "logged_in"


# Why the API is not there, where the state tells. UNKNOWN, LOGGED_IN and SESSION_KEPT explain nothing.
REASONS: dict[LoginState, Reason] = {
    LoginState.STARTING: Reason.STARTING,
    LoginState.RESTARTING: Reason.PLANNED_RESTART,
    LoginState.LOGIN_FORM: Reason.STARTING,
    LoginState.SUBMITTED: Reason.STARTING,
    LoginState.SECOND_FACTOR_PENDING: Reason.SECOND_FACTOR_PENDING,
    LoginState.SECOND_FACTOR_DEVICE: Reason.SECOND_FACTOR_DEVICE,
    LoginState.SECOND_FACTOR_CLOSED: Reason.SECOND_FACTOR_DENIED,
    LoginState.SECOND_FACTOR_TIMEOUT: Reason.SECOND_FACTOR_TIMEOUT,
    LoginState.DIALOG: Reason.DIALOG_BLOCKING,
    LoginState.DIALOG_CLOSED: Reason.STARTING,
    LoginState.EXISTING_SESSION: Reason.COMPETING_SESSION,
    LoginState.SERVER_UNREACHABLE: Reason.SERVER_UNREACHABLE,
    LoginState.SYSTEM_UNAVAILABLE: Reason.SYSTEM_UNAVAILABLE,
    LoginState.VERSION_REFUSED: Reason.VERSION_REFUSED,
    LoginState.RELOGIN_REQUIRED: Reason.RELOGIN_REQUIRED,
    LoginState.REJECTED: Reason.LOGIN_FAILED,
    LoginState.LOCKED_OUT: Reason.LOCKED_OUT,
    LoginState.GUARD_HELD: Reason.GUARD_HELD,
}

# These stand until a login succeeds: the automation restarts by itself after them and its next lines look harmless.
STANDING = frozenset({LoginState.REJECTED, LoginState.LOCKED_OUT, LoginState.GUARD_HELD})

# How a login begins, once more after each of its failures.
EARLY = frozenset({LoginState.STARTING, LoginState.LOGIN_FORM, LoginState.SUBMITTED})

# These stand while the next attempt is only beginning, after a restart for it too.
LINGERING = frozenset({LoginState.SERVER_UNREACHABLE, LoginState.SECOND_FACTOR_TIMEOUT})

# Dialogs come and go in a session that is well; in a login that is under way one may stand in its way.
BLOCKED_BY_DIALOGS = EARLY | LINGERING | {LoginState.DIALOG, LoginState.DIALOG_CLOSED, LoginState.RELOGIN_REQUIRED}


@dataclass(frozen=True)
class Profile:
    """Lines of one generation of the image and its login automation, first match counts."""

    name: str
    lines: tuple[tuple[re.Pattern[str], LoginState], ...]
    exit_codes: dict[int, str]


def _lines(*known: tuple[str, LoginState]) -> tuple[tuple[re.Pattern[str], LoginState], ...]:
    return tuple((re.compile(pattern, re.IGNORECASE), state) for pattern, state in known)


PROFILE = Profile(
    name="ib-gateway-docker 10.45 to 10.50 with IBC 3.24.1",
    lines=_lines(
        # Our own guard (start.d of the gateway).
        (r"ibgw-guard: held:", LoginState.GUARD_HELD),
        (r"ibgw-guard: logged in", LoginState.LOGGED_IN),
        # run.sh and ibcstart.sh
        (r"^\.> Starting IBC/IB gateway", LoginState.STARTING),
        (r"^Starting IBC version", LoginState.STARTING),
        (r"IBC: Starting session:", LoginState.STARTING),
        (r"Autorestart file contains invalid credentials", LoginState.STARTING),
        # A restart of its own, which keeps the session
        (r"detected dialog entitled: Restart in progress", LoginState.RESTARTING),
        (r"^IBC will restart shortly", LoginState.RESTARTING),
        (r"autorestart file found at .*: authentication will not be required", LoginState.RESTARTING),
        (r"IBC: Re-starting session", LoginState.RESTARTING),
        # IBC, login
        (r"Login has completed$", LoginState.LOGGED_IN),
        (r"Configuration tasks completed$", LoginState.LOGGED_IN),
        (r"detected dialog entitled: Unrecognized Username or Password", LoginState.REJECTED),
        (r"Too many failed login attempts", LoginState.LOCKED_OUT),
        (r"IBC: Login failed", LoginState.REJECTED),
        (r"IBC: Login error message:", LoginState.REJECTED),
        (r"Connection to server failed", LoginState.SERVER_UNREACHABLE),
        (r"The system is not currently available", LoginState.SYSTEM_UNAVAILABLE),
        # IBKR's words, which IBC logs only with `debug` on (mvberg/ib-gateway-docker#29)
        (r"is no longer supported", LoginState.VERSION_REFUSED),
        (r"detected dialog entitled: Re-login is required", LoginState.RELOGIN_REQUIRED),
        # IBC, second factor; 180 seconds (SecondFactorAuthenticationTimeout) mean that nobody answered
        (r"Duration since login: (1[89]\d|[2-9]\d\d|\d{4,}) seconds", LoginState.SECOND_FACTOR_TIMEOUT),
        (r"IBC closing because login has not completed after Second Factor", LoginState.SECOND_FACTOR_TIMEOUT),
        (r"Re-login after second factor authentication timeout", LoginState.SECOND_FACTOR_TIMEOUT),
        # answered, or closed by hand: either the login completes now or it was denied
        (r"Duration since login: \d+ seconds", LoginState.SECOND_FACTOR_CLOSED),
        (r"If login has not completed, IBC will exit in", LoginState.SECOND_FACTOR_CLOSED),
        (r"detected dialog entitled: Second Factor Authentication; event=Closed", LoginState.SECOND_FACTOR_CLOSED),
        (r"You should specify the required second factor device", LoginState.SECOND_FACTOR_DEVICE),
        (r"could not find second factor device", LoginState.SECOND_FACTOR_DEVICE),
        (r"detected dialog entitled: Second Factor Authentication", LoginState.SECOND_FACTOR_PENDING),
        (r"Second Factor Authentication initiated", LoginState.SECOND_FACTOR_PENDING),
        (r"Login frame has now become SecondFactorAuthenticationDialog", LoginState.SECOND_FACTOR_PENDING),
        # IBC, another session of the same user; at 3 the login goes on by itself, at 5 a session that was there
        (r"so continue this one \(scenario 3\)", LoginState.SUBMITTED),
        (r"Continue this session and let the other session exit", LoginState.SESSION_KEPT),
        (r"Trading Login Handoff dialog; error", LoginState.EXISTING_SESSION),
        (r"Trading Login Handoff", LoginState.SUBMITTED),
        (r"detected dialog entitled: Existing session detected", LoginState.EXISTING_SESSION),
        (r"User must choose whether to continue with this session", LoginState.EXISTING_SESSION),
        (r"end this session", LoginState.EXISTING_SESSION),
        # IBC, login form
        (r"Login dialog WINDOW_OPENED", LoginState.LOGIN_FORM),
        (r"Login attempt: \d+", LoginState.SUBMITTED),
        (r"Click button: (Paper )?Log In", LoginState.SUBMITTED),
        # Those that come with every login, and those that IBC closes; what is left waits for somebody
        (r"detected dialog entitled: (Starting application|Authenticating)", LoginState.SUBMITTED),
        (r"detected dialog entitled: .*; event=Closed", LoginState.DIALOG_CLOSED),
        (r"detected dialog entitled: .*; event=Opened", LoginState.DIALOG),
    ),
    # ibcstart.sh's own codes, and IBC's modulo 256 (its ErrorCodes).
    exit_codes={
        1: "Java, Xvfb or the image's settings",
        2: "the gateway's version is not set",
        3: "a wrong argument of the start script",
        4: "the gateway's program files are missing",
        5: "a path of the start script is missing",
        6: "IBC's configuration is missing",
        7: "the options of the Java machine are missing",
        8: "an operating system that the start script does not know",
        76: "IBC failed unexpectedly",
        77: "IBC did not find a control that it needs",
        78: "IBC was started with wrong arguments",
        79: "IBC's configuration is missing",
        80: "IBC refused the trading mode",
        81: "IBC refused a setting",
        82: "IBC cannot use the settings folder",
        83: "the gateway's program could not be started",
        84: "jts.ini is a folder",
        85: "jts.ini cannot be written",
        86: "IBC met a dialog that it cannot handle",
        87: "the login or its second factor was not completed in time",
        88: "the login form did not appear",
        137: "killed, for want of memory or by hand",
        143: "stopped",
    },
)

STAMP = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d):\d{3} IBC: ")
LOCK_TIME = re.compile(r"wait (?:(\d+) minutes?)?(?: & )?(?:(\d+) seconds?)?", re.IGNORECASE)


@dataclass(frozen=True)
class Reading:
    """What a container's lines come to.

    `line` is the one that decided, `at` its time by the gateway's clock, in the gateway's time zone; `retry_after`:
    seconds that a lock lasts; `had_session`: a login had succeeded before it.
    """

    state: LoginState = LoginState.UNKNOWN
    line: str = ""
    at: datetime | None = None
    retry_after: int | None = None
    had_session: bool = False

    @property
    def reason(self) -> Reason | None:
        if self.state is LoginState.EXISTING_SESSION and self.had_session:
            return Reason.SESSION_TAKEN_OVER
        return REASONS.get(self.state)


def read(lines: Iterable[str], profile: Profile = PROFILE) -> Reading:
    """The state that the lines since the container's start lead to."""
    reading = Reading()
    for raw in lines:
        line = raw.strip()
        state = classify(line, profile)
        if state is None or not _replaces(state, reading.state):
            continue
        reading = Reading(
            state,
            line,
            at=_time(line),
            retry_after=_lock_time(line) if state is LoginState.LOCKED_OUT else None,
            had_session=state is LoginState.LOGGED_IN or (reading.had_session and state is not LoginState.STARTING),
        )
    return reading


def _replaces(state: LoginState, before: LoginState) -> bool:
    """Whether a line's state counts after what was known before it."""
    if before in STANDING:
        return state in STANDING or state is LoginState.LOGGED_IN
    if before in LINGERING:
        return state not in EARLY | {LoginState.RESTARTING}
    if state is LoginState.DIALOG_CLOSED:
        return before is LoginState.DIALOG
    return state is not LoginState.DIALOG or before in BLOCKED_BY_DIALOGS


def classify(line: str, profile: Profile = PROFILE) -> LoginState | None:
    """What one line says of the login; None for a line that says nothing known."""
    return next((state for pattern, state in profile.lines if pattern.search(line)), None)


def _time(line: str) -> datetime | None:
    found = STAMP.match(line)
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S") if found is not None else None


def _lock_time(line: str) -> int | None:
    found = LOCK_TIME.search(line)
    if found is None or not any(found.groups()):
        return None
    minutes, seconds = (int(part or 0) for part in found.groups())
    return minutes * 60 + seconds
