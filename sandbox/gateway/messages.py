"""Requests and answers of the TWS API's text protocol, server versions 157 to 178: the order of their fields.

Source of the orders of fields: the decoders and encoders of ib_async (client.py, decoder.py) and ibapi; the conditions
on the version are the MIN_SERVER_VER constants of ibapi's server_versions.py.
"""

from datetime import UTC, datetime
from typing import Any

from .wire import UNSET_DOUBLE, Field, Fields

ADVANCED_ORDER_REJECT = 166
DURATION = 158
POST_TO_ATS = 160
AUTO_CANCEL_PARENT = 162
SIZE_RULES = 164
MANUAL_ORDER_TIME = 169
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


def read_order(fields: Fields, version: int) -> tuple[int, bool, Json]:
    """placeOrder after its message id: order id, what-if flag, and the order as the broker takes it."""
    order_id = fields.integer()
    contract = read_contract(fields)
    fields.skip(2)  # secIdType, secId
    order: Json = {"contract": contract, "action": fields.text(), "quantity": fields.number() or 0.0}
    order |= {"order_type": fields.text(), "limit_price": fields.number(), "aux_price": fields.number()}
    order |= {"tif": fields.text() or "DAY"}
    fields.skip(1)  # ocaGroup
    order["account"] = fields.text()
    fields.skip(2)  # openClose, origin
    order["order_ref"] = fields.text()
    order["transmit"] = fields.flag()
    order["parent_id"] = fields.integer()
    fields.skip(4)  # blockOrder, sweepToFill, displaySize, triggerMethod
    order["outside_rth"] = fields.flag()
    fields.skip(1)  # hidden
    if contract["sec_type"] == "BAG":
        fields.skip(8 * fields.integer())  # combo legs
        fields.skip(fields.integer())  # prices of the legs
        fields.skip(2 * fields.integer())  # routing parameters
    fields.skip(7)  # sharesAllocation, discretionaryAmt, goodAfterTime, goodTillDate, faGroup, faMethod, faPercentage
    if version < FA_PROFILE_DESUPPORT:
        fields.skip(1)
    # modelCode, shortSaleSlot, designatedLocation, exemptCode, ocaType, rule80A, settlingFirm, allOrNone, minQty,
    # percentOffset, eTradeOnly, firmQuoteOnly, nbboPriceCap, auctionStrategy, startingPrice, stockRefPrice, delta,
    # stockRangeLower, stockRangeUpper, overridePercentageConstraints, volatility, volatilityType
    fields.skip(22)
    delta_neutral = fields.text()
    fields.skip(1)  # deltaNeutralAuxPrice
    if delta_neutral:
        fields.skip(8)
    fields.skip(6)  # continuousUpdate, referencePriceType, trailStopPrice, trailingPercent, scale level sizes
    increment = fields.number()
    if increment is not None and increment > 0:
        fields.skip(7)
    fields.skip(3)  # scaleTable, activeStartTime, activeStopTime
    if fields.text():  # hedgeType
        fields.skip(1)
    fields.skip(4)  # optOutSmartRouting, clearingAccount, clearingIntent, notHeld
    if fields.flag():  # delta neutral contract
        fields.skip(3)
    if fields.text():  # algoStrategy
        fields.skip(2 * fields.integer())
    fields.skip(1)  # algoId
    return order_id, fields.flag(), order


# answers


def error(request_id: int, code: int, message: str, version: int) -> Row:
    row: Row = [4, 2, request_id, code, message]
    return [*row, ""] if version >= ADVANCED_ORDER_REJECT else row


def _contract(contract: Json, exchange_key: str = "exchange") -> Row:
    """conId to tradingClass with one exchange field, as positions, orders and executions carry a contract."""
    return [
        contract["con_id"], contract["symbol"], contract["sec_type"], "", 0, "", "", contract[exchange_key],
        contract["currency"], contract["local_symbol"], contract["trading_class"],
    ]  # fmt: skip


def position(row: Json) -> Row:
    return [61, 3, row["account"], *_contract(row["contract"]), row["quantity"], row["average_cost"]]


