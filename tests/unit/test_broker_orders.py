"""The broker's orders: whose they are, when they are filled, what is remembered of them.

What two clients of the API see of them is in test_gateway_sim_clients.
"""

from typing import Any

import pytest

from sandbox.broker.clock import Clock
from sandbox.broker.logins import UserState
from sandbox.broker.market import Market
from sandbox.broker.orders import OrderDesk
from sandbox.broker.users import User

ACCOUNT, OTHER_ACCOUNT = "DU1111111", "DU1111112"
MONDAY_NOON = 1_795_453_200.0  # 2026-11-23 12:00 in New York
MIDNIGHT = 12 * 3600.0
SPY = {"symbol": "SPY", "sec_type": "STK", "exchange": "SMART", "currency": "USD"}


class Desk:
    """A desk, its clock and one user."""

    def __init__(self, scenario: str = "normal") -> None:
        self.clock = Clock()
        self.clock.set(at=MONDAY_NOON)
        self.market = Market()
        self.state = UserState(User("trader", "right", ("U1111111",), (ACCOUNT, OTHER_ACCOUNT)), scenario)
        self.orders = OrderDesk(self.market, self.clock)

    def ask(self, what: str, **request: Any) -> Any:
        return getattr(self.orders, what)(self.state, (ACCOUNT,), request)

    def bracket(self, **parent: Any) -> list[str]:
        """Orders 1, and 2 that is attached to it."""
        assert self.place(1, **parent, transmit=False) == []
        return self.place(2, action="SELL", order_type="MKT", parent_id=1)

    def statuses(self) -> list[str]:
        return [order.status for order in self.state.accounts[ACCOUNT].orders]

    def place(self, order_id: int = 1, client_id: int = 7, **more: Any) -> list[str]:
        """The kinds of steps, errors by their code."""
        request = {
            "order_id": order_id,
            "client_id": client_id,
            "contract": SPY,
            "account": "",
            "action": "BUY",
            "quantity": 10.0,
            "order_type": "LMT",
            "limit_price": 100.0,
            "tif": "DAY",
            "transmit": True,
            "parent_id": 0,
        }
        return steps(self.ask("place", **request | more))


def steps(answer: Any) -> list[str]:
    if "error" in answer:
        return [str(answer["error"][0])]
    return [str(step["error"][0]) if step["kind"] == "error" else step["kind"] for step in answer["steps"]]


def test_order_ids_are_each_clients_own() -> None:
    desk = Desk()
    for client_id in (7, 8):
        assert desk.place(client_id=client_id) == ["open", "open"]
        assert desk.ask("next_id", client_id=client_id) == {"next_id": 2}
    assert desk.ask("next_id", client_id=9) == {"next_id": 1}
    assert steps(desk.ask("cancel", order_id=1, client_id=9)) == ["10147"]
    assert steps(desk.ask("cancel", order_id=1, client_id=8)) == ["status", "202"]
    assert [order["client_id"] for order in desk.ask("orders")["orders"]] == [7]
    assert steps(desk.ask("cancel_all")) == ["status", "202"]


def test_a_waiting_order_is_filled_when_the_price_comes() -> None:
    """The market moves by two percent around its level within hours."""
    desk = Desk()
    contract = desk.market.find(SPY)
    assert contract is not None
    ahead = range(0, 14_400, 60)
    lowest = min(ahead, key=lambda seconds: desk.market.quote(contract, MONDAY_NOON + seconds).ask)
    limit = desk.market.quote(contract, MONDAY_NOON + lowest).ask
    assert desk.place(limit_price=limit) == ["open", "open"]
    assert desk.ask("work") == {"steps": [], "open": 1}
    desk.clock.set(at=MONDAY_NOON + lowest)
    answer = desk.ask("work")
    assert (steps(answer), answer["open"]) == (["execution", "open", "commission"], 0)
    (fill,) = desk.ask("executions")["executions"]
    assert fill["price"] <= limit


