"""How the program ends when it has said why: with that reason and no second error."""

import os
import sys

import pulumi

REASON_LOGGED = 32
"""The exit code that Pulumi's Python language host takes for 'the reason is logged' (pulumi-language-python-exec). Its
executor leaves with 1 after a RunError, and the engine then adds 'an unhandled error occurred: program exited with
non-zero exit code: 1'."""

_reasons: list[str] = []


def failed(reason: str) -> pulumi.RunError:
    """The exception that ends the program. Whoever catches it, in the SDK, logs the reason."""
    _reasons.append(reason)
    return pulumi.RunError(uncoloured(reason))


def uncoloured(text: str) -> str:
    """Without the engine's own commands to a terminal, which it takes from every message: `<{%fg 1%}>`."""
    return text.replace("<{%", "<{ %")


def leave() -> None:
    """For the very end of the program's process (atexit): leaves with `REASON_LOGGED` where there was one."""
    if _reasons:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(REASON_LOGGED)
