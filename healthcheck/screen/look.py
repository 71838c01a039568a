"""What a gateway shows now: its windows by their titles, and a picture in which no credential can be read.

Windows are known by their titles alone. What the login form may be is black in the picture, always; what may show an
account number is, unless the caller asks for it: nobody here reads pixels. Whatever covers or is covered, each pixel is
shown only if the topmost window there may be.
"""

import re
import struct
import time
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from healthcheck.screen.display import Picture, Screen, ScreenError, Window

STANDS = 0.2
"""Seconds for which windows must have stood as they do: what was mapped a moment ago may not be drawn yet, and shows
what was there before."""
LOOKS = 20

BLANK = b"\0\0\0"


class Shows(StrEnum):
    """What a window may show."""

    DIALOG = "dialog"
    """A text of IBKR's or a choice, and nothing that is secret."""
    ACCOUNT = "account"
    """It is not known here; it may show an account number."""
    LOGIN = "login"
    """It may be the login form, with a user id in it."""


DIALOGS = frozenset(
    {
        "authenticating",
        "connection to server failed",
        "existing session detected",
        "login error",
        "login failed",
        "re-login is required",
        "restart in progress",
        "second factor authentication",
        "shutdown progress",
        "starting application...",
        "too many failed login attempts",
        "trading login handoff",
        "unrecognized username or password",
    }
)
"""Titles of what is not the login form and shows no account (IBC's handlers; healthcheck.automation)."""

_LOGIN = re.compile(r"gateway|workstation|\blog ?in\b|\bsign ?in\b|password|user ?(name|id)")
"""In a title that is not one of those. The login form and the main window are both titled `IBKR Gateway`."""


def shows(title: str) -> Shows:
    """By its title, in any case. What has none, as a menu, is taken for the worst."""
    plain = " ".join(title.lower().split())
    if plain in DIALOGS:
        return Shows.DIALOG
    return Shows.LOGIN if not plain or _LOGIN.search(plain) else Shows.ACCOUNT


@dataclass(frozen=True)
class Look:
    """`windows`: the lowest first, as everywhere. `pictured`: those of them that are not black in the picture."""

    windows: tuple[Window, ...]
    pictured: frozenset[Window]
    picture: Picture


def look(screen: Screen, *, accounts: bool = False, wait: Callable[[float], None] = time.sleep) -> Look:
    """`accounts`: also shows what may hold an account number. Raises ScreenError, also where the windows do not stand
    still for long enough."""
    standing = screen.windows()
    for _ in range(LOOKS):
        wait(STANDS)
        before, standing = standing, screen.windows()
        if before != standing:
            continue
        picture, standing = screen.picture(), screen.windows()
        if before == standing:
            harmless = {Shows.DIALOG, Shows.ACCOUNT} if accounts else {Shows.DIALOG}
            pictured = frozenset(window for window in standing if shows(window.title) in harmless)
            return Look(tuple(standing), pictured, masked(picture, standing, pictured))
    raise ScreenError("its windows come and go, so that no picture of them could be taken; try again")


def masked(picture: Picture, windows: Sequence[Window], pictured: Collection[Window]) -> Picture:
    """Black but for the windows that may be pictured, where no other one lies over them."""
    found = bytearray(len(BLANK) * picture.width * picture.height)
    for window in windows:
        seen, area = window in pictured, window.area
        left, right = max(0, area.x), min(picture.width, area.x + area.width)
        for row in range(max(0, area.y), min(picture.height, area.y + area.height)):
            if left < right:
                part = slice((row * picture.width + left) * len(BLANK), (row * picture.width + right) * len(BLANK))
                found[part] = picture.pixels[part] if seen else bytes(part.stop - part.start)
    return Picture(picture.width, picture.height, bytes(found))


def png(picture: Picture) -> bytes:
    """The picture as a file (PNG, second edition: three bytes a pixel, no filter)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    row = picture.width * len(BLANK)
    rows = b"".join(b"\0" + picture.pixels[at : at + row] for at in range(0, len(picture.pixels), row))
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0)
    chunks = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
