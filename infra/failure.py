"""How the program ends when it has said why: with that reason and no second error."""

import os
import sys

import pulumi

TOLD = 32
"""The exit code that Pulumi's Python language host takes for 'the reason is told' (pulumi-language-python-exec). Its
executor leaves with 1 after a RunError, and the engine then adds 'an unhandled error occurred: program exited with
non-zero exit code: 1'."""

_told: list[str] = []


def failed(reason: str) -> pulumi.RunError:
    """The exception that ends the program. Whoever catches it, in the SDK, logs the reason."""
    _told.append(reason)
    return pulumi.RunError(reason)


def leave() -> None:
    """For the very end of the program's process (atexit): leaves with `TOLD` where the reason was told."""
    if _told:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(TOLD)
