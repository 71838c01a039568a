"""One JSON object a line over a stream: the sandbox's own protocol between gateways, broker and control clients."""

import asyncio
import json
import socket
from typing import Any

Message = dict[str, Any]

# asyncio's default limit of 64 KiB a line is too small for a day of historical bars.
LINE_LIMIT = 4 * 1024 * 1024


def encode(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Raises ValueError when the line is no JSON object."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("expected a JSON object")
    return message


async def read(reader: asyncio.StreamReader) -> Message | None:
    """The next message, or None when the peer is gone. Raises ValueError on anything but a JSON object."""
    try:
        line = await reader.readline()
    except OSError:  # a connection that timed out is no ConnectionError
        return None
    if not line.endswith(b"\n"):
        return None
    return decode(line)


def keep_alive(writer: asyncio.StreamWriter) -> None:
    """Lets a peer that vanished without a word, as behind a cut network, be noticed within about fifteen seconds."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 15_000)
