"""What each request of an API client is answered.

Every request is answered, if only with an error: what the simulator does not know goes to the log by name.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from . import messages
from .link import LinkLost
from .wire import Fields

if TYPE_CHECKING:
    from .api import ApiServer, Client

READ_ONLY = "Error validating request.-'bI' : cause - The API interface is currently in Read-Only mode."
NO_SUCH_REQUEST = "Fatal Error: Unknown message id."

TICK_SECONDS = 1.0  # between two looks at a quote
SNAPSHOT_SECONDS = 11.0  # a snapshot without data ends after that (TWS API reference, reqMktData)
MAX_BARS = 5000

Handler = Callable[["Client", Fields], Awaitable[None]]


class Request(NamedTuple):
    """`id_at`: the position of the request id among the message's fields; None where there is none."""

    name: str
    id_at: int | None
    handler: Handler | None = None
    writes: bool = False  # refused on a read-only API


class Requests:
    def __init__(self, server: "ApiServer") -> None:
        self._server = server
        self._next_id = 1
        self._table = {
            1: Request("reqMktData", 2, self._market_data),
            2: Request("cancelMktData", 2, self._cancel_market_data),
            3: Request("placeOrder", 1, self._place_order, writes=True),
            4: Request("cancelOrder", 2, self._cancel_order, writes=True),
            5: Request("reqOpenOrders", None, self._open_orders, writes=True),
            6: Request("reqAccountUpdates", None, self._account_updates),
            7: Request("reqExecutions", 2, self._executions),
            8: Request("reqIds", None, self._ids),
            9: Request("reqContractDetails", 2, self._contract_details),
            12: Request("reqNewsBulletins", None, self._nothing),
            13: Request("cancelNewsBulletins", None, self._nothing),
            14: Request("setServerLogLevel", None, self._nothing),
            15: Request("reqAutoOpenOrders", None, self._nothing, writes=True),
            16: Request("reqAllOpenOrders", None, self._open_orders, writes=True),
            17: Request("reqManagedAccts", None, self._managed_accounts),
            20: Request("reqHistoricalData", 1, self._historical_data),
            25: Request("cancelHistoricalData", 2, self._nothing),
            49: Request("reqCurrentTime", None, self._current_time),
            58: Request("reqGlobalCancel", None, self._global_cancel, writes=True),
            59: Request("reqMarketDataType", None, self._market_data_type),
            61: Request("reqPositions", None, self._positions),
            62: Request("reqAccountSummary", 2, self._account_summary),
            63: Request("cancelAccountSummary", 2, self._nothing),
            64: Request("cancelPositions", None, self._nothing),
            76: Request("reqAccountUpdatesMulti", 2, self._account_updates_multi),
            77: Request("cancelAccountUpdatesMulti", 2, self._nothing),
            99: Request("reqCompletedOrders", None, self._completed_orders),
            # Known by name only, so that the error reaches the request that waits for it.
            10: Request("reqMktDepth", 2),
            18: Request("requestFA", None),
            21: Request("exerciseOptions", 2),
            22: Request("reqScannerSubscription", 1),
            24: Request("reqScannerParameters", None),
            50: Request("reqRealTimeBars", 2),
            52: Request("reqFundamentalData", 2),
            54: Request("calculateImpliedVolatility", 2),
            55: Request("calculateOptionPrice", 2),
            67: Request("queryDisplayGroups", 2),
            74: Request("reqPositionsMulti", 2),
            78: Request("reqSecDefOptParams", 1),
            79: Request("reqSoftDollarTiers", 1),
            80: Request("reqFamilyCodes", None),
            81: Request("reqMatchingSymbols", 1),
            82: Request("reqMktDepthExchanges", None),
            83: Request("reqSmartComponents", 1),
            84: Request("reqNewsArticle", 1),
            85: Request("reqNewsProviders", None),
            86: Request("reqHistoricalNews", 1),
            87: Request("reqHeadTimeStamp", 1),
            88: Request("reqHistogramData", 1),
            91: Request("reqMarketRule", None),
            92: Request("reqPnL", 1),
            94: Request("reqPnLSingle", 1),
            96: Request("reqHistoricalTicks", 1),
            97: Request("reqTickByTickData", 1),
            100: Request("reqWshMetaData", 1),
            102: Request("reqWshEventData", 1),
            104: Request("reqUserInfo", 1),
        }

    async def serve(self, client: "Client", row: list[str]) -> None:
        """Answers one message. Raises ValueError when its id is no number."""
        number = int(row[0])
        request = self._table.get(number, Request(f"message {number}", None))
        if self._server.session.state.api == "half-open" and number not in (17, 49):
            return
        request_id = -1
        if request.id_at is not None and len(row) > request.id_at and row[request.id_at].lstrip("-").isdigit():
            request_id = int(row[request.id_at])
        if request.handler is None:
            self._server.log(f"API client {client.client_id}: {request.name} is not implemented")
            client.error(request_id, 505, NO_SUCH_REQUEST)
            return
        if request.writes and self._server.read_only:
            client.error(request_id, 321, READ_ONLY)
            self._server.on_write_refused()
            return
        try:
            await request.handler(client, Fields(row[1:]))
        except ValueError as problem:
            self._server.log(f"API client {client.client_id}: malformed {request.name}: {problem}")
            client.error(request_id, 320, f"Error reading request. {problem}")
        except LinkLost:
            client.error(request_id, 504, "Not connected")

    async def _ask(self, client: "Client", request_id: int, what: str, **request: Any) -> dict[str, Any] | None:
        """The broker's answer; None when it was an error, which the client has then got."""
        answer = await self._server.session.ask(what, **request)
        if "error" in answer:
            client.error(request_id, *answer["error"])
            return None
        return answer

    # session

    def send_accounts(self, client: "Client") -> None:
        client.send([15, 1, ",".join(self._server.session.state.accounts)])

    async def send_next_id(self, client: "Client") -> None:
        """The last known one while the broker is out of reach."""
        with contextlib.suppress(LinkLost):
            self._next_id = (await self._server.session.ask("next-id"))["next_id"]
        client.send([9, 1, self._next_id])

    async def _nothing(self, client: "Client", fields: Fields) -> None:
        """For requests that the gateway does not answer either."""

    async def _ids(self, client: "Client", fields: Fields) -> None:
        await self.send_next_id(client)

    async def _managed_accounts(self, client: "Client", fields: Fields) -> None:
        self.send_accounts(client)

    async def _current_time(self, client: "Client", fields: Fields) -> None:
        client.send([49, 1, int(time.time())])

    # accounts

    async def _account_summary(self, client: "Client", fields: Fields) -> None:
        fields.skip(1)
        request_id, _group, tags = fields.integer(), fields.text(), set(fields.text().split(","))
        answer = await self._ask(client, request_id, "values")
        if answer is None:
            return
        for account, values in answer["values"].items():
            for tag, value, currency in values:
                if tag in tags or "All" in tags:
                    client.send([63, 1, request_id, account, tag, value, currency])
        client.send([64, 1, request_id])

    async def _account_updates(self, client: "Client", fields: Fields) -> None:
        fields.skip(1)
        subscribe, account = fields.flag(), fields.text()
        if not subscribe:
            return
        name = account or next(iter(self._server.session.state.accounts), "")
        values = await self._ask(client, -1, "values", account=name)
        positions = await self._ask(client, -1, "positions", account=name)
        if values is None or positions is None:
            return
        for tag, value, currency in values["values"].get(name, []):
            client.send([6, 2, tag, value, currency, name])
        for held in positions["positions"]:
            client.send(messages.portfolio(held))
        client.send([8, 1, time.strftime("%H:%M")])
        client.send([54, 1, name])

    async def _account_updates_multi(self, client: "Client", fields: Fields) -> None:
        fields.skip(1)
        request_id, account, model = fields.integer(), fields.text(), fields.text()
        answer = await self._ask(client, request_id, "values", account=account)
        if answer is None:
            return
        for name, values in answer["values"].items():
            for tag, value, currency in values:
                client.send([73, 1, request_id, name, model, tag, value, currency])
        client.send([74, 1, request_id])

    async def _positions(self, client: "Client", fields: Fields) -> None:
        answer = await self._ask(client, -1, "positions")
        if answer is None:
            return
        for held in answer["positions"]:
            client.send(messages.position(held))
        client.send([62, 1])

    # contracts and market data

    async def _contract_details(self, client: "Client", fields: Fields) -> None:
        fields.skip(1)
        request_id = fields.integer()
        answer = await self._ask(client, request_id, "contract", contract=messages.read_contract(fields))
        if answer is None:
            return
        client.send(messages.contract_details(request_id, answer, client.version))
        client.send([52, 1, request_id])

    async def _market_data_type(self, client: "Client", fields: Fields) -> None:
        fields.skip(1)
        client.market_data_type = fields.integer()

    async def _market_data(self, client: "Client", fields: Fields) -> None:
        fields.skip(1)
        request_id = fields.integer()
        contract = messages.read_contract(fields)
        if contract["sec_type"] == "BAG":
            fields.skip(4 * fields.integer())
        if fields.flag():  # delta neutral contract
            fields.skip(3)
        fields.skip(1)  # generic ticks
        snapshot = fields.flag()
        if request_id in client.subscriptions:
            client.error(request_id, 322, "Error processing request.-'bW' : cause - Duplicate ticker id")
            return
        stream = self._snapshot if snapshot else self._stream
        task = asyncio.create_task(stream(client, request_id, contract))
        client.subscriptions[request_id] = task

        def forget(done: asyncio.Task[None]) -> None:
            if client.subscriptions.get(request_id) is done:
                del client.subscriptions[request_id]

        task.add_done_callback(forget)

    async def _cancel_market_data(self, client: "Client", fields: Fields) -> None:
        fields.skip(1)
        request_id = fields.integer()
        subscription = client.subscriptions.pop(request_id, None)
        if subscription is None:
            client.error(request_id, 300, f"Can't find EId with tickerId:{request_id}")
        else:
            subscription.cancel()

    async def _stream(self, client: "Client", request_id: int, contract: dict[str, Any]) -> None:
        announced: int | None = None
        while not client.writer.is_closing():
            found = await self._look(client, request_id, contract, announced)
            if found is None:
                return
            announced, _ = found
            await asyncio.sleep(TICK_SECONDS)

    async def _snapshot(self, client: "Client", request_id: int, contract: dict[str, Any]) -> None:
        announced: int | None = None
        deadline = time.monotonic() + SNAPSHOT_SECONDS
        while True:
            found = await self._look(client, request_id, contract, announced)
            if found is None:
                return
            announced, seen = found
            if seen or time.monotonic() > deadline:
                client.send([57, 1, request_id])
                return
            await asyncio.sleep(TICK_SECONDS)

    async def _look(
        self, client: "Client", request_id: int, contract: dict[str, Any], announced: int | None
    ) -> tuple[int, bool] | None:
        """Sends a quote's ticks once; the data type now announced and whether there were ticks, None on an error."""
        if self._server.session.state.api == "wedged":
            return announced or client.market_data_type, False
        try:
            answer = await self._ask(client, request_id, "quote", contract=contract, type=client.market_data_type)
        except LinkLost:
            client.error(request_id, 504, "Not connected")
            return None
        if answer is None:
            return None
        if announced != answer["type"]:
            if answer["warning"]:
                client.error(request_id, *answer["warning"])
            client.send([58, 1, request_id, answer["type"]])
            if announced is None:
                client.send([81, request_id, 0.01, "9c0001", 3])
        if answer["ticks"] is not None:
            for row in messages.ticks(request_id, answer["ticks"], delayed=answer["type"] in (3, 4)):
                client.send(row)
        return answer["type"], answer["ticks"] is not None

    async def _historical_data(self, client: "Client", fields: Fields) -> None:
        request_id = fields.integer()
        contract = messages.read_contract(fields)
        fields.skip(1)  # includeExpired
        end, size, duration = fields.text(), bar_seconds(fields.text()), duration_seconds(fields.text())
        fields.skip(2)  # useRTH, whatToShow
        as_seconds = fields.integer() == 2
        count = max(1, min(MAX_BARS, duration // size))
        answer = await self._ask(
            client, request_id, "bars", contract=contract, end=end_seconds(end), seconds=size, count=count
        )
        if answer is not None:
            daily = size >= 86_400
            client.send(messages.bars(request_id, answer["bars"], daily=daily, as_seconds=as_seconds))

    # orders

    async def _place_order(self, client: "Client", fields: Fields) -> None:
        order_id, what_if, order = messages.read_order(fields, client.version)
        order |= {"order_id": order_id, "client_id": client.client_id}
        if what_if:
            contract = await self._ask(client, order_id, "contract", contract=order["contract"])
            answer = None if contract is None else await self._ask(client, order_id, "what-if", **order)
            if contract is not None and answer is not None:
                assert client.client_id is not None
                client.send(
                    messages.what_if(
                        order_id, client.client_id, order, contract["contract"], answer["margins"], client.version
                    )
                )
            return
        answer = await self._ask(client, order_id, "place", **order)
        if answer is None:
            return
        placed = answer["order"]
        for watcher in self._watchers(client):
            watcher.send(messages.open_order(placed, watcher.version))
            watcher.send(messages.order_status(placed))
            for fill in answer["executions"]:
                watcher.send(messages.execution(-1, fill, watcher.version))
                watcher.send(messages.commission_report(fill))

    def _watchers(self, client: "Client") -> list["Client"]:
        """Who hears of a client's orders: itself and the master client."""
        return [
            other
            for other in self._server.clients
            if other is client or (other.client_id is not None and other.client_id == self._server.master_client_id)
        ]

    async def _cancel_order(self, client: "Client", fields: Fields) -> None:
        fields.skip(1)
        await self._cancel(client, fields.integer())

    async def _cancel(self, client: "Client", order_id: int) -> None:
        answer = await self._ask(client, order_id, "cancel", order_id=order_id)
        if answer is not None:
            for watcher in self._watchers(client):
                watcher.send(messages.order_status(answer["order"]))
                watcher.error(order_id, 202, "Order Canceled - reason:")

    async def _global_cancel(self, client: "Client", fields: Fields) -> None:
        answer = await self._ask(client, -1, "orders")
        for order in answer["orders"] if answer else []:
            await self._cancel(client, order["order_id"])

    async def _open_orders(self, client: "Client", fields: Fields) -> None:
        answer = await self._ask(client, -1, "orders")
        if answer is None:
            return
        for order in answer["orders"]:
            client.send(messages.open_order(order, client.version))
            client.send(messages.order_status(order))
        client.send([53, 1])

    async def _completed_orders(self, client: "Client", fields: Fields) -> None:
        answer = await self._ask(client, -1, "orders", completed=True)
        if answer is None:
            return
        for order in answer["orders"]:
            client.send(messages.completed_order(order, client.version))
        client.send([102])

    async def _executions(self, client: "Client", fields: Fields) -> None:
        fields.skip(1)
        request_id = fields.integer()
        answer = await self._ask(client, request_id, "executions")
        if answer is None:
            return
        for fill in answer["executions"]:
            client.send(messages.execution(request_id, fill, client.version))
            client.send(messages.commission_report(fill))
        client.send([55, 1, request_id])


def bar_seconds(size: str) -> int:
    """`5 mins` to seconds. Raises ValueError for what the API does not know."""
    match = re.fullmatch(r"(\d+) (sec|min|hour|day|week|month)s?", size)
    if match is None:
        raise ValueError(f"invalid bar size {size!r}")
    unit = {"sec": 1, "min": 60, "hour": 3600, "day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400}[match[2]]
    return int(match[1]) * unit


def duration_seconds(duration: str) -> int:
    """`1 D` to seconds. Raises ValueError for what the API does not know."""
    match = re.fullmatch(r"(\d+) ([SDWMY])", duration)
    if match is None:
        raise ValueError(f"invalid duration {duration!r}")
    return int(match[1]) * {"S": 1, "D": 86_400, "W": 7 * 86_400, "M": 30 * 86_400, "Y": 365 * 86_400}[match[2]]


def end_seconds(end: str) -> float | None:
    """The end of a history request, `20261123 14:30:00 US/Eastern` (UTC without a zone), to seconds; None: now."""
    if not end:
        return None
    match = re.fullmatch(r"(\d{8})[ -](\d\d:\d\d:\d\d)(?: (\S+))?", end)
    if match is None:
        raise ValueError(f"invalid end time {end!r}")
    try:
        zone = ZoneInfo(match[3]) if match[3] else UTC
    except ZoneInfoNotFoundError as problem:
        raise ValueError(f"invalid time zone {match[3]!r}") from problem
    return datetime.strptime(f"{match[1]} {match[2]}", "%Y%m%d %H:%M:%S").replace(tzinfo=zone).timestamp()
