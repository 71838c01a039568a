"""Connections to one gateway, kept up and lent one borrower at a time."""
# mypy: allow-untyped-calls
# (ib_async annotates its data and not its methods.)

import asyncio
import logging
import os
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

from ib_async import IB, StartupFetch, StartupFetchALL
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from client.limiter import Limiter, PacedConnection

log = logging.getLogger(__name__)

# TWS API reference, Message Codes: the gateway's own connection to IBKR is lost, or is there again.
CUT_OFF = frozenset({1100, 2110})
RESTORED = frozenset({1101, 1102})
CLIENT_ID_IN_USE = 326

# Seconds.
CONNECT = 10.0  # for a connection, and for each request of ib_async's that starts it
LONGEST_PAUSE = 30.0  # between two attempts to connect
IDLE_CHECK = 10.0  # between two checks that connections which nobody uses still answer
ANSWER = 5.0  # for the answer to such a check
CLOSE = 1.0


class NoConnection(TimeoutError):
    """None could be lent in time. The text says what is the matter with each: why it has no connection, and why
    connecting fails since."""


class ConnectionLost(ConnectionError):
    """The connection was lost while it was borrowed: borrow another. What was sent may or may not have arrived."""


class ClientIdTaken(ConnectionError):
    """Error 326: somebody outside this pool is connected with this client id."""


@dataclass(eq=False)
class Lease:
    """A client id, which is this pool's alone, and the connection that uses it. Each new connection is a new IB."""

    client_id: int
    ib: IB
    # What ended its last connection, whatever became of the attempts since; empty while connected and logged in.
    trouble: str = "not yet"
    failure: str = ""  # why its last attempt to connect failed; empty from a success on
    cut_off: str = ""  # what the gateway said about its connection to IBKR; empty while that is up
    lent: bool = False

    @property
    def state(self) -> str:
        if self.trouble:
            return f"not connected ({self.trouble})"
        if self.cut_off:
            return f"cut off from IBKR ({self.cut_off})"
        return "lent" if self.lent else "free"


