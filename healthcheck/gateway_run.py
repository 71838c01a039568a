"""One gateway's verification: follows its verifier, looks at Docker meanwhile, and joins both to its report."""

import tarfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import docker
from docker.errors import ImageNotFound

from deployment import VERSION
from deployment.description import CheckLevel, Deployment, Gateway
from healthcheck import hygiene, isolation
from healthcheck.attachments import Attachments
from healthcheck.automation import launcher
from healthcheck.automation.base import STANDING, Reading
from healthcheck.check_sequence import OVER_API, all_skipped, shown, with_needs
from healthcheck.credential_files import credentials_of
from healthcheck.docker_host import FAILURES
from healthcheck.events import ProgressEvent, ReportEvent
from healthcheck.explain import explained, vague
from healthcheck.gateway_container import GatewayContainer, Obstacle
from healthcheck.observation import Observation
from healthcheck.reachability import ProbeTarget, Reachability, ReachabilityProber
from healthcheck.reasons import EXPLANATIONS, Reason
from healthcheck.redact import Redactor
from healthcheck.report import (
    CheckName,
    CheckResult,
    CheckVerdict,
    GatewayReport,
    GatewayVerdict,
    Vantage,
    VerifierVersion,
    check_result,
    gateway_verdict,
    heals,
    red,
    redacted,
    remedy_for,
    skipped,
    timestamp,
)
from healthcheck.verifier_container import BUDGET, Verifier

T = TypeVar("T")

POLL = 1.0  # seconds between two looks at Docker while the verifier works
WATCH_STEP = 5.0  # seconds between two readings of Docker's events, and of launcher.log
HEARTBEAT = 15.0  # seconds after which an unchanged situation is told again

LOOKS = 3
"""How often a gateway is tried from the vantage points, at most, before its isolation counts as unproven."""

ARCHIVES = 2
"""Files that are read out of containers at a time: each costs Docker a process, and verifiers start beside it."""

# After these the gateway is stopped: every further attempt counts at IBKR.
STOPPING = frozenset({Reason.LOGIN_FAILED, Reason.LOCKED_OUT})


@dataclass(frozen=True)
class Verification:
    """What the runs of all gateways share. `wait`, `watch`: seconds; `asked`: the checks to report, none for all."""

    client: docker.DockerClient
    deployment: Deployment
    wait: float
    watch: float
    asked: Collection[CheckName] | None
    show_accounts: bool
    progress: Callable[[str], None]
    interrupted: threading.Event
    attachments: Attachments
    looks: ReachabilityProber
    verifiers: Mapping[str, Future[Verifier]]
    archives: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(ARCHIVES))


