"""The order of the checks, what each needs and how much it counts. Knows nothing of the API or Docker.

The runner uses it too, for gateways that cannot be asked, and so it must not load an API client.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from deployment.description import CheckLevel, Gateway
from healthcheck.reasons import Reason
from healthcheck.report import CheckName, CheckResult, CheckVerdict, check_result, skipped

SWITCHED_OFF = "off in the configuration"
NEEDS_DOCKER = "needs Docker's records and other places to look from: ibgw verify"


@dataclass(frozen=True)
class Check:
    """One question about a gateway. It runs only after a pass or a warning of everything in `needs`."""

    name: CheckName
    needs: tuple[CheckName, ...]
    level: Callable[[Gateway], CheckLevel]


def _required(gateway: Gateway) -> CheckLevel:
    return CheckLevel.REQUIRED


_SESSION = (CheckName.REACHABLE, CheckName.CONNECTED, CheckName.AUTHENTICATED)

CHECKS: tuple[Check, ...] = (
    Check(CheckName.REACHABLE, (), _required),
    Check(CheckName.CONNECTED, (CheckName.REACHABLE,), _required),
    Check(CheckName.AUTHENTICATED, (CheckName.REACHABLE, CheckName.CONNECTED), _required),
    Check(CheckName.ACCOUNT_ACCESS, _SESSION, _required),
    Check(CheckName.MARKET_DATA, _SESSION, lambda gateway: gateway.checks.market_data.level),
    Check(
        CheckName.ORDER_CAPABILITY,
        (*_SESSION, CheckName.ACCOUNT_ACCESS),
        lambda gateway: gateway.checks.order_capability.level,
    ),
)
"""Those over the API. What is left of CheckName looks at Docker."""

EVERYTHING = frozenset(CheckName)
OVER_API = frozenset(check.name for check in CHECKS)
MAY_FOLLOW = (CheckVerdict.PASS, CheckVerdict.WARN, CheckVerdict.NOT_APPLICABLE)


def named(texts: Iterable[str]) -> frozenset[CheckName] | None:
    """The checks of `--checks`, each text one name or several with commas; None without any text, which means all.

    Raises ValueError, naming the known ones.
    """
    names = [name.strip() for text in texts for name in text.split(",")]
    unknown = [name for name in names if name not in EVERYTHING]
    if unknown:
        found = ", ".join(repr(name) for name in unknown)
        raise ValueError(f"no check {found}; expected some of: {', '.join(CheckName)}")
    return frozenset(CheckName(name) for name in names) or None


def with_needs(names: Collection[CheckName] | None) -> frozenset[CheckName]:
    """These (None: all) and what must run before them. Nothing is verified without `connected`."""
    if names is None:
        return EVERYTHING
    needs = {check.name: check.needs for check in CHECKS}
    first = (CheckName.REACHABLE, CheckName.CONNECTED)
    return frozenset(names).union(first, *(needs.get(name, ()) for name in names))


def shown(results: Iterable[CheckResult], names: Collection[CheckName] | None) -> tuple[CheckResult, ...]:
    """What was asked for (None: everything), and what was not but went wrong before it."""
    amiss = (CheckVerdict.FAIL, CheckVerdict.WARN)
    return tuple(result for result in results if names is None or result.name in names or result.verdict in amiss)


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


def without_docker(names: Collection[CheckName], gateway: Gateway, stack: str) -> list[CheckResult]:
    """Those of `names` that look at Docker, where there is none."""
    return [
        check_result(
            name,
            level=CheckLevel.REQUIRED,
            reason=Reason.NEEDS_DOCKER,
            seen=NEEDS_DOCKER,
            gateway=gateway,
            stack=stack,
        )
        for name in CheckName
        if name in names and name not in OVER_API
    ]


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
