"""ib_async's Client on a socket that refuses to send what could trade, and the inbox where its messages arrive.

Only the Client level of ib_async is used: its `IB.connect` sends order requests of its own, and on a gateway with a
read-only API these open a dialog that nobody clicks.

One process asks up to sixteen gateways, so what one of them sends may cost the others nothing: no more memory than the
bounds below allow, and no more time at once than AT_ONCE messages take.
"""
# mypy: allow-untyped-calls
# (ib_async annotates its data and not its methods.)

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from ib_async.client import Client
from ib_async.connection import Connection
from ib_async.contract import Contract, ContractDetails
from ib_async.order import Order, OrderState

from deployment.errors import kind
from healthcheck import exposure
from healthcheck.reasons import Reason
from healthcheck.text import clean
from healthcheck.write_filter import WriteFilter

log = logging.getLogger(__name__)

# Bounds of what one connection may bring; a verification of an adviser's gateway needs a tenth of each.
LONGEST_MESSAGE = 2**18  # bytes, such as the list of 20,000 accounts
MOST_BYTES = 2**21
MOST_MESSAGES = 10_000
MOST_FIELDS = 500  # in a message that is decoded: ib_async's time for one grows with the square

AT_ONCE = 100
"""Messages that are taken before the other gateways have their turn."""
PAUSE = 0.005
"""Seconds until more are taken."""

MOST = 1e18
"""No price, quantity or sum of money is as much. What is, is "no value" of the API's doubles (1.7976931348623157e308),
or was spoilt on its way."""

MOST_NOTICES = 1000
"""Kept; the oldest go first."""


class Incoming(IntEnum):
    """The messages that are decoded (IN of the TWS API reference); all others are passed over."""

    TICK_PRICE = 1
    ERROR = 4
    OPEN_ORDER = 5
    ACCOUNT_VALUE = 6
    NEXT_VALID_ID = 9
    CONTRACT_DATA = 10
    MANAGED_ACCOUNTS = 15
    BOND_CONTRACT_DATA = 18
    CURRENT_TIME = 49
    CONTRACT_DATA_END = 52
    OPEN_ORDER_END = 53
    ACCOUNT_DOWNLOAD_END = 54
    MARKET_DATA_TYPE = 58
    POSITION = 61
    POSITION_END = 62
    ACCOUNT_SUMMARY = 63
    ACCOUNT_SUMMARY_END = 64
    ACCOUNT_UPDATE_MULTI = 73
    ACCOUNT_UPDATE_MULTI_END = 74


_DECODED = frozenset(str(number.value) for number in Incoming)


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
class Instrument:
    """What of a contract's details is used. `tick`: the smallest step of its price; 0 where it is not told."""

    sec_type: str
    tick: float
    liquid_hours: str
    time_zone: str


@dataclass(frozen=True)
class Closed:
    """The connection is over."""

    reason: Reason
    why: str


class End:
    """The last message of a request's answer."""


Reply = Tick | DataType | ApiError | SummaryRow | Instrument | OrderState | Closed | End


