"""One gateway's verification: follows its verifier, looks at Docker meanwhile, and has both judged."""

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deployment.abilities import Info, first_user, limits_lacking
from deployment.description import Deployment, Gateway
from deployment.errors import IbgwError
from healthcheck import hygiene, isolation
from healthcheck.attachments import Attachments
from healthcheck.automation import launcher
from healthcheck.automation.base import STANDING, Reading
from healthcheck.check_sequence import OVER_API, all_skipped, with_needs
from healthcheck.credential_files import credentials_of
from healthcheck.docker_host import DockerError, DockerHost, Inspected
from healthcheck.explain import PASSING, TOLD_BY_STATUS, explained, vague
from healthcheck.gateway_container import GatewayContainer, Obstacle
from healthcheck.observation import HELD, UNTIL, Attempt, CheckName, CheckObservation, Observation, skipped, timestamp
from healthcheck.reachability import ProbeTarget, Reachability, ReachabilityRounds
from healthcheck.reasons import EXPLANATIONS, Reason, Retry
from healthcheck.redact import Redactor
from healthcheck.report import GatewayReport, Vantage, check_result, gateway_report
from healthcheck.screen.display import ScreenError
from healthcheck.screen_run import TELLING, titles
from healthcheck.text import clean
from healthcheck.verdict import failing, heals
from healthcheck.verifier_container import BUDGET, VerifierFailed, Verifiers

POLL = 1.0  # seconds between two looks at Docker while the verifier works
WATCH_STEP = 5.0  # seconds between two judgements of who is attached, and two readings of launcher.log
HEARTBEAT = 15.0  # seconds after which an unchanged situation is told again

LONGEST = 900
"""Seconds for which a verification waits at most where nobody says for how long: a start, and a push message after it,
with a reserve."""

LOOKS = 3
"""How often a gateway is tried from every origin, at most, before its isolation counts as unproven."""

# After these a verification stops the gateway: every further attempt counts at IBKR.
STOPPING = frozenset({Reason.LOGIN_FAILED, Reason.LOCKED_OUT})


@dataclass(frozen=True)
class Verification:
    """What the runs of all gateways share. `began`: when, by the monotonic clock; `wait`, `watch`: seconds, a `wait` of
    None as long as it is worth it for what is wrong; `asked`: the checks to report, none for all; `acts`: whether a
    gateway whose credentials were rejected is stopped; `host`: what Docker says of its host; `image`: the verifier's,
    None where it is gone; `recorded`: asks the stack's state (healthcheck.runner)."""

    docker: DockerHost
    deployment: Deployment
    began: float
    wait: float | None
    watch: float
    asked: Collection[CheckName] | None
    show_accounts: bool
    acts: bool
    progress: Callable[[str], None]
    interrupted: threading.Event
    host: Info
    attachments: Attachments
    rounds: ReachabilityRounds
    verifiers: Verifiers
    image: Inspected | None
    recorded: Callable[[], Collection[str]]
    pictures: Callable[[str], Path] | None


