"""Two independent clients of the API behind one face: ib_async, and IBKR's own ibapi.

Each encodes requests and decodes answers by its own code. What a client is told is kept as tuples, the callback's name
and plain values, under the names of ibapi's older versions; a `Contract` is its symbol.
"""

import asyncio
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Protocol
from unittest.mock import patch

import ib_async
from ibapi import client as ibapi_client  # type: ignore[import-untyped]
from ibapi.contract import Contract as IbapiContract  # type: ignore[import-untyped]
from ibapi.execution import ExecutionFilter as IbapiFilter  # type: ignore[import-untyped]
from ibapi.order import Order as IbapiOrder  # type: ignore[import-untyped]
from ibapi.order_cancel import OrderCancel  # type: ignore[import-untyped]

Event = tuple[Any, ...]


@dataclass(frozen=True)
class Instrument:
    symbol: str
    sec_type: str = "STK"
    exchange: str = "SMART"
    currency: str = "USD"


@dataclass(frozen=True)
class Ticket:
    """An order."""

    kind: str
    action: str = "BUY"
    quantity: float = 10
    limit: float | None = None
    what_if: bool = False
    tif: str = "DAY"
    transmit: bool = True
    parent: int = 0
    account: str = ""
    group: str = ""


@dataclass(frozen=True)
class Filter:
    """Of executions."""

    symbol: str = ""
    side: str = ""
    since: str = ""


class ApiClient(Protocol):
    """A connected client. `events`: what it was told so far."""

    events: list[Event]

    def request(self, name: str, *arguments: Any) -> None: ...

    def server_version(self) -> int: ...

    def connected(self) -> bool: ...

    def close(self) -> None: ...


def _plain(value: Any) -> list[Any]:
    """What a row of a test can compare of an argument."""
    kind = type(value).__name__
    if kind in ("Contract", "Stock", "Forex"):
        return [value.symbol]
    if kind == "ContractDetails":
        return [value.contract.conId, value.longName, value.minTick, value.timeZoneId]
    if kind == "Order":
        return [value.orderType, bool(value.whatIf)]
    if kind == "OrderState":
        return [value.status, value.initMarginChange, value.maintMarginChange, value.completedStatus]
    if kind == "Execution":
        return [value.side, float(value.shares), value.clientId]
    if kind in ("CommissionReport", "CommissionAndFeesReport"):
        commission = value.commission if kind == "CommissionReport" else value.commissionAndFees
        realized = None if value.realizedPNL > 1e300 else value.realizedPNL
        return [commission, value.currency, realized]
    if kind in ("BarData",):
        return [value.date]
    if kind in ("int", "float", "str", "bool"):
        return [value]
    if kind == "Decimal":
        return [float(value)]
    return [len(value)] if kind in ("list", "tuple", "set") else []


class Recorder:
    """Stands in for a client's wrapper: any callback exists, and is kept. Passes on to `behind` while there is one."""

    defaultTimezone = UTC  # ib_async's decoder asks for it

    def __init__(self, renamed: dict[str, str], cut: dict[str, Callable[[Event], Event]], behind: Any = None) -> None:
        self.events: list[Event] = []
        self.behind = behind
        self._renamed = renamed
        self._cut = cut

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def callback(*arguments: Any) -> Any:
            known = self._renamed.get(name, name)
            cut = self._cut.get(known)
            values = arguments if cut is None else cut(arguments)
            self.events.append((known, *(plain for value in values for plain in _plain(value))))
            return getattr(self.behind, name)(*arguments) if self.behind is not None else None

        return callback


def _order_status(values: Event) -> Event:
    """Id, status, filled and remaining; and why it is held, where it is."""
    return values[:4] + ((values[9],) if values[9] else ())


