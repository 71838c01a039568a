"""What the broker answers a logged-in gateway: accounts, contracts, quotes, bars, orders.

An answer is a JSON object: the result; `{"error": [code, text]}` with the API's own codes (TWS API reference, Message
Codes); or `{"silent": reason}` where the real one sends nothing either.
"""

from collections.abc import Callable
from dataclasses import asdict

from sandbox.gateway import notices

from . import market as markets
from .account import Account
from .clock import Clock
from .logins import UserState
from .market import DAY, Contract, Market
from .orders import NO_DEFINITION, Answer, Json, OrderDesk, account_of, account_prices, error
from .scenarios import Accounts, Connectivity, Data, Farm

LIVE, FROZEN, DELAYED, DELAYED_FROZEN = 1, 2, 3, 4  # market data types of the API
DELAY = 15 * 60  # seconds by which delayed data lags

# The rest the gateway knows by itself, and serves while it has lost the broker's servers.
_FROM_THE_SERVERS = {"contract", "matching", "quote", "bars", "what-if", "place", "cancel", "cancel-all"}
NOT_CONNECTED = error(504, "Not connected")
# Texts as gateways of 2025 and 2026 sent them (recorded in public repositories): what is missing, then the instrument.
_NOT_SUBSCRIBED = (
    "Requested market data is not subscribed. Check API status by selecting the Account menu then under Management "
    "choose Market Data Subscription Manager and/or availability of delayed data."
)
_EXTRA_SUBSCRIPTION = (
    "Requested market data requires additional subscription for API. See link in 'Market Data Connections' dialog for "
    "more details."
)
_DELAYED_AVAILABLE = "Delayed market data is available."
_DELAYED_SHOWN = [10167, "Requested market data is not subscribed. Displaying delayed market data."]
_COMPETING = error(*notices.COMPETING)
_HISTORY_BROKEN = error(
    165,
    "Historical Market Data Service query message:HMDS server disconnect occurred.  Attempting reconnection...",
)
_TEXTS = {"AccountType", "Cushion", "Leverage", "DayTradesRemaining", "LookAheadNextChange"}  # without a currency

Handler = Callable[[UserState, tuple[str, ...], Json], Answer]


