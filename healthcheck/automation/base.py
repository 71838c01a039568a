"""What the tables of this package have in common: the states of a login, and how lines lead to one. Pure.

Lines explain a failure and end a wait that cannot succeed; they never make a gateway healthy.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache

from healthcheck.reasons import Reason, Retry


class LoginState(StrEnum):
    UNKNOWN = "unknown"
    STARTING = "starting"
    RESTARTING = "restarting"
    RESUMING = "resuming"
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
    TOKEN_REFUSED = "token_refused"  # noqa: S105
    REJECTED = "rejected"
    LOGIN_ERROR = "login_error"
    LOCKED_OUT = "locked_out"
    LATE_FORM = "late_form"
    ENDED = "ended"
    AUTOMATION_FAILED = "automation_failed"
    COMMANDS_UNAVAILABLE = "commands_unavailable"
    LOGGED_IN = "logged_in"
    # What the container's first process says of itself.
    GUARD_HELD = "guard_held"
    WRONG_ACCOUNT = "wrong_account"
    VOLUME_LOST = "volume_lost"
    TOO_MANY_LOGINS = "too_many_logins"
    CODES_HELD = "codes_held"
    VOLUME_LOCKED = "volume_locked"
    GUARD_UNWRITABLE = "guard_unwritable"
    AUTOMATION_UNSUPPORTED = "automation_unsupported"
    WAITING = "waiting"
    OFFLINE = "offline"
    PAUSED = "paused"
    HEALING = "healing"
    STOPPING = "stopping"
    STOPPED_CLEAN = "stopped_clean"
    STOPPED_NO_SESSION = "stopped_no_session"
    STOPPED_STRANDED = "stopped_stranded"


# Why the API is not there, where the state tells. UNKNOWN, LOGGED_IN, SESSION_KEPT and COMMANDS_UNAVAILABLE explain
# nothing.
REASONS: dict[LoginState, Reason] = {
    LoginState.STARTING: Reason.STARTING,
    LoginState.RESTARTING: Reason.PLANNED_RESTART,
    LoginState.RESUMING: Reason.PLANNED_RESTART,
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
    LoginState.TOKEN_REFUSED: Reason.TOKEN_REFUSED,
    LoginState.REJECTED: Reason.LOGIN_FAILED,
    LoginState.LOGIN_ERROR: Reason.LOGIN_ERROR,
    LoginState.LOCKED_OUT: Reason.LOCKED_OUT,
    LoginState.LATE_FORM: Reason.LATE_FORM,
    LoginState.ENDED: Reason.LOGIN_ENDED,
    LoginState.AUTOMATION_FAILED: Reason.AUTOMATION_FAILED,
    LoginState.GUARD_HELD: Reason.GUARD_HELD,
    LoginState.WRONG_ACCOUNT: Reason.WRONG_ACCOUNT,
    LoginState.VOLUME_LOST: Reason.VOLUME_LOST,
    LoginState.TOO_MANY_LOGINS: Reason.TOO_MANY_LOGINS,
    LoginState.CODES_HELD: Reason.SECOND_FACTOR_HELD,
    LoginState.VOLUME_LOCKED: Reason.VOLUME_LOCKED,
    LoginState.GUARD_UNWRITABLE: Reason.GUARD_UNWRITABLE,
    LoginState.AUTOMATION_UNSUPPORTED: Reason.AUTOMATION_UNSUPPORTED,
    LoginState.WAITING: Reason.LOGIN_DELAYED,
    LoginState.OFFLINE: Reason.OFFLINE,
    LoginState.PAUSED: Reason.PAUSED,
    LoginState.HEALING: Reason.HEALING,
    LoginState.STOPPING: Reason.STOPPING,
    LoginState.STOPPED_CLEAN: Reason.STOPPING,
    LoginState.STOPPED_NO_SESSION: Reason.STOPPING,
    LoginState.STOPPED_STRANDED: Reason.SESSION_STRANDED,
}

OUTCOMES: dict[str, LoginState] = {
    "rejected": LoginState.REJECTED,
    "locked_out": LoginState.LOCKED_OUT,
    "competing_session": LoginState.EXISTING_SESSION,
    "second_factor_timeout": LoginState.SECOND_FACTOR_TIMEOUT,
    "second_factor_denied": LoginState.SECOND_FACTOR_CLOSED,
    "unreachable": LoginState.SERVER_UNREACHABLE,
    "unavailable": LoginState.SYSTEM_UNAVAILABLE,
    "version_refused": LoginState.VERSION_REFUSED,
    "login_error": LoginState.LOGIN_ERROR,
    "late_form": LoginState.LATE_FORM,
    "wrong_account": LoginState.WRONG_ACCOUNT,
    "volume_lost": LoginState.VOLUME_LOST,
    "ended": LoginState.ENDED,
    "unknown": LoginState.UNKNOWN,
}
"""How an attempt to log in ended: the word that is kept beside the count of attempts, and the state it stands for."""

# Nothing logs in until somebody does something.
HELD = frozenset(
    {
        LoginState.GUARD_HELD,
        LoginState.WRONG_ACCOUNT,
        LoginState.TOO_MANY_LOGINS,
        LoginState.CODES_HELD,
        LoginState.VOLUME_LOCKED,
        LoginState.GUARD_UNWRITABLE,
        LoginState.AUTOMATION_UNSUPPORTED,
    }
)

# Of these `ibgw login --again` is the way out.
LET_GO = frozenset(
    {
        LoginState.GUARD_HELD,
        LoginState.WRONG_ACCOUNT,
        LoginState.TOO_MANY_LOGINS,
        LoginState.CODES_HELD,
        LoginState.WAITING,
    }
)

# No program of the gateway runs, on purpose.
AWAY = HELD | {LoginState.OFFLINE, LoginState.PAUSED, LoginState.WAITING}

# These stand until a login succeeds: the automation restarts by itself after them and its next lines look harmless.
STANDING = HELD | {LoginState.REJECTED, LoginState.LOCKED_OUT}

# How a login begins, once more after each of its failures.
EARLY = frozenset({LoginState.STARTING, LoginState.LOGIN_FORM, LoginState.SUBMITTED})

RESTARTS = frozenset({LoginState.RESTARTING, LoginState.RESUMING})

# These stand while the next attempt is only beginning, after a restart for it too.
LINGERING = frozenset(
    {
        LoginState.SERVER_UNREACHABLE,
        LoginState.SYSTEM_UNAVAILABLE,
        LoginState.VERSION_REFUSED,
        LoginState.LOGIN_ERROR,
        LoginState.LATE_FORM,
        LoginState.SECOND_FACTOR_TIMEOUT,
    }
)

# A login is under way. Dialogs come and go in a session that is well; here one may stand in the way.
UNDER_WAY = EARLY | {LoginState.DIALOG, LoginState.DIALOG_CLOSED, LoginState.RELOGIN_REQUIRED}

# Of a stop, which is another matter than the login: a rejected gateway that is stopped was rejected all the same.
STOPS = frozenset(
    {
        LoginState.STOPPING,
        LoginState.STOPPED_CLEAN,
        LoginState.STOPPED_NO_SESSION,
        LoginState.STOPPED_STRANDED,
    }
)

# What the text of a 'Login Error' dialog may say; every other text is a LOGIN_ERROR.
LOGIN_ERRORS = frozenset(
    {
        LoginState.REJECTED,
        LoginState.LOCKED_OUT,
        LoginState.VERSION_REFUSED,
        LoginState.SYSTEM_UNAVAILABLE,
        LoginState.SERVER_UNREACHABLE,
    }
)

Lines = tuple[tuple[str, LoginState], ...]


@dataclass(frozen=True)
class Profile:
    """One login automation: how its log is recognised, what its lines say and what its exit codes mean.

    `lines`: pattern and state; the first pattern that is found in a line counts, whatever the case. All patterns are
    POSIX extended regular expressions which Python reads alike, since a script in the container uses them in bash too.
    `exit_reasons`: of those codes that name what is to be put right. `routine`: what it says by the clock, of no login.
    """

    name: str
    recognised: str
    lines: Lines
    exit_codes: Mapping[int, str]
    exit_reasons: Mapping[int, Reason] = field(default_factory=dict)
    routine: str | None = None


STAMP = re.compile(r"^([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})[:,.][0-9]{3} ")
LOCK_TIME = re.compile(
    r"wait (?:(\d{1,6}) minutes?)?(?: & )?(?:(\d{1,6}) seconds?)?|retrying in (\d{1,6})s", re.IGNORECASE
)
OUTCOME = re.compile(r"held: attempts: (\w+)$")
ATTEMPT = re.compile(r"^ibgw: attempt (\d{1,9}) of (\d{1,9})$")
UNTIL = re.compile(r"until (\d{1,11})$")


@dataclass(frozen=True)
class Reading:
    """What a container's lines come to.

    `line` is the one that decided, empty where another witness did; `at` its time by the gateway's clock, in the
    gateway's time zone; `retry_after`: seconds that a lock lasts; `had_session`: a login had succeeded before it;
    `outcome`: how the last attempt ended before the guard held; `until`: aware, when a pause or the offline hours end;
    `stop`: what was last said of a stop; `second_factor`: its kind (ib_key, sms, other) where known; `exit_codes`: what
    they mean for what ran, and `exit_reasons` what they name; `attempt`: the last one that its first process counted,
    of how many.
    """

    state: LoginState = LoginState.UNKNOWN
    line: str = ""
    at: datetime | None = None
    retry_after: int | None = None
    had_session: bool = False
    outcome: LoginState | None = None
    until: datetime | None = None
    stop: LoginState | None = None
    second_factor: str | None = None
    exit_codes: Mapping[int, str] = field(default_factory=dict)
    exit_reasons: Mapping[int, Reason] = field(default_factory=dict)
    attempt: tuple[int, int] | None = None

    @property
    def retry(self) -> Retry:
        """How a running gateway is had to log in once more: what holds it or has used its attempts up is let go."""
        if self.state in LET_GO:
            return Retry.AGAIN
        if self.attempt is None or self.state is LoginState.LOGGED_IN:
            return Retry.RESTART
        # After another session its next start waits, for a quarter of an hour.
        used_up = self.attempt[0] >= self.attempt[1]
        return Retry.AGAIN if used_up or self.state is LoginState.EXISTING_SESSION else Retry.RESTART

    @property
    def reason(self) -> Reason | None:
        return REASONS[self.stop] if self.stop is not None else self.reason_of_login

    @property
    def reason_of_login(self) -> Reason | None:
        """The same, of a gateway that was stopped since too."""
        if self.state is LoginState.EXISTING_SESSION and self.had_session:
            return Reason.SESSION_TAKEN_OVER
        # Rejected twice, or it is not known how: the credentials are to be looked at.
        if self.state is LoginState.GUARD_HELD and self.outcome not in (None, LoginState.UNKNOWN, LoginState.REJECTED):
            return REASONS[self.outcome]
        return REASONS.get(self.state)

    @property
    def held(self) -> bool:
        """Nothing logs in until somebody does something, whatever the reason."""
        return self.state in HELD and self.stop is None


def read(lines: Iterable[str], profile: Profile) -> Reading:
    """The state that the lines since the container's start lead to."""
    reading = Reading()
    resuming = error_follows = False
    counted: tuple[int, int] | None = None
    for raw in lines:
        line = raw.strip()
        if attempt := ATTEMPT.match(line):
            counted = int(attempt[1]), int(attempt[2])
        state = classify(line, profile)
        if error_follows and line:
            # The dialog's own text, whatever else it may look like.
            state, error_follows = state if state in LOGIN_ERRORS else LoginState.LOGIN_ERROR, False
        elif state is LoginState.LOGIN_ERROR and line.endswith(":"):
            error_follows = True
        if state is None:
            continue
        if state in (LoginState.RESUMING, LoginState.STARTING, LoginState.SUBMITTED, LoginState.LOGGED_IN):
            resuming = state is LoginState.RESUMING
        elif resuming and state in (LoginState.LOGIN_FORM, LoginState.REJECTED):
            # A start with a saved session types no password: whatever is refused then is the session.
            state = LoginState.TOKEN_REFUSED
        reading = _with(reading, state, line)
    return replace(reading, attempt=counted)


