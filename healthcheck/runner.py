"""On the operator's machine: runs the verifier beside each gateway and joins what it saw with what Docker knows."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from contract.errors import ExitCode, IbgwError
from contract.target import CheckLevel, Contract, Gateway
from healthcheck import VERSION, isolation, logs
from healthcheck.docker_host import FAILURES, docker_errors, open_docker
from healthcheck.events import ProgressEvent, ReportEvent
from healthcheck.gateway_container import GatewayContainer, Obstacle
from healthcheck.order import all_skipped
from healthcheck.reasons import EXPLANATIONS, Reason
from healthcheck.redact import Redactor
from healthcheck.report import (
    CheckName,
    CheckResult,
    CheckVerdict,
    GatewayReport,
    GatewayVerdict,
    Report,
    Vantage,
    VerifierVersion,
    check_result,
    gateway_verdict,
    red,
    remedy_for,
    skipped,
    timestamp,
)
from healthcheck.verifier_container import sweep, verifier

POLL = 1.0  # seconds between two looks at Docker while the verifier works
BUDGET = 120.0  # seconds beyond `wait` after which a verifier counts as hung
HEARTBEAT = 15.0  # seconds after which an unchanged situation is told again

REPORTS = Path(__file__).resolve().parent.parent / ".ibgw" / "reports"
"""Where `pulumi up` and `ibgw verify` leave their reports, in the checkout: one file a stack, the latest."""

# Reasons seen through the API that the log may explain better.
VAGUE = frozenset(
    {
        Reason.UNREACHABLE,
        Reason.PORT_CLOSED,
        Reason.RELAY_ONLY,
        Reason.WEDGED,
        Reason.NOT_LOGGED_IN,
        Reason.HALF_OPEN,
        Reason.CONNECTION_DROPPED,
        Reason.CONNECTIVITY_LOST,
    }
)

# After these the gateway is stopped: every further attempt counts at IBKR.
STOPPING = frozenset({Reason.LOGIN_FAILED, Reason.LOCKED_OUT})


def verify(
    contract: Contract,
    *,
    gateways: Sequence[str] = (),
    wait: float,
    progress: Callable[[str], None],
    show_accounts: bool = False,
) -> Report:
    """Verify gateways of a stack, all at once.

    `gateways`: names, none for all. `wait`: seconds to go on while something may heal; 0 is one attempt. `progress`
    gets one line of text at a time, from several threads, already redacted. Raises IbgwError when nothing could be run.
    """
    unknown = sorted(set(gateways) - set(contract.gateways))
    if unknown:
        raise IbgwError(
            f"no gateway {', '.join(unknown)} in stack {contract.stack}; "
            f"expected one of: {', '.join(contract.gateways)}",
            exit_code=ExitCode.BAD_USAGE,
        )
    wanted = [contract.gateways[name] for name in gateways or contract.gateways]
    client = open_docker(contract.docker_host)
    interrupted = threading.Event()
    try:
        with docker_errors(f"Docker host {contract.docker_host}", "check the daemon and verify again"):
            left = sweep(client, contract)
        if left:
            progress(f"removed {left} verifier container{'' if left == 1 else 's'} that an earlier run left behind")
        runs = [
            GatewayRun(client, contract, gateway, wait, Teller(gateway, progress), show_accounts, interrupted)
            for gateway in wanted
        ]
        with ThreadPoolExecutor(max_workers=len(runs), thread_name_prefix="verify") as pool:
            try:
                reports = [future.result() for future in [pool.submit(run.report) for run in runs]]
            finally:
                # Also after Ctrl-C: leaving the pool waits for the threads, which remove their containers.
                interrupted.set()
    finally:
        client.close()
    return Report.of(contract.stack, reports)


def write_report(report: Report, path: Path) -> None:
    """Keep a report as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new")
    text = json.dumps(report.model_dump(mode="json", by_alias=True), indent=2, ensure_ascii=False)
    unfinished.write_text(text + "\n", encoding="utf-8")
    unfinished.replace(path)


