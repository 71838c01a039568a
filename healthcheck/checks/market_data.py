"""market_data: a quote of the configured contract by the best way open now: live, else delayed, else frozen."""

from collections.abc import Iterable
from datetime import datetime

from pydantic import JsonValue

from deployment.description import QuoteContract
from healthcheck.api_client import ApiError, DataType, is_told
from healthcheck.checks.context import Context
from healthcheck.checks.permission import NO_CONTRACT, not_permitted, unknown
from healthcheck.hours import Hours, parse_hours
from healthcheck.observation import Observation
from healthcheck.reasons import Reason
from healthcheck.session import Quote, Refused, Session, Unanswered

# Message codes of the TWS API reference and of users' reports.
NOT_SUBSCRIBED = frozenset({354, 10089, 10090, 10091, 10168, 10186})
COMPETING_MARKET_DATA = 10197
LINES_USED = 101

# Notices about market data farms, `...:usfarm`.
FARM_BROKEN = frozenset({2103})
FARM_OK = frozenset({2104, 2119, 2108})


async def look(context: Context) -> Observation:
    session, wanted = context.session, context.gateway.checks.market_data.contract
    try:
        hours = await _hours(context, wanted)
    except Refused as refusal:
        return Observation(f"{wanted}: {refusal.error}", unknown(wanted), {"code": refusal.error.code})
    now = await _now(session)
    closed = hours is not None and now is not None and not hours.open_at(now)
    timeouts = session.timeouts
    live = await session.quote(
        wanted,
        DataType.LIVE,
        timeout=timeouts.closed_market_quote if closed else timeouts.quote,
        two_sided=closed,
    )
    context.price = live.price
    codes = {error.code for error in live.errors}
    if live.price is not None and live.data_type is DataType.LIVE and (live.two_sided or not closed):
        return _finding(wanted, live)
    if NO_CONTRACT in codes:
        return _finding(wanted, live, unknown(wanted))
    if live.price is None and LINES_USED in codes:
        return _finding(wanted, live, Reason.DATA_LINES_USED)
    if live.price is None and any(map(not_permitted, live.errors)):
        return _finding(wanted, live, Reason.NOT_PERMITTED)
    if COMPETING_MARKET_DATA in codes:
        return _finding(wanted, live, Reason.COMPETING_MARKET_DATA)
    if live.price is not None and live.data_type in (DataType.DELAYED, DataType.DELAYED_FROZEN):
        return _finding(wanted, live, Reason.DELAYED_DATA)
    if codes & NOT_SUBSCRIBED:
        delayed = await session.quote(wanted, DataType.DELAYED, timeout=timeouts.quote)
        context.price = delayed.price
        delayed.errors = live.errors
        return _finding(wanted, delayed, Reason.NO_ENTITLEMENT if delayed.price is None else Reason.DELAYED_DATA)
    broken = broken_farms(session.notices)
    if broken:
        return _finding(wanted, live, Reason.FARM_BROKEN, farms=broken)
    frozen = live
    if live.price is None:
        frozen = await session.quote(wanted, DataType.FROZEN, timeout=timeouts.closed_market_quote)
        context.price = frozen.price
    if closed or (hours is None and frozen.price is not None):
        return _finding(wanted, frozen, Reason.MARKET_CLOSED, note=_opens(hours, now))
    return _finding(wanted, frozen, Reason.NO_QUOTE)


def broken_farms(notices: Iterable[ApiError]) -> list[str]:
    """Names of market data farms whose last word was that they are broken."""
    broken: dict[str, None] = {}
    for notice in notices:
        farm = notice.message.rpartition(":")[2].strip()
        if notice.code in FARM_BROKEN:
            broken[farm] = None
        elif notice.code in FARM_OK:
            broken.pop(farm, None)
    return list(broken)


async def _hours(context: Context, wanted: QuoteContract) -> Hours | None:
    """The contract's hours, or None when the gateway does not tell; Refused when there is no such contract."""
    try:
        details = await context.session.contract_details(wanted)
    except Unanswered:
        return None
    if details and details[0].tick > 0 and is_told(details[0].tick):
        context.tick = details[0].tick
    return parse_hours(details[0].liquid_hours, details[0].time_zone) if details else None


async def _now(session: Session) -> datetime | None:
    """The gateway's clock, which the hours are compared with."""
    try:
        return await session.server_time()
    except Unanswered:
        return None


def _opens(hours: Hours | None, now: datetime | None) -> str:
    opening = hours.next_open(now) if hours is not None and now is not None else None
    if hours is None or opening is None:
        return ""
    return f"; opens {opening.astimezone(hours.time_zone):%a %H:%M} {hours.time_zone.key}"


def _finding(
    wanted: QuoteContract,
    quote: Quote,
    reason: Reason | None = None,
    *,
    farms: list[str] | None = None,
    note: str = "",
) -> Observation:
    label = quote.data_type.label
    price = f"{wanted} {label} {quote.price:g}" if quote.price is not None else f"{wanted}: no quote"
    details = [str(error) for error in quote.errors] + [f"farm {farm} is broken" for farm in farms or []]
    codes: list[JsonValue] = [error.code for error in quote.errors]
    data: dict[str, JsonValue] = {
        "symbol": str(wanted),
        "type": label if quote.price is not None else None,
        "price": quote.price,
    }
    if codes:
        data["codes"] = codes
    return Observation("; ".join([price, *details]), reason, data, note)
