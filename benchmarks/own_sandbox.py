"""A sandbox of a benchmark's own, gone at its end whatever happens."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from benchmarks.console import progress
from sandbox.environment import ROOT, Sandbox, free_index, sweep

FOLDER = ROOT / ".ibgw" / "benchmarks"


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(f"signal {number}")


@contextmanager
def own_sandbox(prefix: str) -> Iterator[Sandbox]:
    """Up while the context lasts. SIGTERM counts as Ctrl-C, and what a killed run left is swept first."""
    signal.signal(signal.SIGTERM, _interrupt)
    sweep(FOLDER, progress)
    sandbox = Sandbox(FOLDER / prefix, prefix, free_index(), say=progress)
    try:
        sandbox.up()
        yield sandbox
    finally:
        sandbox.down()
