"""One API connection: handshake, client id, the few requests that the checks make, disconnect.

What is sent goes through `healthcheck.api_client` and its write filter. Which verdict follows from what is seen here is
not decided here.
"""
# mypy: allow-untyped-calls
# (ib_async annotates its data and not its methods.)

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

from ib_async.contract import Contract
from ib_async.order import LimitOrder, OrderState

from deployment.description import QuoteContract
from healthcheck.api_client import (
    ApiError,
    Closed,
    DataType,
    End,
    FilteredClient,
    Inbox,
    Incoming,
    Instrument,
    Reply,
    SummaryRow,
    Tick,
    is_told,
)
from healthcheck.exposure import Order, Position
from healthcheck.reasons import Reason
from healthcheck.write_filter import WriteFilter

log = logging.getLogger(__name__)

T = TypeVar("T")

CLIENT_ID_IN_USE = 326
ENDED = frozenset({"Filled", "Cancelled", "ApiCancelled"})
"""The states of an order that works no more (orderStatus in the TWS API reference)."""

TOO_FAST = 100  # max rate of messages per second has been exceeded

# What comes on the way to an answer and is none (Message Codes, TWS API reference, and users' reports): 399 and 404 to
# an order that goes on; 10349, whose time in force was set by a preset; 10090 and 10091, part of the data is not
# subscribed, and the other part comes; 10167, delayed data comes instead. And the warnings from 2100 to 2199.
ADVISORY = frozenset({399, 404, 10090, 10091, 10167, 10349, *range(2100, 2200)})

# Tick types of prices (TickType in the TWS API reference), by what they say.
BID_ASK = frozenset({1, 2, 66, 67})
LAST = frozenset({4, 68})
CLOSE = frozenset({9, 75})
DELAYED = frozenset({66, 67, 68, 75})


@dataclass(frozen=True)
class Timeouts:
    """Seconds that each step may take before it counts as unanswered."""

    connect: float = 5.0
    handshake: float = 5.0
    ready: float = 6.0
    request: float = 6.0
    quote: float = 5.0
    closed_market_quote: float = 2.0
    disconnect: float = 1.0
    settle: float = 1.0
    """Until bad news is the last word: what takes it back comes soon or never."""
    one_account: float = 2.0


class SessionFailure(Exception):
    """The connection could not be made or did not last."""

    def __init__(self, reason: Reason, seen: str) -> None:
        super().__init__(seen)
        self.reason = reason
        self.seen = seen


class Unanswered(Exception):
    """A request got no complete answer in time."""


