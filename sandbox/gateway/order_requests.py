"""Requests about orders and executions, and what clients are told of orders unasked.

A client sees its own orders; the master client sees everybody's (TWS API reference, Master Client ID). Client 0 sees
those made by hand as well, of which there are none here.
"""

import contextlib
from collections.abc import Iterable

from . import order_messages
from .account_requests import AccountRequests
from .clients import Api, Client
from .link import LinkLost
from .market_requests import read_time
from .messages import Json
from .wire import Fields

NOT_CLIENT_0 = (321, "Error validating request.-'b1' : cause - Only the default client (i.e 0) can auto bind orders")


class OrderRequests:
    def __init__(self, api: Api, accounts: AccountRequests) -> None:
        self._api = api
        self._accounts = accounts  # to be told of fills
        self._next_ids: dict[int | None, int] = {}
        self._waiting = False  # whether the broker holds open orders

    async def refresh(self) -> bool:
        """Tells what has happened to waiting orders; whether one was filled. Raises LinkLost."""
        if not self._waiting:
            return False
        answer = await self._api.session.ask("work")
        self._waiting = bool(answer["open"])
        return self._tell(answer["steps"])

    async def greet(self, client: Client) -> None:
        """A client's own open orders, which it is sent when it connects. Raises LinkLost."""
        answer = await self._api.session.ask("orders")
        self._waiting = self._waiting or bool(answer["orders"])
        own = [order for order in answer["orders"] if order["client_id"] == client.client_id]
        if own:
            self._send_open(client, own)

    async def send_next_id(self, client: Client) -> None:
        """The last known one while the broker is out of reach."""
        with contextlib.suppress(LinkLost):
            answer = await self._api.session.ask("next-id", client_id=client.client_id)
            self._next_ids[client.client_id] = answer["next_id"]
        client.send([9, 1, self._next_ids.get(client.client_id, 1)])

    async def ids(self, client: Client, fields: Fields) -> None:
        await self.send_next_id(client)

    async def place(self, client: Client, fields: Fields) -> None:
        order_id, what_if, order = order_messages.read_order(fields, client.version)
        order |= {"order_id": order_id, "client_id": client.client_id}
        if order["allocated"]:
            self._api.refuse(client, order_id, "placeOrder with an allocation (faGroup, faMethod, faProfile)")
            return
        if what_if:
            await self._what_if(client, order_id, order)
            return
        answer = await self._api.ask(client, order_id, "place", **order)
        if answer is not None:
            self._waiting = True
            if self._tell(answer["steps"]):
                await self._accounts.refresh(every_tick=False)

    async def _what_if(self, client: Client, order_id: int, order: Json) -> None:
        answer = await self._api.ask(client, order_id, "what-if", **order)
        if answer is not None:
            assert client.client_id is not None
            contract, margins = answer["contract"], answer["margins"]
            client.send(order_messages.what_if(order_id, client.client_id, order, contract, margins, client.version))

    async def cancel(self, client: Client, fields: Fields) -> None:
        fields.skip(1)
        order_id = fields.integer()
        answer = await self._api.ask(client, order_id, "cancel", order_id=order_id, client_id=client.client_id)
        if answer is not None:
            self._tell(answer["steps"])

    async def cancel_all(self, client: Client, fields: Fields) -> None:
        answer = await self._api.ask(client, -1, "cancel-all")
        if answer is not None:
            self._tell(answer["steps"])

    async def auto_open(self, client: Client, fields: Fields) -> None:
        """Binds orders made by hand, of which there are none: the gateway sends nothing."""
        if client.client_id != 0:
            client.error(-1, *NOT_CLIENT_0)

    async def open(self, client: Client, fields: Fields) -> None:
        await self._open(client, everybodys=self._api.is_master(client))

    async def all_open(self, client: Client, fields: Fields) -> None:
        await self._open(client, everybodys=True)

    async def _open(self, client: Client, *, everybodys: bool) -> None:
        answer = await self._api.ask(client, -1, "orders")
        if answer is not None:
            own = [order for order in answer["orders"] if everybodys or order["client_id"] == client.client_id]
            self._send_open(client, own)

    async def completed(self, client: Client, fields: Fields) -> None:
        answer = await self._api.ask(client, -1, "orders", completed=True)
        if answer is not None:
            for order in answer["orders"]:
                client.send(order_messages.completed_order(order, client.version))
            client.send([102])

    async def executions(self, client: Client, fields: Fields) -> None:
        fields.skip(1)
        request_id, client_id, account, since = fields.integer(), fields.integer(), fields.text(), fields.text()
        symbol, kind, exchange, side = fields.text(), fields.text(), fields.text(), fields.text()
        after = read_time(client, request_id, since, self._api.now()) or 0.0
        answer = await self._api.ask(client, request_id, "executions")
        if answer is None:
            return
        for fill in answer["executions"]:
            order, contract = fill["order"], fill["order"]["contract"]
            fits = (
                (order["client_id"] == client.client_id or self._api.is_master(client))
                and client_id in (0, order["client_id"])
                and account in ("", order["account"])
                and fill["at"] >= after
                and symbol in ("", contract["symbol"])
                and kind in ("", contract["sec_type"])
                and exchange in ("", contract["primary_exchange"])
                and side in ("", order["request"]["action"], fill["side"])
            )
            if fits:
                client.send(order_messages.execution(request_id, fill, client.version))
                client.send(order_messages.commission_report(fill))
        client.send([55, 1, request_id])

    def _send_open(self, client: Client, orders: Iterable[Json]) -> None:
        for order in orders:
            client.send(order_messages.open_order(order, client.version))
            client.send(order_messages.order_status(order))
        client.send([53, 1])

    def _tell(self, steps: Iterable[Json]) -> bool:
        """Sends the broker's steps (see its `orders`) to all whom they concern; whether there was a fill."""
        filled = False
        for step in steps:
            filled = filled or step["kind"] == "execution"
            for client in self._api.clients:
                if step["order"]["client_id"] == client.client_id or self._api.is_master(client):
                    _send_step(client, step)
        return filled


def _send_step(client: Client, step: Json) -> None:
    order, kind = step["order"], step["kind"]
    if kind == "open":
        client.send(order_messages.open_order(order, client.version))
    if kind in ("open", "status"):
        client.send(order_messages.order_status(order))
    elif kind == "execution":
        client.send(order_messages.execution(-1, step["fill"], client.version))
    elif kind == "commission":
        client.send(order_messages.commission_report(step["fill"]))
    elif kind == "error":
        client.error(order["order_id"], *step["error"])