def test_only_todays_executions_and_completed_orders_are_remembered() -> None:
    """Until midnight (TWS API reference, reqExecutions), here of New York."""
    desk = Desk()
    desk.place(order_type="MKT")
    desk.clock.set(at=MONDAY_NOON + MIDNIGHT - 1)
    assert len(desk.ask("executions")["executions"]) == 1
    assert len(desk.ask("orders", completed=True)["orders"]) == 1
    desk.clock.set(at=MONDAY_NOON + MIDNIGHT)
    assert desk.ask("executions") == {"executions": []}
    assert desk.ask("orders", completed=True) == {"orders": []}


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"quantity": -1.0}, "434"),
        ({"limit_price": None}, "110"),
        ({"quantity": 1e6}, "201"),
    ],
)
def test_what_is_refused(more: dict[str, Any], code: str) -> None:
    """TWS API reference, Message Codes."""
    desk = Desk()
    assert desk.place(**more) == [code]
    assert desk.ask("orders") == {"orders": []}
    assert desk.state.counters.orders == 0


def test_a_child_is_not_filled_before_its_parent() -> None:
    """Bracket Orders of the TWS API reference. Here the child is a market order, and the parent waits for its price."""
    desk = Desk()
    assert desk.bracket() == ["open", "open", "open"]
    assert desk.statuses() == ["Submitted", "PreSubmitted"]
    assert desk.ask("work") == {"steps": [], "open": 2}
    assert desk.ask("executions") == {"executions": []}
    assert [order["held"] for order in desk.ask("orders")["orders"]] == [False, True]
    # A change that names no parent leaves it attached.
    assert desk.place(2, action="SELL", order_type="MKT", quantity=9.0) == ["open"]
    assert [order["request"]["parent_id"] for order in desk.ask("orders")["orders"]] == [0, 1]
    desk.state.accounts[ACCOUNT].orders[0].request["limit_price"] = 900.0
    answer = desk.ask("work")
    assert [step["order"]["order_id"] for step in answer["steps"] if step["kind"] == "execution"] == [1, 2]
    assert (desk.statuses(), answer["open"]) == (["Filled", "Filled"], 0)


def test_a_family_waits_for_the_exchange_together() -> None:
    """Recorded: api_bracket_trigger_aapl of ThomasMarcelis/ibkr-go."""
    desk = Desk("market-hours")
    desk.clock.set(at=MONDAY_NOON - 6 * 3600)
    assert desk.bracket(order_type="MKT") == ["open", "399", "open"] * 2
    assert desk.statuses() == ["PreSubmitted", "PreSubmitted"]
    desk.clock.set(at=MONDAY_NOON)
    assert steps(desk.ask("work")) == ["open", "execution", "open", "commission"] * 2


def test_a_change_that_is_not_transmitted_changes_nothing() -> None:
    desk = Desk()
    assert desk.place(transmit=False) == []
    assert (desk.state.counters.orders, desk.ask("orders")) == (0, {"orders": []})
    assert desk.place() == ["open", "open"]
    assert desk.state.counters.orders == 1
    assert desk.place(limit_price=900.0, transmit=False) == []
    assert desk.ask("work") == {"steps": [], "open": 1}
    assert desk.ask("orders")["orders"][0]["request"]["limit_price"] == 100.0


def test_a_change_beyond_the_accounts_means_changes_nothing() -> None:
    desk = Desk()
    assert desk.place() == ["open", "open"]
    assert desk.place(quantity=1e6) == ["201"]
    assert desk.ask("orders")["orders"][0]["request"]["quantity"] == 10.0


def test_an_immediate_family_ends_with_its_parent() -> None:
    assert Desk().bracket(tif="IOC") == ["open", "open", "open", "status", "202", "status", "202"]


def test_a_parent_outlives_its_child() -> None:
    desk = Desk()
    desk.bracket()
    assert steps(desk.ask("cancel", order_id=2, client_id=7)) == ["status", "202"]
    assert desk.statuses() == ["Submitted", "Cancelled"]


def test_a_parent_is_an_order_of_the_same_client_and_account() -> None:
    desk = Desk()
    assert desk.place(transmit=False) == []
    assert desk.place(2, client_id=8, parent_id=1) == ["135"]
    request = {"account": OTHER_ACCOUNT, "parent_id": 1, "order_id": 3, "client_id": 7, "contract": SPY}
    request |= {"order_type": "MKT", "limit_price": None, "quantity": 1.0, "action": "BUY", "transmit": True}
    assert steps(desk.orders.place(desk.state, (ACCOUNT, OTHER_ACCOUNT), request)) == ["135"]
    assert desk.state.counters.orders == 0
