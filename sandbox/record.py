"""What one sandbox remembers between commands: the processes that it started, the ports that it keeps, what it found.

The record is the only source for `down` of which processes are ours: a process that is not in it is never signalled.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel


class RecordedProcess(BaseModel):
    """`identity` tells the process from a later one with the same pid (see `processes.identity`), `version` is a hash
    of what it was started from, `ready` is set once it answers and is filled: an interrupted start is repeated."""

    pid: int
    identity: str
    version: str = ""
    ready: bool = False


class Record(BaseModel):
    prefix: str
    index: int
    owner: RecordedProcess | None = None
    processes: dict[str, RecordedProcess] = {}
    ports: dict[str, int] = {}
    tool_folders: tuple[str, ...] = ()
    tool_environment: dict[str, str] = {}
    base_image: str | None = None
    gateway_image: str | None = None
    pools: dict[str, str] = {}


class RecordFile:
    """The record on disk, read anew each time: another command may have changed it. Steps that run side by side change
    it through `update`, one at a time, each change whole."""

    def __init__(self, path: Path, *, prefix: str, index: int) -> None:
        self._path = path
        self._empty = Record(prefix=prefix, index=index)
        self._lock = threading.Lock()

    @property
    def current(self) -> Record:
        if not self._path.exists():
            return self._empty.model_copy(deep=True)
        return Record.model_validate_json(self._path.read_text())

    def update(self, change: Callable[[Record], object]) -> None:
        with self._lock:
            before, after = self.current, self.current
            change(after)
            if after == before:
                return
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft = self._path.with_suffix(".new")
            draft.write_text(after.model_dump_json(indent=2) + "\n")
            os.replace(draft, self._path)
