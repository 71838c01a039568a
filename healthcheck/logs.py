"""What a gateway's log says of the login: the lines of its automation, and before them those of our supervisor."""

from collections.abc import Iterable
from dataclasses import replace

from healthcheck.automation import base, choose, supervisor
from healthcheck.automation.base import REASONS, LoginState, Profile, Reading

__all__ = ["REASONS", "LoginState", "Reading", "classify", "is_routine", "read", "without_stamp"]


def read(lines: Iterable[str]) -> Reading:
    """The state that the lines since the container's start lead to, by whatever automation its log shows."""
    whole = list(lines)
    profile = choose(whole)
    codes = {**supervisor.EXIT_CODES, **profile.exit_codes}
    if any(base.matches(supervisor.PREFIX, line) for line in whole):
        codes |= supervisor.EXIT_CODES
    reading = base.read(whole, _supervised(profile))
    return replace(reading, exit_codes=codes, exit_reasons=profile.exit_reasons)


def classify(line: str) -> LoginState | None:
    """What one line says of the login; None for a line that says nothing known."""
    return base.classify(line, _supervised(choose([line])))


def is_routine(line: str) -> bool:
    """Whether it is one of the many that the gateway's saving of its settings makes."""
    routine = choose([line]).routine
    return routine is not None and base.matches(routine, line)


def without_stamp(line: str) -> str:
    """Without the time by the gateway's clock that its automation begins its lines with."""
    return base.STAMP.sub("", line)


def _supervised(profile: Profile) -> Profile:
    return replace(profile, lines=supervisor.LINES + profile.lines)
