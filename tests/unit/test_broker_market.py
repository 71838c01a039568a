"""The broker's market: sane, and the same for the same seed. The desk: money and margins."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sandbox.broker import market
from sandbox.broker.account import Account, Order, Position, fill_price, valuation_price
from sandbox.broker.market import Contract, Market, Quote

MONDAY_NOON = 1_795_453_200.0  # 2026-11-23 12:00 in New York


def find(place: Market, symbol: str, **more: Any) -> Contract:
    contract = place.find({"symbol": symbol, "sec_type": "STK", "exchange": "SMART", "currency": "USD", **more})
    assert contract is not None
    return contract


@pytest.mark.parametrize("symbol", ["SPY", "AAPL", "XYZ", "A", "BRK B"])
def test_quotes_are_sane(symbol: str) -> None:
    place = Market()
    contract = find(place, symbol)
    for minutes in range(0, 1440, 37):
        quote = place.quote(contract, MONDAY_NOON + minutes * 60)
        assert 0 < quote.bid < quote.last < quote.ask or quote.bid <= quote.last <= quote.ask
        assert quote.ask - quote.bid < 0.01 * quote.last + 0.05
        assert quote.low <= quote.last <= quote.high
        assert abs(quote.last / contract.level - 1) < 0.03
        assert round(quote.bid * 100) == pytest.approx(quote.bid * 100)


def test_same_seed_same_prices() -> None:
    first, second, other = Market(1), Market(1), Market(2)
    contract = find(first, "SPY")
    assert first.quote(contract, MONDAY_NOON) == second.quote(contract, MONDAY_NOON)
    assert first.quote(contract, MONDAY_NOON) != other.quote(contract, MONDAY_NOON)


@pytest.mark.parametrize(
    "wanted",
    [
        {"symbol": "NOSUCH9", "sec_type": "STK", "exchange": "SMART", "currency": "USD"},
        {"symbol": "SPY", "sec_type": "STK", "exchange": "NOWHERE", "currency": "USD"},
        {"symbol": "SPY", "sec_type": "STK", "exchange": "SMART", "currency": "XXX"},
        {"symbol": "SPY", "sec_type": "STK", "exchange": "SMART", "currency": "USD", "con_id": 1},
        {"symbol": "SPY", "sec_type": "OPT", "exchange": "SMART", "currency": "USD"},
        {"symbol": "EUR", "sec_type": "CASH", "exchange": "SMART", "currency": "USD"},
        {"symbol": "EUR", "sec_type": "CASH", "exchange": "IDEALPRO", "currency": "USD", "con_id": 756733},
        {"symbol": "", "sec_type": "STK", "exchange": "SMART", "currency": "USD"},
    ],
)
def test_unknown_contracts(wanted: dict[str, Any]) -> None:
    assert Market().find(wanted) is None


def test_known_contracts() -> None:
    place = Market()
    # conIds as IBKR publishes them.
    assert (find(place, "SPY").con_id, find(place, "AAPL").con_id) == (756733, 265598)
    assert place.find({"con_id": 756733, "exchange": "SMART"}) == find(place, "SPY")
    assert (pair().con_id, pair().local_symbol) == (12087792, "EUR.USD")
    assert place.find({"con_id": 12087792}) == pair()


FX = {"symbol": "EUR", "sec_type": "CASH", "exchange": "IDEALPRO", "currency": "USD"}
SATURDAY = MONDAY_NOON - 2 * 86_400
FRIDAY = MONDAY_NOON - 3 * 86_400


def pair() -> Contract:
    contract = Market().find(FX)
    assert contract is not None
    return contract


@pytest.mark.parametrize(
    ("at", "stock", "currency"),
    [
        ("2026-11-23 09:29:59", False, True),
        ("2026-11-23 09:30:00", True, True),
        ("2026-11-23 15:59:59", True, True),
        ("2026-11-23 16:00:00", False, True),
        ("2026-11-23 17:00:00", False, False),
        ("2026-11-23 17:15:00", False, True),
        ("2026-11-20 17:00:00", False, False),  # a Friday
        ("2026-11-21 12:00:00", False, False),
        ("2026-11-22 17:14:59", False, False),  # a Sunday
        ("2026-11-22 17:15:00", False, True),
        ("2026-07-06 09:30:00", True, True),  # in summer time
        ("2026-07-06 09:29:59", False, True),
    ],
)
def test_hours(at: str, stock: bool, currency: bool) -> None:
    """Regular hours of US stocks; currency pairs from Sunday evening to Friday evening. All in New York."""
    moment = datetime.fromisoformat(at).replace(tzinfo=ZoneInfo("America/New_York")).timestamp()
    assert market.is_open(find(Market(), "SPY"), moment) is stock
    assert market.is_open(pair(), moment) is currency


def new_york(at: float) -> str:
    return f"{datetime.fromtimestamp(at, ZoneInfo('America/New_York')):%Y-%m-%d %H:%M:%S}"


def test_next_and_last_hours() -> None:
    spy = find(Market(), "SPY")
    assert new_york(market.next_open(spy, SATURDAY)) == "2026-11-23 09:30:00"
    assert new_york(market.next_open(spy, MONDAY_NOON)) == "2026-11-24 09:30:00"
    assert new_york(market.next_open(pair(), SATURDAY)) == "2026-11-22 17:15:00"
    assert new_york(market.last_traded(spy, SATURDAY)) == "2026-11-20 16:00:00"
    assert market.last_traded(spy, MONDAY_NOON) == MONDAY_NOON


def starts(contract: Contract, end: float, size: int, span: tuple[int, str], *, regular: bool = True) -> list[str]:
    bars = Market().bars(contract, end, size, span, regular=regular)
    assert all(bar["low"] <= min(bar["open"], bar["close"]) <= bar["high"] for bar in bars)
    return [new_york(bar["start"])[5:16] for bar in bars]


def test_bars_follow_the_hours() -> None:
    spy = find(Market(), "SPY")
    assert starts(spy, MONDAY_NOON, 3600, (1, "D")) == ["11-23 09:30", "11-23 10:00", "11-23 11:00"]
    assert starts(spy, MONDAY_NOON, 1800, (3600, "S")) == ["11-23 11:00", "11-23 11:30"]
    assert starts(spy, SATURDAY, 1800, (5400, "S")) == ["11-20 14:30", "11-20 15:00", "11-20 15:30"]
    assert starts(spy, SATURDAY, 86_400, (2, "D")) == ["11-19 09:30", "11-20 09:30"]
    assert starts(spy, SATURDAY, 86_400, (1, "W")) == [f"11-{day} 09:30" for day in (16, 17, 18, 19, 20)]
    assert starts(spy, SATURDAY, 7 * 86_400, (2, "W")) == ["11-09 09:30", "11-16 09:30"]
    assert starts(spy, SATURDAY, 30 * 86_400, (2, "M")) == ["09-22 09:30", "10-01 09:30", "11-02 09:30"]
    assert starts(spy, FRIDAY, 3600, (1, "D"), regular=False)[0] == "11-20 04:00"
    assert starts(pair(), SATURDAY, 3600, (1, "D"))[::23] == ["11-19 17:15", "11-20 16:00"]


def test_so_many_bars_and_no_more() -> None:
    assert len(Market().bars(find(Market(), "SPY"), MONDAY_NOON, 30, (30, "D"), regular=True)) == 5000


def test_trading_hours() -> None:
    """TWS API reference, ContractDetails: days separated by semicolons, closed days named so. Those of EUR.USD as
    recorded at a gateway (contract_details_eurusd_cash of ThomasMarcelis/ibkr-go)."""
    spy = find(Market(), "SPY")
    days = market.trading_hours(spy, MONDAY_NOON, regular=True).split(";")
    assert (days[0], days[5]) == ("20261123:0930-20261123:1600", "20261128:CLOSED")
    assert market.trading_hours(spy, MONDAY_NOON, regular=False).split(";")[0] == "20261123:0400-20261123:2000"
    sunday = datetime(2026, 8, 23, 12, tzinfo=ZoneInfo("America/New_York")).timestamp()
    assert market.trading_hours(pair(), sunday, regular=True).startswith(
        "20260823:1715-20260824:1700;20260824:1715-20260825:1700;20260825:1715-20260826:1700;"
        "20260826:1715-20260827:1700;20260827:1715-20260828:1700"
    )


def test_matching_symbols() -> None:
    place = Market()
    assert [contract.symbol for contract in place.matching("sp")] == ["SPY"]
    assert [contract.symbol for contract in place.matching("trust")] == ["SPY", "QQQ"]
    assert place.matching("") == []


QUOTE = Quote(
    bid=99.0, ask=101.0, last=100.0, bid_size=1, ask_size=1, last_size=1, high=0, low=0, open=0, close=0, volume=0
)


@pytest.mark.parametrize(
    ("action", "kind", "limit", "price"),
    [
        ("BUY", "MKT", None, 101.0),
        ("SELL", "MKT", None, 99.0),
        ("BUY", "LMT", 101.0, 101.0),
        ("BUY", "LMT", 100.9, None),
        ("SELL", "LMT", 99.0, 99.0),
        ("SELL", "LMT", 99.1, None),
        ("BUY", "STP", None, None),
    ],
)
def test_fill_price(action: str, kind: str, limit: float | None, price: float | None) -> None:
    assert fill_price({"action": action, "order_type": kind, "limit_price": limit}, QUOTE) == price


def test_margin_is_computed_with_the_limit() -> None:
    assert valuation_price({"order_type": "LMT", "limit_price": 50.0}, QUOTE) == 50.0
    assert valuation_price({"order_type": "MKT", "limit_price": None}, QUOTE) == 100.0


def test_positions_and_cash_after_fills() -> None:
    account = Account("DU1")
    contract = find(Market(), "SPY")

    def fill(action: str, quantity: float, price: float) -> None:
        request = {"action": action, "quantity": quantity, "order_type": "MKT", "limit_price": None}
        account.fill(Order(1, 1, 1, "DU1", contract, request, "Submitted"), price, MONDAY_NOON)

    fill("BUY", 10, 100.0)
    fill("BUY", 10, 200.0)
    held = account.positions[contract.con_id]
    assert (held.quantity, held.average_cost) == (20, 150.0)
    fill("SELL", 5, 180.0)
    assert (held.quantity, held.average_cost) == (15, 150.0)
    fill("SELL", 25, 180.0)
    assert (held.quantity, held.average_cost) == (-10, 180.0)
    fill("BUY", 10, 170.0)
    assert account.positions == {}
    # 1,000,000 - 1000 - 2000 + 900 + 4500 - 1700, less five minimum commissions.
    assert account.cash == pytest.approx(1_000_695.0)
    # (180 - 150) x 5, (180 - 150) x 15 and (180 - 170) x 10, each less its commission.
    assert account.realized == {contract.con_id: pytest.approx(149 + 449 + 99)}


def test_margin_of_what_an_order_changes() -> None:
    """Reg T: a half at first, a quarter to keep; closing sets margin free."""
    account = Account("DU1")
    contract = find(Market(), "SPY")
    account.positions[contract.con_id] = Position(contract, 10, 100.0)
    prices = {contract.con_id: 100.0}

    def after(action: str, quantity: float) -> float:
        request = {"action": action, "quantity": quantity}
        return account.what_if(contract.con_id, request, 100.0, prices)["initial_after"]

    assert (after("BUY", 10), after("SELL", 4), after("SELL", 10), after("SELL", 30)) == (1000.0, 300.0, 0.0, 1000.0)
