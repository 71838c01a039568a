"""The log of the login automation, on standard output, in the format of IBC's Utils."""

import sys
from datetime import datetime

from .clock import CLOCK
from .windows import WINDOWS


def raw(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def log(text: str) -> None:
    raw(f"{stamp(CLOCK.now())} IBC: {text}")


def error(text: str) -> None:
    fence = "!" * 80
    raw(f"{fence}\n{stamp(CLOCK.now())} IBC: {text}\n{fence}")


def dialog(title: str, event: str = "Opened") -> None:
    log(f"detected dialog entitled: {title}; event={event}")
    if event == "Closed":
        WINDOWS.order("close")
    elif title != "Second Factor Authentication":
        WINDOWS.order("dialog", title, "What it says.")


def stamp(seconds: float) -> str:
    """`yyyy-MM-dd HH:mm:ss:SSS` in the container's time zone."""
    moment = datetime.fromtimestamp(seconds).astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S}:{moment.microsecond // 1000:03d}"