class Pool:
    """`size` connections to the gateway at `host`:`port`, each with one of `client_ids`. Use it with `async with`.

    One event loop. A single task connects, one at a time and with growing pauses, so that a gateway in trouble is not
    pressed. Orders belong to the client id that placed them; over a pool, ask with `reqAllOpenOrders`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        client_ids: Sequence[int],
        *,
        size: int = 5,
        read_only: bool = False,
        fetch: StartupFetch = StartupFetchALL,
        limiter: Limiter | None = None,
    ) -> None:
        """`read_only` and `fetch` say what ib_async asks for when it connects: `readonly` and `fetchFields` of its
        `IB.connectAsync`. Two pools for one gateway need one limiter."""
        if not 0 < size <= len(client_ids):
            raise ValueError(f"{size} connections need as many client ids, and there are {len(client_ids)}")
        self._host, self._port = host, port
        self._read_only, self._fetch = read_only, fetch
        self._limiter = limiter or Limiter()
        self._spare = deque(client_ids)
        self._leases = [Lease(self._spare.popleft(), self._new_ib()) for _ in range(size)]
        self._to_connect: asyncio.Queue[Lease] = asyncio.Queue()
        self._borrowers: deque[asyncio.Future[IB]] = deque()
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ, **options: Any) -> Self:
        """A pool for the gateway that `ibgw env` described in the environment; `options` as in `Pool`."""
        try:
            first, last = int(environ["IBGW_CLIENT_ID_MIN"]), int(environ["IBGW_CLIENT_ID_MAX"])
            options = {"read_only": environ["IBGW_READ_ONLY"] == "true", **options}
            return cls(environ["IBGW_HOST"], int(environ["IBGW_PORT"]), range(first, last + 1), **options)
        except KeyError as missing:
            raise ValueError(f"{missing} is not in the environment; `ibgw env` prints it") from None

    async def __aenter__(self) -> Self:
        for lease in self._leases:
            self._to_connect.put_nowait(lease)
        self._tasks = [asyncio.create_task(self._keep_connected()), asyncio.create_task(self._check_idle())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnects all, borrowed ones too, and waits until their sockets are closed. Unless an exception brought us
        here, what waits for the limiter is sent first, if that takes no more than `CLOSE` seconds."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        sockets = [cast(PacedConnection, lease.ib.client.conn) for lease in self._leases]
        if kind is None and await _linger(lambda: any(socket.unsent for socket in sockets)):
            log.warning("closed with %d messages unsent", sum(len(socket.unsent) for socket in sockets))
        for lease in self._leases:
            lease.trouble = "the pool was closed"
            hang_up(lease.ib)
        await _linger(lambda: any(socket.isConnected() for socket in sockets))

    @asynccontextmanager
    async def connection(self, timeout: float = 30.0) -> AsyncIterator[IB]:
        """Borrow a connection that is logged in, and whose gateway is connected to IBKR; wait `timeout` seconds for it.

        Leave it as you found it: cancel what you subscribed to. If you leave with an exception or are cancelled, it is
        disconnected and made anew, so that nothing of yours goes on under the next borrower.

        Raises NoConnection if none could be lent in time. A ConnectionError of ib_async's becomes ConnectionLost.
        """
        turn: asyncio.Future[IB] = asyncio.get_running_loop().create_future()
        self._borrowers.append(turn)
        self._lend()
        news: set[asyncio.Future[Any]] = {turn, *self._tasks}
        failed = False
        try:
            await asyncio.wait(news, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not turn.done():
                raise self._refusal(timeout)
            failed = True
            yield turn.result()
            failed = False
        except ConnectionError as error:
            if turn.result().isConnected():
                raise
            where = f"{self._host}:{self._port}"
            raise ConnectionLost(f"the connection to {where} was lost while it was borrowed: {error}") from error
        finally:
            if turn.done():
                self._take_back(turn.result(), failed=failed)
            turn.cancel()

    # --- lending --------------------------------------------------------------------------------------------------

    def _lend(self) -> None:
        """Hand what is free to those who wait, first come, first served."""
        for lease in self._leases:
            while lease.state == "free" and self._borrowers:
                turn = self._borrowers.popleft()
                if not turn.done():
                    lease.lent = True
                    turn.set_result(lease.ib)

    def _take_back(self, ib: IB, *, failed: bool) -> None:
        for lease in self._leases:
            if lease.ib is ib:  # none, if it was lost and another connection has taken its place
                lease.lent = False
                if failed:
                    self._drop(lease, "its borrower failed")
        self._lend()

    def _refusal(self, timeout: float) -> Exception:
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()  # raises what ended it, a bug
        if not self._tasks or any(task.done() for task in self._tasks):
            return RuntimeError("the pool is not open: borrow within `async with pool:`")
        states = Counter(lease.state for lease in self._leases)
        failures = dict.fromkeys(lease.failure for lease in self._leases if lease.failure)
        what = "; ".join(
            [f"{count} {state}" for state, count in states.items()] + [f"connecting fails: {why}" for why in failures]
        )
        return NoConnection(f"no connection to {self._host}:{self._port} was free within {timeout:g} s: {what}")

    # --- connecting -----------------------------------------------------------------------------------------------

    async def _keep_connected(self) -> None:
        while True:
            pause = wait_random_exponential(multiplier=0.5, max=LONGEST_PAUSE)
            await AsyncRetrying(retry=retry_if_exception_type(OSError), wait=pause)(self._connect_next)

    async def _connect_next(self) -> None:
        """Raises OSError, ConnectionError and TimeoutError included; the lease then waits for another attempt."""
        lease = await self._to_connect.get()
        try:
            for _ in range(len(self._spare)):
                try:
                    return await self._connect(lease)
                except ClientIdTaken as taken:
                    log.info("client id %d: %s", lease.client_id, taken)
                    self._spare.append(lease.client_id)
                    lease.client_id = self._spare.popleft()
            await self._connect(lease)
        except OSError as error:
            lease.failure = str(error) or f"no answer within {CONNECT:g} s"  # of asyncio's, which says nothing
            log.warning("client id %d: not connected: %s", lease.client_id, lease.failure)
            self._to_connect.put_nowait(lease)
            raise

    def _new_ib(self) -> IB:
        ib = IB()
        self._limiter.pace(ib)
        return ib

    async def _connect(self, lease: Lease) -> None:
        ib = lease.ib = self._new_ib()
        lease.lent, lease.cut_off = False, ""
        ended: asyncio.Future[ConnectionError] = asyncio.get_running_loop().create_future()

        def end(error: ConnectionError) -> None:
            if not ended.done():
                ended.set_result(error)

        def on_message(request: int, code: int, text: str, contract: object) -> None:
            if code == CLIENT_ID_IN_USE:
                end(ClientIdTaken(f"{code} {text}"))
            elif code in CUT_OFF:
                lease.cut_off = f"{code} {text}"
            elif code in RESTORED:
                lease.cut_off = ""
                self._lend()

        def on_disconnected(why: str) -> None:
            why = why or "the gateway closed the connection"
            end(ConnectionError(why))
            if lease.ib is ib:
                self._drop(lease, why)

        ib.errorEvent += on_message
        ib.client.conn.disconnected += on_disconnected
        # ib_async itself waits out its timeout where the gateway hangs up, as it does after error 326.
        connecting = asyncio.ensure_future(
            ib.connectAsync(
                self._host,
                self._port,
                clientId=lease.client_id,
                timeout=CONNECT,
                readonly=self._read_only,
                raiseSyncErrors=True,
                fetchFields=self._fetch,
            )
        )
        try:
            await asyncio.wait({connecting, ended}, return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                connecting.result()  # first: an attempt that fails hangs up, which is not the gateway's doing
            if ended.done():
                raise ended.result()
        finally:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
        lease.trouble = lease.failure = ""
        log.info("client id %d: connected to %s:%d", lease.client_id, self._host, self._port)
        self._lend()

    def _drop(self, lease: Lease, why: str) -> None:
        """Disconnect, if connected, and have it connected again."""
        if lease.trouble:
            return
        log.warning("client id %d: disconnected: %s", lease.client_id, why)
        lease.trouble = why
        self._to_connect.put_nowait(lease)
        hang_up(lease.ib)

    async def _check_idle(self) -> None:
        """Find out that a gateway is wedged before a borrower does: it keeps its connections, and answers nothing."""
        while True:
            await asyncio.sleep(IDLE_CHECK)
            await asyncio.gather(*(self._check(lease) for lease in self._leases if lease.state == "free"))

    async def _check(self, lease: Lease) -> None:
        ib, lease.lent = lease.ib, True
        try:
            async with asyncio.timeout(ANSWER):
                await ib.reqCurrentTimeAsync()
        except (TimeoutError, ConnectionError):
            if lease.ib is ib:
                self._drop(lease, f"no answer within {ANSWER:g} s")
        finally:
            self._take_back(ib, failed=False)


def hang_up(ib: IB) -> None:
    if ib.isConnected():
        ib.wrapper.connectionClosed()  # else whoever waits for an answer would wait for ever
        ib.disconnect()


async def _linger(while_: Callable[[], bool]) -> bool:
    """Wait until `while_` no longer holds, for `CLOSE` seconds; True if it still does."""
    deadline = time.monotonic() + CLOSE
    while while_() and time.monotonic() < deadline:
        await asyncio.sleep(0.005)
    return while_()
