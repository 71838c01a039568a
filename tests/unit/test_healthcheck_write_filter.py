"""The write guard on bytes (message ids and layouts: EClient of the TWS API reference)."""

from typing import Any

import pytest
from ib_async import Client, Contract, LimitOrder, MarketOrder, Order
from ib_async.contract import ComboLeg
from ib_async.objects import ExecutionFilter

from healthcheck.write_filter import TradingRefused, WriteFilter

SPY: dict[str, Any] = {"symbol": "SPY", "secType": "STK", "exchange": "SMART", "currency": "USD"}


class Wire(Client):
    """ib_async's own serialisation, with a list instead of a socket."""

    def __init__(self, server_version: int) -> None:
        super().__init__(object())  # type: ignore[no-untyped-call]
        self.connState = Client.CONNECTED
        self._serverVersion = server_version
        self.sent = b""

    def sendMsg(self, msg: str) -> None:
        self.sent += self._prefix(msg.encode())  # type: ignore[no-untyped-call]


def order_bytes(version: int, order: Order, deployment: Contract | None = None) -> bytes:
    wire = Wire(version)
    wire.placeOrder(1, deployment or Contract(**SPY), order)  # type: ignore[no-untyped-call]
    return wire.sent


def refused(guard: WriteFilter, data: bytes) -> bool:
    try:
        guard.check(data)
    except TradingRefused:
        return True
    return False


@pytest.mark.parametrize("version", [157, 163, 176, 177, 178])
def test_a_what_if_order_passes_and_the_same_order_without_the_flag_does_not(version: int) -> None:
    guard = WriteFilter(what_if=True, server_version=version)
    assert not refused(guard, order_bytes(version, LimitOrder("BUY", 1, 1.0, whatIf=True)))
    assert refused(guard, order_bytes(version, LimitOrder("BUY", 1, 1.0)))
    assert refused(guard, order_bytes(version, MarketOrder("SELL", 100)))


@pytest.mark.parametrize(
    "options",
    [
        {"solicited": True},
        {"notHeld": True},
        {"algoId": "1"},
        {"whatIf": True, "algoStrategy": "Adaptive"},
        {"whatIf": True, "hedgeType": "D", "hedgeParam": "1"},
        {"whatIf": True, "scalePriceIncrement": 0.1},
        {"whatIf": True, "deltaNeutralOrderType": "MKT"},
    ],
    ids=str,
)
def test_what_stands_around_the_flag_is_not_mistaken_for_it(options: dict[str, Any]) -> None:
    guard = WriteFilter(what_if=True, server_version=178)
    assert refused(guard, order_bytes(178, LimitOrder("BUY", 1, 1.0, **options)))


def test_a_combination_is_refused_whatever_its_flag() -> None:
    bag = Contract(**(SPY | {"secType": "BAG"}), comboLegs=[ComboLeg(conId=1), ComboLeg(conId=2)])
    what_if = order_bytes(178, LimitOrder("BUY", 1, 1.0, whatIf=True))
    guard = WriteFilter(what_if=True, server_version=178)
    assert refused(guard, order_bytes(178, LimitOrder("BUY", 1, 1.0, whatIf=True), bag))
    # Nor one without legs, whose flag stands where a plain order has it.
    assert not refused(guard, what_if)
    assert refused(guard, what_if.replace(b"STK\0", b"BAG\0"))


def test_where_what_ifs_are_off_no_order_passes() -> None:
    guard = WriteFilter(what_if=False, server_version=178)
    assert refused(guard, order_bytes(178, LimitOrder("BUY", 1, 1.0, whatIf=True)))


def test_a_layout_for_another_server_version_is_refused() -> None:
    data = order_bytes(176, LimitOrder("BUY", 1, 1.0, whatIf=True))
    assert refused(WriteFilter(what_if=True, server_version=178), data)


TRADING = {
    "cancelOrder": lambda wire: wire.cancelOrder(1),
    "reqGlobalCancel": lambda wire: wire.reqGlobalCancel(),
    "exerciseOptions": lambda wire: wire.exerciseOptions(1, Contract(**SPY), 1, 1, "DU1234567", 1),
    "reqOpenOrders": lambda wire: wire.reqOpenOrders(),
    "reqAllOpenOrders": lambda wire: wire.reqAllOpenOrders(),
    "reqAutoOpenOrders": lambda wire: wire.reqAutoOpenOrders(True),
    "reqCompletedOrders": lambda wire: wire.reqCompletedOrders(False),
    "reqExecutions": lambda wire: wire.reqExecutions(1, ExecutionFilter()),
    "replaceFA": lambda wire: wire.replaceFA(1, 1, "<xml/>"),
}


@pytest.mark.parametrize("request_name", TRADING)
@pytest.mark.parametrize("what_if", [True, False])
def test_every_other_message_that_touches_orders_is_refused(request_name: str, what_if: bool) -> None:
    wire: Any = Wire(178)
    TRADING[request_name](wire)
    assert wire.sent
    assert refused(WriteFilter(what_if=what_if, server_version=178), wire.sent)


def test_an_order_behind_a_harmless_message_in_one_write_is_found() -> None:
    harmless = b"\0\0\0\x0549\x001\0"
    guard = WriteFilter(what_if=True, server_version=178)
    assert not refused(guard, harmless)
    assert refused(guard, harmless + order_bytes(178, LimitOrder("BUY", 1, 1.0)))


@pytest.mark.parametrize(
    "data",
    [
        b"API\0\0\0\0\x0b3\0v100..178",
        b"API\0\0\0\0\x0bv100..178\x003",
        b"\0\0\0\x02\x033",
        b"\0\0\0\x083\0",
        b"\0\0\0\0",
        b"\0\0\0\x07\0\0\0\xcbabc",
    ],
    ids=[
        "order as greeting",
        "order behind the greeting's versions",
        "no field end",
        "not whole",
        "empty",
        "binary id",
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes) -> None:
    assert refused(WriteFilter(what_if=True, server_version=178), data)


def test_the_greeting_passes() -> None:
    assert not refused(WriteFilter(what_if=False), b"API\0\0\0\0\x09v157..178")