def portfolio(row: Json) -> Row:
    value = row["quantity"] * row["price"]
    unrealized = value - row["quantity"] * row["average_cost"]
    return [
        7, 8, *_contract(row["contract"], "primary_exchange"), row["quantity"], row["price"], round(value, 2),
        row["average_cost"], round(unrealized, 2), 0.0, row["account"],
    ]  # fmt: skip


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
        1, 0, contract["long_name"], contract["primary_exchange"], "", "", "", "", "US/Eastern",
        answer["trading_hours"], answer["liquid_hours"], "", 0, 0,
        1 if stock else 4, "", "", "26" if stock else "239", "", "COMMON" if stock else "",
    ]  # fmt: skip
    if version == SIZE_RULES - 1:
        row.append(100)
    if version >= SIZE_RULES:
        row += [0.0001, 0.0001, 100]
    return row


def what_if(order_id: int, client_id: int, request: Json, contract: Json, margins: Json | None, version: int) -> Row:
    """openOrder with the what-if flag: nothing is placed. Without margins every figure is the unset value."""
    if margins is None:
        figures: Row = [UNSET_DOUBLE] * 9
        commission: Row = [UNSET_DOUBLE, UNSET_DOUBLE, UNSET_DOUBLE, ""]
    else:
        before = [margins["initial_before"], margins["maintenance_before"], margins["equity_before"]]
        after = [margins["initial_after"], margins["maintenance_after"], margins["equity_after"]]
        change = [late - early for early, late in zip(before, after, strict=True)]
        figures = [f"{value:.2f}" for value in (*before, *change, *after)]
        commission = [f"{margins['commission']:.2f}", "", "", "USD"]
    order = {
        "order_id": order_id,
        "client_id": client_id,
        "perm_id": 0,
        "account": request["account"],
        "contract": contract,
        "request": request,
        "status": "PreSubmitted",
    }
    return _order(order, version, what_if=True, figures=[*figures, *commission])


def open_order(order: Json, version: int) -> Row:
    return _order(order, version, what_if=False, figures=[*[UNSET_DOUBLE] * 9, "", "", "", ""])


def _order_start(order: Json) -> Row:
    """action to orderRef, which openOrder and completedOrder have in common."""
    request = order["request"]
    limit, aux = (request[key] if request[key] is not None else 0 for key in ("limit_price", "aux_price"))
    row: Row = [*_contract(order["contract"]), request["action"], request["quantity"], request["order_type"]]
    row += [limit, aux, request["tif"], "", order["account"], "", 0, request["order_ref"]]
    return row


def _peg_offsets(version: int) -> Row:
    """minTradeQty, minCompeteSize, competeAgainstBestOffset, midOffsetAtWhole, midOffsetAtHalf"""
    return [""] * 5 if version >= PEGBEST_PEGMID_OFFSETS else []


def _order(order: Json, version: int, *, what_if: bool, figures: Row) -> Row:
    request = order["request"]
    row: Row = [5, order["order_id"], *_order_start(order), order["client_id"], order["perm_id"]]
    row += [request["outside_rth"], 0, 0, "", "", "", "", ""]  # outsideRth, hidden, discretionaryAmt ... faPercentage
    row += [""] if version < FA_PROFILE_DESUPPORT else []
    row += ["", "", "", "", ""]  # modelCode, goodTillDate, rule80A, percentOffset, settlingFirm
    row += [0, "", -1, 0]  # shortSaleSlot, designatedLocation, exemptCode, auctionStrategy
    row += ["", "", "", "", "", ""]  # startingPrice, stockRefPrice, delta, stock range, displaySize
    row += [0, 0, 0, "", 3, 0, 0, ""]  # blockOrder, sweepToFill, allOrNone, minQty, ocaType ... nbboPriceCap
    row += [request["parent_id"], 0, "", 0, "", ""]  # parentId, triggerMethod, volatility, type, delta neutral: none
    row += [0, 0, "", "", "", "", ""]  # continuousUpdate, referencePriceType, trail, basis points, comboLegsDescrip
    row += [0, 0, 0]  # legs, prices of the legs, routing parameters
    row += ["", "", "", ""]  # scale level sizes, scalePriceIncrement, hedgeType
    row += [0, "", "IB", 0, 0, ""]  # optOutSmartRouting, clearing, notHeld, delta neutral contract, algoStrategy
    row += [0, what_if, order["status"], *figures, ""]  # solicited ... warningText
    row += [0, 0, 0]  # randomizeSize, randomizePrice, conditions
    row += ["None", "", "", "", "", "", "", 0]  # adjustedOrderType ... adjustableTrailingUnit
    row += ["", "", "", "", 0, 0, 0, 0]  # soft dollar tier, cashQty, dontUseAutoPriceForHedge ... usePriceMgmtAlgo
    row += [""] if version >= DURATION else []
    row += [""] if version >= POST_TO_ATS else []
    row += [0] if version >= AUTO_CANCEL_PARENT else []
    return row + _peg_offsets(version)