class FilteredConnection(Connection):
    """The socket. Nothing is written that the write filter refuses, and what arrives is handed on a message at a time,
    within the bounds; whoever breaks them is cut off."""

    def __init__(
        self, write_filter: WriteFilter, take: Callable[[bytes], None], over: Callable[[Closed], None]
    ) -> None:
        self._filter = write_filter
        self._take = take
        self._over = over
        self._buffer = bytearray()
        self._messages = 0
        self.received = 0
        super().__init__()

    def sendMsg(self, msg: bytes) -> None:
        self._filter.check(msg)
        super().sendMsg(msg)

    def disconnect(self) -> None:
        try:
            super().disconnect()
        except OSError:  # the other side was quicker, and closing a closed connection is no news
            self._abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self.received += len(data)
        self._hand_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._over(Closed(Reason.CONNECTION_DROPPED, "the gateway closed the connection"))

    def reject(self, what: str) -> None:
        """It is not the TWS API. Cuts the connection."""
        self._buffer.clear()
        self._over(Closed(Reason.NOT_THE_API, what))
        self._abort()

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _hand_on(self) -> None:
        """Up to AT_ONCE messages; where there are more, the rest in a moment."""
        for _ in range(AT_ONCE):
            message = self._message()
            if message is None:
                if self.transport is not None:
                    self.transport.resume_reading()
                return
            self._take(message)
        if self.transport is not None:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(PAUSE, self._hand_on)

    def _message(self) -> bytes | None:
        """The next whole one, without its length."""
        if len(self._buffer) < 4:
            return None
        size = int.from_bytes(self._buffer[:4], "big")
        if self._buffer.startswith(b"API\0"):
            self.reject("an echo of our own greeting")
        elif size > LONGEST_MESSAGE:
            self.reject(f"{bytes(self._buffer[:16])!r}")
        elif self.received > MOST_BYTES or self._messages > MOST_MESSAGES:
            self.reject(f"{self.received} bytes in {self._messages} messages, more than any gateway sends")
        elif len(self._buffer) >= 4 + size:
            message = bytes(self._buffer[4 : 4 + size])
            del self._buffer[: 4 + size]
            self._messages += 1
            return message
        return None


class FilteredClient(Client):
    """ib_async's Client on a filtered socket. Its throttle keeps below the API's 50 messages a second."""

    def __init__(self, inbox: "Inbox", write_filter: WriteFilter) -> None:
        super().__init__(inbox)
        self._inbox = inbox
        self._filter = write_filter
        self.conn: FilteredConnection = FilteredConnection(write_filter, self._take, self._end)

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

    def _take(self, message: bytes) -> None:
        """In place of `Client._onSocketHasData`, which parses before it knows that it can, and copies what it has
        received for every message in it."""
        number = message.partition(b"\0")[0].decode("ascii", "replace")
        if not self._serverVersion and message.count(b"\0") == 2:
            self._start(number)
        elif not self._serverVersion or message.count(b"\0") > MOST_FIELDS:
            self.conn.reject(f"{message[:16]!r}")
        elif number in _DECODED:
            self._decode(Incoming(int(number)), message.decode(errors="backslashreplace").split("\0")[:-1])

    def _decode(self, number: Incoming, fields: list[str]) -> None:
        """In place of `Decoder.interpret`, which only logs what it cannot read."""
        try:
            self.decoder.handlers[number](fields)
        except Exception as error:  # noqa: BLE001 - ib_async meets a message that it does not expect with any error
            # Who asked for it must not take that for "there is none".
            log.debug("a message %s of the API could not be read (%s)", number.name, kind(error))
            self._inbox.unread.add(number)

    def _start(self, version: str) -> None:
        """The handshake told the server's version, and we say who we are."""
        known = {str(number): number for number in range(self.MinClientVersion, self.MaxClientVersion + 1)}
        if version not in known:
            expected = f"{self.MinClientVersion} to {self.MaxClientVersion}"
            self.conn.reject(f"version {version[:16]!r} of the API; expected {expected}")
            return
        self._serverVersion = self.decoder.serverVersion = self._filter.server_version = known[version]
        self.connState = Client.CONNECTED
        self.startApi()
        self._inbox.started()

    def _end(self, closed: Closed) -> None:
        self.reset()
        self._inbox.end(closed)


