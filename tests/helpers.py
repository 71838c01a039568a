"""What tests of every folder need."""

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

DEADLINE = 180.0  # seconds: a busy machine may need many of them


def until(done: Callable[[], object], what: str | Callable[[], str] = "it", *, seconds: float = DEADLINE) -> None:
    """Waits for it. `what`: for the failure's text."""
    deadline, pause = time.monotonic() + seconds, 0.005
    while not done():
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what if isinstance(what, str) else what()}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


_RESERVED: list[socket.socket] = []


def free_port() -> int:
    """One that nobody else is given while this process lives, although its server comes and goes: a socket that is
    bound and never listens holds it. A server that reuses addresses, as nearly all do, can be bound beside it."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _RESERVED.append(held)
    return int(held.getsockname()[1])


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()
