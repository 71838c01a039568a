"""Orders at the broker: checked, placed, matched, cancelled, remembered.

What becomes of an order is told as a list of steps, which the gateway turns into messages of the API: `open` (openOrder
and orderStatus), `status` (orderStatus alone), `execution`, `commission` and `error`; each names its order. They come
in the order that was recorded at a real gateway (the transcripts in the repository ThomasMarcelis/ibkr-go).

Attached orders are a family: a parent and its children, as of a bracket (TWS API reference, Bracket Orders). Nothing is
told of an order placed without `transmit`, until a member of its family is placed with it, which sends them all
(recorded: api_transmit_false_then_transmit_aapl, api_bracket_place_aapl). A child waits as PreSubmitted for its parent
to be filled, ends with it, and ends when one of its siblings is filled: the gateway makes them one OCA group.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sandbox.gateway.accounts import is_master

from . import market as markets
from .account import Account, Execution, Order, fill_price, valuation_price
from .clock import Clock
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
# Of a login with several accounts (users' threads: QuantConnect/Lean #362, Komnomnomnom/swigibpy #43).
NO_ACCOUNT = error(321, "Error validating request.-'v' : cause - You must specify an account.")
# Of an adviser's login: an order that names no client's account, and no group either, which do not exist here (TWS API
# reference, Message Codes; rudimeier/twsapi #8). That naming the master account is naming none is a guess.
NO_ALLOCATION = error(436, "You must specify an allocation (either a single account, group, or profile).")
WRONG_ACCOUNT = error(321, "Error validating request.-'v' : cause - Invalid account code")
FILLED = error(104, "Can't modify a filled order.")
DUPLICATE = error(103, "Duplicate order id")
REJECTED = error(201, "Order rejected - reason:Your account is not permitted to open positions.")
# What the gateway says of a parent that it does not know, or knows no more when a child is changed (erdewit/ib_insync
# #647), and the broker of one that has ended when a child comes (aklepaker/traderui #27).
NO_PARENT = "Can't find order with id = {}"
PARENT_ENDED = error(201, "Order rejected - reason:Parent order is being cancelled.")
CANCELLED = [202, "Order Canceled - reason:"]
# Of an order that was never sent (recorded: api_bracket_trailing_stop_aapl).
DISCARDED = [202, "Order Canceled - reason:Order was discarded."]


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
        if state.conditions.orders is Orders.REJECTED:
            return REJECTED
        state.counters.what_ifs += 1
        margins = None if state.conditions.orders is Orders.NO_MARGIN else self._margins(checked, request)
        return {"contract": asdict(checked.contract), "margins": margins}

    def place(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        """Places an order, or changes the one that is open under its id."""
        checked = self._check(state, accounts, request)
        if not isinstance(checked, Checked):
            return checked
        order = self._find(state, accounts, request["client_id"], request["order_id"])
        if order is not None and not order.open:
            return FILLED if order.status == "Filled" else DUPLICATE
        parent = None
        if request["parent_id"]:
            parent = self._find(state, (checked.account.name,), request["client_id"], request["parent_id"])
            if parent is None or (order is not None and not parent.open):
                return error(135, NO_PARENT.format(request["parent_id"]))
            if not parent.open:
                return PARENT_ENDED
        if order is None:
            self._placed += 1
            order = Order(
                order_id=int(request["order_id"]),
                client_id=int(request["client_id"]),
                perm_id=1_000_000_000 + self._placed,
                account=checked.account.name,
                contract=checked.contract,
                request=request,
                status="PreSubmitted",
                parent=parent,
                staged=True,
            )
            checked.account.orders.append(order)
        elif order.staged or request["transmit"]:
            if order.working and (refusal := self._refusal(state, checked, request)) is not None:
                return refusal
            # It goes on under the links that it was placed with.
            order.request = request | {"parent_id": order.request["parent_id"]}
        if not request["transmit"]:
            return {"steps": []}
        steps = [_step("open", order)] if order.working else []
        account = account_of(state, order.account)
        family = [member for member in account.orders if member.root is order.root]
        steps += self._transmit(state, account, [member for member in family if member.staged and member.open])
        for member in family:
            steps += self._proceed(state, account, member)
        return {"steps": steps}

    def work(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        """What has happened since to orders that wait; `open`: how many still do."""
        steps: list[Json] = []
        for name in accounts:
            account = account_of(state, name)
            for order in account.orders:
                steps += self._proceed(state, account, order)
        waiting = sum(order.working for name in accounts for order in account_of(state, name).orders)
        return {"steps": steps, "open": waiting}

    def cancel(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        """Only the client that placed an order may cancel it (recorded at a gateway; of client 0, too)."""
        order = self._find(state, accounts, request["client_id"], request["order_id"])
        if order is None:
            return error(10147, f"OrderId {request['order_id']} that needs to be cancelled is not found.")
        if not order.open:
            text = f"OrderId {order.order_id} that needs to be cancelled can not be cancelled, state: {order.status}."
            return error(10148, text)
        return {"steps": self._end(account_of(state, order.account), order)}

    def cancel_all(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        steps: list[Json] = []
        for account in (account_of(state, name) for name in accounts):
            for order in account.orders:
                if order.open:
                    steps += self._end(account, order)
        return {"steps": steps}

    def orders(self, state: UserState, accounts: tuple[str, ...], request: Json) -> Answer:
        """Open orders, or with `"completed": true` those that ended today."""
        completed = bool(request.get("completed"))
        found = [order for name in accounts for order in account_of(state, name).orders]
        if completed:
            return {"orders": [show(order) for order in found if order.ended and self._today(order.ended)]}
        return {"orders": [show(order) for order in found if order.working]}

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
            return NO_ALLOCATION if any(map(is_master, accounts)) else NO_ACCOUNT
        if name not in accounts:
            return WRONG_ACCOUNT
        if is_master(name):
            return NO_ALLOCATION
        if request["order_type"] not in KNOWN:
            return WRONG_TYPE
        if request["order_type"] not in SUPPORTED:
            return UNSUPPORTED_TYPE
        if not float(request["quantity"]) > 0:
            return NO_SIZE
        if request["order_type"] == "LMT" and (limit is None or not _on_tick(float(limit), contract.min_tick)):
            return WRONG_TICK
        return Checked(account_of(state, name), contract, self._market.quote(contract, self._clock.now()))

    def _margins(self, checked: Checked, request: Json) -> dict[str, float]:
        prices = account_prices(checked.account, self._market, self._clock.now())
        price = valuation_price(request, checked.quote)
        return checked.account.what_if(checked.contract.con_id, request, price, prices)

    def _refusal(self, state: UserState, checked: Checked, request: Json) -> Answer | None:
        """Why the broker's servers refuse an order that the gateway sends them."""
        if state.conditions.orders is Orders.REJECTED:
            return REJECTED
        margins = self._margins(checked, request)
        if margins["initial_after"] <= max(margins["equity_after"], margins["initial_before"]):
            return None
        return error(
            201,
            "Order rejected - reason:YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION YOUR "
            f"EQUITY WITH LOAN VALUE [{margins['equity_after']:.2f} USD] MUST EXCEED THE INITIAL MARGIN "
            f"[{margins['initial_after']:.2f} USD]",
        )

    def _transmit(self, state: UserState, account: Account, staged: list[Order]) -> list[Json]:
        """Sends orders of one family, parents first. What is refused is forgotten, and its children with it."""
        steps: list[Json] = []
        refused: list[Order] = []
        for order in staged:
            if order.parent in refused:
                refusal: Answer | None = PARENT_ENDED
            else:
                quote = self._market.quote(order.contract, self._clock.now())
                refusal = self._refusal(state, Checked(account, order.contract, quote), order.request)
            if refusal is not None:
                refused.append(order)
                account.orders.remove(order)
                steps.append(_step("error", order, error=refusal["error"]))
                continue
            order.staged = False
            state.counters.orders += 1
            steps.append(_step("open", order))
            if not self.trading(state, order.contract):
                steps += [_step("error", order, error=self._waits(order)), _step("open", order)]
        return steps

    def _proceed(self, state: UserState, account: Account, order: Order) -> list[Json]:
        """Sends a working order to the exchange and fills it, as far as that can be done now."""
        if not order.working or order.held or not self.trading(state, order.contract):
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
            for sibling in account.orders:
                if order.parent is not None and sibling.parent is order.parent and sibling.open:
                    steps += self._end(account, sibling)
        elif order.request["tif"] in AT_ONCE:
            steps += self._end(account, order)
        return steps

    def _end(self, account: Account, order: Order) -> list[Json]:
        """Cancels an order and what is attached to it. Children that were never sent go without a word."""
        order.status = "Cancelled"
        if not order.staged:
            order.ended = self._clock.now()
        steps = [_step("status", order), _step("error", order, error=DISCARDED if order.staged else CANCELLED)]
        for child in account.orders:
            if child.parent is order and child.open:
                told = self._end(account, child)
                steps += [] if child.staged else told
        return steps

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
        "held": order.held,
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
