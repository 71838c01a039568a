"""What the broker answers a logged-in gateway: accounts, contracts, quotes, bars, orders.

An answer is a JSON object: the result, or `{"error": [code, text]}` with the API's own codes (TWS API reference,
Message Codes).
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from .clock import Clock
from .desk import Account, Execution, Order, fill_price, valuation_price
from .logins import UserState
from .market import Contract, Market, Quote, trading_hours
from .scenarios import Accounts, Connectivity, Data, Orders

Answer = dict[str, Any]

FROZEN, DELAYED, DELAYED_FROZEN = 2, 3, 4  # market data types of the API; 1 is live
DELAY = 15 * 60  # seconds by which delayed data lags


def _error(code: int, text: str) -> Answer:
    return {"error": [code, text]}


NO_DEFINITION = _error(200, "No security definition has been found for the request")
# The rest the gateway knows by itself, and serves while it has lost the broker's servers.
_FROM_THE_SERVERS = {"contract", "quote", "bars", "what-if", "place", "cancel"}
NOT_CONNECTED = _error(504, "Not connected")
NOT_SUBSCRIBED = (
    "Requested market data is not subscribed. Check API status by selecting the Account menu then under Management "
    "choose Market Data Subscription Manager and/or availability of delayed data."
)


class Service:
    def __init__(self, market: Market, clock: Clock) -> None:
        self.market = market
        self.clock = clock
        self._orders_placed = 0
        self._handlers: dict[str, Callable[[UserState, tuple[str, ...], dict[str, Any]], Answer]] = {
            "values": self._values,
            "positions": self._positions,
            "contract": self._contract,
            "quote": self._quote,
            "bars": self._bars,
            "what-if": self._what_if,
            "place": self._place,
            "cancel": self._cancel,
            "orders": self._orders,
            "executions": self._executions,
            "next-id": self._next_id,
        }

    def answer(self, state: UserState, accounts: tuple[str, ...], what: str, request: dict[str, Any]) -> Answer:
        """Answers one request of a session that sees `accounts`. Raises KeyError for an unknown request."""
        handler = self._handlers[what]
        if state.conditions.connectivity is Connectivity.LOST and what in _FROM_THE_SERVERS:
            return NOT_CONNECTED
        return handler(state, accounts, request)

    # accounts

    def _values(self, state: UserState, accounts: tuple[str, ...], request: dict[str, Any]) -> Answer:
        found: dict[str, list[list[str]]] = {}
        for name in self._named(accounts, request):
            if state.conditions.accounts is Accounts.SUMMARY_EMPTY:
                found[name] = []
                continue
            values = self._account(state, name).values(self._prices(self._account(state, name)))
            if state.conditions.accounts is Accounts.SUMMARY_INSANE:
                values |= {"NetLiquidation": "-1.00", "AvailableFunds": "nan", "BuyingPower": ""}
            texts = {"AccountType", "Cushion", "Leverage", "DayTradesRemaining", "LookAheadNextChange"}
            found[name] = [[tag, value, "" if tag in texts else "USD"] for tag, value in values.items()]
        return {"values": found}

    def _positions(self, state: UserState, accounts: tuple[str, ...], request: dict[str, Any]) -> Answer:
        found = []
        for name in self._named(accounts, request):
            account = self._account(state, name)
            prices = self._prices(account)
            for con_id, held in account.positions.items():
                found.append(
                    {
                        "account": name,
                        "contract": asdict(held.contract),
                        "quantity": held.quantity,
                        "average_cost": held.average_cost,
                        "price": prices[con_id],
                    }
                )
        return {"positions": found}

    def _named(self, accounts: tuple[str, ...], request: dict[str, Any]) -> tuple[str, ...]:
        wanted = request.get("account")
        return accounts if not wanted else tuple(name for name in accounts if name == wanted)

    def _account(self, state: UserState, name: str) -> Account:
        """The account; one that a scenario shows in place of the user's own appears when it is first asked for."""
        return state.accounts.setdefault(name, Account(name))

    def _prices(self, account: Account) -> dict[int, float]:
        now = self.clock.now()
        return {con_id: self.market.quote(held.contract, now).last for con_id, held in account.positions.items()}

    # contracts and market data

    def _contract(self, state: UserState, accounts: tuple[str, ...], request: dict[str, Any]) -> Answer:
        contract = self.market.find(request["contract"])
        if contract is None:
            return NO_DEFINITION
        now = self.clock.now()
        return {
            "contract": asdict(contract),
            "trading_hours": trading_hours(now, "0400", "2000"),
            "liquid_hours": trading_hours(now, "0930", "1600"),
        }

    def _quote(self, state: UserState, accounts: tuple[str, ...], request: dict[str, Any]) -> Answer:
        """Ticks for the market data type that the client asked for; `ticks` is null when none come."""
        contract = self.market.find(request["contract"])
        if contract is None:
            return NO_DEFINITION
        wanted = int(request["type"])
        data = state.conditions.data
        if data is Data.NO_ENTITLEMENT:
            return _error(354, NOT_SUBSCRIBED)
        if data is Data.COMPETING:
            return _error(10197, "No market data during competing live session")
        if data is Data.FARM_BROKEN:
            return {"type": wanted, "ticks": None, "warning": None}
        if data is Data.DELAYED_ONLY:
            if wanted not in (DELAYED, DELAYED_FROZEN):
                return _error(354, NOT_SUBSCRIBED + " Delayed market data is available.")
            text = "Requested market data is not subscribed. Displaying delayed market data."
            return {"type": DELAYED, "ticks": self._ticks(contract, DELAY), "warning": [10167, text]}
        if data is Data.CLOSED:
            lag = {FROZEN: 0, DELAYED_FROZEN: DELAY}.get(wanted)
            ticks = None if lag is None else self._ticks(contract, lag)
            return {"type": wanted, "ticks": ticks, "warning": None}
        # Frozen and delayed are only used where live data is not to be had (TWS API reference, Market Data Types).
        return {"type": 1, "ticks": self._ticks(contract, 0), "warning": None}

    def _ticks(self, contract: Contract, lag: float) -> dict[str, Any]:
        now = self.clock.now() - lag
        return {**asdict(self.market.quote(contract, now)), "at": int(now)}

    def _bars(self, state: UserState, accounts: tuple[str, ...], request: dict[str, Any]) -> Answer:
        contract = self.market.find(request["contract"])
        if contract is None:
            return NO_DEFINITION
        end = float(request["end"] or self.clock.now())
        return {"bars": self.market.bars(contract, end, int(request["seconds"]), int(request["count"]))}

    # orders

    def _what_if(self, state: UserState, accounts: tuple[str, ...], request: dict[str, Any]) -> Answer:
        checked = self._check(state, accounts, request)
        if isinstance(checked, dict):
            return checked
        state.counters.what_ifs += 1
        account, _, quote = checked
        if state.conditions.orders is Orders.NO_MARGIN:
            return {"margins": None}
        return {"margins": account.what_if(request, valuation_price(request, quote), self._prices(account))}

    def _place(self, state: UserState, accounts: tuple[str, ...], request: dict[str, Any]) -> Answer:
        checked = self._check(state, accounts, request)
        if isinstance(checked, dict):
            return checked
        account, contract, quote = checked
        if any(order.order_id == request["order_id"] for order in account.orders):
            return _error(103, "Duplicate order id")
        state.counters.orders += 1
        self._orders_placed += 1
        order = Order(
            order_id=int(request["order_id"]),
            client_id=int(request["client_id"]),
            perm_id=1_000_000_000 + self._orders_placed,
            account=account.name,
            contract=contract,
            request=request,
            status="Submitted",
        )
        account.orders.append(order)
        price = None if state.conditions.data is Data.CLOSED else fill_price(request, quote)
        fills = [] if price is None else [_fill(account.fill(order, price, self.clock.now()))]
        return {"order": _order(order), "executions": fills}

    def _check(
        self, state: UserState, accounts: tuple[str, ...], request: dict[str, Any]
    ) -> Answer | tuple[Account, Contract, Quote]:
        """The account, contract and quote of an order, or why it is refused."""
        contract = self.market.find(request["contract"])
        if contract is None:
            return NO_DEFINITION
        name = request["account"] or (accounts[0] if len(accounts) == 1 else "")
        if not name:
            return _error(435, "You must specify an account.")
        if name not in accounts:
            return _error(321, "Error validating request.-'bX' : cause - Invalid account code")
        if state.conditions.orders is Orders.REJECTED:
            return _error(201, "Order rejected - reason:Your account is not permitted to open positions.")
        if not float(request["quantity"]) > 0:
            return _error(110, "The order size must be positive.")
        return self._account(state, name), contract, self.market.quote(contract, self.clock.now())

    def _cancel(self, state: UserState, accounts: tuple[str, ...], request: dict[str, Any]) -> Answer:
        for name in accounts:
            for order in self._account(state, name).orders:
                if order.order_id == request["order_id"]:
                    if not order.open:
                        text = f"OrderId {order.order_id} that needs to be cancelled cannot be cancelled"
                        return _error(10148, f"{text}, state: {order.status}.")
                    order.status = "Cancelled"
                    return {"order": _order(order)}
        return _error(10147, f"OrderId {request['order_id']} that needs to be cancelled is not found.")

    def _orders(self, state: UserState, accounts: tuple[str, ...], request: dict[str, Any]) -> Answer:
        """Open orders, or completed ones with `"completed": true`."""
        completed = bool(request.get("completed"))
        orders = [order for name in accounts for order in self._account(state, name).orders]
        return {"orders": [_order(order) for order in orders if order.open is not completed]}

    def _executions(self, state: UserState, accounts: tuple[str, ...], request: dict[str, Any]) -> Answer:
        fills = [fill for name in accounts for fill in self._account(state, name).executions]
        return {"executions": [_fill(fill) for fill in fills]}

    def _next_id(self, state: UserState, accounts: tuple[str, ...], request: dict[str, Any]) -> Answer:
        used = [order.order_id for account in state.accounts.values() for order in account.orders]
        return {"next_id": max(used, default=0) + 1}


def _order(order: Order) -> dict[str, Any]:
    return {
        "order_id": order.order_id,
        "client_id": order.client_id,
        "perm_id": order.perm_id,
        "account": order.account,
        "contract": asdict(order.contract),
        "request": order.request,
        "status": order.status,
        "filled": order.filled,
        "average_price": order.average_price,
    }


def _fill(fill: Execution) -> dict[str, Any]:
    return {
        "execution_id": fill.execution_id,
        "order": _order(fill.order),
        "at": fill.at,
        "side": fill.side,
        "quantity": fill.quantity,
        "price": fill.price,
        "commission": fill.commission,
    }
