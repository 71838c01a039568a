"""A TCP proxy before an API server, which keeps when each message of each client arrived."""

import contextlib
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

SO_TIMESTAMPNS = 35  # asm-generic/socket.h; not in Python's socket module
GREETING = b"API\0"  # before the first message's length (EClient.connect)


@dataclass
class CountingProxy:
    """`arrivals`: the kernel's time, in seconds, at which each message had arrived, in no order.

    The kernel stamps packets, however late the thread that reads them is scheduled; only of several that it had to hold
    for a connection it keeps the last stamp.
    """

    upstream: tuple[str, int]
    arrivals: list[float] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)  # what it accepts inherits it
        self._sockets = [self._listener]
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self.upstream)
                self._sockets += [client, server]
                for pump in (self._count, self._pass):
                    self._threads.append(threading.Thread(target=pump, args=(client, server)))
                    self._threads[-1].start()

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)

    def _count(self, client: socket.socket, server: socket.socket) -> None:
        unread = b""
        with contextlib.suppress(OSError):
            while True:
                data, stamps, _, _ = client.recvmsg(65536, 256)
                if not data:
                    server.shutdown(socket.SHUT_WR)
                    return
                # The kernel takes a moment to begin with its stamps.
                seconds, nanoseconds = struct.unpack("qq", stamps[0][2]) if stamps else (time.time(), 0)
                messages, unread = split(unread + data)
                self.arrivals += [seconds + nanoseconds / 1e9] * messages
                server.sendall(data)


def split(data: bytes) -> tuple[int, bytes]:
    """How many whole messages `data` begins with, and what follows them."""
    count = 0
    while True:
        start = len(GREETING) if data.startswith(GREETING) else 0
        end = start + 4 + int.from_bytes(data[start : start + 4], "big")
        if len(data) < start + 4 or len(data) < end:
            return count, data
        count, data = count + 1, data[end:]


def most_in_a_second(times: Sequence[float]) -> int:
    """The largest number of times that lie within one second, its end excluded."""
    window: deque[float] = deque()
    most = 0
    for at in sorted(times):
        window.append(at)
        while at - window[0] >= 1.0:
            window.popleft()
        most = max(most, len(window))
    return most