class Refused(Exception):
    """A request was answered with an error."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass
class Quote:
    """What a market data request brought. `price` is the best figure: bid or ask, else last, else close."""

    price: float | None = None
    two_sided: bool = False
    data_type: DataType = DataType.LIVE
    errors: list[ApiError] = field(default_factory=list)


class Session:
    """A connection to one gateway. Use it as an async context manager: leaving it always disconnects."""

    def __init__(
        self,
        host: str,
        port: int,
        client_ids: Sequence[int],
        *,
        what_if: bool,
        exposure: bool = False,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._client_ids = client_ids
        self._what_if = what_if
        self._ready_until = 0.0
        self._last_request = 0
        self._exposure = exposure
        self.timeouts = timeouts or Timeouts()
        self.client_id: int | None = None
        self._reached = False
        self._begin_anew()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- connection -----------------------------------------------------------------------------------------------

    @property
    def server_version(self) -> int:
        """As negotiated in the handshake; 0 before it."""
        return self._filter.server_version

    @property
    def accounts(self) -> list[str]:
        return self._inbox.accounts

    @property
    def told_accounts(self) -> bool:
        """Whether a list of accounts has come, be it empty."""
        return self._inbox.told_accounts

    @property
    def next_id(self) -> int | None:
        return self._inbox.next_id

    @property
    def notices(self) -> Iterable[ApiError]:
        """Messages that answer no request, in the order of their arrival."""
        return self._inbox.notices

    @property
    def closed(self) -> str | None:
        """Why the connection is over, or None while it stands."""
        return None if self._inbox.closed is None else self._inbox.closed.why

    @property
    def hung_up(self) -> bool:
        """Whether it is over because the gateway ended it, and did nothing else wrong."""
        return self._inbox.closed is not None and self._inbox.closed.reason is Reason.CONNECTION_DROPPED

    async def reach(self) -> None:
        """Connect, which says nothing yet of who it is that accepts. Raises SessionFailure."""
        self._begin_anew()
        try:
            await self._client.dial(self._host, self._port, self.timeouts.connect)
        except ConnectionRefusedError:
            raise SessionFailure(Reason.PORT_CLOSED, f"{self._where} refused the connection") from None
        except TimeoutError:
            raise SessionFailure(Reason.UNREACHABLE, f"{self._where} did not accept within the time allowed") from None
        except OSError as error:
            raise SessionFailure(Reason.UNREACHABLE, f"{self._where}: {error.strerror or error}") from None
        self._reached = True

    async def open(self) -> None:
        """Shake hands on the connection that `reach` made, with the first client id that is free.

        Each further id needs a connection of its own. Returns as soon as the gateway has taken this client, or when it
        has not within `Timeouts.ready` of its handshake. Raises SessionFailure.
        """
        for client_id in self._client_ids:
            if not self._reached:
                await self.reach()
            self._reached = False
            self.client_id = client_id
            await self._shake_hands(client_id)
            self._ready_until = asyncio.get_running_loop().time() + self.timeouts.ready
            await self._inbox.wait_until(self._taken_or_not, self.timeouts.ready)
            if not self._refused_as_taken():
                return
            log.info("client id %d is taken", client_id)
            await self.close()
        tried = f"{self._client_ids[0]} to {self._client_ids[-1]}"
        raise SessionFailure(Reason.CLIENT_ID_IN_USE, f"error 326 for each of the client ids {tried}")

    async def heard(self, seconds: float) -> bool:
        """Wait for an answer to the handshake, or the connection's end; whether one of them came."""
        return await self._inbox.wait_until(self._answered, seconds)

    async def ready(self) -> bool:
        """Wait for accounts and the next order id, `Timeouts.ready` after the handshake at most; True if both came."""
        left = self._ready_until - asyncio.get_running_loop().time()
        await self._inbox.wait_until(lambda: self._has_both() or self.closed is not None, left)
        return self._has_both()

    async def settled(self, good: Callable[[], bool]) -> bool:
        """Whether what was told at first is good, or is put right within `Timeouts.settle`."""
        return await self._inbox.wait_until(lambda: good() or self.closed is not None, self.timeouts.settle) and good()

    def still_open(self) -> None:
        """Raises SessionFailure, with why the connection is over."""
        if self._inbox.closed is not None:
            raise SessionFailure(self._inbox.closed.reason, self._inbox.closed.why)

    async def close(self) -> None:
        """Disconnect and wait until the socket is closed."""
        transport = self._client.conn.transport
        self._client.disconnect()
        if transport is None:
            return
        closed = await self._inbox.wait_until(
            lambda: self._client.conn.transport is None or self.closed is not None, self.timeouts.disconnect
        )
        if not closed:
            transport.abort()

    @property
    def _where(self) -> str:
        return f"{self._host}:{self._port}"

    def _answered(self) -> bool:
        return self.server_version > 0 or self.closed is not None

    def _begin_anew(self) -> None:
        self._inbox = Inbox()
        self._filter = WriteFilter(what_if=self._what_if, exposure=self._exposure)
        self._client = FilteredClient(self._inbox, self._filter)

    async def _shake_hands(self, client_id: int) -> None:
        where = self._where
        self._client.greet(client_id)
        answered = await self.heard(self.timeouts.handshake)
        closed = self._inbox.closed
        if closed is not None and closed.reason is Reason.NOT_THE_API:
            raise SessionFailure(Reason.NOT_THE_API, f"{where} answered {closed.why}")
        if not answered:
            received = self._client.conn.received
            if received:
                raise SessionFailure(Reason.NOT_THE_API, f"{where} sent {received} bytes and no handshake")
            seconds = f"{self.timeouts.handshake:g} s"
            raise SessionFailure(Reason.WEDGED, f"{where} accepted and did not answer the handshake within {seconds}")
        if self.server_version == 0:
            raise SessionFailure(Reason.RELAY_ONLY, f"{where} accepted and hung up before the handshake")

    def _has_both(self) -> bool:
        return bool(self.accounts) and self.next_id is not None

    def _refused_as_taken(self) -> bool:
        return any(notice.code == CLIENT_ID_IN_USE for notice in self.notices)

    def _taken_or_not(self) -> bool:
        told = bool(self.accounts) or self.next_id is not None
        return told or self._refused_as_taken() or self.closed is not None

    # --- requests -------------------------------------------------------------------------------------------------

    async def server_time(self) -> datetime:
        """The gateway's clock. Its answer also proves that everything sent before it has arrived."""
        self.still_open()
        self._inbox.time = None
        self._client.reqCurrentTime()
        await self._inbox.wait_until(
            lambda: self._inbox.time is not None or self.closed is not None, self.timeouts.request
        )
        self.still_open()
        if self._inbox.time is None:
            raise Unanswered("the gateway did not tell its time")
        return self._inbox.time

    async def account_summary(self, tags: Sequence[str]) -> list[SummaryRow]:
        """The summary of all accounts of the login. Raises Unanswered, Refused, SessionFailure."""
        with self._request() as (request, replies):
            self._client.reqAccountSummary(request, "All", ",".join(tags))
            try:
                return await self._rows(replies, SummaryRow, self.timeouts.request, "the summary did not end")
            finally:
                self._send(self._client.cancelAccountSummary, request)

    async def account_values(self, account: str) -> list[SummaryRow]:
        """The figures of one account, whatever the number of accounts. Raises Unanswered, Refused, SessionFailure."""
        with self._request() as (request, replies):
            self._client.reqAccountUpdatesMulti(request, account, "", False)
            try:
                return await self._rows(replies, SummaryRow, self.timeouts.one_account, f"no end of {account}'s values")
            finally:
                self._send(self._client.cancelAccountUpdatesMulti, request)

    async def account_updates(self, account: str) -> list[SummaryRow]:
        """The same by the older request, of which a gateway serves one account at a time to all clients: it is ended at
        once. Raises Unanswered, Refused, SessionFailure."""
        with self._request() as (request, replies):
            self._inbox.updates = request
            self._client.reqAccountUpdates(True, account)
            try:
                return await self._rows(
                    replies, SummaryRow, self.timeouts.one_account, f"no end of {account}'s updates"
                )
            finally:
                self._inbox.updates = None
                self._send(lambda _: self._client.reqAccountUpdates(False, account), request)

    async def contract_details(self, wanted: QuoteContract) -> list[Instrument]:
        """What IBKR knows under this contract. Raises Unanswered, Refused, SessionFailure."""
        with self._request() as (request, replies):
            self._client.reqContractDetails(request, _contract(wanted))
            return await self._rows(replies, Instrument, self.timeouts.request, "no contract details")

    async def quote(
        self, wanted: QuoteContract, data_type: DataType, *, timeout: float, two_sided: bool = False
    ) -> Quote:
        """Ask for market data of one type until a price arrives, an error stands or the timeout (seconds).

        `two_sided`: only a bid or an ask is the last word. An answer without a price is a result, not an exception.
        Raises SessionFailure.
        """
        quote = Quote(data_type=data_type)

        def take(reply: Reply) -> bool:
            if isinstance(reply, DataType):
                quote.data_type = reply
            elif isinstance(reply, Tick):
                _take(quote, reply)
            elif isinstance(reply, ApiError) and reply.code not in {error.code for error in quote.errors}:
                quote.errors.append(reply)
            return quote.two_sided or (quote.price is not None and not two_sided)

        with self._request() as (request, replies):
            self._client.reqMarketDataType(int(data_type))
            self._client.reqMktData(request, _contract(wanted), "", False, False, "")
            try:
                await self._last_word(replies, timeout, take)
            finally:
                self._send(self._client.cancelMktData, request)
        return quote

    async def what_if(self, wanted: QuoteContract, account: str, limit_price: float) -> OrderState:
        """What buying one of it at a limit would cost: the answer with margin figures if one comes, else the last one.
        Nothing is placed.

        Raises Unanswered, Refused, SessionFailure and, where the check is off, TradingRefused.
        """
        states: list[OrderState] = []
        advice: list[ApiError] = []

        def take(reply: Reply) -> bool:
            if isinstance(reply, OrderState):
                states.append(reply)
            elif isinstance(reply, ApiError):
                advice.append(reply)
            return bool(states) and margin(states[-1]) is not None

        with self._request() as (request, replies):
            # Without a time in force of its own an order gets the one of a preset, and error 10349 says so.
            order = LimitOrder("BUY", 1, limit_price, account=account, tif="DAY", whatIf=True)
            self._client.placeOrder(request, _contract(wanted), order)
            refusal = await self._last_word(replies, self.timeouts.request, take)
        if refusal is not None:
            raise Refused(refusal)
        if not states:
            said = f"; {advice[-1]}" if advice else ""
            raise Unanswered(f"the what-if order was not answered within {self.timeouts.request:g} s{said}")
        return states[-1]

    async def positions(self) -> list[Position]:
        """What the login's accounts hold. Raises Unanswered, SessionFailure."""
        self.still_open()
        self._client.reqPositions()
        try:
            await self._told_all(lambda: self._inbox.positions_end, "the positions", Incoming.POSITION)
        finally:
            if self.closed is None:
                self._client.cancelPositions()
        return [held for held in self._inbox.positions.values() if held.quantity]

    async def working_orders(self) -> list[Order]:
        """Those of all clients of the login, none of which becomes ours by it. Raises Unanswered, SessionFailure."""
        self.still_open()
        self._client.reqAllOpenOrders()
        await self._told_all(lambda: self._inbox.orders_end, "the open orders", Incoming.OPEN_ORDER)
        return [order for order in self._inbox.orders if order.status not in ENDED]

    async def _told_all(self, done: Callable[[], bool], what: str, each: Incoming) -> None:
        before = [*self.notices]
        await self._inbox.wait_until(lambda: done() or self.closed is not None, self.timeouts.request)
        if not done():
            self.still_open()
            refusals = [str(notice) for notice in self.notices if notice not in before and notice.code not in ADVISORY]
            raise Unanswered(f"{what}: {'; '.join(refusals) or f'no end within {self.timeouts.request:g} s'}")
        if each in self._inbox.unread:
            raise Unanswered(f"{what}: one of them could not be read, so how many there are is not known")

    @contextmanager
    def _request(self) -> "Iterator[tuple[int, asyncio.Queue[Reply]]]":
        """A number for a request, and where its answers arrive. Raises SessionFailure."""
        self.still_open()
        request = max(self._last_request + 1, self.next_id or 0, 1)
        self._last_request = request
        replies: asyncio.Queue[Reply] = asyncio.Queue()
        self._inbox.requests[request] = replies
        try:
            yield request, replies
        finally:
            del self._inbox.requests[request]

    def _send(self, cancel: Callable[[int], None], request: int) -> None:
        """Leave no subscription behind, as far as the connection still stands."""
        if self.closed is None:
            cancel(request)

    async def _rows(self, replies: "asyncio.Queue[Reply]", kind: type[T], timeout: float, missing: str) -> list[T]:
        """All replies of a kind. `missing`: what to say where the end does not come in time."""
        rows: list[T] = []
        ended = False

        def take(reply: Reply) -> bool:
            nonlocal ended
            ended = isinstance(reply, End)
            if isinstance(reply, kind):
                rows.append(reply)
            return ended

        refusal = await self._last_word(replies, timeout, take)
        if refusal is not None:
            raise Refused(refusal)
        if not ended:
            raise Unanswered(f"{missing} within {timeout:g} s")
        return rows

    async def _last_word(
        self, replies: "asyncio.Queue[Reply]", timeout: float, take: Callable[[Reply], bool]
    ) -> ApiError | None:
        """The one way to wait for an answer. `take` gets each reply and says whether it is the last word.

        Neither an advisory nor an interim answer ends the wait, and an error only once it has stood for
        `Timeouts.settle`. Returns the error that stands, or None: the last word came, or the timeout (seconds) did.
        """
        loop = asyncio.get_running_loop()
        until, standing = loop.time() + timeout, None
        while True:
            try:
                async with asyncio.timeout_at(until):
                    reply = await replies.get()
            except TimeoutError:
                return standing
            if isinstance(reply, Closed):
                raise SessionFailure(reply.reason, reply.why)
            if isinstance(reply, ApiError) and reply.code == TOO_FAST:
                raise SessionFailure(Reason.RATE_LIMITED, str(reply))
            if take(reply):
                return None
            if isinstance(reply, ApiError) and reply.code not in ADVISORY:
                standing, until = reply, min(until, loop.time() + self.timeouts.settle)


