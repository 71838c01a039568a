"""Orders at the broker: checked, placed, matched, cancelled, remembered.

What becomes of an order is told as a list of steps, which the gateway turns into messages of the API: `open` (openOrder
and orderStatus), `status` (orderStatus alone), `execution`, `commission` and `error`; each names its order. They come
in the order that was recorded at a real gateway (the transcripts in the repository ThomasMarcelis/ibkr-go).
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from . import market as markets
from .clock import Clock
from .desk import Account, Execution, Order, fill_price, valuation_price
from .logins import UserState
from .market import EXCHANGE_TIME, Contract, Market, Quote
from .scenarios import Data, Orders

Answer = dict[str, Any]
Json = dict[str, Any]

SUPPORTED = {"MKT", "LMT"}
# Order types of the API that the sandbox knows by name only (TWS API reference, Order Types).
KNOWN = SUPPORTED | {
    "STP", "STP LMT", "TRAIL", "TRAIL LIMIT", "MIT", "LIT", "MOC", "LOC", "MTL", "MIDPRICE", "REL", "PEG MID",
    "PEG MKT", "PEG BEST", "PEG BENCH", "BOX TOP", "VOL",
}  # fmt: skip
AT_ONCE = {"IOC", "FOK"}


def error(code: int, text: str) -> Answer:
    return {"error": [code, text]}


NO_DEFINITION = error(200, "No security definition has been found for the request")
WRONG_TICK = error(110, "The price does not conform to the minimum price variation for this contract.")
WRONG_TYPE = error(321, "Error validating request.-'v' : cause - Invalid order type was entered")
UNSUPPORTED_TYPE = error(387, "Unsupported order type for this exchange and security type.")
NO_SIZE = error(434, "The order size cannot be zero.")
NO_ACCOUNT = error(435, "You must specify an account.")
WRONG_ACCOUNT = error(321, "Error validating request.-'v' : cause - Invalid account code")
FILLED = error(104, "Can't modify a filled order.")
DUPLICATE = error(103, "Duplicate order id")
REJECTED = error(201, "Order rejected - reason:Your account is not permitted to open positions.")
CANCELLED = [202, "Order Canceled - reason:"]


@dataclass(frozen=True)
class Checked:
    """An order that may be placed."""

    account: Account
    contract: Contract
    quote: Quote


class OrderDesk:
    def __init__(self, market: Market, clock: Clock) -> None:
        self._market = market
        self._clock = clock
        self._placed = 0

    def trading(self, state: UserState, contract: Contract) -> bool:
        """Whether orders are filled now."""
        data = state.conditions.data
        return data is not Data.CLOSED and (data is not Data.HOURS or markets.is_open(contract, self._clock.now()))

    def what_if(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        checked = self._check(state, accounts, request)
        if not isinstance(checked, Checked):
            return checked
        state.counters.what_ifs += 1
        margins = None if state.conditions.orders is Orders.NO_MARGIN else self._margins(checked, request)
        return {"contract": asdict(checked.contract), "margins": margins}

    def place(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        """Places an order, or changes the one that is open under its id."""
        checked = self._check(state, accounts, request)
        if not isinstance(checked, Checked):
            return checked
        margins = self._margins(checked, request)
        if margins["initial_after"] > max(margins["equity_after"], margins["initial_before"]):
            return error(
                201,
                "Order rejected - reason:YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION YOUR "
                f"EQUITY WITH LOAN VALUE [{margins['equity_after']:.2f} USD] MUST EXCEED THE INITIAL MARGIN "
                f"[{margins['initial_after']:.2f} USD]",
            )
        order = self._find(state, accounts, request["client_id"], request["order_id"])
        is_new = order is None
        if order is None:
            state.counters.orders += 1
            self._placed += 1
            order = Order(
                order_id=int(request["order_id"]),
                client_id=int(request["client_id"]),
                perm_id=1_000_000_000 + self._placed,
                account=checked.account.name,
                contract=checked.contract,
                request=request,
                status="PreSubmitted",
            )
            checked.account.orders.append(order)
        elif order.open:
            order.request = request
        else:
            return FILLED if order.status == "Filled" else DUPLICATE
        steps = [_step("open", order)]
        if is_new and not self.trading(state, order.contract) and request["transmit"]:
            steps += [_step("error", order, error=self._waits(order)), _step("open", order)]
        return {"steps": steps + self._proceed(state, checked.account, order)}

    def work(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        """What has happened since to orders that wait; `open`: how many still do."""
        steps: list[Json] = []
        for name in accounts:
            account = account_of(state, name)
            for order in account.orders:
                if order.open:
                    steps += self._proceed(state, account, order)
        waiting = sum(order.open for name in accounts for order in account_of(state, name).orders)
        return {"steps": steps, "open": waiting}

    def cancel(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        """Only the client that placed an order may cancel it (recorded at a gateway; of client 0, too)."""
        order = self._find(state, accounts, request["client_id"], request["order_id"])
        if order is None:
            return error(10147, f"OrderId {request['order_id']} that needs to be cancelled is not found.")
        if not order.open:
            text = f"OrderId {order.order_id} that needs to be cancelled can not be cancelled, state: {order.status}."
            return error(10148, text)
        return {"steps": self._end(order)}

    def cancel_all(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        found = [order for name in accounts for order in account_of(state, name).orders if order.open]
        return {"steps": [step for order in found for step in self._end(order)]}

    def orders(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        """Open orders, or with `"completed": true` those that ended today."""
        completed = bool(request.get("completed"))
        found = [order for name in accounts for order in account_of(state, name).orders]
        if completed:
            return {"orders": [show(order) for order in found if order.ended and self._today(order.ended)]}
        return {"orders": [show(order) for order in found if order.open]}

    def executions(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        """Those since midnight, as the gateway keeps them (TWS API reference, reqExecutions)."""
        fills = [fill for name in accounts for fill in account_of(state, name).executions]
        return {"executions": [_fill(fill) for fill in fills if self._today(fill.at)]}

    def next_id(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        """The next order id of one client."""
        found = (order for account in state.accounts.values() for order in account.orders)
        used = [order.order_id for order in found if order.client_id == request["client_id"]]
        return {"next_id": max(used, default=0) + 1}

    def _check(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer | Checked:
        """What is needed to place an order, or why it is refused."""
        contract = self._market.find(request["contract"])
        if contract is None:
            return NO_DEFINITION
        name = request["account"] or (accounts[0] if len(accounts) == 1 else "")
        limit = request["limit_price"]
        if not name:
            return NO_ACCOUNT
        if name not in accounts:
            return WRONG_ACCOUNT
        if request["order_type"] not in KNOWN:
            return WRONG_TYPE
        if request["order_type"] not in SUPPORTED:
            return UNSUPPORTED_TYPE
        if not float(request["quantity"]) > 0:
            return NO_SIZE
        if request["order_type"] == "LMT" and (limit is None or not _on_tick(float(limit), contract.min_tick)):
            return WRONG_TICK
        if state.conditions.orders is Orders.REJECTED:
            return REJECTED
        return Checked(account_of(state, name), contract, self._market.quote(contract, self._clock.now()))

    def _margins(self, checked: Checked, request: Json) -> dict[str, float]:
        prices = account_prices(checked.account, self._market, self._clock.now())
        price = valuation_price(request, checked.quote)
        return checked.account.what_if(checked.contract.con_id, request, price, prices)

    def _proceed(self, state: UserState, account: Account, order: Order) -> list[Json]:
        """Sends an open order to the exchange and fills it, as far as that can be done now."""
        if not order.request["transmit"] or not self.trading(state, order.contract):
            return []
        steps = []
        if order.status == "PreSubmitted":
            order.status = "Submitted"
            steps.append(_step("open", order))
        now = self._clock.now()
        price = fill_price(order.request, self._market.quote(order.contract, now))
        if price is not None:
            fill = _fill(account.fill(order, price, now))
            steps += [_step("execution", order, fill=fill), _step("open", order), _step("commission", order, fill=fill)]
        elif order.request["tif"] in AT_ONCE:
            steps += self._end(order)
        return steps

    def _end(self, order: Order) -> list[Json]:
        order.status, order.ended = "Cancelled", self._clock.now()
        return [_step("status", order), _step("error", order, error=CANCELLED)]

    def _waits(self, order: Order) -> list[Any]:
        opens = datetime.fromtimestamp(markets.next_open(order.contract, self._clock.now()), EXCHANGE_TIME)
        what = f"{order.request['action']} {order.quantity:g} {order.contract.listed}"
        text = f"Your order will not be placed at the exchange until {opens:%Y-%m-%d %H:%M:%S} US/Eastern."
        return [399, f"Order Message:\n{what}\nWarning: {text}"]

    def _today(self, at: float) -> bool:
        return markets.local_day(at) == markets.local_day(self._clock.now())

    def _find(self, state: UserState, accounts: Iterable[str], client_id: int, order_id: int) -> Order | None:
        for name in accounts:
            for order in account_of(state, name).orders:
                if (order.client_id, order.order_id) == (client_id, order_id):
                    return order
        return None


def account_of(state: UserState, name: str) -> Account:
    """The account; one that a scenario shows in place of the user's own appears when it is first asked for."""
    return state.accounts.setdefault(name, Account(name))


def account_prices(account: Account, market: Market, now: float) -> dict[int, float]:
    return {con_id: market.quote(held.contract, now).last for con_id, held in account.positions.items()}


def _on_tick(price: float, tick: float) -> bool:
    return abs(price / tick - round(price / tick)) < 1e-6


def _step(kind: str, order: Order, **more: Any) -> Json:
    return {"kind": kind, "order": show(order), **more}


def show(order: Order) -> Json:
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
        "ended": order.ended,
    }


def _fill(fill: Execution) -> Json:
    return {
        "execution_id": fill.execution_id,
        "order": show(fill.order),
        "at": fill.at,
        "side": fill.side,
        "quantity": fill.quantity,
        "price": fill.price,
        "commission": fill.commission,
        "realized": fill.realized,
    }