class Service:
    def __init__(self, market: Market, clock: Clock) -> None:
        self.market = market
        self.clock = clock
        self.orders = OrderDesk(market, clock)
        self._handlers: dict[str, Handler] = {
            "values": self._values,
            "positions": self._positions,
            "profit": self._profit,
            "contract": self._contract,
            "matching": self._matching,
            "quote": self._quote,
            "bars": self._bars,
            "what-if": self.orders.what_if,
            "place": self.orders.place,
            "work": self.orders.work,
            "cancel": self.orders.cancel,
            "cancel-all": self.orders.cancel_all,
            "orders": self.orders.orders,
            "executions": self.orders.executions,
            "next-id": self.orders.next_id,
        }

    def answer(self, state: UserState, accounts: tuple[str, ...], what: str, request: Json) -> Answer:
        """Answers one request of a session that sees `accounts`. Raises KeyError for an unknown request."""
        handler = self._handlers[what]
        if state.conditions.connectivity is Connectivity.LOST:
            if what in _FROM_THE_SERVERS:
                return NOT_CONNECTED
            if what == "work":
                return {"steps": [], "open": 0}
        return handler(state, accounts, request)

    # accounts

    def _values(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        found: dict[str, list[list[str]]] = {}
        for account in self._named(state, accounts, request):
            if state.conditions.accounts is Accounts.SUMMARY_EMPTY:
                found[account.name] = []
                continue
            values = account.values(self._prices(account))
            if state.conditions.accounts is Accounts.SUMMARY_INSANE:
                values |= {"NetLiquidation": "-1.00", "AvailableFunds": "nan", "BuyingPower": ""}
            found[account.name] = [[tag, value, "" if tag in _TEXTS else "USD"] for tag, value in values.items()]
        return {"values": found}

    def _positions(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        found = []
        for account in self._named(state, accounts, request):
            prices = self._prices(account)
            for con_id, held in account.positions.items():
                found.append(
                    {
                        "account": account.name,
                        "contract": asdict(held.contract),
                        "quantity": held.quantity,
                        "average_cost": held.average_cost,
                        "price": prices[con_id],
                        "realized": account.realized.get(con_id, 0.0),
                    }
                )
        return {"positions": found}

    def _profit(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        """Profit and loss of an account, or of its position in `con_id`. All of it counts as today's."""
        quantity = unrealized = realized = value = 0.0
        for account in self._named(state, accounts, request):
            prices = self._prices(account)
            for con_id, held in account.positions.items():
                if request.get("con_id") in (None, con_id):
                    quantity += held.quantity
                    value += held.quantity * prices[con_id]
                    unrealized += held.quantity * (prices[con_id] - held.average_cost)
            for con_id, gained in account.realized.items():
                realized += gained if request.get("con_id") in (None, con_id) else 0.0
        return {"quantity": quantity, "unrealized": unrealized, "realized": realized, "value": value}

    def _named(self, state: UserState, accounts: tuple[str, ...], request: Json) -> list[Account]:
        wanted = request.get("account")
        return [account_of(state, name) for name in accounts if not wanted or name == wanted]

    def _prices(self, account: Account) -> dict[int, float]:
        return account_prices(account, self.market, self.clock.now())

    # contracts and market data

    def _contract(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        if Farm.DEFINITION in state.conditions.broken_farms:
            return {"silent": "the definition farm is broken"}
        contract = self.market.find(request["contract"])
        if contract is None:
            return NO_DEFINITION
        now = self.clock.now()
        return {
            "contract": asdict(contract),
            "trading_hours": markets.trading_hours(contract, now, regular=False),
            "liquid_hours": markets.trading_hours(contract, now, regular=True),
        }

    def _matching(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        return {"contracts": [asdict(contract) for contract in self.market.matching(request["pattern"])]}

    def _quote(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        """Ticks for the market data type that the client asked for; `ticks` is null when none come."""
        contract = self.market.find(request["contract"])
        if contract is None:
            return NO_DEFINITION
        wanted = int(request["type"])
        data = state.conditions.data
        instrument = f"{contract.listed}/TOP/ALL"
        if data is Data.NO_ENTITLEMENT:
            return error(354, _NOT_SUBSCRIBED + instrument)
        if data is Data.COMPETING:
            return _COMPETING
        if Farm.MARKET in state.conditions.broken_farms:
            return {"type": wanted, "ticks": None, "warning": None}
        if data in (Data.DELAYED_ONLY, Data.EXTRA_SUBSCRIPTION):
            if wanted in (DELAYED, DELAYED_FROZEN):
                return {"type": DELAYED, "ticks": self._ticks(contract, DELAY), "warning": _DELAYED_SHOWN}
            if data is Data.DELAYED_ONLY:
                return error(354, _NOT_SUBSCRIBED + _DELAYED_AVAILABLE + instrument)
            return error(10089, _EXTRA_SUBSCRIPTION + _DELAYED_AVAILABLE + instrument)
        if not self.orders.trading(state, contract):
            lag = {FROZEN: 0, DELAYED_FROZEN: DELAY}.get(wanted)
            ticks = None if lag is None else self._ticks(contract, lag, frozen=data is Data.HOURS)
            return {"type": wanted, "ticks": ticks, "warning": None}
        # Frozen and delayed are only used where live data is not to be had (TWS API reference, Market Data Types).
        return {"type": LIVE, "ticks": self._ticks(contract, 0), "warning": None}

    def _ticks(self, contract: Contract, lag: float, *, frozen: bool = False) -> Json:
        now = self.clock.now() - lag
        if frozen:
            now = markets.last_traded(contract, now)
        ticks = {**asdict(self.market.quote(contract, now)), "at": int(now)}
        if contract.sec_type == "CASH":  # there are quotes, and no trades
            for name in ("last", "last_size", "volume", "at"):
                del ticks[name]
        return ticks

    def _bars(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        contract = self.market.find(request["contract"])
        if contract is None:
            return NO_DEFINITION
        if Farm.HISTORY in state.conditions.broken_farms:
            return _HISTORY_BROKEN
        if contract.sec_type == "CASH" and request["show"] == "TRADES":
            text = f"No historical market data for {contract.symbol}/CASH@{contract.exchange} Last {request['size']}"
            return error(162, f"Historical Market Data Service error message:{text}")
        end = float(request["end"] or self.clock.now())
        size, span = int(request["size"]), (int(request["number"]), str(request["unit"]))
        found = self.market.bars(contract, end, size, span, regular=bool(request["regular"]))
        return {"bars": found, "daily": size >= DAY}
