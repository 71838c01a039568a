"""On the operator's machine: runs the verifier beside each gateway and joins what it saw with what Docker knows."""

import json
import tarfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import docker
from docker.errors import ImageNotFound

from contract.errors import ExitCode, IbgwError
from contract.target import CheckLevel, Contract, Gateway
from healthcheck import VERSION, hygiene, isolation, vantage
from healthcheck.attachments import Attachments
from healthcheck.credential_files import credentials_of
from healthcheck.docker_host import FAILURES, docker_errors, open_docker
from healthcheck.events import ProgressEvent, ReportEvent
from healthcheck.explain import explained, vague
from healthcheck.finding import Finding
from healthcheck.gateway_container import GatewayContainer, Obstacle
from healthcheck.order import OVER_API, all_skipped, shown, with_needs
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
    redacted,
    remedy_for,
    skipped,
    timestamp,
)
from healthcheck.vantage import Target, Views
from healthcheck.verifier_container import Verifier, sweep, together

T = TypeVar("T")

POLL = 1.0  # seconds between two looks at Docker while the verifier works
BUDGET = 120.0  # seconds beyond `wait` after which a verifier counts as hung
WATCH_STEP = 5.0  # seconds between two readings of Docker's events
HEARTBEAT = 15.0  # seconds after which an unchanged situation is told again

REPORTS = Path(__file__).resolve().parent.parent / ".ibgw" / "reports"
"""Where `pulumi up` and `ibgw verify` leave their reports, in the checkout: one file a stack, the latest."""

# After these the gateway is stopped: every further attempt counts at IBKR.
STOPPING = frozenset({Reason.LOGIN_FAILED, Reason.LOCKED_OUT})


