"""What the image's log says about the login: known lines to a state.

A versioned profile, since the login automation under the image is being replaced. Lines explain a failure and end a
wait that cannot succeed; they never make a gateway healthy, and nothing is read from them while the API is well.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from healthcheck.reasons import Reason


class LoginState(StrEnum):
    UNKNOWN = "unknown"
    STARTING = "starting"
    LOGIN_FORM = "login_form"
    SUBMITTED = "submitted"
    SECOND_FACTOR_PENDING = "second_factor_pending"
    SECOND_FACTOR_TIMEOUT = "second_factor_timeout"
    EXISTING_SESSION = "existing_session"
    SERVER_UNREACHABLE = "server_unreachable"
    RELOGIN_REQUIRED = "relogin_required"
    REJECTED = "rejected"
    LOCKED_OUT = "locked_out"
    GUARD_HELD = "guard_held"
    LOGGED_IN = "logged_in"


# Why the API is not there, where the state tells. LOGGED_IN and UNKNOWN explain nothing.
REASONS: dict[LoginState, Reason] = {
    LoginState.STARTING: Reason.STARTING,
    LoginState.LOGIN_FORM: Reason.STARTING,
    LoginState.SUBMITTED: Reason.STARTING,
    LoginState.SECOND_FACTOR_PENDING: Reason.SECOND_FACTOR_PENDING,
    LoginState.SECOND_FACTOR_TIMEOUT: Reason.SECOND_FACTOR_TIMEOUT,
    LoginState.EXISTING_SESSION: Reason.COMPETING_SESSION,
    LoginState.SERVER_UNREACHABLE: Reason.SERVER_UNREACHABLE,
    LoginState.RELOGIN_REQUIRED: Reason.NOT_LOGGED_IN,
    LoginState.REJECTED: Reason.LOGIN_FAILED,
    LoginState.LOCKED_OUT: Reason.LOCKED_OUT,
    LoginState.GUARD_HELD: Reason.GUARD_HELD,
}

# These stand until a login succeeds: the automation restarts by itself after them and its next lines look harmless.
STANDING = frozenset({LoginState.REJECTED, LoginState.LOCKED_OUT, LoginState.GUARD_HELD})


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
        # run.sh and ibcstart.sh
        (r"^\.> Starting IBC/IB gateway", LoginState.STARTING),
        (r"^Starting IBC version", LoginState.STARTING),
        (r"IBC: Starting session:", LoginState.STARTING),
        (r"IBC: Re-starting session", LoginState.STARTING),
        # IBC, login
        (r"Login has completed$", LoginState.LOGGED_IN),
        (r"Configuration tasks completed$", LoginState.LOGGED_IN),
        (r"detected dialog entitled: Unrecognized Username or Password", LoginState.REJECTED),
        (r"Too many failed login attempts", LoginState.LOCKED_OUT),
        (r"IBC: Login failed", LoginState.REJECTED),
        (r"IBC: Login error message:", LoginState.REJECTED),
        (r"Connection to server failed", LoginState.SERVER_UNREACHABLE),
        (r"The system is not currently available", LoginState.SERVER_UNREACHABLE),
        (r"detected dialog entitled: Re-login is required", LoginState.RELOGIN_REQUIRED),
        # IBC, second factor; 180 seconds (SecondFactorAuthenticationTimeout) mean that nobody answered
        (r"Duration since login: (1[89]\d|[2-9]\d\d|\d{4,}) seconds", LoginState.SECOND_FACTOR_TIMEOUT),
        (r"IBC closing because login has not completed after Second Factor", LoginState.SECOND_FACTOR_TIMEOUT),
        (r"Re-login after second factor authentication timeout", LoginState.SECOND_FACTOR_TIMEOUT),
        (r"detected dialog entitled: Second Factor Authentication", LoginState.SECOND_FACTOR_PENDING),
        (r"Second Factor Authentication initiated", LoginState.SECOND_FACTOR_PENDING),
        (r"Login frame has now become SecondFactorAuthenticationDialog", LoginState.SECOND_FACTOR_PENDING),
        # IBC, another session of the same user; scenarios 3 and 5 go on by themselves
        (r"so continue this one \(scenario 3\)", LoginState.SUBMITTED),
        (r"Continue this session and let the other session exit", LoginState.SUBMITTED),
        (r"detected dialog entitled: Existing session detected", LoginState.EXISTING_SESSION),
        (r"User must choose whether to continue with this session", LoginState.EXISTING_SESSION),
        (r"end this session", LoginState.EXISTING_SESSION),
        # IBC, login form
        (r"Login dialog WINDOW_OPENED", LoginState.LOGIN_FORM),
        (r"Login attempt: \d+", LoginState.SUBMITTED),
        (r"Click button: (Paper )?Log In", LoginState.SUBMITTED),
    ),
    # ibcstart.sh's own codes, and IBC's modulo 256.
    exit_codes={
        1: "Java, Xvfb or the image's settings",
        4: "the gateway's program files are missing",
        76: "IBC failed unexpectedly",
        77: "IBC did not find a control that it needs",
        79: "IBC's configuration is missing",
        80: "IBC refused the trading mode",
        81: "IBC refused a setting",
        82: "IBC cannot use the settings folder",
        86: "IBC met a dialog that it cannot handle",
        87: "the login or its second factor was not completed in time",
        88: "the login form did not appear",
        137: "killed, for want of memory or by hand",
        143: "stopped",
    },
)

LOCK_TIME = re.compile(r"wait (?:(\d+) minutes?)?(?: & )?(?:(\d+) seconds?)?", re.IGNORECASE)


@dataclass(frozen=True)
class Reading:
    """What a container's lines come to. `line` is the one that decided; `retry_after`: seconds that a lock lasts."""

    state: LoginState = LoginState.UNKNOWN
    line: str = ""
    retry_after: int | None = None

    @property
    def reason(self) -> Reason | None:
        return REASONS.get(self.state)


def read(lines: Iterable[str], profile: Profile = PROFILE) -> Reading:
    """The state that the lines since the container's start lead to."""
    reading = Reading()
    for raw in lines:
        line = raw.strip()
        state = classify(line, profile)
        if state is None:
            continue
        if reading.state in STANDING and state is not LoginState.LOGGED_IN and state not in STANDING:
            continue
        reading = Reading(state, line, _lock_time(line) if state is LoginState.LOCKED_OUT else None)
    return reading


def classify(line: str, profile: Profile = PROFILE) -> LoginState | None:
    """What one line says of the login; None for a line that says nothing known."""
    return next((state for pattern, state in profile.lines if pattern.search(line)), None)


def _lock_time(line: str) -> int | None:
    found = LOCK_TIME.search(line)
    if found is None or not any(found.groups()):
        return None
    minutes, seconds = (int(part or 0) for part in found.groups())
    return minutes * 60 + seconds
