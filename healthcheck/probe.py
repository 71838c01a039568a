"""What answers at an address, told apart by the first bytes. Sends nothing but the API's greeting."""

import socket
from enum import StrEnum

GREETING = b"API\0\0\0\0\x09v100..178"


class Answer(StrEnum):
    API = "api"
    OTHER = "other"
    HUNG_UP = "hung_up"
    SILENT = "silent"
    CLOSED = "closed"
    UNREACHABLE = "unreachable"


def probe(host: str, port: int, *, timeout: float = 1.0) -> Answer:
    """Connect and greet; `timeout` seconds for the connection and again for the answer."""
    try:
        connection = socket.create_connection((host, port), timeout=timeout)
    except ConnectionRefusedError:
        return Answer.CLOSED
    except OSError:
        return Answer.UNREACHABLE
    with connection:
        try:
            connection.sendall(GREETING)
            head = connection.recv(4)
        except TimeoutError:
            return Answer.SILENT
        except OSError:
            return Answer.HUNG_UP
    if not head:
        return Answer.HUNG_UP
    return Answer.API if head[:2] == b"\0\0" else Answer.OTHER
