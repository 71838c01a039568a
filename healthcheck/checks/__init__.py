"""The checks over the API, in their order, and the one way to run them.

A check says what it saw and, when something is off, the reason. Which verdict that is follows from the reason and the
level (`healthcheck.report`); what it costs the checks after it follows from `needs`.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from contract.target import CheckLevel, Gateway
from healthcheck.checks import account_access, authenticated, connected, market_data, order_capability
from healthcheck.checks.finding import Context, Finding
from healthcheck.reasons import Reason
from healthcheck.report import CheckName, CheckResult, CheckVerdict, check_result, skipped
from healthcheck.session import Session, SessionFailure, Timeouts

CLIENT_IDS_TRIED = 10
SWITCHED_OFF = "off in the configuration"


@dataclass(frozen=True)
class Check:
    """One question about a gateway. It runs only after a pass or a warning of everything in `needs`."""

    name: CheckName
    needs: tuple[CheckName, ...]
    level: Callable[[Gateway], CheckLevel]
    look: Callable[[Context], Awaitable[Finding]]


def _required(gateway: Gateway) -> CheckLevel:
    return CheckLevel.REQUIRED


CHECKS: tuple[Check, ...] = (
    Check(CheckName.CONNECTED, (), _required, connected.look),
    Check(CheckName.AUTHENTICATED, (CheckName.CONNECTED,), _required, authenticated.look),
    Check(CheckName.ACCOUNT_ACCESS, (CheckName.CONNECTED, CheckName.AUTHENTICATED), _required, account_access.look),
    Check(
        CheckName.MARKET_DATA,
        (CheckName.CONNECTED, CheckName.AUTHENTICATED),
        lambda gateway: gateway.checks.market_data.level,
        market_data.look,
    ),
    Check(
        CheckName.ORDER_CAPABILITY,
        (CheckName.CONNECTED, CheckName.AUTHENTICATED, CheckName.ACCOUNT_ACCESS),
        lambda gateway: gateway.checks.order_capability.level,
        order_capability.look,
    ),
)
MAY_FOLLOW = (CheckVerdict.PASS, CheckVerdict.WARN, CheckVerdict.NOT_APPLICABLE)


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


def all_skipped(gateway: Gateway, stack: str, reason: Reason, seen: str, *, note: str = "") -> list[CheckResult]:
    """The checks of a gateway that cannot be asked: the first has the reason, the others are skipped."""
    first, *others = CHECKS
    results = [
        check_result(
            first.name, level=first.level(gateway), reason=reason, seen=seen, gateway=gateway, stack=stack, note=note
        )
    ]
    for check in others:
        not_run = _not_run(check, gateway, stack, results)
        if not_run is not None:
            results.append(not_run)
    return results


async def _run(check: Check, context: Context, stack: str, before: Sequence[CheckResult]) -> CheckResult:
    gateway = context.gateway
    not_run = _not_run(check, gateway, stack, before)
    if not_run is not None:
        return not_run
    started = time.monotonic()
    try:
        finding = await check.look(context)
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


def _not_run(check: Check, gateway: Gateway, stack: str, before: Sequence[CheckResult]) -> CheckResult | None:
    """The result of a check that is off or has an obstacle; None for one that may run."""
    level = check.level(gateway)
    if level is CheckLevel.OFF:
        return check_result(
            check.name,
            level=level,
            reason=Reason.SWITCHED_OFF,
            seen=SWITCHED_OFF,
            gateway=gateway,
            stack=stack,
        )
    because = next(
        (result.name for result in before if result.name in check.needs and result.verdict not in MAY_FOLLOW), None
    )
    return skipped(check.name, level=level, because=because) if because is not None else None
