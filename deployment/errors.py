"""Exit codes of `ibgw`, the one exception that carries them, and what others say in words."""

import re
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """What a command's exit status means. A verdict never shares a code with a breakdown."""

    OK = 0
    INTERNAL_ERROR = 1
    BAD_USAGE = 2
    FAILED = 3
    WARNINGS = 4
    COULD_NOT_RUN = 5
    TIMED_OUT = 6
    REFUSED = 7
    DECLINED = 8
    GATE_HIT = 9
    ROLLED_BACK = 10
    NEEDS_A_PERSON = 11
    HUNG_UP = 129
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    TERMINATED = 143


MEANINGS = {
    ExitCode.OK: "verified, or done",
    ExitCode.INTERNAL_ERROR: "a bug",
    ExitCode.BAD_USAGE: "an option or an argument is wrong",
    ExitCode.FAILED: "a required check failed, or what was begun did not succeed",
    ExitCode.WARNINGS: "verified with warnings, under `--strict`",
    ExitCode.COULD_NOT_RUN: "it could not be found out, or not be done",
    ExitCode.TIMED_OUT: "timed out on what may heal, or on a second factor",
    ExitCode.REFUSED: "refused, and nothing changed",
    ExitCode.DECLINED: "you said no",
    ExitCode.GATE_HIT: "`ibgw plan --fail-on` was hit, or `ibgw drift` found something",
    ExitCode.ROLLED_BACK: "a promotion failed; live runs the release before, verified",
    ExitCode.NEEDS_A_PERSON: "a promotion failed; live needs a person",
    ExitCode.HUNG_UP: "interrupted: the terminal was closed",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
    ExitCode.PIPE_CLOSED: "whoever read the output had enough",
    ExitCode.TERMINATED: "interrupted by a signal to end",
}


class IbgwError(Exception):
    """An expected failure: the message names the setting or object, what was found, what was expected and what to do.

    The message is shown as it is, so it must never hold a secret.
    """

    exit_code = ExitCode.COULD_NOT_RUN

    def __init__(self, message: str, *, exit_code: ExitCode | None = None) -> None:
        super().__init__(message)
        if exit_code is not None:
            self.exit_code = exit_code


def words(error: BaseException) -> str:
    """What an exception of Python's or of a library's says, in the words of what caused it, without the library's own:
    `Connection reset by peer`. Not where its text may hold a secret: there `kind`."""
    cause = error.__cause__ or error.__context__
    if cause is not None:
        return words(cause)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError) and error.args:
        return f"there is no {error.args[0]}"
    # Such as "HTTPConnectionPool(host='localhost', port=None): " of urllib3.
    return re.sub(r"^<?\w+\([^()]*\)>?: ", "", str(error)) or kind(error)


def kind(error: BaseException) -> str:
    """What kind of an exception it is, where its text must not be shown: `json decode error`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()


_FAULTS = {"missing": "missing", "extra_forbidden": "unknown key"}
"""By pydantic's names of what is wrong; for all others, its own words."""


def fault_in_words(fault: Mapping[str, Any]) -> str:
    """One of pydantic's ErrorDetails, without what it found: a rule of ours in our own words, and pydantic's without
    `Value error` or `Input should be`."""
    if "error" in (context := fault.get("ctx", {})):
        return str(context["error"])
    said = _FAULTS.get(fault["type"], str(fault["msg"]))
    said = re.sub("^Input should be (?=greater|less)", "expected a number ", said)
    return said.replace("Input should be ", "expected ").partition(", unable to parse")[0]


def faults_in_words(faults: Iterable[Mapping[str, Any]]) -> str:
    """Each with its key, without what was found."""
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'the whole'}: {fault_in_words(fault)}" for fault in faults)
