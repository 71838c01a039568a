"""ib_async's Client on a socket that refuses to send what could trade, and the inbox where its messages arrive.

Only the Client level of ib_async is used: its `IB.connect` sends order requests of its own, and on a gateway with a
read-only API these open a dialog that nobody clicks.
"""
# mypy: allow-untyped-calls
# (ib_async annotates its data and not its methods.)

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from ib_async.client import Client
from ib_async.connection import Connection
from ib_async.contract import Contract, ContractDetails
from ib_async.order import Order, OrderState

from healthcheck.write_filter import WriteFilter

log = logging.getLogger(__name__)

# A frame's length prefix beyond this is no TWS API (EClient's MAX_MSG_LEN is 0xFFFFFF).
MAX_MESSAGE = 0xFFFFFF


class DataType(IntEnum):
    """reqMarketDataType, in the API's numbers."""

    LIVE = 1
    FROZEN = 2
    DELAYED = 3
    DELAYED_FROZEN = 4

    @property
    def label(self) -> str:
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class ApiError:
    """Message 4 of the API: an error, a warning or a notice."""

    request: int
    code: int
    message: str

    def __str__(self) -> str:
        return f"{self.code} {self.message.strip()}"


@dataclass(frozen=True)
class SummaryRow:
    """One figure of an account's summary."""

    account: str
    tag: str
    value: str
    currency: str


@dataclass(frozen=True)
class Tick:
    tick_type: int
    price: float


@dataclass(frozen=True)
class Closed:
    """The connection ended while a request was open."""

    why: str


class End:
    """The last message of a request's answer."""


Reply = Tick | DataType | ApiError | SummaryRow | ContractDetails | OrderState | Closed | End


class FilteredConnection(Connection):
    """The socket. Nothing is written that the write filter refuses, and nothing is parsed that is not the TWS API."""

    def __init__(self, write_filter: WriteFilter) -> None:
        self._filter = write_filter
        self.foreign: str | None = None
        self.received = 0
        super().__init__()

    def sendMsg(self, msg: bytes) -> None:
        self._filter.check(msg)
        super().sendMsg(msg)

    def data_received(self, data: bytes) -> None:
        first = self.received == 0
        self.received += len(data)
        if first and (data.startswith(b"API\0") or int.from_bytes(data[:4], "big") > MAX_MESSAGE):
            self._reject("an echo of our own greeting" if data.startswith(b"API\0") else repr(data[:16]))
            return
        try:
            super().data_received(data)
        except (ValueError, IndexError) as error:
            self._reject(f"{data[:16]!r} ({error})")

    def _reject(self, what: str) -> None:
        self.foreign = what
        if self.transport is not None:
            self.transport.abort()


class FilteredClient(Client):
    """ib_async's Client on a filtered socket. Its throttle keeps below the API's 50 messages a second."""

    def __init__(self, inbox: "Inbox", write_filter: WriteFilter) -> None:
        super().__init__(inbox)
        self._filter = write_filter
        self.conn: FilteredConnection = FilteredConnection(write_filter)
        self.conn.hasData += self._onSocketHasData
        self.conn.disconnected += self._onSocketDisconnected

    def startApi(self) -> None:
        """Called by ib_async as soon as the handshake has told the server's version."""
        self._filter.server_version = self.serverVersion()
        super().startApi()

    async def dial(self, host: str, port: int, timeout: float) -> None:
        """Connect and say nothing; with `greet`, `Client.connectAsync` without its wait for a complete start."""
        self.host, self.port = host, port
        self.connState = Client.CONNECTING
        async with asyncio.timeout(timeout):
            await self.conn.connectAsync(host, port)

    def greet(self, client_id: int) -> None:
        self.clientId = client_id
        versions = b"v%d..%d" % (self.MinClientVersion, self.MaxClientVersion)
        self.conn.sendMsg(b"API\0" + self._prefix(versions))


class Inbox:
    """What ib_async calls its wrapper: receives decoded messages and hands them to whoever waits for them."""

    def __init__(self) -> None:
        self.accounts: list[str] = []
        self.told_accounts = False
        self.next_id: int | None = None
        self.notices: list[ApiError] = []
        self.time: datetime | None = None
        self.closed: str | None = None
        self.requests: dict[int, asyncio.Queue[Reply]] = {}
        self._changed = asyncio.Event()

    async def wait_until(self, done: Callable[[], bool], timeout: float) -> bool:
        """Wait until `done()` holds, at most `timeout` seconds; True if it does."""
        deadline = time.monotonic() + timeout
        while not done():
            self._changed.clear()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._changed.wait()
            except TimeoutError:
                return done()
        return True

    def end(self, why: str) -> None:
        """The connection is over: everything that waits is told."""
        if self.closed is None:
            self.closed = why
        for queue in self.requests.values():
            queue.put_nowait(Closed(why))
        self._changed.set()

    def _reply(self, request: int, reply: Reply) -> None:
        queue = self.requests.get(request)
        if queue is not None:
            queue.put_nowait(reply)

    # The names below are those that ib_async's Client and Decoder call.

    def setEventsDone(self) -> None:
        self.end("the gateway closed the connection")

    connectionClosed = setEventsDone

    def connectAck(self) -> None:
        self._changed.set()

    def managedAccounts(self, accounts: str) -> None:
        self.accounts = [account for account in accounts.split(",") if account]
        self.told_accounts = True
        self._changed.set()

    def nextValidId(self, order_id: int) -> None:
        self.next_id = order_id
        self._changed.set()

    def currentTime(self, seconds: int) -> None:
        self.time = datetime.fromtimestamp(seconds, UTC)
        self._changed.set()

    def error(self, request: int, code: int, message: str, advanced_reject: str) -> None:
        error = ApiError(request, code, message)
        log.debug("API message %s for request %d", error, request)
        if request in self.requests:
            self._reply(request, error)
        else:
            self.notices.append(error)
        self._changed.set()

    def accountSummary(self, request: int, account: str, tag: str, value: str, currency: str) -> None:
        self._reply(request, SummaryRow(account, tag, value, currency))

    def contractDetails(self, request: int, details: ContractDetails) -> None:
        self._reply(request, details)

    def contractDetailsEnd(self, request: int) -> None:
        self._reply(request, End())

    accountSummaryEnd = contractDetailsEnd

    def marketDataType(self, request: int, data_type: int) -> None:
        self._reply(request, DataType(data_type))

    def priceSizeTick(self, request: int, tick_type: int, price: float, size: float) -> None:
        self._reply(request, Tick(tick_type, price))

    def openOrder(self, order_id: int, contract: Contract, order: Order, state: OrderState) -> None:
        self._reply(order_id, state)
