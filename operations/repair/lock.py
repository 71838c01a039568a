"""Locks of a `file://` backend, and whether their holders live.

A lock is `.pulumi/locks/organization/<project>/<stack>/<id>.json` (pulumi pkg/backend/diy/lock.go). Locks of any other
backend cannot be read from here; there, Pulumi's own refusal tells that there is one.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

SCHEME = "file"


@dataclass(frozen=True)
class Lock:
    """Who wrote a lock, when and where."""

    pid: int
    user: str
    host: str
    since: str

    def __str__(self) -> str:
        return f"held by {self.user}@{self.host}, process {self.pid}, since {self.since}"


class Holder(StrEnum):
    """What is known of the process that wrote a lock."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"


def backend_folder(url: str) -> Path | None:
    """The folder of a `file://` backend, None for any other."""
    parts = urlsplit(url)
    if parts.scheme != SCHEME:
        return None
    # file://~ and file://./state have their first part where a host would be.
    return Path(parts.netloc + parts.path).expanduser()


def read_locks(url: str, project: str, stack: str) -> tuple[Lock, ...]:
    """The locks of one stack; none where the backend is not made of files."""
    folder = backend_folder(url)
    if folder is None:
        return ()
    files = sorted((folder / ".pulumi" / "locks" / "organization" / project / stack).glob("*.json"))
    return tuple(_read(file) for file in files)


def _read(file: Path) -> Lock:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        # Cut off in the middle of its writing: somebody's lock all the same.
        content = {}
    return Lock(
        pid=int(content.get("pid", 0)),
        user=str(content.get("username", "?")),
        host=str(content.get("hostname", "?")),
        since=str(content.get("timestamp", "?")),
    )


def holder(lock: Lock, *, host: str, program_of: Callable[[int], str | None]) -> Holder:
    """A pid means something only on the machine that wrote it. One that now runs something else was recycled."""
    if lock.host != host:
        return Holder.UNKNOWN
    return Holder.ALIVE if program_of(lock.pid) == "pulumi" else Holder.GONE
