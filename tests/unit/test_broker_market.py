"""The broker's market: sane, and the same for the same seed. The desk: money and margins."""

import re
from typing import Any

import pytest

from sandbox.broker import market
from sandbox.broker.desk import Account, Order, fill_price, valuation_price
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
    pair = place.find({"symbol": "EUR", "sec_type": "CASH", "exchange": "IDEALPRO", "currency": "USD"})
    assert pair is not None
    assert pair.local_symbol == "EUR.USD"


def test_bars_end_where_asked() -> None:
    place = Market()
    bars = place.bars(find(place, "SPY"), MONDAY_NOON, 300, 12)
    assert [bar["start"] for bar in bars] == [int(MONDAY_NOON) - 300 * (11 - index) for index in range(12)]
    assert all(bar["low"] <= min(bar["open"], bar["close"]) <= bar["high"] for bar in bars)


def test_trading_hours() -> None:
    """TWS API reference, ContractDetails: days separated by semicolons, closed days named so."""
    days = market.trading_hours(MONDAY_NOON, "0930", "1600").split(";")
    assert days[0] == "20261123:0930-20261123:1600"
    assert days[5] == "20261128:CLOSED"
    assert all(re.fullmatch(r"\d{8}:(CLOSED|0930-\d{8}:1600)", day) for day in days)


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
