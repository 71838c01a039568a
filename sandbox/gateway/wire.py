"""Framing of the TWS API's text protocol (ibapi, comm): a 4-byte big-endian length, then fields each ended by NUL."""

import asyncio
import struct
from collections.abc import Iterable

PREFIX = b"API\0"
MAX_MESSAGE = 0xFFFFFF  # bytes; a longer one is taken for garbage

# "No value" as the protocol writes it where a field may not be empty (Double.MAX_VALUE).
UNSET_DOUBLE = "1.7976931348623157E308"

Field = str | int | float | bool | None


def text(value: Field) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def frame(fields: Iterable[Field]) -> bytes:
    payload = "".join(f"{text(field)}\0" for field in fields).encode()
    return struct.pack(">I", len(payload)) + payload


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """The next message's payload, or None when the peer is gone. Raises ValueError when it is no frame."""
    try:
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        if length > MAX_MESSAGE:
            raise ValueError(f"a message of {length} bytes")
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def fields(payload: bytes) -> list[str]:
    parts = payload.decode(errors="backslashreplace").split("\0")
    return parts[:-1] if parts[-1] == "" else parts


class Fields:
    """Reads a request's fields in order. Raises ValueError when one is missing or malformed."""

    def __init__(self, values: list[str]) -> None:
        self._values = values
        self._next = 0

    def text(self) -> str:
        if self._next >= len(self._values):
            raise ValueError("too few fields")
        self._next += 1
        return self._values[self._next - 1]

    def integer(self) -> int:
        return int(self.text() or 0)

    def flag(self) -> bool:
        return self.text() in ("1", "true", "True")

    def number(self) -> float | None:
        """None for "no value"."""
        value = self.text()
        if not value or float(value) == float(UNSET_DOUBLE):
            return None
        return float(value)

    def skip(self, count: int) -> None:
        for _ in range(count):
            self.text()
