"""Real X displays for tests: Debian's Xvfb, with windows that a test draws."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sandbox import packages
from sandbox.environment import default_cache

FIRST, LAST = 10_000, 50_000
"""Numbers above those that people use, and the 1 whose socket the supervisor removes."""


@dataclass(frozen=True)
class TestDisplay:
    """`name`: as in DISPLAY. `path`: of its socket."""

    __test__ = False
    name: str
    path: str


@contextmanager
def display(*, depth: int = 16, width: int = 1024, height: int = 768) -> Iterator[TestDisplay]:
    """Of the image's kind: 16 bits deep, and without a window manager. It outlives its last client, which else would
    reset it under the next one's hands."""
    packages.provide(packages.DISPLAY, default_cache(), print)
    server = packages.find("Xvfb")
    assert server is not None
    read, write = os.pipe()
    # By chance, since other processes of a test run start displays too.
    name = f":{FIRST + secrets.randbelow(LAST - FIRST)}"
    size = f"{width}x{height}x{depth}"
    process = subprocess.Popen(
        [server, name, "-displayfd", str(write), "-ac", "-noreset", "-nolisten", "tcp", "-screen", "0", size],
        pass_fds=(write,),
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as told:
            assert told.readline().strip() == name[1:], f"Xvfb did not start as {name}"
        yield TestDisplay(name, f"/tmp/.X11-unix/X{name[1:]}")
    finally:
        process.terminate()
        process.wait(10)
