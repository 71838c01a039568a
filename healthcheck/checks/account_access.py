"""account_access: the expected accounts are there, and have figures that can be true.

One summary tells of all accounts. Where it is refused (322, or an adviser's of more than 50 accounts), incomplete or
missing, the accounts that it lacks are asked one at a time.
"""

import asyncio
from collections.abc import Iterable

from deployment.description import CheckLevel
from healthcheck.api_client import SummaryRow, is_told
from healthcheck.checks.context import Context
from healthcheck.observation import Observation
from healthcheck.reasons import Reason
from healthcheck.session import Refused, Session, Unanswered

# Tags of reqAccountSummary in the TWS API reference; reqAccountUpdates has the same.
NET_LIQUIDATION = "NetLiquidation"
TAGS = (NET_LIQUIDATION, "TotalCashValue", "BuyingPower", "AvailableFunds")

MOST_SINGLY = 20
SINGLY = 20.0
"""Accounts that are asked one at a time, and the seconds for all of them; of more, these are a sample."""

Figures = dict[tuple[str, str], SummaryRow]
"""By account and tag; what was told last counts."""


async def look(context: Context) -> Observation:
    session, expected = context.session, context.gateway.expected_accounts
    await session.settled(lambda: set(expected) <= set(session.accounts))
    missing = [account for account in expected if account not in session.accounts]
    if missing:
        return Observation(
            f"expected {', '.join(missing)}; the login reaches {', '.join(session.accounts)}",
            Reason.ACCOUNT_MISSING,
            {"missing": list(missing), "accounts": list(session.accounts)},
        )
    if context.gateway.checks.account_access.level is CheckLevel.OFF:
        return Observation("the expected accounts are there; their figures are off", Reason.SWITCHED_OFF)
    figures: Figures = {}
    wanted = expected or tuple(session.accounts)
    try:
        _keep(figures, await session.account_summary(TAGS))
        obstacle = "the summary is empty"
    except (Unanswered, Refused) as error:
        obstacle = str(error)
    lacking = [account for account in wanted if not _plausible(account, figures)]
    asked = await _ask_singly(session, lacking, figures)
    without = [account for account in wanted if not _plausible(account, figures)]
    unasked = [account for account in without if account not in asked]
    if not figures:
        return Observation(obstacle, Reason.NO_ACCOUNT_SUMMARY)
    if len(without) > len(unasked) or len(without) == len(wanted):
        return Observation(
            f"no usable {NET_LIQUIDATION} for {', '.join(without)}",
            Reason.IMPLAUSIBLE_SUMMARY,
            {"accounts": list(without)},
        )
    worth = [figures[account, NET_LIQUIDATION] for account in wanted if account not in unasked]
    told = [f"{row.account} {NET_LIQUIDATION} {float(row.value):,.2f} {row.currency}" for row in worth]
    if unasked:
        told.insert(0, f"{len(worth)} of {len(wanted)} accounts asked")
    return Observation("; ".join(told), data={"accounts": list(wanted), "figures": len(figures)})


async def _ask_singly(session: Session, accounts: Iterable[str], figures: Figures) -> list[str]:
    """Whom it asked. What they answer goes into `figures`."""
    asked: list[str] = []
    loop = asyncio.get_running_loop()
    until = loop.time() + SINGLY
    for account in accounts:
        if len(asked) == MOST_SINGLY or loop.time() > until:
            break
        asked.append(account)
        for ask in (session.account_values, session.account_updates):
            try:
                _keep(figures, await ask(account))
            except (Unanswered, Refused):
                continue  # what stays without figures is told by the caller
            if _plausible(account, figures):
                break
    return asked


def _keep(figures: Figures, rows: Iterable[SummaryRow]) -> None:
    figures.update({(row.account, row.tag): row for row in rows if row.tag in TAGS})


def _plausible(account: str, figures: Figures) -> bool:
    """Every figure of the account is a finite number, and there is a net liquidation value."""
    own = [figures[account, tag] for tag in TAGS if (account, tag) in figures]
    return (account, NET_LIQUIDATION) in figures and all(_finite(row.value) for row in own)


def _finite(value: str) -> bool:
    try:
        return is_told(float(value))
    except ValueError:
        return False
