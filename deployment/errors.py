"""Exit codes of `ibgw`, and the one exception that carries them."""

from enum import IntEnum


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


class IbgwError(Exception):
    """An expected failure: the message names the setting or object, what was found, what was expected and what to do.

    The message is shown as it is, so it must never hold a secret.
    """

    exit_code = ExitCode.COULD_NOT_RUN

    def __init__(self, message: str, *, exit_code: ExitCode | None = None) -> None:
        super().__init__(message)
        if exit_code is not None:
            self.exit_code = exit_code
