"""The X display that the program draws on. Without one Java cannot start, and it dies when its display goes."""

import os
import select
from pathlib import Path

from .settings import UNHANDLED, Exit

LOCKS = Path("/tmp")  # where an X server keeps `.X<number>-lock`, which holds its process id


class Display:
    """A display that is there. `descriptor` becomes readable when its server ends."""

    def __init__(self, name: str) -> None:
        """`name` as in DISPLAY, `:1`. Raises Exit where no server of this machine runs under it: Java's AWTError, which
        IBC's UncaughtExceptionHandler makes exit code 1100."""
        try:
            process = int((LOCKS / f".X{name.removeprefix(':')}-lock").read_text(encoding="ascii"))
            self.descriptor = os.pidfd_open(process)
        except (OSError, ValueError) as problem:
            text = (
                "An exception has occurred: java.awt.AWTError: Can't connect to X11 window server using "
                f"'{name}' as the value of the DISPLAY variable."
            )
            raise Exit(UNHANDLED, text) from problem

    @property
    def gone(self) -> bool:
        return bool(select.select([self.descriptor], [], [], 0)[0])
