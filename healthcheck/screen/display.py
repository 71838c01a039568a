"""The display that a gateway draws on: its windows, its picture, clicks and keys.

The X protocol goes over a stream that the caller brings: the socket of a display on this machine, or a pair of pipes to
one in a container (`docker exec -i CONTAINER socat STDIO UNIX-CONNECT:/tmp/.X11-unix/X1`). The image starts its Xvfb
with `-ac`, so that nobody has to prove who he is.

Source: X Window System Protocol, X Version 11, and the XTEST extension, as python-xlib 0.33 speaks them.
"""

import operator
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Self, TypeVar

from Xlib import X
from Xlib.display import Display
from Xlib.error import ConnectionClosedError, DisplayError, XError
from Xlib.ext import xtest
from Xlib.protocol import display as protocol

from deployment.errors import words
from healthcheck.text import clean

SECONDS = 10.0
"""Within which a display answers one question; a whole picture over a slow line is the longest."""
LARGEST = 4096
"""Pixels of a side that a display may have. The image's has 1024 by 768."""
MOST_WINDOWS = 200
TITLE_BYTES = 1024
MOMENT = 0.01
"""Seconds between a key's way down and its way up, and between the parts of a click."""

_OPENING = threading.Lock()
_MALFORMED = (struct.error, ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError)
"""What python-xlib raises where the other side does not keep to the protocol, or its own state is gone with the
connection."""

Answer = TypeVar("Answer")


class ScreenError(Exception):
    """The display is gone, or does not answer as one does."""