class GatewayRun:
    """One gateway's verification, in a thread of its own."""

    def __init__(self, verification: Verification, gateway: Gateway) -> None:
        self._shared = verification
        self.gateway = gateway
        self._wanted = with_needs(verification.asked)
        self._container = GatewayContainer(
            verification.docker, gateway, verification.deployment.egress_network, verification.attachments
        )
        self._started_at, self._began = datetime.now(UTC), time.monotonic()
        self._witnessed: launcher.Witness | None = None
        self._witnessed_at = 0.0
        self._counted, self._counted_at = 0, -WATCH_STEP
        self._obstacle: Obstacle | None = None
        self._failure: Exception | None = None
        self._known: tuple[CheckObservation, ...] = ()
        self._stopped = False
        self._note: str | None = None
        self._first_look: isolation.Surroundings | None = None
        self._said, self._said_at = "", 0.0
        self._awaited: Reason | None = None
        self._awaited_since = 0.0
        self._looked_on_waiting = False
        self._waited_out = False
        self._by_prober = False

    @property
    def can_be_asked(self) -> bool:
        """After `begin`: nothing stands in the way of a verifier."""
        return self._obstacle is None and self._failure is None and not self._known

    @property
    def healthy(self) -> bool:
        """After `begin`: by Docker's own probe, its API answers."""
        return self._container.healthy

    def begin(self) -> ProbeTarget | None:
        """The first look at Docker, before which the watch over attachments begins. What to try to reach, if it runs.

        What stands in the way is kept for `report`. Says nothing yet: what must not be told is read there.
        """
        try:
            self._obstacle = self._container.obstacle()
            surroundings = self._container.surroundings()
            if isinstance(surroundings, Obstacle):
                self._obstacle = self._obstacle or surroundings
            else:
                self._first_look = surroundings
            self._obstacle = self._obstacle or self._image_obstacle()
            self._known = () if self._obstacle else self._held()
        except DockerError as error:
            self._failure = error
        if not self.can_be_asked or CheckName.ISOLATION not in self._wanted:
            return None
        return self._container.target()

    def _held(self) -> tuple[CheckObservation, ...]:
        """The checks over the API of a gateway that says that none of its programs runs until somebody does something:
        there is nobody to ask. Empty for any other."""
        if not self._container.reading().held:
            return ()
        told = self._container.status()
        if told is None or told.hold == "none":
            return ()
        seen = Observation("no program of the gateway runs", Reason.PORT_CLOSED)
        return self._explained(tuple(all_skipped(self.gateway, seen)))

    def _credentials(self) -> tuple[str, ...]:
        """None where they cannot be read, as where the container is gone: the report is due all the same."""
        try:
            return credentials_of(self._shared.docker, self.gateway)
        except DockerError:
            return ()

    def report(self, first_round: "Future[dict[str, Reachability]]") -> GatewayReport:
        """`first_round`: what answered from elsewhere. What Docker refuses to tell is in the report."""
        # Before anything is said, and beside the start of the verifier: Docker is slow at it.
        self._redactor = Redactor(
            show_accounts=self._shared.show_accounts,
            accounts=self.gateway.expected_accounts,
            credentials=self._credentials(),
        )
        docker_answered = True
        try:
            if self._failure is not None:
                raise self._failure
            attempt = self._over_api()
            self._stop_if_rejected(attempt.checks)
            checks = [*map(self._as_left, attempt.checks), *self._in_docker(attempt.checks, first_round)]
        except DockerError as error:
            docker_answered = False
            attempt = self._blocked(Obstacle(Reason.VERIFIER_FAILED, f"Docker: {error}"))
            because = attempt.checks[0].name
            checks = [
                *attempt.checks,
                *(skipped(name, because) for name in CheckName if name in self._wanted - OVER_API),
            ]
        if not attempt.last:
            elapsed_ms = round((time.monotonic() - self._began) * 1000)
            attempt = replace(attempt, duration_ms=max(0, elapsed_ms - attempt.waited_ms))
        windows, picture = self._screen(checks)
        return gateway_report(
            self.gateway,
            self._shared.deployment.stack,
            replace(attempt, checks=tuple(checks)),
            waited=self._waited_out or (attempt.last and self._shared.wait != 0),
            took_ms=round((time.monotonic() - self._shared.began) * 1000),
            vantage=Vantage(api=attempt.last or attempt.waited_ms > 0, docker=docker_answered, prober=self._by_prober),
            asked=self._shared.asked,
            image_id=self._shared.deployment.verifier.image_id,
            stopped=self._stopped,
            note=self._note,
            windows=windows,
            picture=picture,
            docker_host=self._shared.deployment.docker_host,
            redactor=self._redactor,
        )

    def _screen(self, checks: Iterable[CheckObservation]) -> tuple[list[str], Path | None]:
        """The titles of what it shows, where a window may be why it fails, and the file that has a picture of it."""
        shared = self._shared
        file = None if shared.pictures is None else shared.pictures(self.gateway.name)
        try:
            if file is not None:
                file.unlink(missing_ok=True)  # of an earlier verification
            if not any(check.reason in TELLING for check in failing(checks, self.gateway)) or not self._container.runs:
                return [], None
            shown = titles(shared.docker, self.gateway.container.name, None if os.environ.get("CI") else file)
        except (DockerError, ScreenError, OSError) as error:
            self._say(f"its screen could not be looked at: {error}")
            return [], None
        return [self._redactor.text(title) for title in shown], file if file is not None and file.exists() else None

    def _say(self, text: str, time_used: str = "", *, once: str = "") -> None:
        """Tells what the gateway waits for: when it changes, then with what need be said `once`, and now and then while
        it does not."""
        now = time.monotonic()
        changed = text != self._said
        if changed or now - self._said_at >= HEARTBEAT:
            self._said, self._said_at = text, now
            told = clean(self._redactor.text(f"{text}{once if changed else ''}"))
            self._shared.progress(f"{self.gateway.name}: {told}{time_used}")

    # --- over the API -------------------------------------------------------------------------------------------------

    def _over_api(self) -> Attempt:
        """The last attempt, or what stands in the way of one."""
        if self._obstacle is not None:
            return self._blocked(self._obstacle)
        if self._known:
            return self._given_up([check for check in self._known if check.name in self._wanted], waited=0)
        beside = self.gateway.name in self._shared.verifiers.beside
        self._say("asking it beside the prober" if beside else "starting the verifier")
        try:
            return self._follow_verifier()
        except (DockerError, VerifierFailed) as error:
            return self._blocked(Obstacle(Reason.VERIFIER_FAILED, str(error)))

    def _follow_verifier(self) -> Attempt:
        began = time.monotonic()
        latest: Attempt | None = None
        verifier = self._shared.verifiers.starting[self.gateway.name].result()
        while True:
            latest = verifier.attempt(self.gateway.name, POLL) or latest
            if latest is not None and latest.last:
                self._by_prober = verifier.by_prober(self.gateway.name)
                return replace(latest, checks=self._explained(latest.checks))
            elapsed = time.monotonic() - began
            if self._shared.interrupted.is_set():
                return self._blocked(Obstacle(Reason.VERIFIER_FAILED, "interrupted"))
            if elapsed > (LONGEST if self._shared.wait is None else self._shared.wait) + BUDGET:
                return self._blocked(Obstacle(Reason.VERIFIER_FAILED, f"no report after {elapsed:.0f} s"))
            obstacle = self._container.obstacle()
            if obstacle is not None:
                return self._blocked(obstacle, waited=elapsed)
            if latest is not None:
                checks = self._explained(latest.checks)
                red = failing(checks, self.gateway)
                if not all(map(heals, red)) or self._broken_in_docker():
                    return self._given_up(checks, waited=elapsed)
                if not all(self._worth_waiting(check, began) for check in red[:1]):
                    self._waited_out = True
                    return self._given_up(checks, waited=elapsed)

    def _worth_waiting(self, check: CheckObservation, began: float) -> bool:
        """Whether to go on; then it tells for what and how long, and what to do if that does not help. `began`: when
        the verifier was waited for."""
        assert check.reason is not None
        now, explanation = time.monotonic(), EXPLANATIONS[check.reason]
        if check.reason is not self._awaited:
            self._awaited, self._awaited_since = check.reason, now
        given = self._shared.wait
        limit, since = (explanation.patience, self._awaited_since) if given is None else (given, began)
        left = limit - (now - since)
        ends = check.data.get(UNTIL)
        too_late = isinstance(ends, str) and _seconds_to(ends, self._shared.attachments.now()) > left
        # A wait that somebody gave is the verifier's to keep, whose last attempt is the report.
        if too_late or (given is None and left <= 0):
            return False
        deployment = self._shared.deployment
        result = check_result(check, self.gateway, deployment.stack, deployment.docker_host, self._redactor)
        self._say(
            f"waiting for {check.name} ({check.reason})",
            f" ({now - since:.0f} of {limit:.0f} s)",
            once=f": {explanation.meaning} If it stays so: {result.remedy}",
        )
        return True

    def _broken_in_docker(self) -> bool:
        """Looks once, before the first wait: something that Docker shows fails the gateway whatever its API comes to
        say, and no waiting puts that right."""
        if self._looked_on_waiting:
            return False
        self._looked_on_waiting = True
        seen: list[CheckObservation] = []
        if CheckName.ISOLATION in self._wanted and self._first_look is not None:
            seen.append(self._judged(self._first_look).by(CheckName.ISOLATION))
        if CheckName.HYGIENE in self._wanted and (found := self._hygiene()) is not None:
            seen.append(found.by(CheckName.HYGIENE))
        return not all(map(heals, failing(seen, self.gateway)))

    def _explained(self, checks: tuple[CheckObservation, ...]) -> tuple[CheckObservation, ...]:
        """The same checks; where the API alone could not tell what is wrong, with what the logs and the clock say."""
        if not any(map(vague, checks)):
            return checks
        now = self._shared.attachments.now()
        reading = self._container.reading()
        if launcher.needed(reading):
            reading = launcher.joined(reading, self._witness(reading))
        status = self._container.status() if reading.state in TOLD_BY_STATUS else None
        quiet = self._container.quiet(now) if reading.reason in PASSING else timedelta()
        clients = 0 if reading.reason is not None else self._clients()
        return explained(checks, reading, self.gateway, now, status=status, quiet=quiet, clients=clients)

    def _clients(self) -> int:
        """Connections to the API, counted now and then: it costs Docker a process."""
        if time.monotonic() - self._counted_at >= WATCH_STEP:
            self._counted, self._counted_at = self._container.clients(), time.monotonic()
        return self._counted

    def _witness(self, reading: Reading) -> launcher.Witness:
        """What the gateway's own program says, read now and then: it costs Docker a process."""
        if self._witnessed is None or time.monotonic() - self._witnessed_at >= WATCH_STEP:
            try:
                self._witnessed = self._container.witness()
            except DockerError:
                if reading.state not in STANDING:
                    raise
                # A rejected gateway is stopped whatever else fails.
                self._witnessed = launcher.Witness()
            self._witnessed_at = time.monotonic()
        return self._witnessed

    def _blocked(self, obstacle: Obstacle, *, waited: float = 0) -> Attempt:
        """What nobody could ask. `waited`: seconds."""
        seen = Observation(obstacle.seen, obstacle.reason, because=obstacle.because, retry=obstacle.retry)
        checks = all_skipped(self.gateway, seen)
        return self._given_up([check for check in checks if check.name in self._wanted], waited=waited)

    def _given_up(self, checks: Iterable[CheckObservation], *, waited: float) -> Attempt:
        return Attempt(
            gateway=self.gateway.name,
            started_at=timestamp(self._started_at),
            waited_ms=round(waited * 1000),
            duration_ms=0,
            last=False,
            checks=tuple(checks),
        )

    def _stop_if_rejected(self, checks: Iterable[CheckObservation]) -> None:
        # One that is held back submits nothing, and one that does not run neither.
        rejected = any(check.reason in STOPPING and not check.data.get(HELD) for check in failing(checks, self.gateway))
        if not rejected or not self._container.runs:
            return
        name = self.gateway.container.name
        if not self._shared.acts:
            command = f"ibgw verify --stack {self._shared.deployment.stack} --gateway {self.gateway.name}"
            self._note = (
                f"{name} runs on, since this only looks; `{command}` stops it, so that it cannot lock the account"
            )
            return
        self._say(f"stopping the gateway, so that it cannot lock the account (up to {self._container.grace()} s)")
        self._container.stop()
        self._stopped = True
        self._note = f"{name} was stopped by this verification, so that it cannot lock the account"

    def _as_left(self, check: CheckObservation) -> CheckObservation:
        """What was stopped meanwhile is not restarted but started."""
        return replace(check, retry=Retry.START) if self._stopped and check.retry is Retry.RESTART else check

    # --- in Docker ----------------------------------------------------------------------------------------------------

    def _in_docker(
        self, before: Sequence[CheckObservation], first_round: "Future[dict[str, Reachability]]"
    ) -> Iterator[CheckObservation]:
        """Isolation and hygiene, as far as they are wanted; `before`: the checks over the API. Raises DockerError."""
        looks: dict[CheckName, Callable[[], Observation | None]] = {
            CheckName.ISOLATION: lambda: self._isolation(_connected(before), first_round),
            CheckName.HYGIENE: self._hygiene,
        }
        because = next((check.name for check in failing(before, self.gateway)), before[0].name)
        for name, look in looks.items():
            if name in self._wanted:
                began = time.monotonic()
                observation = look()
                took = round((time.monotonic() - began) * 1000)
                yield observation.by(name, took) if observation is not None else skipped(name, because)

    def _isolation(self, connected: bool, first_round: "Future[dict[str, Reachability]]") -> Observation | None:
        """None where nothing can be said: `connected` tells whether the gateway answers at all."""
        first = self._first_look
        if first is None:
            return None
        reachability = self._reachability(connected, first_round)
        self._shared.verifiers.leave(self.gateway.name)
        if connected:
            self._watch_on(first)
        last = self._container.surroundings()
        if isinstance(last, Obstacle):
            return Observation(last.seen, last.reason) if connected else None
        records = self._judged(first, last)
        if reachability is not None:
            return isolation.joined(records, isolation.judge_views(self.gateway, reachability))
        return records if records.reason is not None else None

    def _reachability(self, connected: bool, first_round: "Future[dict[str, Reachability]]") -> Reachability | None:
        """What answered from where; tried again where it proved nothing, as for a gateway that has only just come up.

        Everything is tried again, not the control alone: a machine that is too busy for the control may be too busy
        for the others, whose silence would mean nothing. None where nothing can be proved, since the gateway itself
        does not answer.
        """
        name = self.gateway.name
        views = first_round.result().get(name, Reachability())
        for _ in range(LOOKS - 1):
            if isolation.conclusive(self.gateway, views) or not connected or self._shared.interrupted.is_set():
                break
            target = self._container.target(afresh=True)
            if target is None:
                break
            views = self._shared.rounds.ask([target])[name]
        return views if connected or isolation.conclusive(self.gateway, views) else None

    def _watch_on(self, first: isolation.Surroundings) -> None:
        """Watches until `watch` seconds have passed since the beginning, or there is something to tell."""
        end = self._began + self._shared.watch
        while (rest := end - time.monotonic()) > 0:
            self._say(f"watching who is attached, until {self._shared.watch:.0f} s have passed")
            if self._shared.interrupted.wait(min(rest, WATCH_STEP)):
                return
            now = self._container.surroundings()
            if isinstance(now, Obstacle) or self._judged(first, now).reason is not None:
                return

    def _judged(self, *looks: isolation.Surroundings) -> Observation:
        """By Docker's records, and, where these show somebody, by the stack's state: a gateway that has left the
        configuration is there until the update's end. Raises DockerError."""
        evidence = self._evidence(*looks)
        judged = isolation.judge(self._shared.deployment, self.gateway, evidence)
        if judged.reason is None:
            return judged
        try:
            recorded = self._shared.recorded()
        except IbgwError as error:
            return replace(judged, seen=f"{judged.seen}; whether the state knows them could not be asked: {error}")
        return isolation.judge(self._shared.deployment, self.gateway, replace(evidence, recorded=recorded))

    def _evidence(self, *looks: isolation.Surroundings) -> isolation.IsolationEvidence:
        attachments = self._shared.attachments
        attachments.look()
        attachments.scan()
        api, egress = self.gateway.api.network, self._shared.deployment.egress_network
        return isolation.IsolationEvidence(
            looks,
            came_to_api=attachments.came(api),
            came_to_egress=attachments.came(egress),
            waiting_for_api=attachments.waiting(api),
            waiting_for_egress=attachments.waiting(egress),
            everyone=attachments.everyone(),
            volumes=attachments.volumes(),
            interfaces=attachments.interfaces(),
            missed=attachments.missed(),
            image=self._shared.image,
        )

    def _hygiene(self) -> Observation | None:
        """After the isolation check, whose last look at Docker it uses; None without a container."""
        facts = self._container.facts()
        if facts is None:
            return None
        host = self._shared.host
        facts = replace(
            facts,
            lacking=limits_lacking(host),
            accepted=self._shared.deployment.accepted,
            unheard=self._shared.deployment.unheard,
            first_user=first_user(host),
        )
        return hygiene.judge(self.gateway, facts, self._shared.attachments.now())

    def _image_obstacle(self) -> Obstacle | None:
        if self._shared.image is None:
            image_id = self._shared.deployment.verifier.image_id
            return Obstacle(Reason.VERIFIER_IMAGE_MISSING, f"no image {image_id} on the Docker host")
        return None


def _seconds_to(moment: str, now: datetime) -> float:
    return (datetime.fromisoformat(moment) - now).total_seconds()


def _connected(checks: Iterable[CheckObservation]) -> bool:
    return any(
        check.name is CheckName.CONNECTED and check.reason is None and check.skipped_because is None for check in checks
    )
