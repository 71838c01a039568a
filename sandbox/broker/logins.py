"""What the broker remembers of a user, and its judgement of a submitted login form. No input or output."""

import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from . import scenarios
from .account import Account
from .clock import week_end
from .scenarios import Conditions, Login, LoginError
from .users import TOTP_STEP, User, code_at

# IBKR publishes neither number. The waiting time in the dialog text that IBC quotes is just below five minutes.
LOCKOUT_FAILURES = 5
LOCKOUT_SECONDS = 300.0


class Verdict(StrEnum):
    """The login server's answer to a form. Also the vocabulary of the gateway's link."""

    PASSWORD_OK = "password-ok"  # noqa: S105 - a verdict, not a password
    REJECTED = "rejected"
    FAILED = "failed"
    LOCKED = "locked"
    UNAVAILABLE = "unavailable"
    OUTDATED = "outdated"
    ERROR = "login-error"
    BLOCKED = "blocked"
    NO_ANSWER = "no-answer"


LOGIN_ERRORS = {
    # Of the second the text is known (mvberg/ib-gateway-docker#29), of the third a part of it
    # (IBC, NotCurrentlyAvailableDialogHandler).
    LoginError.PASSWORD: "Invalid username or password",
    LoginError.VERSION: (
        "The current version of the application you are running, 10.45.1j, is no longer supported. Please download the "
        "current version from our website."
    ),
    LoginError.UNAVAILABLE: "The system is not currently available.",
}


def waiting_text(seconds: float) -> str:
    """The text of the dialog while a user is locked out, as IBC's TooManyFailedLoginAttemptsDialogHandler quotes it."""
    minutes, rest = divmod(max(1, round(seconds)), 60)
    parts = []
    if minutes:
        parts.append(f"{minutes} minute{'s' if minutes > 1 else ''}")
    if rest:
        parts.append(f"{rest} second{'s' if rest > 1 else ''}")
    return f"Too many failed login attempts. Please wait {' & '.join(parts)} before attempting to re-login again."


def existing_prevails(existing_action: str) -> bool:
    """Whether a user's open session keeps running when another login of the same user insists.

    `existing_action` is the open session's ExistingSessionDetectedAction. Source: IBC's config.ini, Existing Session
    Detected Action: a primary session is never overridden by a new one.
    """
    return existing_action == "primary"


@dataclass
class Counters:
    """What tests compare. `attempts` counts every submitted form, whatever came of it."""

    attempts: int = 0
    logins: int = 0
    soft_logins: int = 0  # with a session token instead of a form
    failed_attempts: int = 0
    logouts: int = 0
    orders: int = 0
    what_ifs: int = 0
    stranded_sessions: int = 0  # whose connection went without a logout, be it one that keeps the token
    second_factor_prompts: int = 0
    codes: int = 0  # that were typed into a gateway's dialog
    codes_refused: int = 0
    least_code_life: float = 30.0  # seconds that the shortest-lived of them had left


@dataclass(frozen=True)
class Token:
    """What a soft restart resumes its session with."""

    mode: str
    valid_until: float  # seconds since the epoch


@dataclass
class UserState:
    """What the broker knows of one user."""

    user: User
    scenario: str = scenarios.NORMAL
    counters: Counters = field(default_factory=Counters)
    failures_in_a_row: int = 0
    locked_until: float = 0.0
    tokens: dict[str, Token] = field(default_factory=dict, repr=False)
    accounts: dict[str, Account] = field(default_factory=dict)
    last_code: int = 0  # the half minute of the last one that was used (RFC 6238, 5.2)

    def __post_init__(self) -> None:
        for name in (*self.user.live_accounts, *self.user.paper_accounts):
            self.accounts[name] = Account(name)

    @property
    def conditions(self) -> Conditions:
        return scenarios.conditions(self.scenario)

    def judge(self, password: str, now: float) -> Verdict:
        """Judges one submitted form at a time (seconds since the epoch) and counts it."""
        if self.conditions.login is Login.DOWN:
            return Verdict.NO_ANSWER
        self.counters.attempts += 1
        if self.conditions.login is Login.UNAVAILABLE:
            return Verdict.UNAVAILABLE
        if self.conditions.login is Login.OUTDATED:
            return Verdict.OUTDATED
        if self.conditions.login is Login.ERROR and self.conditions.login_error is not LoginError.PASSWORD:
            return Verdict.ERROR
        if self.conditions.login is Login.LOCKED and self.locked_until <= now:
            self.locked_until = now + LOCKOUT_SECONDS
        if now < self.locked_until:
            self.counters.failed_attempts += 1
            return Verdict.LOCKED
        known = secrets.compare_digest(password.encode(), self.user.password.encode())
        if known and self.conditions.login in (Login.CHECK, Login.BLOCKED):
            self.failures_in_a_row = 0
            return Verdict.BLOCKED if self.conditions.login is Login.BLOCKED else Verdict.PASSWORD_OK
        self.counters.failed_attempts += 1
        self.failures_in_a_row += 1
        if self.failures_in_a_row >= LOCKOUT_FAILURES:
            self.failures_in_a_row = 0
            self.locked_until = now + LOCKOUT_SECONDS
            return Verdict.LOCKED
        return {Login.FAIL: Verdict.FAILED, Login.ERROR: Verdict.ERROR}.get(self.conditions.login, Verdict.REJECTED)

    def takes_code(self, code: str, now: float) -> bool:
        """One that was typed into a dialog: right at this time or half a minute before, and never used."""
        self.counters.codes += 1
        for step in (int(now) // TOTP_STEP, int(now) // TOTP_STEP - 1):
            right = secrets.compare_digest(code_at(self.user.totp_secret, step * TOTP_STEP).encode(), code.encode())
            if right and step > self.last_code:
                self.last_code = step
                life = (step + 1) * TOTP_STEP - now
                self.counters.least_code_life = min(self.counters.least_code_life, life)
                return True
        self.counters.codes_refused += 1
        return False

    def new_token(self, mode: str, now: float) -> str:
        """A token with which the gateway may log in again without a form, until the week ends. Earlier ones of the mode
        are void."""
        self.revoke(mode)
        token = secrets.token_hex(16)
        self.tokens[token] = Token(mode, week_end(now))
        return token

    def accepts(self, token: str, mode: str, now: float) -> bool:
        known = self.tokens.get(token)
        return known is not None and known.mode == mode and now < known.valid_until

    def revoke(self, mode: str) -> None:
        self.tokens = {token: known for token, known in self.tokens.items() if known.mode != mode}

    def text(self, verdict: Verdict, now: float) -> str | None:
        """What the dialog says with which the gateway shows a verdict; None where that is always the same."""
        if verdict is Verdict.LOCKED:
            return waiting_text(self.locked_until - now)
        return LOGIN_ERRORS[self.conditions.login_error] if verdict is Verdict.ERROR else None

    def set_scenario(self, name: str, now: float) -> None:
        """Raises ValueError for an unknown name or value. Leaving `locked-out` ends the lock."""
        conditions = scenarios.conditions(name)
        if self.conditions.login is Login.LOCKED and conditions.login is not Login.LOCKED:
            self.locked_until = now
        self.scenario = name

    def status(self, now: float) -> dict[str, Any]:
        return {
            "scenario": self.scenario,
            "locked_for": max(0.0, self.locked_until - now),
            **vars(self.counters),
        }