@dataclass(frozen=True)
class Area:
    """A rectangle of the screen, in pixels; `x` and `y` are its left upper corner."""

    x: int
    y: int
    width: int
    height: int

    def holds(self, x: int, y: int) -> bool:
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height

    def meets(self, other: "Area") -> bool:
        """Whether they have a pixel in common."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )

    def within(self, other: "Area") -> "Area":
        """The part of it that lies in the other one; without width or height where there is none."""
        left, top = max(self.x, other.x), max(self.y, other.y)
        right = min(self.x + self.width, other.x + other.width)
        bottom = min(self.y + self.height, other.y + other.height)
        return Area(left, top, max(0, right - left), max(0, bottom - top))


@dataclass(frozen=True)
class Window:
    """A window that is shown, with its border. `title`: harmless to print; empty where it has none."""

    id: int
    title: str
    area: Area


@dataclass(frozen=True)
class Picture:
    """`pixels`: three bytes each, red, green and blue, row by row from the top."""

    width: int
    height: int
    pixels: bytes


class Screen:
    """One connection to a display. Every method raises ScreenError."""

    def __init__(self, stream: socket.socket, seconds: float = SECONDS) -> None:
        """Takes the stream over. `seconds`: the most that one question may take."""
        self._stream = stream
        self._seconds = seconds
        self._late = False
        self._display = self._ask(self._open)

    @classmethod
    def at(cls, path: str, seconds: float = SECONDS) -> Self:
        """The display whose socket has this path."""
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            stream.connect(path)
        except OSError as problem:
            stream.close()
            raise ScreenError(f"no display answers at {path}: {problem.strerror}") from problem
        return cls(stream, seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()

    @property
    def area(self) -> Area:
        screen = self._display.screen()
        return Area(0, 0, screen.width_in_pixels, screen.height_in_pixels)

    def windows(self) -> list[Window]:
        """Those that are shown, the lowest first; of too many the topmost. Without a window manager, as in the image,
        each is a child of the root; one that goes while they are asked about is left out."""
        return self._ask(lambda: list(self._windows()))

    def picture(self, area: Area | None = None) -> Picture:
        """What the screen shows, or the part of it that lies in an area, whichever window is on top there."""
        wanted = (area or self.area).within(self.area)
        if not wanted.width or not wanted.height:
            return Picture(0, 0, b"")
        return self._ask(lambda: self._picture(wanted))

    def focused(self) -> int:
        """The id of the window that keys go to; 0 where they go to none."""

        def found() -> int:
            root = self._display.screen().root
            window = self._display.get_input_focus().focus
            while not isinstance(window, int) and window.id != root.id:
                parent = window.query_tree().parent
                if parent.id == root.id:
                    return int(window.id)
                window = parent
            return 0

        return self._ask(found)

    def click(self, x: int, y: int) -> None:
        """With the left button."""

        def act() -> None:
            for kind, detail in ((X.MotionNotify, 0), (X.ButtonPress, X.Button1), (X.ButtonRelease, X.Button1)):
                xtest.fake_input(self._display, kind, detail, x=x, y=y)
                self._display.sync()
                time.sleep(MOMENT)

        self._ask(act)

    def press(self, symbol: int) -> None:
        """A key by its symbol (X.XK): a digit's is its ASCII code. Raises ScreenError too where the display has no key
        that gives it by itself."""
        code = next((code for code, level in self._display.keysym_to_keycodes(symbol) if level == 0), None)
        if code is None:
            raise ScreenError(f"the display has no key for the symbol {symbol:#x}")

        def act() -> None:
            for kind in (X.KeyPress, X.KeyRelease):
                xtest.fake_input(self._display, kind, code)
                self._display.sync()
                time.sleep(MOMENT)

        self._ask(act)

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        """python-xlib waits for ever. A connection that takes too long is cut, which ends its waiting."""
        late = threading.Timer(self._seconds, self._cut)
        late.daemon = True
        late.start()
        try:
            return question()
        except (OSError, XError, DisplayError, ConnectionClosedError, *_MALFORMED) as problem:
            if self._late:
                raise ScreenError(f"the display did not answer within {self._seconds:g} s") from problem
            raise ScreenError(f"the display failed: {clean(words(problem))}") from problem
        finally:
            late.cancel()

    def _cut(self) -> None:
        self._late = True
        try:
            self._stream.shutdown(socket.SHUT_RDWR)
        except OSError:  # closed meanwhile
            return

    def _open(self) -> Display:
        with _given(self._stream):
            display = Display()
        display.set_error_handler(lambda error, _: None)  # of requests without an answer; it would print them
        screen = display.screen()
        if max(screen.width_in_pixels, screen.height_in_pixels) > LARGEST:
            raise ValueError(f"its sides are {screen.width_in_pixels} and {screen.height_in_pixels} pixels long")
        return display

    def _windows(self) -> Iterator[Window]:
        root = self._display.screen().root
        for child in root.query_tree().children[-MOST_WINDOWS:]:
            try:
                attributes, shape = child.get_attributes(), child.get_geometry()
                if attributes.map_state == X.IsViewable and attributes.win_class == X.InputOutput:
                    sides = (side + 2 * shape.border_width for side in (shape.width, shape.height))
                    yield Window(child.id, self._title(child), Area(shape.x, shape.y, *sides))
            except XError:
                continue

    def _title(self, window: Any) -> str:
        for name in ("_NET_WM_NAME", "WM_NAME"):
            found = window.get_property(self._display.get_atom(name), X.AnyPropertyType, 0, TITLE_BYTES // 4)
            if found is not None and found.format == 8 and found.value:
                return clean(bytes(found.value).decode("utf-8" if name[0] == "_" else "latin-1", "replace"))
        return ""

    def _picture(self, wanted: Area) -> Picture:
        root = self._display.screen().root
        image = root.get_image(wanted.x, wanted.y, wanted.width, wanted.height, X.ZPixmap, 0xFFFFFFFF)
        return Picture(wanted.width, wanted.height, self._rgb(image.data, wanted))

    def _rgb(self, data: bytes, wanted: Area) -> bytes:
        screen, info = self._display.screen(), self._display.display.info
        layout = next(found for found in info.pixmap_formats if found.depth == screen.root_depth)
        if info.image_byte_order != X.LSBFirst or layout.bits_per_pixel not in _COLOURS:
            raise ValueError(f"pixels of {layout.bits_per_pixel} bits in byte order {info.image_byte_order}")
        used = wanted.width * layout.bits_per_pixel // 8
        padded = -(-used * 8 // layout.scanline_pad) * layout.scanline_pad // 8
        rows = b"".join(data[start : start + used] for start in range(0, padded * wanted.height, padded))
        found = bytearray(wanted.width * wanted.height * 3)
        found[0::3], found[1::3], found[2::3] = _COLOURS[layout.bits_per_pixel](rows)
        return bytes(found)


def _of_16_bits(rows: bytes) -> tuple[bytes, bytes, bytes]:
    """Red has the first five bits, green six, blue five."""
    low, high = rows[0::2], rows[1::2]
    green = bytes(map(operator.or_, high.translate(_GREEN_ABOVE), low.translate(_GREEN_BELOW)))
    return high.translate(_RED), green, low.translate(_BLUE)


_RED = bytes((value >> 3) * 255 // 31 for value in range(256))
_GREEN_ABOVE, _GREEN_BELOW = (
    bytes((value & 7) << 5 for value in range(256)),
    bytes(value >> 3 & 28 for value in range(256)),
)
_BLUE = bytes((value & 31) * 255 // 31 for value in range(256))


def _of_32_bits(rows: bytes) -> tuple[bytes, bytes, bytes]:
    return rows[2::4], rows[1::4], rows[0::4]


_COLOURS: Mapping[int, Callable[[bytes], tuple[bytes, bytes, bytes]]] = {16: _of_16_bits, 32: _of_32_bits}
"""The red, the green and the blue of pixels that have so many bits, as every X server of today lays them out."""


@contextmanager
def _given(stream: socket.socket) -> Iterator[None]:
    """python-xlib opens its connection by a display's name, and has no argument for one that is open."""
    opened = SimpleNamespace(
        get_display=lambda _: ("", None, "", 0, 0), get_socket=lambda *_: stream, get_auth=lambda *_: (b"", b"")
    )
    with _OPENING:
        original, protocol.connect = protocol.connect, opened  # type: ignore[attr-defined]
        try:
            yield
        finally:
            protocol.connect = original  # type: ignore[attr-defined]
