"""IBKR's own client code (ibapi-stable 10.45.1, versions up to 223): it negotiates down to the text protocol."""

import threading
import time
from collections.abc import Callable
from typing import Any

from ibapi.client import EClient  # type: ignore[import-untyped]
from ibapi.contract import Contract  # type: ignore[import-untyped]
from ibapi.order import Order  # type: ignore[import-untyped]
from ibapi.wrapper import EWrapper  # type: ignore[import-untyped]

from tests.unit.gateway_sim_world import world


class App(EWrapper, EClient):  # type: ignore[misc]
    """Keeps what it is told, by the callback's name."""

    def __init__(self) -> None:
        EClient.__init__(self, self)
        self.told: dict[str, list[Any]] = {}

    def keep(self, name: str, *values: Any) -> None:
        self.told.setdefault(name, []).append(values)

    def managedAccounts(self, accountsList: str) -> None:
        self.keep("accounts", accountsList)

    def nextValidId(self, orderId: int) -> None:
        self.keep("next_id", orderId)

    def error(self, reqId: int, errorTime: int, code: int, text: str, advanced: str = "") -> None:
        self.keep("error", reqId, code, text)

    def contractDetails(self, reqId: int, details: Any) -> None:
        self.keep("contract", details.contract.conId, details.longName, details.sizeIncrement)

    def accountSummary(self, reqId: int, account: str, tag: str, value: str, currency: str) -> None:
        self.keep("summary", account, tag, value, currency)

    def accountSummaryEnd(self, reqId: int) -> None:
        self.keep("summary_end", reqId)

    def openOrder(self, orderId: int, contract: Contract, order: Order, state: Any) -> None:
        self.keep("open_order", orderId, order.whatIf, state.initMarginChange, state.commissionAndFeesCurrency)

    def completedOrder(self, contract: Contract, order: Order, state: Any) -> None:
        self.keep("completed", contract.symbol, state.status)

    def completedOrdersEnd(self) -> None:
        self.keep("completed_end")

    def execDetails(self, reqId: int, contract: Contract, execution: Any) -> None:
        self.keep("execution", execution.side, float(execution.shares))

    def tickPrice(self, reqId: int, tickType: int, price: float, attrib: Any) -> None:
        self.keep("price", tickType, price)

    def historicalDataEnd(self, reqId: int, start: str, end: str) -> None:
        self.keep("history_end", reqId)

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, f"still not so; told {self.told}"
            time.sleep(0.02)


def spy() -> Contract:
    contract = Contract()
    contract.symbol, contract.secType, contract.exchange, contract.currency = "SPY", "STK", "SMART", "USD"
    return contract


def order(kind: str, quantity: int, limit: float | None = None, *, what_if: bool = False) -> Order:
    made = Order()
    made.action, made.orderType, made.totalQuantity, made.whatIf = "BUY", kind, quantity, what_if
    if limit is not None:
        made.lmtPrice = limit
    return made


def test_ibapi_session() -> None:
    with world() as place:
        app = App()
        app.connect("127.0.0.1", place.api_port, 21)
        reader = threading.Thread(target=app.run, daemon=True)
        reader.start()
        try:
            app.until(lambda: "next_id" in app.told and "accounts" in app.told)
            assert app.serverVersion() == 178
            assert app.told["accounts"] == [("DU1111111",)]
            assert app.told["next_id"] == [(1,)]
            app.reqAccountSummary(1, "All", "NetLiquidation,BuyingPower")
            app.reqContractDetails(2, spy())
            app.reqMktData(3, spy(), "", False, False, [])
            app.reqHistoricalData(4, spy(), "", "1 D", "1 hour", "TRADES", 1, 2, False, [])
            app.placeOrder(5, spy(), order("LMT", 10, 300.0, what_if=True))
            app.until(lambda: {"summary_end", "contract", "price", "history_end", "open_order"} <= set(app.told))
            assert ("DU1111111", "NetLiquidation", "1000000.00", "USD") in app.told["summary"]
            assert app.told["contract"][0][:2] == (756733, "SPDR S&P 500 ETF TRUST")
            assert {kind for kind, _ in app.told["price"]} == {1, 2, 4, 6, 7, 9, 14}
            # Reg T: half of 10 x 300.
            assert app.told["open_order"] == [(5, True, "1500.00", "USD")]
            app.placeOrder(6, spy(), order("MKT", 3))
            app.until(lambda: "execution" in app.told)
            assert app.told["execution"] == [("BOT", 3.0)]
            app.reqCompletedOrders(False)
            app.until(lambda: "completed_end" in app.told)
            assert app.told["completed"] == [("SPY", "Filled")]
            assert {code for _, code, _ in app.told["error"]} == {2104, 2106, 2158}
        finally:
            app.disconnect()
            reader.join(5)
        assert place.control.status()["users"]["trader"]["orders"] == 1