def verify(
    contract: Contract,
    *,
    gateways: Sequence[str] = (),
    wait: float,
    progress: Callable[[str], None],
    show_accounts: bool = False,
    watch: float = 0,
    checks: Collection[CheckName] | None = None,
    interrupted: threading.Event | None = None,
) -> Report:
    """Verify gateways of a stack, all at once.

    `gateways`: names, none for all. `wait`: seconds to go on while something may heal; 0 is one attempt. `progress`
    gets one line of text at a time, from several threads, already redacted. `watch`: seconds for which isolation is
    watched at least. `checks`: to run these and what they need, and report these and what went wrong before them; none
    means all. `interrupted`: set it from another thread, and all ends soon and leaves nothing behind. Raises IbgwError
    when nothing could be run.
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
    over = interrupted or threading.Event()
    attachments = Attachments(client, [*(gateway.api.network for gateway in wanted), contract.egress_network])
    try:
        with docker_errors(f"Docker host {contract.docker_host}", "check the daemon and verify again"):
            left = sweep(client, contract)
            attachments.begin()
        if left:
            progress(f"removed {left} of the verifier's objects that an earlier run left behind")
        runs = [
            GatewayRun(
                client,
                contract,
                gateway,
                wait,
                watch,
                Teller(gateway, progress),
                show_accounts,
                over,
                attachments,
                checks,
            )
            for gateway in wanted
        ]
        # Two for each: one that follows it and, at most, one that starts its verifier; and one for the vantage points.
        with ThreadPoolExecutor(max_workers=2 * len(runs) + 1, thread_name_prefix="verify") as pool:
            verifiers: list[Future[Verifier]] = []
            try:
                found = [future.result() for future in [pool.submit(run.begin) for run in runs]]
                targets = [target for target in found if target is not None]
                names = [name for name in CheckName if name in with_needs(checks) & OVER_API]
                for group in together([run for run in runs if run.can_be_asked]):
                    beside = [run.gateway for run in group]
                    started = pool.submit(
                        Verifier, client, contract, beside, names, wait=wait, show_accounts=show_accounts
                    )
                    verifiers.append(started)
                    for run in group:
                        run.verifier = started
                views = pool.submit(vantage.look, client, contract, targets)
                reports = [future.result() for future in [pool.submit(run.report, views) for run in runs]]
            finally:
                # Also after Ctrl-C: leaving the pool waits for the threads, which remove their containers.
                over.set()
                for verifier in verifiers:
                    if not verifier.cancel() and verifier.exception() is None:
                        verifier.result().leave(*contract.gateways)
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
        watch: float,
        teller: Teller,
        show_accounts: bool,
        interrupted: threading.Event,
        attachments: Attachments,
        asked: Collection[CheckName] | None,
    ) -> None:
        self._client = client
        self._contract = contract
        self._gateway = gateway
        self._wait = wait
        self._watch = watch
        self._teller = teller
        self._show_accounts = show_accounts
        self._interrupted = interrupted
        self._asked = asked
        self._wanted = with_needs(asked)
        self._redactor = Redactor(show_accounts=show_accounts, accounts=gateway.expected_accounts)
        self._container = GatewayContainer(client, gateway, contract.egress_network)
        self._started_at, self._began = datetime.now(UTC), time.monotonic()
        self._attachments = attachments
        self._watched_at = self._began
        self._obstacle: Obstacle | None = None
        self._failure: Exception | None = None
        self._first_look: isolation.Surroundings | None = None
        self.verifier: Future[Verifier] | None = None

    @property
    def gateway(self) -> Gateway:
        return self._gateway

    @property
    def can_be_asked(self) -> bool:
        """After `begin`: nothing stands in the way of a verifier."""
        return self._obstacle is None and self._failure is None

    def begin(self) -> Target | None:
        """The first look at Docker, before which the watch over attachments begins. What to try to reach, if it runs.

        What stands in the way is kept for `report`.
        """
        self._redactor = Redactor(
            show_accounts=self._show_accounts, accounts=self._gateway.expected_accounts, credentials=self._credentials()
        )
        try:
            self._obstacle = self._container.obstacle()
            found = self._container.surroundings()
            if isinstance(found, Obstacle):
                self._obstacle = self._obstacle or found
            else:
                self._first_look = found
            self._obstacle = self._obstacle or self._image_obstacle()
        except FAILURES as error:
            self._failure = error
        if self._obstacle or self._failure or CheckName.ISOLATION not in self._wanted:
            return None
        return self._container.target()

    def _credentials(self) -> tuple[str, ...]:
        """None where they cannot be read, as where the container is gone: the report is due all the same."""
        try:
            return credentials_of(self._client, self._gateway)
        except (*FAILURES, OSError, tarfile.TarError):
            return ()

    def report(self, views: "Future[dict[str, Views]]") -> GatewayReport:
        answered = True
        try:
            if self._failure is not None:
                raise self._failure
            outcome = self._api_checks()
            self._stop_if_needed(outcome.checks)
            checks = list(outcome.checks)
            if CheckName.ISOLATION in self._wanted:
                checks.append(self._isolation(outcome.checks, views))
            if CheckName.HYGIENE in self._wanted:
                checks.append(self._hygiene(outcome.checks))
        except FAILURES as error:
            answered = False
            outcome = self._blocked(Obstacle(Reason.VERIFIER_FAILED, f"Docker: {error}"))
            because = outcome.checks[0].name
            missing = [name for name in CheckName if name in self._wanted - OVER_API]
            checks = [
                *outcome.checks,
                *(skipped(name, level=CheckLevel.REQUIRED, because=because) for name in missing),
            ]
        inside = outcome.report
        elapsed_ms = round((time.monotonic() - self._began) * 1000)
        timed_out = inside is not None and inside.verdict is GatewayVerdict.TIMED_OUT
        report = GatewayReport(
            gateway=self._gateway.name,
            mode=self._gateway.mode,
            verdict=gateway_verdict(checks, waited=timed_out, asked=self._asked),
            started_at=inside.started_at if inside else timestamp(self._started_at),
            waited_ms=inside.waited_ms if inside else outcome.waited_ms,
            duration_ms=inside.duration_ms if inside else max(0, elapsed_ms - outcome.waited_ms),
            vantage=Vantage(api=inside is not None or bool(outcome.waited_ms), docker=answered),
            verifier=VerifierVersion(version=VERSION, image_id=self._contract.verifier.image_id),
            checks=shown(checks, self._asked),
        )
        return redacted(report, self._redactor)

    def _say(self, text: str, time_used: str = "") -> None:
        self._teller.say(self._redactor.text(text), time_used)

    def _api_checks(self) -> Outcome:
        if self._obstacle is not None:
            return self._blocked(self._obstacle)
        self._say("starting the verifier")
        try:
            return self._run_verifier()
        except FAILURES as error:
            return self._blocked(Obstacle(Reason.VERIFIER_FAILED, str(error)))

    def _run_verifier(self) -> Outcome:
        began = time.monotonic()
        latest: ProgressEvent | None = None
        assert self.verifier is not None
        verifier = self._awaited(self.verifier)
        with verifier.followed(self._gateway.name) as run:
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
                self._watch_attachments()
                obstacle = self._container.obstacle()
                if obstacle is not None:
                    return self._blocked(obstacle, waited_ms=round(elapsed * 1000))
                if latest is not None:
                    checks = self._explained(latest.checks)
                    if _hopeless(checks):
                        return Outcome(checks, waited_ms=round(elapsed * 1000))
                    self._tell(checks, elapsed)
            return self._blocked(
                Obstacle(Reason.VERIFIER_FAILED, f"the verifier gave no report: {verifier.complaint(run)}")
            )

    def _tell(self, checks: Sequence[CheckResult], elapsed: float) -> None:
        first = next(iter(red(checks)), None)
        if first is not None:
            waiting = EXPLANATIONS[first.reason].meaning if first.reason else first.seen
            time_used = f" ({elapsed:.0f} of {self._wait:.0f} s)"
            self._say(f"waiting for {first.name} ({first.reason}): {waiting}", time_used)

    def _explained(self, checks: Iterable[CheckResult]) -> list[CheckResult]:
        """The same checks; where the API alone could not tell what is wrong, with what the log and the clock say."""
        found = list(checks)
        if not any(vague(check) for check in found):
            return found
        now = self._attachments.now()
        return explained(found, self._container.reading(), self._gateway, self._contract.stack, now)

    def _stop_if_needed(self, checks: Sequence[CheckResult]) -> None:
        if any(check.reason in STOPPING for check in red(checks)):
            self._say(f"stopping the gateway, so that it cannot lock the account (up to {self._container.grace()} s)")
            self._container.stop()

    def _isolation(self, checks: Sequence[CheckResult], views: "Future[dict[str, Views]]") -> CheckResult:
        began = time.monotonic()
        first = self._first_look
        connected = any(check.name is CheckName.CONNECTED and check.verdict is CheckVerdict.PASS for check in checks)
        if first is None:
            return self._skipped(CheckName.ISOLATION, checks)
        if connected:
            self._watch_on(first)
        last = self._container.surroundings()
        if isinstance(last, Obstacle):
            if not connected:
                return self._skipped(CheckName.ISOLATION, checks)
            finding = Finding(last.seen, last.reason)
        else:
            finding = isolation.judge(self._contract, self._gateway, self._observed(first, last))
            tried = self._tried(views, connected)
            if tried is not None:
                finding = isolation.joined(finding, isolation.judge_views(self._gateway, tried))
            elif finding.reason is None:
                return self._skipped(CheckName.ISOLATION, checks)
        return self._finished(CheckName.ISOLATION, finding, began)

    def _tried(self, views: "Future[dict[str, Views]]", connected: bool) -> Views | None:
        """What answered from where; tried again where it proved nothing, as for a gateway that has only just come up.

        None where nothing can be proved, since the gateway itself does not answer.
        """
        found = self._awaited(views).get(self._gateway.name, Views())
        if isolation.conclusive(self._gateway, found):
            return found
        if not connected:
            return None
        target = self._container.target()
        return vantage.look(self._client, self._contract, [target])[target.gateway] if target is not None else found

    def _watch_on(self, first: isolation.Surroundings) -> None:
        """Watches until `watch` seconds have passed since the beginning, or there is something to tell."""
        end = self._began + self._watch
        while (rest := end - time.monotonic()) > 0:
            self._say(f"watching who is attached, until {self._watch:.0f} s have passed")
            if self._interrupted.wait(min(rest, WATCH_STEP)):
                return
            self._watch_attachments()
            seen = self._observed(first)
            if isolation.judge(self._contract, self._gateway, seen).reason is not None:
                return

    def _awaited(self, future: Future[T]) -> T:
        """Its result. Attachments are watched meanwhile."""
        while not wait_for([future], timeout=POLL).done:
            self._watch_attachments()
        return future.result()

    def _watch_attachments(self) -> None:
        """Now and then is enough: Docker remembers what happened for a while."""
        if time.monotonic() - self._watched_at >= WATCH_STEP:
            self._watched_at = time.monotonic()
            self._attachments.look()

    def _observed(self, *looks: isolation.Surroundings) -> isolation.Observation:
        if len(looks) > 1:
            self._attachments.look()
        return isolation.Observation(
            looks,
            came_to_api=self._attachments.came(self._gateway.api.network),
            came_to_egress=self._attachments.came(self._contract.egress_network),
        )

    def _hygiene(self, checks: Sequence[CheckResult]) -> CheckResult:
        """After the isolation check, whose last look at Docker it uses."""
        began = time.monotonic()
        facts = self._container.facts()
        if facts is None:
            return self._skipped(CheckName.HYGIENE, checks)
        finding = hygiene.judge(self._gateway, facts, self._attachments.now())
        return self._finished(CheckName.HYGIENE, finding, began)

    def _skipped(self, name: CheckName, checks: Sequence[CheckResult]) -> CheckResult:
        because = next((check.name for check in red(checks)), checks[0].name)
        return skipped(name, level=CheckLevel.REQUIRED, because=because)

    def _finished(self, name: CheckName, finding: Finding, began: float) -> CheckResult:
        return check_result(
            name,
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
        checks = all_skipped(self._gateway, stack, obstacle.reason, obstacle.seen, note=note)
        return Outcome([check for check in checks if check.name in self._wanted], waited_ms=waited_ms)


def _hopeless(checks: Iterable[CheckResult]) -> bool:
    """Something is red that no waiting puts right."""
    return any(
        check.verdict is CheckVerdict.FAIL and check.reason is not None and not EXPLANATIONS[check.reason].heals
        for check in checks
    )
