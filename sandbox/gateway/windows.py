"""The windows of the program, where the image has a Java that shows them (sandbox/windows.py); else they are nowhere.

They only show, and tell what is typed into them: what follows is the broker's to say.
"""

import asyncio
import subprocess
from pathlib import Path
from threading import Thread

JAVA = Path("/opt/windows/java")
"""Runs Windows.java."""


class Windows:
    """`typed`: the codes that were submitted by the dialog's OK."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.typed: asyncio.Queue[str] = asyncio.Queue()

    @property
    def there(self) -> bool:
        return JAVA.exists()

    def order(self, *words: str) -> None:
        """Nothing is waited for: a program's windows come when they come."""
        if not self.there:
            return
        if self._process is None:
            self._loop = asyncio.get_running_loop()
            self._process = subprocess.Popen([JAVA], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            Thread(target=self._read, daemon=True).start()
        assert self._process.stdin is not None
        self._process.stdin.write("\t".join(words) + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._loop is not None
        for line in self._process.stdout:
            word, _, text = line.rstrip("\n").partition("\t")
            if word == "code":
                self._loop.call_soon_threadsafe(self.typed.put_nowait, text)


WINDOWS = Windows()
"""Of this process: one process is one gateway."""
