"""What a verification found, the verdicts and exit code that follow, and the text and JSON for people and programs.

No check and no Docker here; every rule about verdicts is in this module.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from deployment.description import CheckLevel, Gateway, Mode
from deployment.errors import ExitCode
from healthcheck.reasons import EXPLANATIONS, Reason, Side, runbook
from healthcheck.redact import Redactor


class CheckName(StrEnum):
    """In the order in which they run and are shown."""

    REACHABLE = "reachable"
    CONNECTED = "connected"
    AUTHENTICATED = "authenticated"
    ACCOUNT_ACCESS = "account_access"
    MARKET_DATA = "market_data"
    ORDER_CAPABILITY = "order_capability"
    ISOLATION = "isolation"
    HYGIENE = "hygiene"


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


class Model(BaseModel):
    """Closed and immutable, as everything that crosses a process boundary."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class CheckResult(Model):
    """One check. Times in milliseconds.

    `required`: the gateway is verified only if it passes or does not apply. One that is not required fails the gateway
    too where the cause is on our side; otherwise it warns.
    """

    name: CheckName
    verdict: CheckVerdict
    required: bool
    reason: Reason | None = None
    seen: str
    data: dict[str, JsonValue] = {}
    skipped_because: CheckName | None = None
    remedy: str | None = None
    runbook: str | None = None
    duration_ms: int = 0


class Vantage(Model):
    """From where the gateway was looked at: its api network, and the Docker host's own records."""

    api: bool
    docker: bool


class VerifierVersion(Model):
    version: str
    image_id: str | None = None


class GatewayReport(Model):
    """One gateway. `waited_ms` passed until the last attempt began, `duration_ms` is the last attempt's own time."""

    gateway: str
    mode: Mode
    verdict: GatewayVerdict
    started_at: str
    waited_ms: int
    duration_ms: int
    vantage: Vantage
    verifier: VerifierVersion
    checks: tuple[CheckResult, ...]


class Report(Model):
    """All gateways of a stack that were asked for, worst first."""

    schema_version: Literal[1] = Field(1, alias="schema")
    stack: str
    verdict: GatewayVerdict
    exit_code: int
    gateways: tuple[GatewayReport, ...]

    @classmethod
    def of(cls, stack: str, gateways: Iterable[GatewayReport], *, strict: bool = False) -> "Report":
        """Join gateways. Under `strict`, warnings have an exit code of their own.

        Raises ValueError without a gateway: a run in which nothing was looked at is never a success.
        """
        severity = list(GatewayVerdict)
        ordered = sorted(
            gateways,
            key=lambda gateway: (severity.index(gateway.verdict), wrong_account(gateway) is None, gateway.gateway),
        )
        if not ordered:
            raise ValueError("a report needs at least one gateway")
        worst = ordered[0].verdict
        lenient = worst is GatewayVerdict.VERIFIED_WITH_WARNINGS and not strict
        code = ExitCode.OK if lenient else EXIT_CODES[worst]
        return cls(stack=stack, verdict=worst, exit_code=int(code), gateways=tuple(ordered))

    def strict(self) -> "Report":
        """The same report with the exit code that `--strict` asks for."""
        return Report.of(self.stack, self.gateways, strict=True)


def verdict_for(reason: Reason | None, level: CheckLevel) -> CheckVerdict:
    """What a check's finding comes to.

    A check that is not required turns red only for causes on our side; IBKR's are warnings. A hint is always one.
    """
    if reason is None:
        return CheckVerdict.PASS
    side = EXPLANATIONS[reason].side
    if side is Side.NOBODY:
        return CheckVerdict.NOT_APPLICABLE
    if side is not Side.HINT and (level is CheckLevel.REQUIRED or side is Side.OURS):
        return CheckVerdict.FAIL
    return CheckVerdict.WARN


def check_result(
    name: CheckName,
    *,
    level: CheckLevel,
    reason: Reason | None,
    seen: str,
    gateway: Gateway,
    stack: str,
    data: dict[str, JsonValue] | None = None,
    note: str = "",
    duration_ms: int = 0,
) -> CheckResult:
    """A check that ran, with the reason's remedy filled in; `note` is added to the remedy."""
    verdict = verdict_for(reason, level)
    explained = reason is not None and verdict is not CheckVerdict.NOT_APPLICABLE
    return CheckResult(
        name=name,
        verdict=verdict,
        required=level is CheckLevel.REQUIRED,
        reason=reason,
        seen=seen,
        data=data or {},
        remedy=remedy_for(reason, gateway, stack) + note if reason is not None and explained else None,
        runbook=runbook(reason) if reason is not None and explained else None,
        duration_ms=duration_ms,
    )


def skipped(name: CheckName, *, level: CheckLevel, because: CheckName) -> CheckResult:
    """A check that could not run because an earlier one did not pass."""
    return CheckResult(
        name=name,
        verdict=CheckVerdict.SKIPPED,
        required=level is CheckLevel.REQUIRED,
        seen=f"not run, since {because} did not pass",
        skipped_because=because,
    )


def remedy_for(reason: Reason, gateway: Gateway, stack: str) -> str:
    return EXPLANATIONS[reason].remedy.format(
        stack=stack,
        gateway=gateway.name,
        container=gateway.container.name,
        network=gateway.api.network,
        secret=gateway.secret.id,
    )


def red(checks: Iterable[CheckResult]) -> list[CheckResult]:
    """The checks that fail the gateway by themselves (not those that were skipped in their wake)."""
    return [check for check in checks if check.verdict is CheckVerdict.FAIL]


def may_heal(checks: Iterable[CheckResult]) -> bool:
    """Something is red, and waiting alone may put all of it right."""
    failing = red(checks)
    return bool(failing) and all(map(heals, failing))


