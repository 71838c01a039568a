"""The broker's market: which contracts exist and what they cost at a time. Pure functions of the seed and the clock.

Prices are sane rather than real: each symbol has a level of its own around which it moves by a few percent.
"""

import hashlib
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

EXCHANGE_TIME = ZoneInfo("America/New_York")

# conId, name and a price level of a few stocks that people use to try things (conIds as IBKR publishes them).
_KNOWN_STOCKS: dict[str, tuple[int, str, str, float]] = {
    "SPY": (756733, "SPDR S&P 500 ETF TRUST", "ARCA", 600.0),
    "QQQ": (320227571, "INVESCO QQQ TRUST SERIES 1", "NASDAQ", 520.0),
    "AAPL": (265598, "APPLE INC", "NASDAQ", 230.0),
    "MSFT": (272093, "MICROSOFT CORP", "NASDAQ", 420.0),
    "IBM": (8314, "INTL BUSINESS MACHINES CORP", "NYSE", 230.0),
}
_KNOWN_PAIRS: dict[str, float] = {"EUR": 1.08, "GBP": 1.27, "AUD": 0.66}
_STOCK_SYMBOL = re.compile(r"[A-Z]{1,5}( [A-Z])?")
_STOCK_EXCHANGES = {"SMART", "ARCA", "NASDAQ", "NYSE", "ISLAND", "IEX", "BATS"}


@dataclass(frozen=True)
class Contract:
    """A contract that exists, with every field that the API shows of it."""

    con_id: int
    symbol: str
    sec_type: str
    exchange: str
    primary_exchange: str
    currency: str
    local_symbol: str
    trading_class: str
    long_name: str
    min_tick: float
    level: float  # the price around which it moves, in `currency`


@dataclass(frozen=True)
class Quote:
    """Prices in the contract's currency, sizes in shares."""

    bid: float
    ask: float
    last: float
    bid_size: int
    ask_size: int
    last_size: int
    high: float
    low: float
    open: float
    close: float
    volume: int


def _hash(*parts: object) -> int:
    text = "|".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


class Market:
    """Contracts and prices, the same for the same seed."""

    def __init__(self, seed: int = 1) -> None:
        self.seed = seed

    def find(self, wanted: dict[str, Any]) -> Contract | None:
        """The contract that a request describes, or None when there is none (error 200)."""
        kind = str(wanted.get("sec_type", "")) or "STK"
        con_id = int(wanted.get("con_id") or 0)
        symbol = str(wanted.get("symbol", "")).upper()
        if con_id and not symbol:
            symbol = next((name for name, (known, *_) in _KNOWN_STOCKS.items() if known == con_id), "")
        currency = str(wanted.get("currency", "")) or "USD"
        exchange = str(wanted.get("exchange", "")) or "SMART"
        if kind == "STK":
            return self._stock(symbol, exchange, currency, con_id)
        if kind == "CASH":
            return self._pair(symbol, currency)
        return None

    def _stock(self, symbol: str, exchange: str, currency: str, con_id: int) -> Contract | None:
        if not _STOCK_SYMBOL.fullmatch(symbol) or exchange not in _STOCK_EXCHANGES or currency != "USD":
            return None
        generated = 100_000_000 + _hash("conId", symbol) % 100_000_000
        level = round(20 + _hash(self.seed, "level", symbol) % 28_000 / 100, 2)
        default = (generated, f"{symbol} INC", "NASDAQ", level)
        known, name, primary, price = _KNOWN_STOCKS.get(symbol, default)
        if con_id not in (0, known):
            return None
        return Contract(known, symbol, "STK", exchange, primary, "USD", symbol, symbol, name, 0.01, price)

    def _pair(self, symbol: str, currency: str) -> Contract | None:
        if currency != "USD" or symbol not in _KNOWN_PAIRS:
            return None
        pair = f"{symbol}.{currency}"
        con_id = 12_000_000 + _hash("pair", pair) % 1_000_000
        return Contract(
            con_id, symbol, "CASH", "IDEALPRO", "", currency, pair, pair, f"{symbol} {currency}", 0.00005,
            _KNOWN_PAIRS[symbol],
        )  # fmt: skip

    def price(self, contract: Contract, at: float) -> float:
        """The middle price at a time (seconds since the epoch), within 3 % of the contract's level."""
        phase = _hash(self.seed, "phase", contract.con_id) % 10_000 / 10_000 * 2 * math.pi
        wave = 0.02 * math.sin(at / 14_400 + phase) + 0.008 * math.sin(at / 900 + 2 * phase)
        noise = (_hash(self.seed, contract.con_id, int(at)) % 2001 - 1000) / 1000 * 0.0002
        return contract.level * (1 + wave + noise)

    def quote(self, contract: Contract, at: float) -> Quote:
        tick = contract.min_tick
        digits = max(2, math.ceil(-math.log10(tick)))

        def on_tick(value: float) -> float:
            return round(round(value / tick) * tick, digits)

        middle = self.price(contract, at)
        half_spread = max(tick, middle * 0.00005)
        sizes = _hash(self.seed, "size", contract.con_id, int(at))
        day = [self.price(contract, at - minutes * 60) for minutes in range(0, 390, 30)]
        bid = on_tick(middle - half_spread)
        ask = max(on_tick(middle + half_spread), round(bid + tick, digits))
        return Quote(
            bid=bid,
            ask=ask,
            last=on_tick(middle),
            bid_size=100 * (1 + sizes % 20),
            ask_size=100 * (1 + sizes // 20 % 20),
            last_size=100 * (1 + sizes // 400 % 5),
            high=on_tick(max(day) + half_spread),
            low=on_tick(min(day) - half_spread),
            open=on_tick(day[-1]),
            close=on_tick(self.price(contract, at - 86_400)),
            volume=1_000_000 + sizes % 50_000_000,
        )

    def bars(self, contract: Contract, end: float, seconds: int, count: int) -> list[dict[str, Any]]:
        """`count` bars of `seconds` each, the last one ending at `end`; `start` in seconds since the epoch."""
        found = []
        first = int(end) // seconds * seconds - seconds * (count - 1)
        for index in range(count):
            start = first + index * seconds
            prices = [round(self.price(contract, start + seconds * part / 4), 4) for part in range(5)]
            found.append(
                {
                    "start": start,
                    "open": prices[0],
                    "high": max(prices),
                    "low": min(prices),
                    "close": prices[-1],
                    "volume": 1000 + _hash(self.seed, contract.con_id, start) % 100_000,
                    "average": round(sum(prices) / 5, 4),
                    "trades": 10 + _hash(self.seed, "trades", contract.con_id, start) % 1000,
                }
            )
        return found


def trading_hours(at: float, opens: str, closes: str) -> str:
    """Six days of hours as contract details show them: `20261123:0930-20261123:1600;20261128:CLOSED`.

    Weekends are closed; holidays are not known. Times in the exchange's time zone.
    """
    today = datetime.fromtimestamp(at, UTC).astimezone(EXCHANGE_TIME).date()
    days = []
    for ahead in range(6):
        day = today + timedelta(days=ahead)
        stamp = day.strftime("%Y%m%d")
        days.append(f"{stamp}:CLOSED" if day.weekday() >= 5 else f"{stamp}:{opens}-{stamp}:{closes}")
    return ";".join(days)