class IbAsync:
    """Goes through the whole of ib_async's `connectAsync`; then its wrapper is taken away."""

    def __init__(
        self,
        port: int,
        client_id: int,
        *,
        readonly: bool = False,
        options: str = "",
        timeout: float = 3.0,
        newest: int = 178,
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._ib = ib_async.IB()
        self._ib.client.MaxRequests = 0  # no throttle of its own
        self._ib.client.MaxClientVersion = newest
        self._recorder = Recorder(
            {"priceSizeTick": "tickPrice"},
            {"tickPrice": lambda values: values[:3], "orderStatus": _order_status, "error": lambda values: values[:3]},
            self._ib.wrapper,
        )
        self._ib.client.decoder.wrapper = self._recorder  # type: ignore[assignment]
        self.events = self._recorder.events
        if options:
            self._ib.client.setConnectOptions(options)
        try:
            self._run(self._ib.connectAsync("127.0.0.1", port, clientId=client_id, readonly=readonly, timeout=timeout))
        except BaseException:
            self._end()
            raise
        self._recorder.behind = None

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def request(self, name: str, *arguments: Any) -> None:
        made = [self._made(argument) for argument in arguments]

        async def work() -> None:
            getattr(self._ib.client, name)(*made)

        self._run(work())

    @staticmethod
    def _made(argument: Any) -> Any:
        if isinstance(argument, Instrument):
            return ib_async.Contract(
                symbol=argument.symbol,
                secType=argument.sec_type,
                exchange=argument.exchange,
                currency=argument.currency,
            )
        if isinstance(argument, Ticket):
            order = ib_async.Order(
                action=argument.action,
                totalQuantity=argument.quantity,
                orderType=argument.kind,
                tif=argument.tif,
                whatIf=argument.what_if,
                transmit=argument.transmit,
                parentId=argument.parent,
                account=argument.account,
                faGroup=argument.group,
            )
            if argument.limit is not None:
                order.lmtPrice = argument.limit
            return order
        if isinstance(argument, Filter):
            return ib_async.ExecutionFilter(symbol=argument.symbol, side=argument.side, time=argument.since)
        return argument

    def server_version(self) -> int:
        return self._ib.client.serverVersion()

    def connected(self) -> bool:
        return self._ib.isConnected()

    def close(self) -> None:
        async def work() -> None:
            self._ib.disconnect()

        self._run(work())
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


class Ibapi:
    """ibapi's EClient with its own reader thread; its messages are interpreted in a thread of ours."""

    def __init__(
        self,
        port: int,
        client_id: int,
        *,
        readonly: bool = False,
        options: str = "",
        timeout: float = 3.0,
        newest: int = 223,
    ) -> None:
        self._recorder = Recorder(
            {"commissionAndFeesReport": "commissionReport"},
            {
                "tickPrice": lambda values: values[:3],
                "orderStatus": _order_status,
                "error": lambda values: (values[0], *values[2:4]),
            },
        )
        self.events = self._recorder.events
        self._client = ibapi_client.EClient(self._recorder)
        if options:
            self._client.connectOptions = options
        with patch.object(ibapi_client, "MAX_CLIENT_VER", newest):
            self._client.connect("127.0.0.1", port, client_id)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._interpret, daemon=True)
        self._thread.start()
        wait_for(
            lambda: {"managedAccounts", "nextValidId"} <= {event[0] for event in self.events} or not self.connected()
        )
        if not self.connected():
            self.close()
            raise ConnectionError("the server closed the connection")

    def _interpret(self) -> None:
        """What EClient.run does, without a quarter of a second's wait at its end."""
        while not self._stopped.is_set():
            try:
                text = self._client.msg_queue.get(timeout=0.05)
            except queue.Empty:
                continue
            fields = ibapi_client.comm.read_fields(text)
            self._client.decoder.interpret(fields[1:], int(fields[0]))

    def request(self, name: str, *arguments: Any) -> None:
        if name == "cancelOrder":
            arguments = (*arguments, OrderCancel())
        if name == "reqGlobalCancel":
            arguments = (OrderCancel(),)
        getattr(self._client, name)(*(self._made(argument) for argument in arguments))

    @staticmethod
    def _made(argument: Any) -> Any:
        if isinstance(argument, Instrument):
            contract = IbapiContract()
            contract.symbol, contract.secType = argument.symbol, argument.sec_type
            contract.exchange, contract.currency = argument.exchange, argument.currency
            return contract
        if isinstance(argument, Ticket):
            order = IbapiOrder()
            order.action, order.totalQuantity, order.orderType = argument.action, argument.quantity, argument.kind
            order.tif, order.whatIf, order.transmit = argument.tif, argument.what_if, argument.transmit
            order.parentId, order.account, order.faGroup = argument.parent, argument.account, argument.group
            if argument.limit is not None:
                order.lmtPrice = argument.limit
            return order
        if isinstance(argument, Filter):
            chosen = IbapiFilter()
            chosen.symbol, chosen.side, chosen.time = argument.symbol, argument.side, argument.since
            return chosen
        return argument

    def server_version(self) -> int:
        return int(self._client.serverVersion())

    def connected(self) -> bool:
        return bool(self._client.isConnected())

    def close(self) -> None:
        self._stopped.set()
        self._thread.join(5)
        if self.connected():
            # Its reader holds the socket open for up to a second more.
            self._client.conn.socket.shutdown(socket.SHUT_RDWR)
        self._client.disconnect()


KINDS: dict[str, Callable[..., ApiClient]] = {"ib_async": IbAsync, "ibapi": Ibapi}


@contextmanager
def connected(kind: str, port: int, client_id: int = 7, **options: Any) -> Iterator[ApiClient]:
    client = KINDS[kind](port, client_id, **options)
    try:
        yield client
    finally:
        client.close()


def wait_for(condition: Callable[[], object], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
