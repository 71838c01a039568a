"""Which process made a verifier's objects, in a label, and whether it is certain that it is gone. Reads Linux's /proc;
elsewhere nothing is certain, and the objects' lifetime decides."""

import os
import secrets
from pathlib import Path

PROC = Path("/proc")


def this_process() -> str:
    """`BOOT/NAMESPACE/PID/START/RANDOM`, of which the last alone where there is no /proc."""
    token = secrets.token_hex(8)
    where = _here()
    return token if where is None else f"{where}/{os.getpid()}/{_started(os.getpid())}/{token}"


def is_gone(run: str) -> bool:
    """Whether a process that wrote this has ended, for certain: one of another machine, or another container, cannot be
    seen from here. `START` tells it from a later one with its number."""
    where, _, rest = run.rpartition("/")[0].partition("]/")
    pid, _, started = rest.partition("/")
    return f"{where}]" == _here() and _started(int(pid)) != started


def _here() -> str | None:
    """Where numbers of processes mean the same: this boot of this machine, and the namespace."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{(PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return None


def _started(pid: int) -> str:
    """Field 22 of /proc/PID/stat (proc(5)); the second is in brackets and may hold anything. Empty if it has ended."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