def completed_order(order: Json, version: int) -> Row:
    request = order["request"]
    row: Row = [101, *_order_start(order), order["perm_id"]]
    row += [request["outside_rth"], 0, 0, "", "", "", ""]  # outsideRth ... faPercentage
    row += [""] if version < FA_PROFILE_DESUPPORT else []
    row += ["", "", "", "", ""]  # modelCode, goodTillDate, rule80A, percentOffset, settlingFirm
    row += [0, "", -1]  # shortSaleSlot, designatedLocation, exemptCode
    row += ["", "", "", "", "", ""]  # startingPrice, stockRefPrice, delta, stock range, displaySize
    row += [0, 0, "", 3, 0]  # sweepToFill, allOrNone, minQty, ocaType, triggerMethod
    row += ["", 0, "", ""]  # volatility, volatilityType, delta neutral: none
    row += [0, 0, "", "", ""]  # continuousUpdate, referencePriceType, trail, comboLegsDescrip
    row += [0, 0, 0]  # legs, prices of the legs, routing parameters
    row += ["", "", "", ""]  # scale level sizes, scalePriceIncrement, hedgeType
    row += ["", "IB", 0, 0, ""]  # clearing, notHeld, delta neutral contract, algoStrategy
    row += [0, order["status"], 0, 0, 0]  # solicited, status, randomizeSize, randomizePrice, conditions
    row += ["", "", "", 0, 0, ""]  # trailStopPrice, lmtPriceOffset, cashQty, hedge price, container, autoCancelDate
    row += [order["filled"], 0, 0, "", 0, 0, 0]  # filledQuantity, refFuturesConId ... parentPermId
    row += ["", f"{order['status']}: {order['filled']:g}"]  # completedTime, completedStatus
    return row + _peg_offsets(version)


def order_status(order: Json) -> Row:
    remaining = float(order["request"]["quantity"]) - order["filled"]
    return [
        3, order["order_id"], order["status"], order["filled"], remaining, order["average_price"], order["perm_id"],
        order["request"]["parent_id"], order["average_price"], order["client_id"], "", 0,
    ]  # fmt: skip


def execution(request_id: int, fill: Json, version: int) -> Row:
    order = fill["order"]
    row: Row = [11, request_id, order["order_id"], *_contract(order["contract"]), fill["execution_id"]]
    row += [instant(fill["at"]), order["account"], order["contract"]["primary_exchange"], fill["side"]]
    row += [fill["quantity"], fill["price"], order["perm_id"], order["client_id"], 0, fill["quantity"], fill["price"]]
    row += [order["request"]["order_ref"], "", "", "", 2]  # orderRef, evRule, evMultiplier, modelCode, lastLiquidity
    return [*row, 0] if version >= PENDING_PRICE_REVISION else row


def commission_report(fill: Json) -> Row:
    return [59, 1, fill["execution_id"], fill["commission"], "USD", UNSET_DOUBLE, UNSET_DOUBLE, ""]


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
    kind = 1 if delayed else 0
    rows: list[Row] = []
    for name, (*types, size) in _PRICE_TICKS.items():
        mask = 1 if name in ("bid", "ask") else 0  # canAutoExecute
        rows.append([1, 6, request_id, types[kind], quote[name], quote[size] if size else 0, mask])
    rows.append([2, 6, request_id, _VOLUME_TICKS[kind], quote["volume"]])
    rows.append([46, 6, request_id, _TIME_TICKS[kind], quote["at"]])
    return rows


def bars(request_id: int, found: list[Json], *, daily: bool, as_seconds: bool) -> Row:
    """historicalData; times as the request's formatDate asks: epoch seconds, or text (always text for days)."""

    def stamp(seconds: int) -> str:
        if daily:
            return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d")
        return str(seconds) if as_seconds else datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d %H:%M:%S UTC")

    first, last = (instant(found[index]["start"]) if found else "" for index in (0, -1))
    row: Row = [17, request_id, first, last, len(found)]
    for bar in found:
        row += [stamp(bar["start"]), bar["open"], bar["high"], bar["low"], bar["close"], bar["volume"]]
        row += [bar["average"], bar["trades"]]
    return row


def instant(seconds: float) -> str:
    """A UTC time as executions carry it from server version 175 on: `20261123 14:30:00 UTC`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d %H:%M:%S UTC")
