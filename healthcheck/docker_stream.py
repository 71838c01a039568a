"""A command in a container, talked to while it runs: its standard input and output over Docker's connection.

Where the connection ends, for whatever reason, Docker closes the command's standard input. It ends nothing.
"""

import io
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from healthcheck.text import clean

CHUNK = 65536
SAID = 2000
"""Bytes of standard error that are kept: the first ones, which tell what went wrong."""

_HEADER = struct.Struct(">BxxxL")
_STDERR = 2


class DockerStream:
    """One thread may read while another one writes, and any may close it. Each raises OSError once it is broken."""

    def __init__(self, connection: Any) -> None:
        """`connection`: what docker-py's `exec_start` returns for a socket: a unix socket's file, or our own ssh."""
        # A program that speaks first may have done so in what was read along with Docker's answer.
        self._output: io.BufferedReader = connection._response.raw._fp.fp
        self._response = connection._response
        self._socket: socket.socket | Any = getattr(connection, "_sock", connection)
        self._left = 0
        self._of_stderr = False
        self._said = b""
        self._socket.settimeout(None)

    @property
    def said(self) -> str:
        """What it has written to its standard error so far."""
        return clean(self._said.decode("utf-8", "replace").strip())

    def read(self) -> bytes:
        """The next of its standard output, at least one byte; none once it has ended."""
        with closed_is_broken():
            while True:
                while not self._left:
                    header = self._output.read(_HEADER.size)
                    if len(header) < _HEADER.size:
                        return b""
                    kind, self._left = _HEADER.unpack(header)
                    self._of_stderr = kind == _STDERR
                data = self._output.read1(min(self._left, CHUNK))
                if not data:
                    return b""
                self._left -= len(data)
                if not self._of_stderr:
                    return data
                self._said += data[: SAID - len(self._said)]

    def write(self, data: bytes) -> None:
        """To its standard input."""
        with closed_is_broken():
            self._socket.sendall(data)

    def close(self) -> None:
        """Ends the connection, and a reading that waits."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._response.close()


@contextmanager
def closed_is_broken() -> Iterator[None]:
    """A file that was closed meanwhile is a ValueError to Python."""
    try:
        yield
    except ValueError as error:
        raise OSError(f"the connection is closed: {error}") from error


@contextmanager
def joined(stream: DockerStream, connection: socket.socket) -> Iterator[threading.Event]:
    """What comes from one goes to the other. Where either ends, both do, and the event is set; also at the end."""
    ended = threading.Event()

    def end() -> None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        stream.close()
        ended.set()

    def inward() -> None:
        with suppress(OSError):
            while data := stream.read():
                connection.sendall(data)
        end()

    def outward() -> None:
        with suppress(OSError):
            while data := connection.recv(CHUNK):
                stream.write(data)
        end()

    threads = [threading.Thread(target=run, name="join-stream", daemon=True) for run in (inward, outward)]
    for thread in threads:
        thread.start()
    try:
        yield ended
    finally:
        end()
        for thread in threads:
            thread.join()


@contextmanager
def bridged(stream: DockerStream) -> Iterator[socket.socket]:
    """A socket of this process that leads to the command."""
    ours, theirs = socket.socketpair()
    with ours, theirs, joined(stream, theirs):
        yield ours
