"""Orders in the TWS API's text protocol: the order of the fields. Sources as of `messages`."""

from .messages import (
    AUTO_CANCEL_PARENT,
    DURATION,
    FA_PROFILE_DESUPPORT,
    PEGBEST_PEGMID_OFFSETS,
    PENDING_PRICE_REVISION,
    POST_TO_ATS,
    Json,
    Row,
    contract_fields,
    instant,
    read_contract,
)
from .wire import UNSET_DOUBLE, Fields


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
    fields.skip(4)  # sharesAllocation, discretionaryAmt, goodAfterTime, goodTillDate
    allocation = [fields.text() for _ in range(4 if version < FA_PROFILE_DESUPPORT else 3)]
    order["allocated"] = any(allocation)  # faGroup, faMethod, faPercentage, faProfile
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
    row: Row = [*contract_fields(order["contract"]), request["action"], request["quantity"], request["order_type"]]
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
    ended = f"Filled Size: {order['filled']:g}" if order["status"] == "Filled" else "Cancelled by Trader"
    row += [instant(order["ended"]), ended]  # completedTime, completedStatus
    return row + _peg_offsets(version)


def order_status(order: Json) -> Row:
    remaining = float(order["request"]["quantity"]) - order["filled"]
    return [
        3, order["order_id"], order["status"], order["filled"], remaining, order["average_price"], order["perm_id"],
        order["request"]["parent_id"], order["average_price"], order["client_id"], "child" if order["held"] else "", 0,
    ]  # fmt: skip


def execution(request_id: int, fill: Json, version: int) -> Row:
    order = fill["order"]
    row: Row = [11, request_id, order["order_id"], *contract_fields(order["contract"]), fill["execution_id"]]
    row += [instant(fill["at"]), order["account"], order["contract"]["primary_exchange"], fill["side"]]
    row += [fill["quantity"], fill["price"], order["perm_id"], order["client_id"], 0, fill["quantity"], fill["price"]]
    row += [order["request"]["order_ref"], "", "", "", 2]  # orderRef, evRule, evMultiplier, modelCode, lastLiquidity
    return [*row, 0] if version >= PENDING_PRICE_REVISION else row


def commission_report(fill: Json) -> Row:
    realized = UNSET_DOUBLE if fill["realized"] is None else fill["realized"]
    return [59, 1, fill["execution_id"], fill["commission"], "USD", realized, UNSET_DOUBLE, ""]
