"""Accounts at the broker: money, positions, margins, orders. No input or output; times and prices come from outside."""

import math
from dataclasses import dataclass, field
from typing import Any

from .market import Contract, Quote

# Reg T overnight margins of a US stock and IBKR's fixed commission, near enough to be sane.
INITIAL_MARGIN = 0.5
MAINTENANCE_MARGIN = 0.25
COMMISSION_PER_SHARE = 0.005
MINIMUM_COMMISSION = 1.0

STARTING_CASH = 1_000_000.0


@dataclass
class Position:
    contract: Contract
    quantity: float
    average_cost: float


@dataclass
class Order:
    """An order. `status` as the API's orderStatus names it.

    `parent`: the order to which it is attached. `staged`: it waits in the gateway, since neither it nor another of its
    family was placed with `transmit`. `ended`: when it was filled or cancelled, in seconds since the epoch.
    """

    order_id: int
    client_id: int
    perm_id: int
    account: str
    contract: Contract
    request: dict[str, Any]
    status: str
    parent: "Order | None" = None
    staged: bool = False
    filled: float = 0.0
    average_price: float = 0.0
    ended: float | None = None

    @property
    def quantity(self) -> float:
        return float(self.request["quantity"])

    @property
    def open(self) -> bool:
        return self.status in ("PreSubmitted", "Submitted")

    @property
    def working(self) -> bool:
        """Open, and at the broker's servers."""
        return self.open and not self.staged

    @property
    def held(self) -> bool:
        """Attached to an order that has not been filled yet."""
        return self.open and self.parent is not None and self.parent.status != "Filled"

    @property
    def root(self) -> "Order":
        return self if self.parent is None else self.parent.root


@dataclass(frozen=True)
class Execution:
    """One fill. `at` in seconds since the epoch; `realized` is None where it closed nothing."""

    execution_id: str
    order: Order
    at: float
    side: str
    quantity: float
    price: float
    commission: float
    realized: float | None


@dataclass
class Account:
    """One account. Amounts in US dollars."""

    name: str
    cash: float = STARTING_CASH
    positions: dict[int, Position] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    executions: list[Execution] = field(default_factory=list)
    realized: dict[int, float] = field(default_factory=dict)  # profit by conId

    def net_liquidation(self, prices: dict[int, float]) -> float:
        return self.cash + sum(held.quantity * prices[con_id] for con_id, held in self.positions.items())

    def margins(self, prices: dict[int, float]) -> tuple[float, float]:
        """Initial and maintenance margin of the positions."""
        gross = sum(abs(held.quantity) * prices[con_id] for con_id, held in self.positions.items())
        return gross * INITIAL_MARGIN, gross * MAINTENANCE_MARGIN

    def values(self, prices: dict[int, float]) -> dict[str, str]:
        """Tag to value, as account summary and account updates name them."""
        net = self.net_liquidation(prices)
        gross = sum(abs(held.quantity) * prices[con_id] for con_id, held in self.positions.items())
        initial, maintenance = self.margins(prices)
        money = {
            "NetLiquidation": net,
            "TotalCashValue": self.cash,
            "SettledCash": self.cash,
            "AccruedCash": 0.0,
            "BuyingPower": (net - initial) * 4,
            "EquityWithLoanValue": net,
            "PreviousDayEquityWithLoanValue": net,
            "GrossPositionValue": gross,
            "RegTEquity": net,
            "RegTMargin": initial,
            "SMA": net - initial,
            "InitMarginReq": initial,
            "MaintMarginReq": maintenance,
            "AvailableFunds": net - initial,
            "ExcessLiquidity": net - maintenance,
            "FullInitMarginReq": initial,
            "FullMaintMarginReq": maintenance,
            "FullAvailableFunds": net - initial,
            "FullExcessLiquidity": net - maintenance,
            "LookAheadInitMarginReq": initial,
            "LookAheadMaintMarginReq": maintenance,
            "LookAheadAvailableFunds": net - initial,
            "LookAheadExcessLiquidity": net - maintenance,
        }
        values = {tag: f"{amount:.2f}" for tag, amount in money.items()}
        values["Cushion"] = f"{(net - maintenance) / net:.6f}" if net else "0"
        values["LookAheadNextChange"] = "0"
        values["DayTradesRemaining"] = "-1"
        values["Leverage"] = f"{gross / net:.2f}" if net else "0"
        values["AccountType"] = "INDIVIDUAL"
        return values

    def what_if(self, con_id: int, request: dict[str, Any], price: float, prices: dict[int, float]) -> dict[str, float]:
        """Margin figures before and after an order, and its commission. Nothing is placed."""
        quantity = float(request["quantity"])
        held = self.positions.get(con_id)
        before = held.quantity if held else 0.0
        after = before + (quantity if request["action"] == "BUY" else -quantity)
        notional = (abs(after) - abs(before)) * price
        initial, maintenance = self.margins(prices)
        equity = self.net_liquidation(prices)
        commission = max(MINIMUM_COMMISSION, quantity * COMMISSION_PER_SHARE)
        return {
            "initial_before": initial,
            "maintenance_before": maintenance,
            "equity_before": equity,
            "initial_after": initial + notional * INITIAL_MARGIN,
            "maintenance_after": maintenance + notional * MAINTENANCE_MARGIN,
            "equity_after": equity - commission,
            "commission": commission,
        }

    def fill(self, order: Order, price: float, at: float) -> Execution:
        """Fills an order whole, at one price."""
        sign = 1 if order.request["action"] == "BUY" else -1
        quantity = order.quantity
        con_id = order.contract.con_id
        held = self.positions.get(con_id) or Position(order.contract, 0.0, 0.0)
        after = held.quantity + sign * quantity
        commission = max(MINIMUM_COMMISSION, quantity * COMMISSION_PER_SHARE)
        realized = None
        if held.quantity * sign < 0:
            closed = min(quantity, abs(held.quantity))
            realized = round(-sign * closed * (price - held.average_cost) - commission, 2)
            self.realized[con_id] = self.realized.get(con_id, 0.0) + realized
        if after == 0:
            self.positions.pop(con_id, None)
        else:
            if held.quantity * sign >= 0:
                cost = abs(held.quantity) * held.average_cost + quantity * price
                held.average_cost = cost / abs(after)
            elif after * sign > 0:  # from long to short, or back
                held.average_cost = price
            held.quantity = after
            self.positions[con_id] = held
        self.cash -= sign * quantity * price + commission
        order.status, order.filled, order.average_price, order.ended = "Filled", quantity, price, at
        execution = Execution(
            execution_id=f"{order.perm_id:08x}.{len(self.executions) + 1:08x}.01.01",
            order=order,
            at=at,
            side="BOT" if sign > 0 else "SLD",
            quantity=quantity,
            price=price,
            commission=commission,
            realized=realized,
        )
        self.executions.append(execution)
        return execution


def fill_price(request: dict[str, Any], quote: Quote) -> float | None:
    """The price at which an order fills at once, or None when it waits."""
    buys = request["action"] == "BUY"
    touch = quote.ask if buys else quote.bid
    if request["order_type"] == "MKT":
        return touch
    if request["order_type"] == "LMT":
        limit = float(request["limit_price"])
        if not math.isfinite(limit):
            return None
        return touch if (limit >= touch if buys else limit <= touch) else None
    return None


def valuation_price(request: dict[str, Any], quote: Quote) -> float:
    """The price per share that margin is computed with: the limit if there is one, else the last price."""
    limit = request.get("limit_price")
    if request["order_type"] == "LMT" and limit is not None and math.isfinite(float(limit)) and float(limit) > 0:
        return float(limit)
    return quote.last
