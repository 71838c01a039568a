"""The broker's market: which contracts exist, when they trade, and what they cost at a time.

Pure functions of the seed and of a time (seconds since the epoch). Prices are sane rather than real: each symbol has a
level of its own around which it moves by a few percent. US stocks and currency pairs only; weekends are known, holidays
and half days are not.
"""

import functools
import hashlib
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
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
_KNOWN_PAIRS: dict[str, tuple[int, str, float]] = {
    "EUR": (12087792, "European Monetary Union Euro", 1.08),
    "GBP": (12087797, "British pound", 1.27),
    "AUD": (14433401, "Australian dollar", 0.66),
}
_STOCK_SYMBOL = re.compile(r"[A-Z]{1,5}( [A-Z])?")
_STOCK_EXCHANGES = {"SMART", "ARCA", "NASDAQ", "NYSE", "ISLAND", "IEX", "BATS"}

# Local times between which a day's session lasts. A currency pair's begins in the evening and ends on the next day.
_REGULAR, _EXTENDED, _CURRENCY = (
    (time(9, 30), time(16)),
    (time(4), time(20)),
    (time(17, 15), time(17)),
)
_SATURDAY, _SUNDAY, _FRIDAY = 5, 6, 4

DAY = 86_400  # seconds
MAX_BARS = 5000

Session = tuple[float, float]  # first and last moment


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

    @property
    def listed(self) -> str:
        """As texts of errors name it: `AAPL NASDAQ.NMS`."""
        return f"{self.symbol} {'NASDAQ.NMS' if self.primary_exchange == 'NASDAQ' else self.primary_exchange}"


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


