"""Keeps what several ib_async connections send, together, under the gateway's 50 messages a second.

The gateway counts what arrives, and what was sent evenly does not arrive evenly: a relay, a scheduler or a garbage
collector holds one message up and lets the next catch up with it. So the promise is made for the receiver. A message is
sent when the 50th before it has been in the kernel's hands for 50 / rate seconds, 1.020 at the default of 49 a second:
more than 50 can then arrive in one second only if on the way one of them was held up by 20 ms more than one 50 later. A
path that is worse than that wants a lower rate; 45 leaves 111 ms, 40 leaves 250.

Below that bound messages leave one by one, at most `BURST` at once after a pause: a hold-up then adds what came
together in it, and not a whole second's worth. Connections that wait take turns, so that a long download on one does
not hold an order on another up.
"""
# mypy: allow-untyped-calls
# (ib_async annotates its data and not its methods.)

import asyncio
import math
from collections import deque

from ib_async import IB
from ib_async.client import Client
from ib_async.connection import Connection
from ib_async.util import getLoop

GATEWAY_MAXIMUM = 50  # messages a second, over all its clients' messages (TWS API reference, Pacing Limitations)
BURST = 5


class Limiter:
    """One for all connections to a gateway, in one event loop. `rate`: messages a second, below 50."""

    def __init__(self, rate: float = 49.0) -> None:
        if not 0 < rate < GATEWAY_MAXIMUM:
            raise ValueError(f"the rate is {rate:g} messages a second; give one above 0 and below {GATEWAY_MAXIMUM}")
        self._interval = 1 / rate
        self._due = -math.inf  # when the next message would leave if all did so evenly
        self._sent = deque([-math.inf] * GATEWAY_MAXIMUM, maxlen=GATEWAY_MAXIMUM)  # when the last 50 had left
        self._waiting: deque[PacedConnection] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def pace(self, ib: IB) -> None:
        """Put an unconnected `ib` under this limiter, handshake included, instead of ib_async's own throttle.

        Its `client.throttleStart` and `throttleEnd` are emitted as before: when a message begins to wait for its turn,
        and when none of this connection's waits any more.
        """
        ib.client.MaxRequests = 0
        ib.client.conn = PacedConnection(self, ib.client)

    def enter(self, connection: "PacedConnection") -> None:
        """Let a connection that has something to send take its turn."""
        self._waiting.append(connection)
        self._send()

    def _send(self) -> None:
        loop: asyncio.AbstractEventLoop = getLoop()
        while self._waiting and self._timer is None:
            at = max(self._due, self._sent[0] + GATEWAY_MAXIMUM * self._interval)
            if at > loop.time():
                self._timer = loop.call_at(at, self._wake)
                return
            connection = self._waiting.popleft()
            if not connection.unsent:  # lost meanwhile
                continue
            connection.send_one()
            now = loop.time()  # after it was written: what holds this process up counts for the receiver, never against
            self._sent.append(now)
            self._due = max(self._due, now - (BURST - 1) * self._interval) + self._interval
            if connection.unsent:
                self._waiting.append(connection)
            else:
                connection.all_sent()

    def _wake(self) -> None:
        self._timer = None
        self._send()


class PacedConnection(Connection):
    """ib_async's socket of a client, which sends when the limiter says so."""

    def __init__(self, limiter: Limiter, client: Client) -> None:
        self.unsent: deque[bytes] = deque()
        self._limiter = limiter
        self._client = client
        self._throttled = False
        super().__init__()
        self.hasData, self.disconnected = client.conn.hasData, client.conn.disconnected

    def sendMsg(self, msg: bytes) -> None:
        self.unsent.append(msg)
        if len(self.unsent) == 1:
            self._limiter.enter(self)
        if self.unsent and not self._throttled:
            self._throttled = True
            self._client.throttleStart.emit()

    def send_one(self) -> None:
        super().sendMsg(self.unsent.popleft())

    def all_sent(self) -> None:
        if self._throttled:
            self._throttled = False
            self._client.throttleEnd.emit()

    def disconnect(self) -> None:
        self._forget()
        super().disconnect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        # With something still on its way a close arrives as a reset: the same thing to whoever asks why.
        closed = isinstance(exc, ConnectionResetError | BrokenPipeError)
        super().connection_lost(None if closed else exc)

    def _forget(self) -> None:
        self.unsent.clear()
        self._throttled = False
