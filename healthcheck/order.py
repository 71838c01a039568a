"""The order of the checks over the API, what each needs and how much it counts. Knows nothing of the API itself.

The runner uses it too, for gateways that cannot be asked, and so it must not load an API client.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contract.target import CheckLevel, Gateway
from healthcheck.reasons import Reason
from healthcheck.report import CheckName, CheckResult, CheckVerdict, check_result, skipped

SWITCHED_OFF = "off in the configuration"


@dataclass(frozen=True)
class Check:
    """One question about a gateway. It runs only after a pass or a warning of everything in `needs`."""

    name: CheckName
    needs: tuple[CheckName, ...]
    level: Callable[[Gateway], CheckLevel]


def _required(gateway: Gateway) -> CheckLevel:
    return CheckLevel.REQUIRED


CHECKS: tuple[Check, ...] = (
    Check(CheckName.CONNECTED, (), _required),
    Check(CheckName.AUTHENTICATED, (CheckName.CONNECTED,), _required),
    Check(CheckName.ACCOUNT_ACCESS, (CheckName.CONNECTED, CheckName.AUTHENTICATED), _required),
    Check(
        CheckName.MARKET_DATA,
        (CheckName.CONNECTED, CheckName.AUTHENTICATED),
        lambda gateway: gateway.checks.market_data.level,
    ),
    Check(
        CheckName.ORDER_CAPABILITY,
        (CheckName.CONNECTED, CheckName.AUTHENTICATED, CheckName.ACCOUNT_ACCESS),
        lambda gateway: gateway.checks.order_capability.level,
    ),
)
MAY_FOLLOW = (CheckVerdict.PASS, CheckVerdict.WARN, CheckVerdict.NOT_APPLICABLE)


def all_skipped(gateway: Gateway, stack: str, reason: Reason, seen: str, *, note: str = "") -> list[CheckResult]:
    """The checks of a gateway that cannot be asked: the first has the reason, the others are skipped."""
    first, *others = CHECKS
    results = [
        check_result(
            first.name, level=first.level(gateway), reason=reason, seen=seen, gateway=gateway, stack=stack, note=note
        )
    ]
    for check in others:
        obstacle = not_run(check, gateway, stack, results)
        if obstacle is not None:
            results.append(obstacle)
    return results


def not_run(check: Check, gateway: Gateway, stack: str, before: Sequence[CheckResult]) -> CheckResult | None:
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