@functools.cache
def _phase(seed: int, con_id: int) -> float:
    return _hash(seed, "phase", con_id) % 10_000 / 10_000 * 2 * math.pi


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
            known: dict[int, tuple[str, str]] = {number: (name, "STK") for name, (number, *_) in _KNOWN_STOCKS.items()}
            known |= {number: (name, "CASH") for name, (number, *_) in _KNOWN_PAIRS.items()}
            symbol, kind = known.get(con_id, ("", kind))
        currency = str(wanted.get("currency", "")) or "USD"
        exchange = str(wanted.get("exchange", ""))
        if kind == "STK":
            return self._stock(symbol, exchange or "SMART", currency, con_id)
        if kind == "CASH":
            return self._pair(symbol, exchange or "IDEALPRO", currency, con_id)
        return None

    def matching(self, pattern: str) -> list[Contract]:
        """The known stocks whose symbol begins with a pattern or whose name contains it."""
        wanted = pattern.upper()
        symbols = [name for name, (_, title, *_) in _KNOWN_STOCKS.items() if name.startswith(wanted) or wanted in title]
        found = [self.find({"symbol": symbol}) for symbol in symbols if wanted]
        return [contract for contract in found if contract is not None]

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

    def _pair(self, symbol: str, exchange: str, currency: str, con_id: int) -> Contract | None:
        if currency != "USD" or exchange != "IDEALPRO" or symbol not in _KNOWN_PAIRS:
            return None
        known, name, level = _KNOWN_PAIRS[symbol]
        if con_id not in (0, known):
            return None
        pair = f"{symbol}.{currency}"
        return Contract(known, symbol, "CASH", exchange, exchange, currency, pair, pair, name, 0.00005, level)

    def price(self, contract: Contract, at: float) -> float:
        """The middle price at a time (seconds since the epoch), within 3 % of the contract's level."""
        phase = _phase(self.seed, contract.con_id)
        wave = 0.02 * math.sin(at / 14_400 + phase) + 0.008 * math.sin(at / 900 + 2 * phase)
        # Not `_hash`: a request for bars asks for thousands of prices.
        noise = (zlib.crc32(b"%d|%d|%d" % (self.seed, contract.con_id, int(at))) % 2001 - 1000) / 1000 * 0.0002
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

    def bars(
        self, contract: Contract, end: float, size: int, span: tuple[int, str], *, regular: bool
    ) -> list[dict[str, Any]]:
        """The last bars before `end`, oldest first; `start` in seconds since the epoch.

        `size` in seconds, days and longer ones by the trading day; `span` as the API's duration: (2, "D"). Seconds and
        days count trading time, weeks and longer spans calendar time.
        """
        number, unit = span
        since = end - number * {"W": 7, "M": 30, "Y": 365}.get(unit, 3650) * DAY
        limit = min(MAX_BARS, max(1, number // size)) if unit == "S" else MAX_BARS
        found: list[tuple[float, float]] = []
        for days, (opens, closes) in enumerate(_sessions_before(contract, end, regular=regular)):
            if closes <= since or len(found) >= limit or (unit == "D" and days == number):
                break
            found += reversed(_spans(opens, min(closes, end), size))
        if size > DAY:
            found = _grouped(found, size)
        return [self._bar(contract, *span) for span in reversed(found[:limit])]

    def _bar(self, contract: Contract, start: float, end: float) -> dict[str, Any]:
        prices = [round(self.price(contract, start + (end - start) * part / 4), 4) for part in range(5)]
        return {
            "start": int(start),
            "open": prices[0],
            "high": max(prices),
            "low": min(prices),
            "close": prices[-1],
            "volume": 1000 + _hash(self.seed, contract.con_id, int(start)) % 100_000,
            "average": round(sum(prices) / 5, 4),
            "trades": 10 + _hash(self.seed, "trades", contract.con_id, int(start)) % 1000,
        }


def _moment(day: date, at: time) -> float:
    return datetime.combine(day, at, EXCHANGE_TIME).timestamp()


def local_day(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).astimezone(EXCHANGE_TIME).date()


def _session(contract: Contract, day: date, *, regular: bool) -> Session | None:
    """The session that begins on a day of the exchange's time zone; None when it is closed."""
    if contract.sec_type == "CASH":
        opens, closes = _CURRENCY
        if day.weekday() in (_FRIDAY, _SATURDAY):
            return None
        return _moment(day, opens), _moment(day + timedelta(days=1), closes)
    if day.weekday() in (_SATURDAY, _SUNDAY):
        return None
    opens, closes = _REGULAR if regular else _EXTENDED
    return _moment(day, opens), _moment(day, closes)


def _sessions_before(contract: Contract, at: float, *, regular: bool) -> Iterator[Session]:
    """The sessions that began before a time, the latest first."""
    day = local_day(at)
    while True:
        session = _session(contract, day, regular=regular)
        if session is not None and session[0] < at:
            yield session
        day -= timedelta(days=1)


def is_open(contract: Contract, at: float) -> bool:
    """Whether it trades in regular hours."""
    opens, closes = next(_sessions_before(contract, at + 1, regular=True))
    return opens <= at < closes


def last_traded(contract: Contract, at: float) -> float:
    """The time itself while it trades, else when the last session ended."""
    return min(at, next(_sessions_before(contract, at + 1, regular=True))[1])


def next_open(contract: Contract, at: float) -> float:
    day = local_day(at)
    while (session := _session(contract, day, regular=True)) is None or session[0] <= at:
        day += timedelta(days=1)
    return session[0]


def _spans(opens: float, closes: float, size: int) -> list[tuple[float, float]]:
    """A session cut at the multiples of `size`, as IBKR's bars of an hour are: 09:30-10:00, 10:00-11:00, ..."""
    if size >= DAY:
        return [(opens, closes)]
    found = []
    start = opens
    while start < closes:
        end = min((start // size + 1) * size, closes)
        found.append((start, end))
        start = end
    return found


def _grouped(days: list[tuple[float, float]], size: int) -> list[tuple[float, float]]:
    """Days, the latest first, joined to weeks or months."""
    found: dict[tuple[int, int], tuple[float, float]] = {}
    for start, end in days:
        day = local_day(start)
        key = day.isocalendar()[:2] if size == 7 * DAY else (day.year, day.month)
        found[key] = (start, found[key][1] if key in found else end)
    return list(found.values())


def trading_hours(contract: Contract, at: float, *, regular: bool) -> str:
    """Six days of hours as contract details show them: `20261123:0930-20261123:1600;20261128:CLOSED`.

    Times in the exchange's time zone.
    """
    days = []
    for ahead in range(6):
        day = local_day(at) + timedelta(days=ahead)
        session = _session(contract, day, regular=regular)
        if session is None:
            days.append(f"{day:%Y%m%d}:CLOSED")
        else:
            first, last = (datetime.fromtimestamp(moment, EXCHANGE_TIME) for moment in session)
            days.append(f"{first:%Y%m%d:%H%M}-{last:%Y%m%d:%H%M}")
    return ";".join(days)
