"""Processes of an interrupted run: whether the engine lives, and the plug-ins and language hosts that it left behind.

A plug-in ends when its engine is gone; one that does not would finish the object it was creating, unseen by anybody.
Read from Linux's /proc. Elsewhere `ps` tells about single processes, and stray plug-ins are not looked for.
"""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
ENGINE = re.compile(r"127\.0\.0\.1:\d+")
"""What every plug-in gets among its arguments: the address of its engine (pulumi sdk/go/common/resource/plugin)."""
PATIENCE = 5.0
"""Seconds between the request to end and the kill."""


@dataclass(frozen=True)
class Process:
    """`command`: the program's name and its arguments. `folder`: where it works."""

    pid: int
    parent: int
    command: tuple[str, ...]
    folder: Path

    def __str__(self) -> str:
        return " ".join(self.command)


def stray_plugins(processes: Iterable[Process], program: Path) -> tuple[Process, ...]:
    """Plug-ins of an engine that is gone: they work in the program's folder, and no ancestor is a living pulumi.

    Any ancestor, since the official language host runs the program as a child of its own.
    """
    known = {process.pid: process for process in processes}

    def orphaned(process: Process) -> bool:
        ancestor = known.get(process.parent)
        while ancestor is not None and ancestor.command[0] != "pulumi":
            ancestor = known.get(ancestor.parent)
        return ancestor is None

    return tuple(
        process
        for process in known.values()
        if process.folder == program and any(map(ENGINE.fullmatch, process.command)) and orphaned(process)
    )


def own_processes() -> tuple[Process, ...]:
    """This user's processes."""
    return tuple(_read_all()) if PROC.is_dir() else ()


def _read_all() -> Iterator[Process]:
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        # A process may end, or turn out to be another user's, between any two of these reads.
        with contextlib.suppress(FileNotFoundError, PermissionError, ProcessLookupError):
            if entry.stat().st_uid == os.getuid():
                yield Process(
                    pid=int(entry.name),
                    parent=_state_and_parent((entry / "stat").read_text(errors="replace"))[1],
                    command=_command((entry / "cmdline").read_bytes()),
                    folder=(entry / "cwd").readlink(),
                )


def _state_and_parent(stat: str) -> tuple[str, int]:
    """The third and fourth field of /proc/PID/stat; the second is in brackets and may hold anything (proc(5))."""
    fields = stat.rpartition(")")[2].split()
    return fields[0], int(fields[1])


def _command(command: bytes) -> tuple[str, ...]:
    program, *arguments = command.decode(errors="replace").rstrip("\0").split("\0")
    return (Path(program).name, *arguments)


def program_of(pid: int) -> str | None:
    """The name of the program that runs as `pid`, None if it does not run (any more)."""
    if not PROC.is_dir():
        done = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return Path(done.stdout.strip()).name or None
    try:
        stat = (PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # A zombie has ended; only its parent has not asked yet.
    return None if _state_and_parent(stat)[0] == "Z" else stat[stat.index("(") + 1 : stat.rindex(")")]


def end(pid: int) -> None:
    """Ends a process, by force if it does not obey. One that is gone already is no error."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if program_of(pid) is None:
                return
            time.sleep(0.1)