class ProgressReporter:
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

    def __init__(self, verification: Verification, gateway: Gateway) -> None:
        self._shared = verification
        self._gateway = gateway
        self._wanted = with_needs(verification.asked)
        self._reporter = ProgressReporter(gateway, verification.progress)
        self._container = GatewayContainer(
            verification.client, gateway, verification.deployment.egress_network, verification.attachments
        )
        self._started_at, self._began = datetime.now(UTC), time.monotonic()
        self._watched_at = self._began
        self._witnessed: launcher.Witness | None = None
        self._witnessed_at = 0.0
        self._obstacle: Obstacle | None = None
        self._failure: Exception | None = None
        self._first_look: isolation.Surroundings | None = None

    @property
    def gateway(self) -> Gateway:
        return self._gateway

    @property
    def can_be_asked(self) -> bool:
        """After `begin`: nothing stands in the way of a verifier."""
        return self._obstacle is None and self._failure is None

    def begin(self) -> ProbeTarget | None:
        """The first look at Docker, before which the watch over attachments begins. What to try to reach, if it runs.

        What stands in the way is kept for `report`. Says nothing yet: what must not be told is read there.
        """
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
            with self._shared.archives:
                return credentials_of(self._shared.client, self._gateway)
        except (*FAILURES, OSError, tarfile.TarError):
            return ()

    def report(self, views: "Future[dict[str, Reachability]]") -> GatewayReport:
        answered = True
        # Before anything is said, and beside the start of the verifier: Docker is slow at it.
        self._redactor = Redactor(
            show_accounts=self._shared.show_accounts,
            accounts=self._gateway.expected_accounts,
            credentials=self._credentials(),
        )
        try:
            if self._failure is not None:
                raise self._failure
            outcome = self._api_checks()
            self._stop_if_needed(outcome.checks)
            checks = list(outcome.checks)
            if CheckName.ISOLATION in self._wanted:
                checks.append(self._isolation(outcome.checks, views))
            self._leave()
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
            verdict=gateway_verdict(checks, waited=timed_out, asked=self._shared.asked),
            started_at=inside.started_at if inside else timestamp(self._started_at),
            waited_ms=inside.waited_ms if inside else outcome.waited_ms,
            duration_ms=inside.duration_ms if inside else max(0, elapsed_ms - outcome.waited_ms),
            vantage=Vantage(api=inside is not None or bool(outcome.waited_ms), docker=answered),
            verifier=VerifierVersion(version=VERSION, image_id=self._shared.deployment.verifier.image_id),
            checks=shown(checks, self._shared.asked),
        )
        return redacted(report, self._redactor)

    def _say(self, text: str, time_used: str = "") -> None:
        self._reporter.say(self._redactor.text(text), time_used)

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
        verifier = self._awaited(self._shared.verifiers[self._gateway.name])
        run = verifier.run(self._gateway.name)
        while not run.over:
            event = run.next_event(POLL)
            if isinstance(event, ReportEvent):
                return Outcome(self._explained(event.report.checks), event.report)
            if isinstance(event, ProgressEvent):
                latest = event
            elapsed = time.monotonic() - began
            if self._shared.interrupted.is_set():
                return self._blocked(Obstacle(Reason.VERIFIER_FAILED, "interrupted"))
            if elapsed > self._shared.wait + BUDGET:
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
            time_used = f" ({elapsed:.0f} of {self._shared.wait:.0f} s)"
            self._say(f"waiting for {first.name} ({first.reason}): {waiting}", time_used)

    def _explained(self, checks: Iterable[CheckResult]) -> list[CheckResult]:
        """The same checks; where the API alone could not tell what is wrong, with what the logs and the clock say."""
        found = list(checks)
        if not any(vague(check) for check in found):
            return found
        now = self._shared.attachments.now()
        reading = self._container.reading()
        if launcher.needed(reading):
            reading = launcher.joined(reading, self._witness(reading))
        return explained(found, reading, self._gateway, self._shared.deployment.stack, now)

    def _witness(self, reading: Reading) -> launcher.Witness:
        """What the gateway's own program says, read now and then: it costs Docker a process."""
        if self._witnessed is None or time.monotonic() - self._witnessed_at >= WATCH_STEP:
            try:
                with self._shared.archives:
                    self._witnessed = self._container.witness()
            except FAILURES:
                if reading.state not in STANDING:
                    raise
                # A rejected gateway is stopped whatever else fails.
                self._witnessed = launcher.Witness()
            self._witnessed_at = time.monotonic()
        return self._witnessed

    def _leave(self) -> None:
        """The verifier, for good."""
        started = self._shared.verifiers.get(self._gateway.name)
        if started is not None and started.exception() is None:
            started.result().leave(self._gateway.name)

    def _stop_if_needed(self, checks: Sequence[CheckResult]) -> None:
        # One that is held back submits nothing.
        if any(check.reason in STOPPING and not check.data.get("held") for check in red(checks)):
            self._leave()
            self._say(f"stopping the gateway, so that it cannot lock the account (up to {self._container.grace()} s)")
            self._container.stop()

    def _isolation(self, checks: Sequence[CheckResult], views: "Future[dict[str, Reachability]]") -> CheckResult:
        began = time.monotonic()
        first = self._first_look
        connected = any(check.name is CheckName.CONNECTED and check.verdict is CheckVerdict.PASS for check in checks)
        if first is None:
            return self._skipped(CheckName.ISOLATION, checks)
        tried = self._tried(views, connected)
        self._leave()
        if connected:
            self._watch_on(first)
        last = self._container.surroundings()
        if isinstance(last, Obstacle):
            if not connected:
                return self._skipped(CheckName.ISOLATION, checks)
            finding = Observation(last.seen, last.reason)
        else:
            finding = isolation.judge(self._shared.deployment, self._gateway, self._observed(first, last))
            if tried is not None:
                finding = isolation.joined(finding, isolation.judge_views(self._gateway, tried))
            elif finding.reason is None:
                return self._skipped(CheckName.ISOLATION, checks)
        return self._finished(CheckName.ISOLATION, finding, began)

    def _tried(self, views: "Future[dict[str, Reachability]]", connected: bool) -> Reachability | None:
        """What answered from where; tried again where it proved nothing, as for a gateway that has only just come up.

        Everything is tried again, not the control alone: a machine that is too busy for the control may be too busy
        for the others, whose silence would mean nothing. None where nothing can be proved, since the gateway itself
        does not answer.
        """
        name = self._gateway.name
        found = self._awaited(views).get(name, Reachability())
        for _ in range(LOOKS - 1):
            if isolation.conclusive(self._gateway, found) or not connected or self._shared.interrupted.is_set():
                break
            target = self._container.target(afresh=True)
            if target is None:
                break
            found = self._awaited(self._shared.looks.ask([target]))[name]
        return found if connected or isolation.conclusive(self._gateway, found) else None

    def _watch_on(self, first: isolation.Surroundings) -> None:
        """Watches until `watch` seconds have passed since the beginning, or there is something to tell."""
        end = self._began + self._shared.watch
        while (rest := end - time.monotonic()) > 0:
            self._say(f"watching who is attached, until {self._shared.watch:.0f} s have passed")
            if self._shared.interrupted.wait(min(rest, WATCH_STEP)):
                return
            self._watch_attachments()
            seen = self._observed(first)
            if isolation.judge(self._shared.deployment, self._gateway, seen).reason is not None:
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
            self._shared.attachments.look()

    def _observed(self, *looks: isolation.Surroundings) -> isolation.IsolationEvidence:
        if len(looks) > 1:
            self._shared.attachments.look()
        return isolation.IsolationEvidence(
            looks,
            came_to_api=self._shared.attachments.came(self._gateway.api.network),
            came_to_egress=self._shared.attachments.came(self._shared.deployment.egress_network),
        )

    def _hygiene(self, checks: Sequence[CheckResult]) -> CheckResult:
        """After the isolation check, whose last look at Docker it uses."""
        began = time.monotonic()
        with self._shared.archives:
            facts = self._container.facts()
        if facts is None:
            return self._skipped(CheckName.HYGIENE, checks)
        finding = hygiene.judge(self._gateway, facts, self._shared.attachments.now())
        return self._finished(CheckName.HYGIENE, finding, began)

    def _skipped(self, name: CheckName, checks: Sequence[CheckResult]) -> CheckResult:
        because = next((check.name for check in red(checks)), checks[0].name)
        return skipped(name, level=CheckLevel.REQUIRED, because=because)

    def _finished(self, name: CheckName, finding: Observation, began: float) -> CheckResult:
        return check_result(
            name,
            level=CheckLevel.REQUIRED,
            reason=finding.reason,
            seen=finding.seen,
            gateway=self._gateway,
            stack=self._shared.deployment.stack,
            data=finding.data,
            duration_ms=round((time.monotonic() - began) * 1000),
        )

    def _image_obstacle(self) -> Obstacle | None:
        image_id = self._shared.deployment.verifier.image_id
        try:
            self._shared.client.images.get(image_id)
        except ImageNotFound:
            return Obstacle(Reason.VERIFIER_IMAGE_MISSING, f"no image {image_id} on the Docker host")
        return None

    def _blocked(self, obstacle: Obstacle, *, waited_ms: int = 0) -> Outcome:
        stack = self._shared.deployment.stack
        note = f"; but first {remedy_for(obstacle.because, self._gateway, stack)}" if obstacle.because else ""
        checks = all_skipped(self._gateway, stack, obstacle.reason, obstacle.seen, note=note)
        return Outcome([check for check in checks if check.name in self._wanted], waited_ms=waited_ms)


def _hopeless(checks: Iterable[CheckResult]) -> bool:
    """Something is red that no waiting puts right."""
    return any(check.verdict is CheckVerdict.FAIL and check.reason is not None and not heals(check) for check in checks)
