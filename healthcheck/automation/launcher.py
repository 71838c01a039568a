"""`launcher.log`, which the gateway's own program writes from its start until its login succeeds. Pure.

A witness that no automation can take away. Undocumented; the lines are those seen with 10.45 and 10.50. The file holds
addresses, session ids and hashes: nothing of a line leaves this module, only which state it stands for, and when.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from healthcheck.automation.base import AWAY, EARLY, RESTARTS, LoginState, Reading, matches, moment, replaces
from healthcheck.automation.supervisor import PREFIX

NAME = "launcher.log"
"""In the gateway's settings folder. At midnight it is renamed and begun anew, perhaps in the middle of a login."""

# Builds up to 10.30 have two letters in brackets before the level. The time is the container's, without a zone.
LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.\d{3} (?:\[[A-Z]{2}\] )?[A-Z]+ +\[[^]]*\] - +(.*)$")

RESTART = re.compile(r"^-+ IB GATEWAY RESTART -+$")
SAVED_SESSION = re.compile(r"^Running in auto-restart mode")
ROUND = re.compile(r"^NS_AUTH_START version=\d+ pwd=\d+ soft=\d+ token\(s\)=\[(.*)\] initialTokenType=")

# First match counts.
LINES: tuple[tuple[re.Pattern[str], LoginState], ...] = tuple(
    (re.compile(pattern), state)
    for pattern, state in (
        (RESTART.pattern, LoginState.STARTING),
        (SAVED_SESSION.pattern, LoginState.RESUMING),
        (r"^LauncherLoginThread\.runLoginWithUI\(\)\[.*loginAttempt=\d+", LoginState.SUBMITTED),
        (ROUND.pattern, LoginState.SUBMITTED),
        (r"^Received CHALLENGE", LoginState.SECOND_FACTOR_PENDING),
        (r"^AUTH_RESULT indicates wrong password", LoginState.REJECTED),
        (r"^Authorization failed: Invalid username or password", LoginState.REJECTED),
        (r"^Authorization failed: SUPPRESS_MESSAGE_BOX", LoginState.SECOND_FACTOR_TIMEOUT),
        (r"^Authorization failed: .*no longer supported", LoginState.VERSION_REFUSED),
        (r"^Authorization failed: .*not currently available", LoginState.SYSTEM_UNAVAILABLE),
        (r"^Authorization failed: ", LoginState.LOGIN_ERROR),
        (r"^Authentication timeout", LoginState.SERVER_UNREACHABLE),
        (r"^SPLASH Attempt \d+: (network|server) error, will retry", LoginState.SERVER_UNREACHABLE),
        (r"^Too many failed login attempts", LoginState.LOCKED_OUT),
        (r"^### onAuthenticationCompleted tokenProtocol=\d+; authenticated=true", LoginState.LOGGED_IN),
        (r"^Switching to a new encrypted log", LoginState.LOGGED_IN),
    )
)

PUSH = "ib_key"
SECOND_FACTORS = {"IB Key": PUSH, "SMS": "sms"}
OTHER, PASSKEY = "other", "passkey"
PASSKEYS = re.compile(r"passkey|FIDO|WebAuthn", re.IGNORECASE)
"""What the program may call one: nobody has shown its log of such a login."""

ANSWERED_WITHIN = timedelta(seconds=175)
"""IBKR ends a challenge that nobody answers after 180 to 185 seconds; one that ends earlier was answered: with no."""


@dataclass(frozen=True)
class Witness:
    """What the program itself says of its present start. `second_factor`: ib_key, sms, other; None where none is asked
    for."""

    state: LoginState = LoginState.UNKNOWN
    second_factor: str | None = None


def line(text: str) -> tuple[datetime, LoginState | None] | None:
    """When one line was written, naive, by the gateway's clock, and what it says of the login; None for others."""
    found = LINE.match(text)
    if found is None:
        return None
    state = next((state for pattern, state in LINES if pattern.search(found[2])), None)
    at = moment(found[1])
    return None if at is None else (at, state)


def read(text: str, since: datetime) -> Witness:
    """The last state of the current start; LOGGED_IN from its login on, UNKNOWN where nothing was written yet.

    `since`: when the container started, naive, by the gateway's clock. What is older is another start's.
    """
    witness, resuming = Witness(), False
    challenged: datetime | None = None
    for line in text.splitlines():
        parts = LINE.match(line)
        if parts is None:
            continue
        at, said = moment(parts[1]), parts[2].rstrip()
        state = next((state for pattern, state in LINES if pattern.match(said)), None)
        if at is None or at < since.replace(microsecond=0) or state is None:
            continue
        if RESTART.match(said):
            witness, resuming, challenged = Witness(), False, None
        elif SAVED_SESSION.match(said):
            resuming = True
        elif kinds := ROUND.match(said):
            witness, challenged = replace(witness, second_factor=_second_factor(kinds[1])), None
        elif state is LoginState.SECOND_FACTOR_PENDING:
            challenged = at
        elif state in (LoginState.SECOND_FACTOR_TIMEOUT, LoginState.LOGIN_ERROR):
            # No challenge before it: it is not known why.
            state = _unanswered(challenged, at) if challenged else LoginState.LOGIN_ERROR
            challenged = None
        if resuming and state is LoginState.SUBMITTED:
            state = LoginState.RESUMING
        if resuming and state in (LoginState.REJECTED, LoginState.LOGIN_ERROR):
            # Nobody types a password at such a start.
            state = LoginState.TOKEN_REFUSED
        if replaces(state, witness.state):
            witness = replace(witness, state=state)
    return witness


def _unanswered(challenged: datetime, ended: datetime) -> LoginState:
    early = ended - challenged < ANSWERED_WITHIN
    return LoginState.SECOND_FACTOR_CLOSED if early else LoginState.SECOND_FACTOR_TIMEOUT


def _second_factor(tokens: str) -> str | None:
    """The kind by the name in brackets at a token's end, as in `[token=5, suffix=a[IB Key]]`."""
    named = re.search(r"\[([^][=]+)\]", tokens)
    if named is None:
        return None
    return PASSKEY if PASSKEYS.search(named[1]) else SECOND_FACTORS.get(named[1], OTHER)


# What tells least: a login is under way, or was refused with a text that is not known.
LEAST = EARLY | RESTARTS | {LoginState.LOGIN_ERROR}

# What the automation's log may still say when the program has started anew, or got further.
OUTDATED = EARLY | RESTARTS | {LoginState.UNKNOWN, LoginState.LOGGED_IN, LoginState.SESSION_KEPT}


def needed(reading: Reading) -> bool:
    """Whether the program could add to what the log says: not while it is kept from running, or stopped."""
    return reading.state not in AWAY and reading.stop is None


def joined(reading: Reading, witness: Witness) -> Reading:
    """What the log says, unless the program knows better: until its login, what it says of its present start wins.

    What tells least does not: the log may know what stands in the way.
    """
    reading = replace(reading, second_factor=witness.second_factor)
    if witness.state in (LoginState.UNKNOWN, LoginState.LOGGED_IN, reading.state):
        return reading
    # IBC logs a form at a start with a saved session that goes well too (AbstractLoginHandler).
    guessed = reading.state is LoginState.TOKEN_REFUSED and not matches(PREFIX, reading.line)
    if guessed and witness.state is LoginState.RESUMING:
        return Reading(witness.state, exit_codes=reading.exit_codes, attempt=reading.attempt)
    if witness.state in LEAST and reading.state not in OUTDATED:
        return reading
    return Reading(
        witness.state,
        second_factor=witness.second_factor,
        exit_codes=reading.exit_codes,
        attempt=reading.attempt,
    )
