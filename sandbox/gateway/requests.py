"""The requests of the API: which there are, and who answers them.

Every request is answered as the gateway answers it, if only with an error: what the simulator does not know goes to the
log by name.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from .account_requests import AccountRequests
from .accounts import is_master
from .clients import Api, Client
from .link import LinkLost
from .market_requests import MarketRequests, Refused
from .order_requests import OrderRequests
from .wire import Fields

READ_ONLY = (321, "Error validating request.-'bI' : cause - The API interface is currently in Read-Only mode.")
NOT_AN_ADVISOR = (321, "Error validating request.-'bE' : cause - FA data operations ignored for non FA customers")
NOT_CONNECTED = (504, "Not connected")

Handler = Callable[[Client, Fields], Awaitable[None]]


class Request(NamedTuple):
    """`id_at`: the position of the request id among the message's fields; None where there is none.

    `writes`: refused on a read-only API.
    """

    name: str
    id_at: int | None
    handler: Handler | None = None
    writes: bool = False


class Requests:
    def __init__(self, api: Api) -> None:
        self._api = api
        self.accounts = accounts = AccountRequests(api)
        self.market = market = MarketRequests(api)
        self.orders = orders = OrderRequests(api, accounts)
        # Numbers and names: ibapi, class OUT in message.py. That reading orders and ids counts as writing was recorded
        # at gateways (the transcripts in the repository ThomasMarcelis/ibkr-go; gnzsnz #267).
        self._table = {
            1: Request("reqMktData", 2, market.data),
            2: Request("cancelMktData", 2, market.cancel_data),
            3: Request("placeOrder", 1, orders.place, writes=True),
            4: Request("cancelOrder", 2, orders.cancel, writes=True),
            5: Request("reqOpenOrders", None, orders.open, writes=True),
            6: Request("reqAccountUpdates", None, accounts.updates),
            7: Request("reqExecutions", 2, orders.executions),
            8: Request("reqIds", None, orders.ids, writes=True),
            9: Request("reqContractDetails", 2, market.contract_details),
            10: Request("reqMktDepth", 2),
            11: Request("cancelMktDepth", 2),
            12: Request("reqNewsBulletins", None, self._nothing),
            13: Request("cancelNewsBulletins", None, self._nothing),
            14: Request("setServerLogLevel", None, self._nothing),
            15: Request("reqAutoOpenOrders", None, orders.auto_open, writes=True),
            16: Request("reqAllOpenOrders", None, orders.all_open, writes=True),
            17: Request("reqManagedAccts", None, self._managed_accounts),
            18: Request("requestFA", None, self._advisors_only("requestFA")),
            19: Request("replaceFA", None, self._advisors_only("replaceFA")),
            20: Request("reqHistoricalData", 1, market.bars),
            21: Request("exerciseOptions", 2),
            22: Request("reqScannerSubscription", 1),
            23: Request("cancelScannerSubscription", 2),
            24: Request("reqScannerParameters", None),
            25: Request("cancelHistoricalData", 2, market.cancel_bars),
            49: Request("reqCurrentTime", None, self._current_time),
            50: Request("reqRealTimeBars", 2),
            51: Request("cancelRealTimeBars", 2),
            52: Request("reqFundamentalData", 2),
            53: Request("cancelFundamentalData", 2),
            54: Request("calculateImpliedVolatility", 2),
            55: Request("calculateOptionPrice", 2),
            56: Request("cancelCalculateImpliedVolatility", 2),
            57: Request("cancelCalculateOptionPrice", 2),
            58: Request("reqGlobalCancel", None, orders.cancel_all, writes=True),
            59: Request("reqMarketDataType", None, market.data_type),
            61: Request("reqPositions", None, accounts.positions),
            62: Request("reqAccountSummary", 2, accounts.summary),
            63: Request("cancelAccountSummary", 2, accounts.cancel("summary")),
            64: Request("cancelPositions", None, accounts.cancel("positions")),
            65: Request("verifyRequest", None),
            66: Request("verifyMessage", None),
            67: Request("queryDisplayGroups", 2),
            68: Request("subscribeToGroupEvents", 2),
            69: Request("updateDisplayGroup", 2),
            70: Request("unsubscribeFromGroupEvents", 2),
            72: Request("verifyAndAuthRequest", None),
            73: Request("verifyAndAuthMessage", None),
            74: Request("reqPositionsMulti", 2, accounts.positions_multi),
            75: Request("cancelPositionsMulti", 2, accounts.cancel("positions-multi")),
            76: Request("reqAccountUpdatesMulti", 2, accounts.updates_multi),
            77: Request("cancelAccountUpdatesMulti", 2, accounts.cancel("updates-multi")),
            78: Request("reqSecDefOptParams", 1),
            79: Request("reqSoftDollarTiers", 1, self._soft_dollar_tiers),
            80: Request("reqFamilyCodes", None, self._family_codes),
            81: Request("reqMatchingSymbols", 1, market.matching_symbols),
            82: Request("reqMktDepthExchanges", None),
            83: Request("reqSmartComponents", 1),
            84: Request("reqNewsArticle", 1),
            85: Request("reqNewsProviders", None, self._news_providers),
            86: Request("reqHistoricalNews", 1),
            87: Request("reqHeadTimeStamp", 1),
            88: Request("reqHistogramData", 1),
            89: Request("cancelHistogramData", 1),
            90: Request("cancelHeadTimeStamp", 1),
            91: Request("reqMarketRule", None, market.market_rule),
            92: Request("reqPnL", 1, accounts.profit),
            93: Request("cancelPnL", 1, accounts.cancel("profit", version=False)),
            94: Request("reqPnLSingle", 1, accounts.profit_single),
            95: Request("cancelPnLSingle", 1, accounts.cancel("profit-single", version=False)),
            96: Request("reqHistoricalTicks", 1),
            97: Request("reqTickByTickData", 1),
            98: Request("cancelTickByTickData", 1),
            99: Request("reqCompletedOrders", None, orders.completed, writes=True),
            100: Request("reqWshMetaData", 1),
            101: Request("cancelWshMetaData", 1),
            102: Request("reqWshEventData", 1),
            103: Request("cancelWshEventData", 1),
            104: Request("reqUserInfo", 1, self._user_info),
            # Of later versions than are offered here: no client sends them unless it disregards the handshake.
            105: Request("reqCurrentTimeInMillis", None),
            106: Request("cancelContractData", 1),
            107: Request("cancelHistoricalTicks", 1),
            108: Request("reqConfig", 1),
            109: Request("updateConfig", 1),
        }

    async def serve(self, client: Client, row: list[str]) -> None:
        """Answers one message. Raises ValueError when its id is no number."""
        number = int(row[0])
        request = self._table.get(number, Request(f"message {number}", None))
        request_id = request_id_of(request, row)
        if self._api.session.state.api == "half-open" and request.name not in ("reqManagedAccts", "reqCurrentTime"):
            self._api.log(f"API client {client.client_id}: {request.name} is left unanswered (half-open)")
        elif request.handler is None:
            self._api.refuse(client, request_id, request.name)
        elif request.writes and self._api.read_only:
            client.error(request_id, *READ_ONLY)
            self._api.on_write_refused()
        else:
            try:
                await request.handler(client, Fields(row[1:]))
            except Refused as refused:
                client.error(request_id, refused.code, refused.text)
            except ValueError as problem:
                self._api.log(f"API client {client.client_id}: malformed {request.name}: {problem}")
                client.error(request_id, 320, f"Error reading request. {problem}")
            except LinkLost:
                client.error(request_id, *NOT_CONNECTED)

    def request_id(self, row: list[str]) -> int:
        """The request id of a message; -1 where there is none."""
        request = self._table.get(int(row[0])) if row and row[0].isdigit() else None
        return -1 if request is None else request_id_of(request, row)

    def send_accounts(self, client: Client) -> None:
        client.send([15, 1, ",".join(self._api.session.state.accounts)])

    async def _nothing(self, client: Client, fields: Fields) -> None:
        """For requests that the gateway does not answer either, or only when there is news."""

    async def _managed_accounts(self, client: Client, fields: Fields) -> None:
        self.send_accounts(client)

    async def _current_time(self, client: Client, fields: Fields) -> None:
        client.send([49, 1, int(self._api.now())])

    def _advisors_only(self, name: str) -> Handler:
        async def handler(client: Client, fields: Fields) -> None:
            if any(map(is_master, self._api.session.state.accounts)):
                self._api.refuse(client, -1, f"{name} of an adviser")
            else:
                client.error(-1, *NOT_AN_ADVISOR)

        return handler

    async def _soft_dollar_tiers(self, client: Client, fields: Fields) -> None:
        client.send([77, fields.integer(), 0])

    async def _family_codes(self, client: Client, fields: Fields) -> None:
        client.send([78, 1, "*", ""])

    async def _news_providers(self, client: Client, fields: Fields) -> None:
        client.send([85, 0])

    async def _user_info(self, client: Client, fields: Fields) -> None:
        client.send([107, fields.integer(), ""])  # no white branding


def request_id_of(request: Request, row: list[str]) -> int:
    """-1 where there is none."""
    if request.id_at is None or len(row) <= request.id_at or not row[request.id_at].lstrip("-").isdigit():
        return -1
    return int(row[request.id_at])
