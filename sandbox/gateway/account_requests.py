"""Requests about accounts: summary, values, positions, profit and loss. Most are subscriptions."""

from collections.abc import Awaitable, Callable
from time import localtime, strftime

from . import messages
from .clients import Api, Client, Feed, Look
from .messages import Json, Row
from .notices import UNSUBSCRIBED
from .wire import Fields

SUMMARIES = 2  # of one client at a time
TOO_MANY_SUMMARIES = (
    322,
    "Error processing request.-'Q' : cause - Maximum number of account summary requests exceeded; desubscribe to "
    "previous request first",
)
WRONG_ACCOUNT = (321, "Error validating request.-'bS' : cause - Invalid account code")
# Then, in braces, the ids of those clients (erdewit/ib_insync #197, blampe/IbPy #12).
OTHER_ACCOUNT = (2101, "Unable subscribe to account as the following clients are subscribed to a different account.")
NOT_SUBSCRIBED = {
    "profit": (10185, "Failed to cancel PNL (not subscribed)"),
    "profit-single": (10186, "Failed to cancel PNL single (not subscribed)"),
}


class AccountRequests:
    def __init__(self, api: Api) -> None:
        self._api = api

    async def refresh(self, *, every_tick: bool) -> None:
        """Tells subscribers what has changed. Raises LinkLost."""
        for client in list(self._api.clients):
            for feed in list(client.feeds.values()):
                if feed.every_tick or not every_tick:
                    for row in await feed.news():
                        client.send(row)

    async def summary(self, client: Client, fields: Fields) -> None:
        fields.skip(1)
        request_id, _group, tags = fields.integer(), fields.text(), set(fields.text().split(","))
        if (
            sum(kind == "summary" for kind, _ in client.feeds) >= SUMMARIES
            and ("summary", request_id) not in client.feeds
        ):
            client.error(request_id, *TOO_MANY_SUMMARIES)
            return

        def row(account: str, tag: str, value: str, currency: str) -> Row:
            return [63, 1, request_id, account, tag, value, currency]

        await self._subscribe(client, "summary", request_id, self._values(client, request_id, "", tags, row))
        client.send([64, 1, request_id])

    async def updates(self, client: Client, fields: Fields) -> None:
        """One account at a time, of all clients together: another client is refused a different one, and who asks for a
        second gives up the first (TWS API reference, Message Codes, 2100 and 2101). That 2100 answers a plain
        unsubscription too was seen by users (joshuaulrich/IBrokers #8)."""
        fields.skip(1)
        subscribe, name = fields.flag(), fields.text()
        if not subscribe:
            if client.feeds.pop(("updates", 0), None) is not None:
                client.error(-1, *UNSUBSCRIBED)
            return
        if not self._known(client, -1, name):
            return
        account = name or next(iter(self._api.session.state.accounts), "")
        watching = [(other, other.feeds.get(("updates", 0))) for other in self._api.clients]
        different = [other for other, feed in watching if feed is not None and feed.account != account]
        if others := [str(other.client_id) for other in different if other is not client]:
            code, text = OTHER_ACCOUNT
            client.error(-1, code, f"{text}{{{', '.join(others)}}}")
            return
        if different:
            client.error(-1, *UNSUBSCRIBED)

        def row(account: str, tag: str, value: str, currency: str) -> Row:
            return [6, 2, tag, value, currency, account]

        values = self._values(client, -1, account, None, row)
        held = self._held(client, -1, account, messages.portfolio)

        async def look() -> list[Row] | None:
            money, portfolio = await values(), await held()
            if money is None or portfolio is None:
                return None
            clock = strftime("%H:%M", localtime(self._api.now()))
            return [[6, 2, "AccountCode", account, "", account], *money, *portfolio, [8, 1, clock]]

        await self._subscribe(client, "updates", 0, look, account=account)
        client.send([54, 1, account])

    async def updates_multi(self, client: Client, fields: Fields) -> None:
        fields.skip(1)
        request_id, account, model = fields.integer(), fields.text(), fields.text()
        if not self._known(client, request_id, account):
            return

        def row(name: str, tag: str, value: str, currency: str) -> Row:
            return [73, 1, request_id, name, model, tag, value, currency]

        look = self._values(client, request_id, account, None, row)
        await self._subscribe(client, "updates-multi", request_id, look)
        client.send([74, 1, request_id])

    async def positions(self, client: Client, fields: Fields) -> None:
        await self._subscribe(client, "positions", 0, self._held(client, -1, "", messages.position))
        client.send([62, 1])

    async def positions_multi(self, client: Client, fields: Fields) -> None:
        fields.skip(1)
        request_id, account, model = fields.integer(), fields.text(), fields.text()
        if not self._known(client, request_id, account):
            return
        look = self._held(client, request_id, account, lambda held: messages.position_multi(request_id, model, held))
        await self._subscribe(client, "positions-multi", request_id, look)
        client.send([72, 1, request_id])

    async def profit(self, client: Client, fields: Fields) -> None:
        request_id, account = fields.integer(), fields.text()

        def row(found: Json) -> Row:
            return [94, request_id, _cents(found["unrealized"] + found["realized"]), *_gains(found)]

        await self._profit(client, "profit", request_id, account, None, row)

    async def profit_single(self, client: Client, fields: Fields) -> None:
        request_id, account = fields.integer(), fields.text()
        fields.skip(1)  # modelCode
        con_id = fields.integer()

        def row(found: Json) -> Row:
            daily = _cents(found["unrealized"] + found["realized"])
            return [95, request_id, found["quantity"], daily, *_gains(found), _cents(found["value"])]

        await self._profit(client, "profit-single", request_id, account, con_id, row)

    async def _profit(
        self,
        client: Client,
        kind: str,
        request_id: int,
        account: str,
        con_id: int | None,
        row: Callable[[Json], Row],
    ) -> None:
        if not self._known(client, request_id, account):
            return

        async def look() -> list[Row] | None:
            answer = await self._api.ask(client, request_id, "profit", account=account, con_id=con_id)
            return None if answer is None else [row(answer)]

        await self._subscribe(client, kind, request_id, look, every_tick=True)

    def cancel(self, kind: str, *, version: bool = True) -> Callable[[Client, Fields], Awaitable[None]]:
        """The handler that ends a subscription; `version`: whether a version precedes the request id."""

        async def handler(client: Client, fields: Fields) -> None:
            fields.skip(1 if version else 0)
            request_id = 0 if kind == "positions" else fields.integer()
            if client.feeds.pop((kind, request_id), None) is None and kind in NOT_SUBSCRIBED:
                client.error(request_id, *NOT_SUBSCRIBED[kind])

        return handler

    async def _subscribe(
        self,
        client: Client,
        kind: str,
        request_id: int,
        look: Look,
        *,
        account: str = "",
        every_tick: bool = False,
    ) -> None:
        feed = client.feeds[kind, request_id] = Feed(look, account, every_tick)
        for row in await feed.news():
            client.send(row)

    def _known(self, client: Client, request_id: int, account: str) -> bool:
        if not account or account in self._api.session.state.accounts:
            return True
        client.error(request_id, *WRONG_ACCOUNT)
        return False

    def _values(
        self,
        client: Client,
        request_id: int,
        account: str,
        tags: set[str] | None,
        row: Callable[[str, str, str, str], Row],
    ) -> Look:
        async def look() -> list[Row] | None:
            answer = await self._api.ask(client, request_id, "values", account=account)
            if answer is None:
                return None
            return [
                row(name, tag, value, currency)
                for name, values in answer["values"].items()
                for tag, value, currency in values
                if tags is None or tag in tags
            ]

        return look

    def _held(self, client: Client, request_id: int, account: str, row: Callable[[Json], Row]) -> Look:
        """Positions; one that was closed is shown once more, as zero."""
        shown: dict[tuple[str, int], Json] = {}

        async def look() -> list[Row] | None:
            answer = await self._api.ask(client, request_id, "positions", account=account)
            if answer is None:
                return None
            found = {(held["account"], held["contract"]["con_id"]): held for held in answer["positions"]}
            closed = [{**held, "quantity": 0, "average_cost": 0} for key, held in shown.items() if key not in found]
            shown.clear()
            shown.update(found)
            return [row(held) for held in (*found.values(), *closed)]

        return look


def _cents(amount: float) -> float:
    return round(amount, 2)


def _gains(found: Json) -> Row:
    return [_cents(found["unrealized"]), _cents(found["realized"])]