def _with(reading: Reading, state: LoginState, line: str) -> Reading:
    if state in STOPS:
        return replace(reading, stop=state)
    if state is LoginState.STARTING:
        reading = replace(reading, stop=None)
    if not replaces(state, reading.state):
        return reading
    return Reading(
        state,
        line,
        stop=reading.stop,
        at=_time(line),
        retry_after=_lock_time(line) if state is LoginState.LOCKED_OUT else None,
        had_session=state is LoginState.LOGGED_IN or (reading.had_session and state is not LoginState.STARTING),
        outcome=_outcome(line) if state is LoginState.GUARD_HELD else None,
        until=_until(line) if state in (LoginState.OFFLINE, LoginState.PAUSED) else None,
    )


def replaces(state: LoginState, before: LoginState) -> bool:
    """Whether a line's state counts after what was known before it."""
    if state is LoginState.COMMANDS_UNAVAILABLE:
        return False
    if state in (LoginState.OFFLINE, LoginState.PAUSED):
        return True
    if before in STANDING:
        return state in STANDING or state is LoginState.LOGGED_IN
    if state is LoginState.DIALOG_CLOSED:
        return before is LoginState.DIALOG
    if state is LoginState.AUTOMATION_FAILED:
        return before in UNDER_WAY
    if before in LINGERING:
        return state not in EARLY | RESTARTS
    return state is not LoginState.DIALOG or before in UNDER_WAY


def classify(line: str, profile: Profile) -> LoginState | None:
    """What one line says of the login; None for a line that says nothing known."""
    return next((state for pattern, state in profile.lines if matches(pattern, line)), None)


def matches(pattern: str, line: str) -> bool:
    return _compiled(pattern).search(line) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _time(line: str) -> datetime | None:
    stamp = STAMP.match(line)
    return moment(stamp[1]) if stamp is not None else None


def moment(stamp: str) -> datetime | None:
    """A time as the logs have it, naive; None where there is no such time: a line may be cut, or written over."""
    try:
        return datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None


def _lock_time(line: str) -> int | None:
    match = LOCK_TIME.search(line)
    if match is None or not any(match.groups()):
        return None
    minutes, seconds, only = (int(part or 0) for part in match.groups())
    return minutes * 60 + seconds + only


def _outcome(line: str) -> LoginState | None:
    match = OUTCOME.search(line)
    return OUTCOMES.get(match[1], LoginState.UNKNOWN) if match is not None else None


def _until(line: str) -> datetime | None:
    match = UNTIL.search(line)
    return datetime.fromtimestamp(int(match[1]), UTC) if match is not None else None
