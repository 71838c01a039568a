"""One API connection: handshake, client id, the few requests that the checks make, disconnect.

What is sent goes through `healthcheck.api_client` and its write filter. Which verdict follows from what is seen here is
not decided here.
"""
# mypy: allow-untyped-calls
# (ib_async annotates its data and not its methods.)

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

from ib_async.contract import Contract, ContractDetails
from ib_async.order import LimitOrder, OrderState

from deployment.description import QuoteContract
from healthcheck.api_client import ApiError, Closed, DataType, End, FilteredClient, Inbox, Reply, SummaryRow, Tick
from healthcheck.reasons import Reason
from healthcheck.write_filter import WriteFilter

log = logging.getLogger(__name__)

T = TypeVar("T")

UNSET = 1.7976931348623157e308  # "no value" of the API's doubles
CLIENT_ID_IN_USE = 326
TOO_FAST = 100  # max rate of messages per second has been exceeded

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
        timeouts: Timeouts | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._client_ids = client_ids
        self._what_if = what_if
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
    def notices(self) -> list[ApiError]:
        """Messages that answer no request, in the order of their arrival."""
        return self._inbox.notices

    @property
    def closed(self) -> str | None:
        """Why the connection is over, or None while it stands."""
        return self._inbox.closed

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

        Each further id needs a connection of its own. Returns as soon as the gateway has said anything about this
        client, or when it stays silent after its handshake for `Timeouts.ready`. Raises SessionFailure.
        """
        for client_id in self._client_ids:
            if not self._reached:
                await self.reach()
            self._reached = False
            self.client_id = client_id
            await self._shake_hands(client_id)
            await self._inbox.wait_until(self._said_something, self.timeouts.ready)
            if not any(notice.code == CLIENT_ID_IN_USE for notice in self.notices):
                return
            log.info("client id %d is taken", client_id)
            await self.close()
        tried = f"{self._client_ids[0]} to {self._client_ids[-1]}"
        raise SessionFailure(Reason.CLIENT_ID_IN_USE, f"error 326 for each of the client ids {tried}")

    async def heard(self, seconds: float) -> bool:
        """Wait for an answer to the handshake, or the connection's end; whether one of them came."""
        return await self._inbox.wait_until(self._answered, seconds)

    async def ready(self) -> bool:
        """Wait for accounts and the next order id, `Timeouts.ready` seconds at most; True if both came."""
        return await self._inbox.wait_until(self._ready_or_closed, self.timeouts.ready) and self._has_both()

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
        self._filter = WriteFilter(what_if=self._what_if)
        self._client = FilteredClient(self._inbox, self._filter)

    async def _shake_hands(self, client_id: int) -> None:
        where = self._where
        self._client.greet(client_id)
        answered = await self.heard(self.timeouts.handshake)
        connection = self._client.conn
        if connection.foreign is not None:
            raise SessionFailure(Reason.NOT_THE_API, f"{where} answered {connection.foreign}")
        if not answered:
            seconds = f"{self.timeouts.handshake:g} s"
            if connection.received:
                raise SessionFailure(Reason.NOT_THE_API, f"{where} sent {connection.received} bytes and no handshake")
            raise SessionFailure(Reason.WEDGED, f"{where} accepted and did not answer the handshake within {seconds}")
        if self.server_version == 0:
            raise SessionFailure(Reason.RELAY_ONLY, f"{where} accepted and hung up before the handshake")

    def _has_both(self) -> bool:
        return bool(self.accounts) and self.next_id is not None

    def _ready_or_closed(self) -> bool:
        return self._has_both() or self.closed is not None

    def _said_something(self) -> bool:
        return bool(self.accounts or self.next_id is not None or self.notices) or self.closed is not None

    # --- requests -------------------------------------------------------------------------------------------------

    async def server_time(self) -> datetime:
        """The gateway's clock. Its answer also proves that everything sent before it has arrived."""
        self._inbox.time = None
        self._client.reqCurrentTime()
        await self._inbox.wait_until(
            lambda: self._inbox.time is not None or self.closed is not None, self.timeouts.request
        )
        self._still_open()
        if self._inbox.time is None:
            raise Unanswered("the gateway did not tell its time")
        return self._inbox.time

    async def account_summary(self, tags: Sequence[str]) -> list[SummaryRow]:
        """The summary of all accounts of the login. Raises Unanswered, Refused, SessionFailure."""
        request, replies = self._request()
        self._client.reqAccountSummary(request, "All", ",".join(tags))
        try:
            return await self._until_end(replies, SummaryRow, "the summary did not end")
        finally:
            self._cancel(request, self._client.cancelAccountSummary)

    async def contract_details(self, wanted: QuoteContract) -> list[ContractDetails]:
        """What IBKR knows under this contract. Raises Unanswered, Refused, SessionFailure."""
        request, replies = self._request()
        self._client.reqContractDetails(request, _contract(wanted))
        try:
            return await self._until_end(replies, ContractDetails, "no contract details")
        finally:
            del self._inbox.requests[request]

    async def quote(
        self, wanted: QuoteContract, data_type: DataType, *, timeout: float, final: frozenset[int]
    ) -> Quote:
        """Ask for market data of one type until a price arrives, an error of `final` or the timeout (seconds).

        An answer without a price is a result, not an exception. Raises SessionFailure.
        """
        request, replies = self._request()
        quote = Quote(data_type=data_type)
        self._client.reqMarketDataType(int(data_type))
        self._client.reqMktData(request, _contract(wanted), "", False, False, "")
        try:
            async with asyncio.timeout(timeout):
                while quote.price is None:
                    reply = await self._next(replies)
                    if isinstance(reply, DataType):
                        quote.data_type = reply
                    elif isinstance(reply, Tick):
                        _take(quote, reply)
                    elif isinstance(reply, ApiError):
                        quote.errors.append(reply)
                        if reply.code in final:
                            break
        except TimeoutError:
            log.debug("no %s quote within %g s", data_type.label, timeout)
        finally:
            self._cancel(request, self._client.cancelMktData)
        return quote

    async def what_if(self, wanted: QuoteContract, account: str, limit_price: float) -> OrderState:
        """What buying one share at a limit would cost. Nothing is placed.

        Raises Unanswered, Refused, SessionFailure and, where the check is off, TradingRefused.
        """
        order_id, replies = self._request()
        order = LimitOrder("BUY", 1, limit_price, account=account, tif="DAY", whatIf=True)
        try:
            self._client.placeOrder(order_id, _contract(wanted), order)
            async with asyncio.timeout(self.timeouts.request):
                while True:
                    reply = await self._next(replies)
                    if isinstance(reply, ApiError) and not _is_warning(reply):
                        raise Refused(reply)
                    if isinstance(reply, OrderState):
                        return reply
        except TimeoutError:
            raise Unanswered(f"the what-if order was not answered within {self.timeouts.request:g} s") from None
        finally:
            del self._inbox.requests[order_id]

    def _request(self) -> tuple[int, "asyncio.Queue[Reply]"]:
        self._still_open()
        request = self._client.getReqId()
        replies: asyncio.Queue[Reply] = asyncio.Queue()
        self._inbox.requests[request] = replies
        return request, replies

    def _cancel(self, request: int, send: Callable[[int], None]) -> None:
        """Leave no subscription behind, as far as the connection still stands."""
        del self._inbox.requests[request]
        if self.closed is None:
            send(request)

    async def _until_end(self, replies: "asyncio.Queue[Reply]", kind: type[T], missing: str) -> list[T]:
        """All replies of a kind. `missing`: what to say where the end does not come in time."""
        answer: list[T] = []
        try:
            async with asyncio.timeout(self.timeouts.request):
                while not isinstance(reply := await self._next(replies), End):
                    if isinstance(reply, ApiError):
                        raise Refused(reply)
                    if isinstance(reply, kind):
                        answer.append(reply)
        except TimeoutError:
            raise Unanswered(f"{missing} within {self.timeouts.request:g} s") from None
        return answer

    async def _next(self, replies: "asyncio.Queue[Reply]") -> Reply:
        reply = await replies.get()
        if isinstance(reply, Closed):
            raise SessionFailure(Reason.CONNECTION_DROPPED, reply.why)
        if isinstance(reply, ApiError) and reply.code == TOO_FAST:
            raise SessionFailure(Reason.RATE_LIMITED, str(reply))
        return reply

    def _still_open(self) -> None:
        if self.closed is not None:
            raise SessionFailure(Reason.CONNECTION_DROPPED, self.closed)


def margin(state: OrderState) -> float | None:
    """The change of the initial margin that a what-if order would bring, or None if IBKR told none."""
    try:
        change = float(state.initMarginChange)
    except ValueError:
        return None
    return None if not math.isfinite(change) or change == UNSET else change


def _contract(wanted: QuoteContract) -> Contract:
    return Contract(symbol=wanted.symbol, secType=wanted.sec_type, exchange=wanted.exchange, currency=wanted.currency)


def _take(quote: Quote, tick: Tick) -> None:
    """Use a tick if it says a price; -1 and 0 mean that there is none (TickType in the TWS API reference)."""
    if tick.tick_type not in BID_ASK | LAST | CLOSE or tick.price <= 0:
        return
    if tick.tick_type in CLOSE and quote.data_type is DataType.LIVE:
        return  # yesterday's close is no quote of today
    quote.price = tick.price
    quote.two_sided = tick.tick_type in BID_ASK
    if tick.tick_type in DELAYED and quote.data_type in (DataType.LIVE, DataType.FROZEN):
        quote.data_type = DataType.DELAYED


def _is_warning(error: ApiError) -> bool:
    """Order messages that do not end the request: 399 (order message) and the 21xx notices."""
    return error.code == 399 or 2100 <= error.code < 2200
