"""Requests and answers of the TWS API's text protocol, server versions 157 to 178: the order of their fields.

Orders are in `order_messages`.

Source of the orders of fields: the decoders and encoders of ib_async (client.py, decoder.py) and ibapi; the conditions
on the version are the MIN_SERVER_VER constants of ibapi's server_versions.py.
"""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from .wire import Field, Fields

# The time zone of every instrument here, and of the times that go with one: as IBKR names it, and what it is.
EXCHANGE_ZONE = "US/Eastern"
ZONE = ZoneInfo("America/New_York")

ADVANCED_ORDER_REJECT = 166
DURATION = 158
POST_TO_ATS = 160
AUTO_CANCEL_PARENT = 162
SIZE_RULES = 164
PEGBEST_PEGMID_OFFSETS = 170
BOND_ISSUERID = 176
FA_PROFILE_DESUPPORT = 177
PENDING_PRICE_REVISION = 178

Row = list[Field]
Json = dict[str, Any]


# requests


def read_contract(fields: Fields) -> Json:
    """The twelve fields that describe a contract in most requests."""
    contract = {"con_id": fields.integer(), "symbol": fields.text(), "sec_type": fields.text()}
    fields.skip(4)  # last trade date, strike, right, multiplier
    contract |= {"exchange": fields.text(), "primary_exchange": fields.text(), "currency": fields.text()}
    contract |= {"local_symbol": fields.text(), "trading_class": fields.text()}
    return contract


# answers


def error(request_id: int, code: int, message: str, version: int) -> Row:
    row: Row = [4, 2, request_id, code, message]
    return [*row, ""] if version >= ADVANCED_ORDER_REJECT else row


def contract_fields(contract: Json, exchange_key: str = "exchange") -> Row:
    """conId to tradingClass with one exchange field, as positions, orders and executions carry a contract."""
    return [
        contract["con_id"], contract["symbol"], contract["sec_type"], "", 0, "", "", contract[exchange_key],
        contract["currency"], contract["local_symbol"], contract["trading_class"],
    ]  # fmt: skip


def position(row: Json) -> Row:
    return [61, 3, row["account"], *contract_fields(row["contract"]), row["quantity"], row["average_cost"]]


def portfolio(row: Json) -> Row:
    value = row["quantity"] * row["price"]
    unrealized = value - row["quantity"] * row["average_cost"]
    return [
        7, 8, *contract_fields(row["contract"], "primary_exchange"), row["quantity"], row["price"], round(value, 2),
        row["average_cost"], round(unrealized, 2), row["realized"], row["account"],
    ]  # fmt: skip


def position_multi(request_id: int, model: str, row: Json) -> Row:
    held = [row["account"], *contract_fields(row["contract"]), row["quantity"], row["average_cost"]]
    return [71, 1, request_id, *held, model]


def symbol_samples(request_id: int, contracts: list[Json], version: int) -> Row:
    row: Row = [79, request_id, len(contracts)]
    for contract in contracts:
        row += [contract["con_id"], contract["symbol"], contract["sec_type"], contract["primary_exchange"]]
        row += [contract["currency"], 0]  # without derivatives
        row += [contract["long_name"], ""] if version >= BOND_ISSUERID else []
    return row


def contract_details(request_id: int, answer: Json, version: int) -> Row:
    contract = answer["contract"]
    stock = contract["sec_type"] == "STK"
    row: Row = [10] if version >= SIZE_RULES else [10, 8]
    row += [
        request_id, contract["symbol"], contract["sec_type"], "", 0, "", contract["exchange"], contract["currency"],
        contract["local_symbol"], contract["trading_class"], contract["trading_class"], contract["con_id"],
        contract["min_tick"],
    ]  # fmt: skip
    if version < SIZE_RULES:
        row.append(100)
    row += [
        "", "ACTIVETIM,ADJUST,ALERT,ALGO,DAY,GTC,IOC,LMT,MKT,STP,STP LMT,TRAIL,WHATIF",
        "SMART,NASDAQ,NYSE,ARCA,ISLAND,IEX,BATS" if stock else "IDEALPRO",
        1, 0, contract["long_name"], contract["primary_exchange"], "", "", "", "", EXCHANGE_ZONE,
        answer["trading_hours"], answer["liquid_hours"], "", 0, 0,
        1 if stock else 4, "", "", "26" if stock else "239", "", "COMMON" if stock else "",
    ]  # fmt: skip
    if version == SIZE_RULES - 1:
        row.append(100)
    if version >= SIZE_RULES:
        row += [0.0001, 0.0001, 100] if stock else [0.01, 0.01, 0.01]
    return row


# Tick types of the API by field of a quote: price type, type of the size that comes with it; live and delayed
# (TWS API reference, Available Tick Types).
_PRICE_TICKS: dict[str, tuple[int, int, str | None]] = {
    "bid": (1, 66, "bid_size"),
    "ask": (2, 67, "ask_size"),
    "last": (4, 68, "last_size"),
    "high": (6, 72, None),
    "low": (7, 73, None),
    "close": (9, 75, None),
    "open": (14, 76, None),
}
_VOLUME_TICKS = (8, 74)
_TIME_TICKS = (45, 88)


def ticks(request_id: int, quote: Json, *, delayed: bool) -> list[Row]:
    """What a quote holds: a currency pair has no trades, and so no last price, volume and time."""
    kind = 1 if delayed else 0
    rows: list[Row] = []
    for name, (*types, size) in _PRICE_TICKS.items():
        if name in quote:
            mask = 1 if name in ("bid", "ask") else 0  # canAutoExecute
            rows.append([1, 6, request_id, types[kind], quote[name], quote[size] if size else 0, mask])
    if "volume" in quote:
        rows.append([2, 6, request_id, _VOLUME_TICKS[kind], quote["volume"]])
        rows.append([46, 6, request_id, _TIME_TICKS[kind], quote["at"]])
    return rows


def bars(request_id: int, found: list[Json], *, daily: bool, as_seconds: bool) -> Row:
    """historicalData; times as the request's formatDate asks: epoch seconds, or text (always text for days)."""

    def stamp(seconds: int) -> str:
        if daily:
            return instant(seconds)[:8]
        return str(seconds) if as_seconds else instant(seconds)

    first, last = (instant(found[index]["start"]) if found else "" for index in (0, -1))
    row: Row = [17, request_id, first, last, len(found)]
    for bar in found:
        row += [stamp(bar["start"]), bar["open"], bar["high"], bar["low"], bar["close"], bar["volume"]]
        row += [bar["average"], bar["trades"]]
    return row


def instant(seconds: float) -> str:
    """A time as a gateway set to the instruments' time zone sends it: `20260825 14:11:30 US/Eastern`."""
    local = datetime.fromtimestamp(seconds, UTC).astimezone(ZONE)
    return f"{local:%Y%m%d %H:%M:%S} {EXCHANGE_ZONE}"
