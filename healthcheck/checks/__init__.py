"""The checks over the API, one file each, and the one way to run them.

A check says what it saw and, when something is off, the reason. Which verdict that is follows from the reason and the
level (`healthcheck.report`); what it costs the checks after it follows from `healthcheck.order`.
"""

import time
from collections.abc import Awaitable, Callable, Sequence

from contract.target import Gateway
from healthcheck.checks import account_access, authenticated, connected, market_data, order_capability
from healthcheck.checks.context import Context
from healthcheck.finding import Finding
from healthcheck.order import CHECKS, Check, not_run
from healthcheck.report import CheckName, CheckResult, check_result
from healthcheck.session import Session, SessionFailure, Timeouts

CLIENT_IDS_TRIED = 10

LOOK: dict[CheckName, Callable[[Context], Awaitable[Finding]]] = {
    CheckName.CONNECTED: connected.look,
    CheckName.AUTHENTICATED: authenticated.look,
    CheckName.ACCOUNT_ACCESS: account_access.look,
    CheckName.MARKET_DATA: market_data.look,
    CheckName.ORDER_CAPABILITY: order_capability.look,
}


async def run_checks(gateway: Gateway, stack: str, *, timeouts: Timeouts | None = None) -> list[CheckResult]:
    """All checks over one connection, which is closed afterwards whatever happens."""
    first, last = gateway.client_ids.testing
    client_ids = range(last, max(first, last - CLIENT_IDS_TRIED + 1) - 1, -1)
    async with Session(
        gateway.api.host,
        gateway.api.port,
        client_ids,
        what_if=order_capability.may_ask(gateway),
        timeouts=timeouts,
    ) as session:
        context = Context(gateway, session)
        results: list[CheckResult] = []
        for check in CHECKS:
            results.append(await _run(check, context, stack, results))
        return results


async def _run(check: Check, context: Context, stack: str, before: Sequence[CheckResult]) -> CheckResult:
    gateway = context.gateway
    obstacle = not_run(check, gateway, stack, before)
    if obstacle is not None:
        return obstacle
    started = time.monotonic()
    try:
        finding = await LOOK[check.name](context)
    except SessionFailure as failure:
        finding = Finding(failure.seen, failure.reason)
    return check_result(
        check.name,
        level=check.level(gateway),
        reason=finding.reason,
        seen=finding.seen,
        gateway=gateway,
        stack=stack,
        data=finding.data,
        note=finding.note,
        duration_ms=round((time.monotonic() - started) * 1000),
    )