class Teller:
    """Tells what one gateway waits for: when it changes, and now and then while it does not."""

    def __init__(self, gateway: Gateway, progress: Callable[[str], None]) -> None:
        self._name = gateway.name
        self._progress = progress
        self._last = ""
        self._told_at = 0.0

    def say(self, text: str, time_used: str = "") -> None:
        now = time.monotonic()
        if text == self._last and now - self._told_at < HEARTBEAT:
            return
        self._last, self._told_at = text, now
        self._progress(f"{self._name}: {text}{time_used}")


@dataclass
class Outcome:
    """What the verifier's container and the looks at Docker in the meantime brought."""

    checks: list[CheckResult]
    report: GatewayReport | None = None
    waited_ms: int = 0


class GatewayRun:
    """One gateway's verification, in a thread of its own."""

    def __init__(
        self,
        client: docker.DockerClient,
        contract: Contract,
        gateway: Gateway,
        wait: float,
        teller: Teller,
        show_accounts: bool,
        interrupted: threading.Event,
    ) -> None:
        self._client = client
        self._contract = contract
        self._gateway = gateway
        self._wait = wait
        self._teller = teller
        self._show_accounts = show_accounts
        self._interrupted = interrupted
        self._redactor = Redactor(show_accounts=show_accounts, accounts=gateway.expected_accounts)
        self._container = GatewayContainer(client, gateway)

    def report(self) -> GatewayReport:
        started_at, began = datetime.now(UTC), time.monotonic()
        answered = True
        try:
            outcome = self._api_checks()
            checks = [*self._stop_if_needed(outcome.checks), self._isolation(outcome.checks)]
        except FAILURES as error:
            answered = False
            outcome = self._blocked(Obstacle(Reason.VERIFIER_FAILED, f"Docker: {error}"))
            because = outcome.checks[0].name
            checks = [*outcome.checks, skipped(CheckName.ISOLATION, level=CheckLevel.REQUIRED, because=because)]
        inside = outcome.report
        elapsed_ms = round((time.monotonic() - began) * 1000)
        timed_out = inside is not None and inside.verdict is GatewayVerdict.TIMED_OUT
        return GatewayReport(
            gateway=self._gateway.name,
            mode=self._gateway.mode,
            verdict=gateway_verdict(checks, waited=timed_out),
            started_at=inside.started_at if inside else timestamp(started_at),
            waited_ms=inside.waited_ms if inside else outcome.waited_ms,
            duration_ms=inside.duration_ms if inside else max(0, elapsed_ms - outcome.waited_ms),
            vantage=Vantage(api=inside is not None or bool(outcome.waited_ms), docker=answered),
            verifier=VerifierVersion(version=VERSION, image_id=self._contract.verifier.image_id),
            checks=tuple(checks),
        )

    def _api_checks(self) -> Outcome:
        obstacle = self._container.obstacle()
        if obstacle is None:
            found = self._container.surroundings()
            obstacle = found if isinstance(found, Obstacle) else None
        if obstacle is None:
            obstacle = self._image_obstacle()
        if obstacle is not None:
            return self._blocked(obstacle)
        self._teller.say("starting the verifier")
        try:
            return self._run_verifier()
        except FAILURES as error:
            return self._blocked(Obstacle(Reason.VERIFIER_FAILED, str(error)))

    def _run_verifier(self) -> Outcome:
        began = time.monotonic()
        latest: ProgressEvent | None = None
        with verifier(
            self._client, self._contract, self._gateway, wait=self._wait, show_accounts=self._show_accounts
        ) as run:
            while not run.over:
                event = run.next_event(POLL)
                if isinstance(event, ReportEvent):
                    return Outcome(self._explained(event.report.checks), event.report)
                if isinstance(event, ProgressEvent):
                    latest = event
                elapsed = time.monotonic() - began
                if self._interrupted.is_set():
                    return self._blocked(Obstacle(Reason.VERIFIER_FAILED, "interrupted"))
                if elapsed > self._wait + BUDGET:
                    return self._blocked(Obstacle(Reason.VERIFIER_FAILED, f"no report after {elapsed:.0f} s"))
                obstacle = self._container.obstacle()
                if obstacle is not None:
                    return self._blocked(obstacle, waited_ms=round(elapsed * 1000))
                if latest is not None:
                    checks = self._explained(latest.checks)
                    if _hopeless(checks):
                        return Outcome(checks, waited_ms=round(elapsed * 1000))
                    self._tell(checks, elapsed)
            return self._blocked(Obstacle(Reason.VERIFIER_FAILED, f"the verifier gave no report: {run.complaint()}"))

    def _tell(self, checks: Sequence[CheckResult], elapsed: float) -> None:
        first = next(iter(red(checks)), None)
        if first is not None:
            waiting = EXPLANATIONS[first.reason].meaning if first.reason else first.seen
            time_used = f" ({elapsed:.0f} of {self._wait:.0f} s)"
            self._teller.say(f"waiting for {first.name} ({first.reason}): {waiting}", time_used)

    def _explained(self, checks: Iterable[CheckResult]) -> list[CheckResult]:
        """The same checks; where the API alone could not tell why there is no login, the reason that the log gives."""
        found = list(checks)
        for index, check in enumerate(found):
            if check.name not in (CheckName.CONNECTED, CheckName.AUTHENTICATED) or check.reason not in VAGUE:
                continue
            reading = self._container.reading()
            if reading.reason is not None:
                found[index] = self._with_reading(check, reading, reading.reason)
        return found

    def _with_reading(self, check: CheckResult, reading: logs.Reading, reason: Reason) -> CheckResult:
        return check_result(
            check.name,
            level=CheckLevel.REQUIRED,
            reason=reason,
            seen=f"{check.seen}; log: {self._redactor.text(reading.line)}",
            gateway=self._gateway,
            stack=self._contract.stack,
            data={**check.data, "seen_through_api": check.reason, "log_state": reading.state.value},
            note=f"; the lock lasts {reading.retry_after} s" if reading.retry_after else "",
            duration_ms=check.duration_ms,
        )

    def _stop_if_needed(self, checks: Sequence[CheckResult]) -> list[CheckResult]:
        if any(check.reason in STOPPING for check in red(checks)):
            self._teller.say(
                f"stopping the gateway, so that it cannot lock the account (up to {self._container.grace()} s)"
            )
            self._container.stop()
        return list(checks)

    def _isolation(self, checks: Sequence[CheckResult]) -> CheckResult:
        began = time.monotonic()
        found = self._container.surroundings()
        if isinstance(found, Obstacle):
            return skipped(CheckName.ISOLATION, level=CheckLevel.REQUIRED, because=checks[0].name)
        finding = isolation.judge(self._gateway, self._contract.egress_network, found)
        return check_result(
            CheckName.ISOLATION,
            level=CheckLevel.REQUIRED,
            reason=finding.reason,
            seen=finding.seen,
            gateway=self._gateway,
            stack=self._contract.stack,
            data=finding.data,
            duration_ms=round((time.monotonic() - began) * 1000),
        )

    def _image_obstacle(self) -> Obstacle | None:
        image_id = self._contract.verifier.image_id
        try:
            self._client.images.get(image_id)
        except ImageNotFound:
            return Obstacle(Reason.VERIFIER_IMAGE_MISSING, f"no image {image_id} on the Docker host")
        return None

    def _blocked(self, obstacle: Obstacle, *, waited_ms: int = 0) -> Outcome:
        stack = self._contract.stack
        note = f"; but first {remedy_for(obstacle.because, self._gateway, stack)}" if obstacle.because else ""
        seen = self._redactor.text(obstacle.seen)
        return Outcome(all_skipped(self._gateway, stack, obstacle.reason, seen, note=note), waited_ms=waited_ms)


def _hopeless(checks: Iterable[CheckResult]) -> bool:
    """Something is red that no waiting puts right."""
    return any(
        check.verdict is CheckVerdict.FAIL and check.reason is not None and not EXPLANATIONS[check.reason].heals
        for check in checks
    )
