"""Whose the other end of a connection over this machine's loopback is, by what Linux tells of its own (proc(5))."""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
ESTABLISHED = "01"
"""One that has ended belongs to nobody any more, which is told as root's."""


def owner(connection: socket.socket) -> int | None:
    """The user id that the other end's socket belongs to; None where that cannot be known, or it is gone."""
    ends = connection.getpeername(), connection.getsockname()
    for table in TABLES:
        wanted = [" ".join(spelled) for spelled in zip(*map(_spellings, ends), strict=True)]
        for line in _lines(table):
            words = line.split()
            if " ".join(words[1:3]) in wanted and words[3] == ESTABLISHED:
                return int(words[7])
    return None


def _lines(table: str) -> list[str]:
    try:
        return Path(table).read_text(encoding="ascii").splitlines()[1:]
    except FileNotFoundError:
        return []


def _spellings(end: tuple[str, int]) -> Iterator[str]:
    """Of an address and its port in the two tables: a socket of IPv6 may have one of IPv4 at its other end. Each four
    bytes are a number in this machine's order."""
    host, port = end
    packed = socket.inet_aton(host)
    for address in (packed, bytes(10) + b"\xff\xff" + packed):
        numbers = struct.unpack(f"={len(address) // 4}I", address)
        yield f"{''.join(f'{number:08X}' for number in numbers)}:{port:04X}"
