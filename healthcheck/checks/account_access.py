"""account_access: the expected accounts are there, and their summary has figures that can be true."""

import math

from healthcheck.api_client import SummaryRow
from healthcheck.checks.context import Context
from healthcheck.observation import Observation
from healthcheck.reasons import Reason
from healthcheck.session import Refused, Unanswered

# Tags of reqAccountSummary in the TWS API reference.
NET_LIQUIDATION = "NetLiquidation"
TAGS = (NET_LIQUIDATION, "TotalCashValue", "BuyingPower", "AvailableFunds")


async def look(context: Context) -> Observation:
    session, expected = context.session, context.gateway.expected_accounts
    missing = [account for account in expected if account not in session.accounts]
    if missing:
        return Observation(
            f"expected {', '.join(missing)}; the login reaches {', '.join(session.accounts)}",
            Reason.ACCOUNT_MISSING,
            {"missing": list(missing), "accounts": list(session.accounts)},
        )
    try:
        rows = await session.account_summary(TAGS)
    except (Unanswered, Refused) as error:
        return Observation(str(error), Reason.NO_ACCOUNT_SUMMARY)
    if not rows:
        return Observation("the summary is empty", Reason.NO_ACCOUNT_SUMMARY)
    wanted = expected or session.accounts
    unusable = [account for account in wanted if not _plausible(account, rows)]
    if unusable:
        return Observation(
            f"no usable {NET_LIQUIDATION} for {', '.join(unusable)}",
            Reason.IMPLAUSIBLE_SUMMARY,
            {"accounts": list(unusable)},
        )
    worth = [row for row in rows if row.tag == NET_LIQUIDATION and row.account in wanted]
    return Observation(
        "; ".join(f"{row.account} {NET_LIQUIDATION} {float(row.value):,.2f} {row.currency}" for row in worth),
        data={"accounts": list(wanted), "figures": len(rows)},
    )


def _plausible(account: str, rows: list[SummaryRow]) -> bool:
    """Every figure of the account is a finite number, and there is a net liquidation value."""
    own = [row for row in rows if row.account == account and row.tag in TAGS]
    return any(row.tag == NET_LIQUIDATION for row in own) and all(_finite(row.value) for row in own)


def _finite(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False
