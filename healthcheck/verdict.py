"""The one place that judges: what was seen, and how much a check counts, to verdicts and exit codes."""

from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum

from deployment.description import CheckLevel, Gateway
from deployment.errors import ExitCode
from healthcheck.observation import HELD, CheckName, CheckObservation
from healthcheck.reasons import EXPLANATIONS, Reason, Side

SEEN_THROUGH_API = "seen_through_api"
"""In an observation's data: the reason that the API showed, where something else gave the cause."""


class CheckVerdict(StrEnum):
    PASS = "pass"  # noqa: S105 - a verdict
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"
    NOT_APPLICABLE = "not_applicable"


class GatewayVerdict(StrEnum):
    """Worst first: the order in which several gateways decide the exit code (5, 3, 6, 4, 0)."""

    COULD_NOT_RUN = "could_not_run"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    VERIFIED_WITH_WARNINGS = "verified_with_warnings"
    VERIFIED = "verified"


EXIT_CODES: dict[GatewayVerdict, ExitCode] = {
    GatewayVerdict.COULD_NOT_RUN: ExitCode.COULD_NOT_RUN,
    GatewayVerdict.FAILED: ExitCode.FAILED,
    GatewayVerdict.TIMED_OUT: ExitCode.TIMED_OUT,
    GatewayVerdict.VERIFIED_WITH_WARNINGS: ExitCode.WARNINGS,
    GatewayVerdict.VERIFIED: ExitCode.OK,
}

RAN = frozenset({CheckVerdict.PASS, CheckVerdict.WARN, CheckVerdict.FAIL})
COULD_NOT_RUN = frozenset({Reason.VERIFIER_IMAGE_MISSING, Reason.VERIFIER_FAILED})


def configured_level(name: CheckName, gateway: Gateway) -> CheckLevel:
    if name is CheckName.MARKET_DATA:
        return gateway.checks.market_data.level
    if name is CheckName.ORDER_CAPABILITY:
        return gateway.checks.order_capability.level
    if name is CheckName.ACCOUNT_ACCESS:
        return gateway.checks.account_access.level
    return CheckLevel.REQUIRED


def required(check: CheckObservation, gateway: Gateway) -> bool:
    """Whether the gateway is verified only if this passes. What failed over the API fails whatever its cause is."""
    return SEEN_THROUGH_API in check.data or configured_level(check.name, gateway) is CheckLevel.REQUIRED


def check_verdict(check: CheckObservation, gateway: Gateway) -> CheckVerdict:
    """A check that is not required turns red only for causes on our side; IBKR's are warnings. A hint is always one."""
    if check.skipped_because is not None:
        return CheckVerdict.SKIPPED
    if check.reason is None:
        return CheckVerdict.PASS
    side = EXPLANATIONS[check.reason].side
    if side is Side.NOBODY:
        return CheckVerdict.NOT_APPLICABLE
    if side is not Side.HINT and (side is Side.OURS or required(check, gateway)):
        return CheckVerdict.FAIL
    return CheckVerdict.WARN


def failing(checks: Iterable[CheckObservation], gateway: Gateway) -> list[CheckObservation]:
    """Those that fail the gateway by themselves (not those that were skipped in their wake)."""
    return [check for check in checks if check_verdict(check, gateway) is CheckVerdict.FAIL]


def heals(check: CheckObservation) -> bool:
    """Waiting alone may put it right."""
    return check.reason is not None and EXPLANATIONS[check.reason].heals and not check.data.get(HELD)


def may_heal(checks: Iterable[CheckObservation], gateway: Gateway) -> bool:
    """Something is red, and waiting alone may put all of it right."""
    red = failing(checks, gateway)
    return bool(red) and all(map(heals, red))


def gateway_verdict(
    checks: Sequence[CheckObservation], gateway: Gateway, *, waited: bool, asked: Collection[CheckName] | None = None
) -> GatewayVerdict:
    """A gateway's verdict from its checks. `waited`: the time allowed for healing was used up, or was known
    to be too short.

    `asked`: the checks that somebody wants to know (None: all). Where none of them ran, there is no success.
    """
    if any(check.reason in COULD_NOT_RUN for check in checks):
        return GatewayVerdict.COULD_NOT_RUN
    verdicts = {check.name: check_verdict(check, gateway) for check in checks}
    missing = any(verdicts[check.name] is CheckVerdict.SKIPPED and required(check, gateway) for check in checks)
    connected = verdicts.get(CheckName.CONNECTED) is CheckVerdict.PASS
    if CheckVerdict.FAIL in verdicts.values() or missing or not connected:
        return GatewayVerdict.TIMED_OUT if waited and may_heal(checks, gateway) else GatewayVerdict.FAILED
    if not any(verdict in RAN for name, verdict in verdicts.items() if asked is None or name in asked):
        return GatewayVerdict.COULD_NOT_RUN
    if CheckVerdict.WARN in verdicts.values():
        return GatewayVerdict.VERIFIED_WITH_WARNINGS
    return GatewayVerdict.VERIFIED
