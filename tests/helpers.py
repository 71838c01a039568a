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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()
