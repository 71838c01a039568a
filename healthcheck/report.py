"""The report of a verification: its JSON, made of what was seen, its verdicts, and what to do about it.

The remedies are written here, with the names of the stack and the gateway; nothing before it knows them.
"""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from deployment import VERSION, docker_address
from deployment.description import Gateway, Mode
from deployment.errors import ExitCode
from deployment.paths import writable_again
from healthcheck import remedies
from healthcheck.observation import Attempt, CheckName, CheckObservation
from healthcheck.reasons import Reason, runbook
from healthcheck.redact import Redactor
from healthcheck.text import Data, Text, escaped
from healthcheck.verdict import EXIT_CODES, CheckVerdict, GatewayVerdict, check_verdict, gateway_verdict, required


class Model(BaseModel):
    """Closed and immutable, as everything that crosses a process boundary."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def as_json(self) -> str:
        return self._told(indent=2)

    def as_line(self) -> str:
        return self._told(indent=None)

    def _told(self, indent: int | None) -> str:
        return escaped(json.dumps(self.model_dump(mode="json", by_alias=True), indent=indent, ensure_ascii=False))


class CheckResult(Model):
    """One check. Times in milliseconds.

    `required`: the gateway is verified only if it passes or does not apply. One that is not required fails the gateway
    too where the cause is on our side; otherwise it warns. `remedy` is its `steps`, in the order in which to take them,
    in one sentence; commands stand in backquotes.
    """

    name: CheckName
    verdict: CheckVerdict
    required: bool
    reason: Reason | None = None
    seen: Text
    data: Data = {}
    skipped_because: CheckName | None = None
    remedy: Text | None = None
    steps: tuple[Text, ...] = ()
    runbook: Text | None = None
    duration_ms: int = 0


class Vantage(Model):
    """From where the gateway was looked at: its api network, and the Docker host's own records. `prober`: on the api
    network, from where the stack's prober is, so that no verifier was started for it."""

    api: bool
    docker: bool
    prober: bool = False

    @property
    def in_words(self) -> str:
        """For the end of a phrase."""
        return ", asked beside the prober" if self.prober else ""


class VerifierVersion(Model):
    version: Text
    image_id: Text | None = None


class GatewayReport(Model):
    """One gateway. `waited_ms` passed until the last attempt began, `duration_ms` is the last attempt's own time.
    `took_ms`: from the beginning of the verification until the gateway was judged; 0 in a report of an earlier version.

    `stopped`: the verification stopped it. `note`: that, or that it was left as it is, in words. `windows`: the titles
    of those that it shows, the topmost first, where one may be the cause; `picture`: the file that has them.
    """

    gateway: Text
    mode: Mode
    verdict: GatewayVerdict
    started_at: Text
    waited_ms: int
    duration_ms: int
    took_ms: int = 0
    vantage: Vantage
    verifier: VerifierVersion
    checks: tuple[CheckResult, ...]
    stopped: bool = False
    note: Text | None = None
    windows: tuple[Text, ...] = ()
    picture: Text | None = None


class Report(Model):
    """All gateways of a stack that were asked for, worst first. `note`: what could not be known of the stack."""

    schema_version: Literal[1] = Field(1, alias="schema")
    stack: Text
    verdict: GatewayVerdict
    exit_code: int
    gateways: tuple[GatewayReport, ...]
    note: str | None = None

    @classmethod
    def of(
        cls, stack: str, gateways: Iterable[GatewayReport], *, strict: bool = False, note: str | None = None
    ) -> "Report":
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
        return cls(stack=stack, verdict=worst, exit_code=int(code), gateways=tuple(ordered), note=note)

    def strict(self) -> "Report":
        """The same report with the exit code that `--strict` asks for."""
        return Report.of(self.stack, self.gateways, strict=True, note=self.note)

    def write(self, path: Path, say: Callable[[str], None]) -> None:
        """Keep it as JSON, whole or not at all. Where that fails it says so: the verdict is not lost with the file."""
        unfinished = path.with_suffix(".new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(f"{self.as_json()}\n", encoding="utf-8")
            unfinished.replace(path)
        except OSError as error:
            say(f"{path}: {error.strerror}; this report is not kept; {writable_again(error)}")


def gateway_report(
    gateway: Gateway,
    stack: str,
    attempt: Attempt,
    *,
    waited: bool,
    took_ms: int,
    vantage: Vantage,
    asked: Collection[CheckName] | None = None,
    image_id: str | None = None,
    stopped: bool = False,
    note: str | None = None,
    windows: Sequence[str] = (),
    picture: Path | None = None,
    docker_host: str = docker_address.LOCAL,
    redactor: Redactor | None = None,
) -> GatewayReport:
    """What the last attempt at a gateway comes to. `waited`: the time allowed for healing was used up, or was known to
    be too short. `took_ms`: all of the time.

    `asked`: the checks to show, None for all; what went wrong is shown always. `docker_host`: where it runs.
    """
    amiss = (CheckVerdict.FAIL, CheckVerdict.WARN)
    results = [check_result(check, gateway, stack, docker_host, redactor) for check in attempt.checks]
    return GatewayReport(
        gateway=gateway.name,
        mode=gateway.mode,
        verdict=gateway_verdict(attempt.checks, gateway, waited=waited, asked=asked),
        started_at=attempt.started_at,
        waited_ms=attempt.waited_ms,
        duration_ms=attempt.duration_ms,
        took_ms=took_ms,
        vantage=vantage,
        verifier=VerifierVersion(version=VERSION, image_id=image_id),
        checks=tuple(result for result in results if asked is None or result.name in asked or result.verdict in amiss),
        stopped=stopped,
        note=note,
        windows=tuple(windows),
        picture=None if picture is None else str(picture),
    )


def check_result(
    check: CheckObservation,
    gateway: Gateway,
    stack: str,
    docker_host: str = docker_address.LOCAL,
    redactor: Redactor | None = None,
) -> CheckResult:
    """One check judged, with what to do. `redactor`: masks every text that is not of our own vocabulary, before the
    result cleans it: a credential is found as it was written."""
    masking = redactor or Redactor(show_accounts=True)
    verdict = check_verdict(check, gateway)
    explained = check.reason is not None and verdict is not CheckVerdict.NOT_APPLICABLE
    steps = tuple(map(masking.text, remedies.steps(check, gateway, stack, docker_host))) if explained else ()
    return CheckResult(
        name=check.name,
        verdict=verdict,
        required=required(check, gateway),
        reason=check.reason,
        seen=masking.text(check.seen),
        data={key: masking.value(value) for key, value in check.data.items()},
        skipped_because=check.skipped_because,
        remedy="; then ".join(steps) + masking.text(check.note) if explained else None,
        steps=steps,
        runbook=runbook(check.reason) if check.reason is not None and explained else None,
        duration_ms=check.duration_ms,
    )


def red(checks: Iterable[CheckResult]) -> list[CheckResult]:
    """The checks that fail the gateway by themselves (not those that were skipped in their wake)."""
    return [check for check in checks if check.verdict is CheckVerdict.FAIL]


def wrong_account(gateway: GatewayReport) -> CheckResult | None:
    """The loudest failure there is: an account of the wrong kind."""
    return next((check for check in red(gateway.checks) if check.reason is Reason.ACCOUNT_KIND_MISMATCH), None)