class Inbox:
    """What ib_async calls its wrapper: receives decoded messages and hands them to whoever waits for them."""

    def __init__(self) -> None:
        self.accounts: list[str] = []
        self.told_accounts = False
        self.next_id: int | None = None
        self.notices: deque[ApiError] = deque(maxlen=MOST_NOTICES)
        self.time: datetime | None = None
        self.closed: Closed | None = None
        self.requests: dict[int, asyncio.Queue[Reply]] = {}
        self.updates: int | None = None
        """The request that account updates answer, which carry no number of their own."""
        self.orders: list[exposure.Order] = []
        self.orders_end = False
        self.positions: dict[tuple[str, int], exposure.Position] = {}
        """By account and conId: what changes meanwhile is told again."""
        self.positions_end = False
        self.unread: set[Incoming] = set()
        """The kinds of messages of which one came that could not be read."""
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

    def end(self, closed: Closed) -> None:
        """The connection is over: everything that waits is told. The first cause counts."""
        if self.closed is None:
            self.closed = closed
        for queue in self.requests.values():
            queue.put_nowait(self.closed)
        self._changed.set()

    def started(self) -> None:
        """The handshake is over."""
        self._changed.set()

    def _reply(self, request: int, reply: Reply) -> None:
        queue = self.requests.get(request)
        if queue is not None:
            queue.put_nowait(reply)

    # The names below are those that ib_async's Client and Decoder call.

    def managedAccounts(self, accounts: str) -> None:
        self.accounts = [clean(account) for account in accounts.split(",") if account]
        self.told_accounts = True
        self._changed.set()

    def nextValidId(self, order_id: int) -> None:
        self.next_id = order_id
        self._changed.set()

    def currentTime(self, seconds: int) -> None:
        self.time = datetime.fromtimestamp(seconds, UTC)
        self._changed.set()

    def error(self, request: int, code: int, message: str, advanced_reject: str) -> None:
        error = ApiError(request, code, clean(message))
        log.debug("API message %s for request %d", error, request)
        if request in self.requests:
            self._reply(request, error)
        else:
            self.notices.append(error)
        self._changed.set()

    def accountSummary(self, request: int, account: str, tag: str, value: str, currency: str) -> None:
        self._reply(request, SummaryRow(clean(account), tag, clean(value), clean(currency)))

    def accountUpdateMulti(self, request: int, account: str, model: str, tag: str, value: str, currency: str) -> None:
        self.accountSummary(request, account, tag, value, currency)

    def updateAccountValue(self, tag: str, value: str, currency: str, account: str) -> None:
        if self.updates is not None:
            self.accountSummary(self.updates, account, tag, value, currency)

    def accountDownloadEnd(self, account: str) -> None:
        if self.updates is not None:
            self._reply(self.updates, End())

    def contractDetails(self, request: int, details: ContractDetails) -> None:
        sec_type = details.contract.secType if details.contract is not None else ""
        self._reply(request, Instrument(sec_type, details.minTick, details.liquidHours, details.timeZoneId))

    def contractDetailsEnd(self, request: int) -> None:
        self._reply(request, End())

    accountSummaryEnd = accountUpdateMultiEnd = contractDetailsEnd
    bondContractDetails = contractDetails

    def marketDataType(self, request: int, data_type: int) -> None:
        self._reply(request, DataType(data_type))

    def priceSizeTick(self, request: int, tick_type: int, price: float, size: float) -> None:
        self._reply(request, Tick(tick_type, price))

    def openOrder(self, order_id: int, contract: Contract, order: Order, state: OrderState) -> None:
        self._reply(order_id, state)
        if order_id not in self.requests and not order.whatIf:
            self.orders.append(
                exposure.Order(
                    account=order.account,
                    action=order.action,
                    quantity=_number(float(order.totalQuantity)),
                    symbol=_name(contract),
                    kind=order.orderType,
                    status=state.status,
                )
            )

    def openOrderEnd(self) -> None:
        self.orders_end = True
        self._changed.set()

    def position(self, account: str, contract: Contract, quantity: float, average_cost: float) -> None:
        held = exposure.Position(account=account, quantity=_number(quantity), symbol=_name(contract))
        self.positions[account, contract.conId] = held

    def positionEnd(self) -> None:
        self.positions_end = True
        self._changed.set()


def is_told(number: float) -> bool:
    """Whether a number of the API's is one, and not how it says that there is none."""
    return abs(number) < MOST


def _number(number: float) -> float:
    if not is_told(number):
        raise ValueError(number)
    return number


def _name(contract: Contract) -> str:
    return contract.localSymbol or contract.symbol