def margin(state: OrderState) -> float | None:
    """The change of the initial margin that a what-if order would bring, or None if IBKR told none."""
    try:
        change = float(state.initMarginChange)
    except ValueError:
        return None
    return change if is_told(change) else None


def _contract(wanted: QuoteContract) -> Contract:
    return Contract(
        conId=wanted.con_id,
        symbol=wanted.symbol,
        secType=wanted.sec_type,
        lastTradeDateOrContractMonth=wanted.expiry,
        strike=wanted.strike,
        right=wanted.right,
        multiplier=wanted.multiplier,
        exchange=wanted.exchange,
        primaryExchange=wanted.primary_exchange,
        currency=wanted.currency,
        localSymbol=wanted.local_symbol,
        tradingClass=wanted.trading_class,
    )


def _take(quote: Quote, tick: Tick) -> None:
    """Use a tick if it says a price; -1 and 0 mean that there is none (TickType in the TWS API reference)."""
    if tick.tick_type not in BID_ASK | LAST | CLOSE or not (tick.price > 0 and is_told(tick.price)):
        return
    if tick.tick_type in CLOSE and quote.data_type is DataType.LIVE:
        return  # yesterday's close is no quote of today
    quote.price = tick.price
    quote.two_sided = tick.tick_type in BID_ASK
    if tick.tick_type in DELAYED and quote.data_type in (DataType.LIVE, DataType.FROZEN):
        quote.data_type = DataType.DELAYED
