"""order_capability: a what-if order of one share or contract, with a limit far from the market, returns margin figures.

Nothing is ever placed. On a gateway with a read-only API the check does not apply: an order would open a dialog on the
gateway that nobody clicks.
"""

from collections.abc import Sequence
from decimal import Decimal

from deployment.description import CheckLevel, Gateway, QuoteContract
from healthcheck.api_client import ApiError
from healthcheck.checks.context import Context
from healthcheck.checks.permission import NO_CONTRACT, lacks_document, not_permitted, unknown
from healthcheck.observation import Observation
from healthcheck.reasons import Reason
from healthcheck.session import Refused, Unanswered, margin

READ_ONLY = 321  # validation error; its text says that the interface is in Read-Only mode
SMALLEST_LIMIT = 1.0  # when no price is known
FAR = 0.5  # of the price: a buy order at this limit would not be filled even if it were an order


async def look(context: Context) -> Observation:
    gateway, session = context.gateway, context.session
    if gateway.read_only:
        return Observation("the API is read-only, as configured", Reason.READ_ONLY)
    wanted = gateway.checks.market_data.contract
    account = tradable((*gateway.expected_accounts, *session.accounts))
    limit = on_grid(SMALLEST_LIMIT if context.price is None else context.price * FAR, context.tick)
    what = f"what-if buy 1 {wanted} at {limit:g}"
    try:
        state = await session.what_if(wanted, account, limit)
    except Refused as refusal:
        return Observation(f"{what}: {refusal.error}", _refusal(refusal.error, wanted), {"code": refusal.error.code})
    except Unanswered as error:
        return Observation(str(error), Reason.NO_MARGIN_FIGURES)
    change = margin(state)
    if change is None:
        told = state.warningText or "answered without margin figures"
        reason = Reason.NOT_PERMITTED if lacks_document(told) else Reason.NO_MARGIN_FIGURES
        return Observation(f"{what}: {told}", reason)
    return Observation(f"{what}: initial margin {change:+,.2f}", data={"symbol": str(wanted), "margin_change": change})


def on_grid(price: float, tick: float) -> float:
    """The nearest price that is a multiple of the smallest step, and above zero: others are rejected (110)."""
    step = Decimal(str(tick))
    return float(max(round(Decimal(str(price)) / step), 1) * step)


def tradable(accounts: Sequence[str]) -> str:
    """The first account that trades; an adviser's master account (F, DF on paper), which comes first, does not."""
    return next((account for account in accounts if not account.removeprefix("D").startswith("F")), accounts[0])


def may_ask(gateway: Gateway) -> bool:
    """Whether the session may send what-if orders at all; the write filter is built from this."""
    return not gateway.read_only and gateway.checks.order_capability.level is not CheckLevel.OFF


def _refusal(error: ApiError, wanted: QuoteContract) -> Reason:
    if error.code == READ_ONLY and "read-only" in error.message.lower():
        return Reason.READ_ONLY_UNEXPECTED
    if error.code == NO_CONTRACT:
        return unknown(wanted)
    if not_permitted(error):
        return Reason.NOT_PERMITTED
    return Reason.ORDER_REJECTED