def heals(check: CheckResult) -> bool:
    """Waiting alone may put it right: not where the gateway holds back until somebody does something (`held`)."""
    return check.reason is not None and EXPLANATIONS[check.reason].heals and not check.data.get("held")


def gateway_verdict(
    checks: Iterable[CheckResult], *, waited: bool, asked: Collection[CheckName] | None = None
) -> GatewayVerdict:
    """A gateway's verdict from its checks. `waited`: the time allowed for healing was used up.

    `asked`: the checks that somebody wants to know (None: all). Where none of them ran, there is no success.
    """
    found = list(checks)
    if any(check.reason in COULD_NOT_RUN for check in found):
        return GatewayVerdict.COULD_NOT_RUN
    connected = any(check.name is CheckName.CONNECTED and check.verdict is CheckVerdict.PASS for check in found)
    missing = [check for check in found if check.required and check.verdict is CheckVerdict.SKIPPED]
    if red(found) or missing or not connected:
        return GatewayVerdict.TIMED_OUT if waited and may_heal(found) else GatewayVerdict.FAILED
    if not any(check.verdict in RAN for check in found if asked is None or check.name in asked):
        return GatewayVerdict.COULD_NOT_RUN
    if any(check.verdict is CheckVerdict.WARN for check in found):
        return GatewayVerdict.VERIFIED_WITH_WARNINGS
    return GatewayVerdict.VERIFIED


RAN = frozenset({CheckVerdict.PASS, CheckVerdict.WARN, CheckVerdict.FAIL})
COULD_NOT_RUN = frozenset({Reason.VERIFIER_IMAGE_MISSING, Reason.VERIFIER_FAILED})


def wrong_account(gateway: GatewayReport) -> CheckResult | None:
    """The loudest failure there is: an account of the wrong kind."""
    return next((check for check in red(gateway.checks) if check.reason is Reason.ACCOUNT_KIND_MISMATCH), None)


def redacted(gateway: GatewayReport, redactor: Redactor) -> GatewayReport:
    """The same with every text masked that is not of our own vocabulary."""
    checks = tuple(
        check.model_copy(
            update={
                "seen": redactor.text(check.seen),
                "remedy": redactor.text(check.remedy) if check.remedy is not None else None,
                "data": redactor.value(check.data),
            }
        )
        for check in gateway.checks
    )
    return gateway.model_copy(update={"checks": checks})


def timestamp(moment: datetime) -> str:
    """UTC, whole seconds, as the report writes every time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- for people ---------------------------------------------------------------------------------------------------

Painter = Callable[[str, str], str]
"""Adds a style to a text; styles are those of rich ("bold red")."""

MARKS: dict[CheckVerdict, tuple[str, str]] = {
    CheckVerdict.PASS: ("ok", "green"),
    CheckVerdict.WARN: ("warn", "yellow"),
    CheckVerdict.FAIL: ("FAIL", "bold red"),
    CheckVerdict.SKIPPED: ("skip", "dim"),
    CheckVerdict.NOT_APPLICABLE: ("n/a", "dim"),
}
VERDICTS: dict[GatewayVerdict, tuple[str, str]] = {
    GatewayVerdict.COULD_NOT_RUN: ("COULD NOT RUN", "bold magenta"),
    GatewayVerdict.FAILED: ("FAILED", "bold red"),
    GatewayVerdict.TIMED_OUT: ("TIMED OUT", "bold red"),
    GatewayVerdict.VERIFIED_WITH_WARNINGS: ("VERIFIED, with warnings", "bold yellow"),
    GatewayVerdict.VERIFIED: ("VERIFIED", "bold green"),
}
NAME_WIDTH = max(len(name) for name in CheckName)


def unpainted(text: str, style: str) -> str:
    return text


def render_human(report: Report, paint: Painter = unpainted) -> str:
    """The report as text, readable without colour: a block a gateway, then one line for all when there are several."""
    blocks = [_gateway_block(gateway, report.stack, paint) for gateway in report.gateways]
    if len(report.gateways) > 1:
        label, style = VERDICTS[report.verdict]
        blocks.append(f"stack {report.stack}, {len(report.gateways)} gateways: {paint(label, style)}")
    return "\n\n".join(blocks)


def _gateway_block(gateway: GatewayReport, stack: str, paint: Painter) -> str:
    label, style = VERDICTS[gateway.verdict]
    name = paint(f"{stack}/{gateway.gateway}", "bold")
    lines = [f"{name}  {gateway.mode}  {paint(label, style)}"]
    wrong = wrong_account(gateway)
    if wrong is not None:
        lines.append(paint(f"  !!!!  DO NOT TRADE HERE: {wrong.seen.upper()}  !!!!", "bold white on red"))
    for check in gateway.checks:
        mark, style = MARKS[check.verdict]
        time = f"  {check.duration_ms} ms" if check.duration_ms else ""
        reason = f"{check.reason}: " if check.reason and check.remedy else ""
        lines.append(f"  {paint(f'{mark:<4}', style)}  {check.name:<{NAME_WIDTH}}  {reason}{check.seen}{time}")
        if check.remedy and check.verdict in (CheckVerdict.FAIL, CheckVerdict.WARN):
            lines.append(f"  {'':<4}  {'':<{NAME_WIDTH}}  -> {check.remedy}")
    waited = f", after waiting {gateway.waited_ms / 1000:.1f} s" if gateway.waited_ms >= 100 else ""
    lines.append(f"  checked in {gateway.duration_ms / 1000:.1f} s{waited}, {gateway.started_at}")
    return "\n".join(lines)
