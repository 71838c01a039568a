"""`ibgw doctor`: what is known of one gateway, sorted by what people ask when one does not work.

Each topic says what was found and the one command to run next. The verdicts are the verification's; nothing is judged
here that it does not know, and nothing is changed.
"""

import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from deployment.description import Deployment, Gateway, SecondFactor
from deployment.tables import Kind
from healthcheck import logs
from healthcheck.automation.status import Status
from healthcheck.docker_host import DockerHost, docker_errors, moment
from healthcheck.gateway_container import status_of
from healthcheck.observation import CheckName
from healthcheck.reasons import Reason, Retry
from healthcheck.remedies import names
from healthcheck.report import CheckResult, GatewayReport, Report, red
from healthcheck.schedule import next_planned
from healthcheck.text import clean
from healthcheck.verdict import CheckVerdict
from infra.spec import SETTINGS_PATH
from infra.supervisor import MAXIMUM_ATTEMPTS
from operations import engine_debugging
from operations.answers import Answer
from operations.lifecycle import guard_attempts
from operations.status import age, last_planned


@dataclass(frozen=True)
class Observation:
    """One topic. `ok`: None where it cannot be seen. `next`: the command to run, or what to do, where something is to
    be done, or how to look."""

    topic: str
    ok: bool | None
    found: str
    next: str | None = None


class DoctorAnswer(Answer):
    """Of each gateway, and of the Docker host. `next`: what to do first, up to its one command."""

    stack: str
    exit_code: int
    docker_host: str
    gateways: dict[str, tuple[Observation, ...]]
    host: tuple[Observation, ...]
    next: str

    def former_json(self) -> dict[str, Any]:
        """As version 0.2 printed it. No gateway's name is an address."""
        told = self.model_dump(mode="json")
        return {**told["gateways"], self.docker_host: told["host"]}


@dataclass(frozen=True)
class Evidence:
    """What a gateway's report and Docker know. Times are aware."""

    deployment: Deployment
    gateway: Gateway
    report: GatewayReport
    now: datetime  # the Docker host's
    status: str | None  # Docker's word for the container's state; None where there is none
    restarts: int = 0
    attempts: int = 0  # by the start guard's count, with the deployed version of the secret
    locked_until: datetime | None = None
    jts_zone: str | None = None  # TimeZone= in jts.ini; None before the first start
    told: Status | None = None  # what the gateway's first process says
    debugging: tuple[Path, ...] = ()  # what the engine's debugging has left on this machine

    def reason(self, *candidates: Reason) -> CheckResult | None:
        """The first red or warning check with one of these reasons."""
        return next((check for check in self.report.checks if check.reason in candidates and check.remedy), None)

    @property
    def logged_in(self) -> bool:
        return any(
            check.name is CheckName.AUTHENTICATED and check.verdict is CheckVerdict.PASS for check in self.report.checks
        )

    @property
    def login(self) -> str:
        """The command that has the gateway log in once more."""
        retry = Retry.RESTART if self.status == "running" else Retry.START
        if self.attempts >= MAXIMUM_ATTEMPTS:
            retry = Retry.AGAIN
        return names(self.gateway, self.deployment.stack, retry=retry)["login"]

    def command(self, words: str) -> str:
        return f"`ibgw {words} --stack {self.deployment.stack} --gateway {self.gateway.name}`"


def examine(evidence: Evidence) -> list[Observation]:
    return [topic(evidence) for topic in TOPICS]


def _from(check: CheckResult, topic: str) -> Observation:
    return Observation(topic, False, f"{check.reason}: {check.seen}", check.remedy)


def container(evidence: Evidence) -> Observation:
    check = evidence.reason(
        Reason.CONTAINER_MISSING,
        Reason.CONTAINER_DEAD,
        Reason.FROZEN,
        Reason.STOPPED,
        Reason.STOPPING,
        Reason.SESSION_STRANDED,
        Reason.OFFLINE,
        Reason.PAUSED,
        Reason.HEALING,
        Reason.LOGIN_DELAYED,
        Reason.TOO_MANY_LOGINS,
        Reason.CRASH_LOOPING,
        Reason.PLANNED_RESTART,
        Reason.OUT_OF_MEMORY,
    )
    if check is not None:
        return _from(check, "container")
    restarts = f"{evidence.restarts} restart{'' if evidence.restarts == 1 else 's'} by Docker"
    return Observation("container", True, f"{evidence.gateway.container.name} is {evidence.status}, {restarts}")


def authentication(evidence: Evidence) -> Observation:
    check = evidence.reason(
        Reason.LOGIN_FAILED,
        Reason.LOGIN_ERROR,
        Reason.LOGIN_ENDED,
        Reason.LATE_FORM,
        Reason.TOKEN_REFUSED,
        Reason.GUARD_HELD,
        Reason.WRONG_ACCOUNT,
        Reason.VOLUME_LOST,
        Reason.AUTOMATION_UNSUPPORTED,
        Reason.AUTOMATION_FAILED,
        Reason.ACCOUNT_KIND_MISMATCH,
        Reason.ACCOUNT_MISSING,
        Reason.COMPETING_SESSION,
        Reason.SESSION_TAKEN_OVER,
        Reason.RELOGIN_REQUIRED,
        Reason.DIALOG_BLOCKING,
        Reason.VERSION_REFUSED,
        Reason.NO_ACCOUNTS,
        Reason.NOT_LOGGED_IN,
        Reason.STARTING,
        Reason.START_STUCK,
    )
    if check is not None:
        return _from(check, "authentication")
    secret = f"version {evidence.gateway.secret.version_id} of {evidence.gateway.secret.id}"
    if evidence.logged_in:
        return Observation("authentication", True, f"logged in with {secret}")
    return Observation("authentication", False, f"not logged in with {secret}", evidence.command("logs --known"))


def lockout(evidence: Evidence) -> Observation:
    used = f"{evidence.attempts} of {MAXIMUM_ATTEMPTS} attempts used with this version of the secret"
    if evidence.locked_until is None:
        return Observation("lockout", True, f"the log names no lock; {used}")
    if evidence.locked_until > evidence.now:
        left = f"locked for another {age(evidence.locked_until - evidence.now)}; {used}"
        until = evidence.locked_until.astimezone(UTC)
        return Observation(
            "lockout", False, left, f"check the password at IBKR's site, then, after {until:%H:%M:%S} UTC: "
            f"{evidence.login}",
        )  # fmt: skip
    over = age(evidence.now - evidence.locked_until)
    return Observation("lockout", evidence.logged_in, f"a lock ended {over} ago; {used}", evidence.login)


def port(evidence: Evidence) -> Observation:
    check = evidence.reason(
        Reason.UNREACHABLE,
        Reason.PORT_CLOSED,
        Reason.RELAY_ONLY,
        Reason.WEDGED,
        Reason.HALF_OPEN,
        Reason.NOT_THE_API,
        Reason.CLIENT_ID_IN_USE,
        Reason.CLIENTS_FULL,
        Reason.CONNECTION_DROPPED,
        Reason.RATE_LIMITED,
        Reason.TOO_SLOW,
        Reason.NETWORK_MISSING,
        Reason.EXPOSED,
    )
    if check is not None:
        return _from(check, "port")
    api = evidence.gateway.api
    inside = f"{api.host}:{api.port} on network {api.network}, published nowhere"
    answers = any(
        check.name is CheckName.CONNECTED and check.verdict is CheckVerdict.PASS for check in evidence.report.checks
    )
    if answers:
        return Observation("port", True, f"answers at {inside}; for localhost: {evidence.command('forward')}")
    return Observation("port", False, f"{inside}: not asked, or no answer", evidence.command("verify"))


def firewall(evidence: Evidence) -> Observation:
    check = evidence.reason(Reason.MAINTENANCE_WINDOW, Reason.SYSTEM_UNAVAILABLE)
    if check is not None:
        return _from(check, "firewall")
    check = evidence.reason(Reason.SERVER_UNREACHABLE, Reason.CONNECTIVITY_LOST, Reason.FARM_BROKEN)
    if check is not None:
        return Observation(
            "firewall",
            False,
            f"{check.reason}: {check.seen}",
            f"allow TCP 4000 and 4001 out of network {evidence.deployment.egress_network} (IBKR, Host and Ports), or "
            f"wait if IBKR's status page names an outage; then {evidence.command('verify')}",
        )
    seen = "the gateway reaches IBKR" if evidence.logged_in else "nothing is known against the way out"
    return Observation("firewall", True, seen)


def settings(evidence: Evidence) -> Observation:
    check = evidence.reason(Reason.GUARD_UNWRITABLE, Reason.VOLUME_LOCKED)
    if check is not None:
        return _from(check, "settings")
    volume = evidence.gateway.volumes.settings
    if evidence.jts_zone is None:
        return Observation(
            "settings", evidence.status is None, f"{volume} holds no jts.ini: the gateway has not started with it yet",
            evidence.command("logs"),
        )  # fmt: skip
    check = evidence.reason(Reason.READ_ONLY_UNEXPECTED)
    if check is not None:
        return Observation("settings", False, f"{check.reason}: {check.seen}", evidence.command("reset-settings"))
    return Observation("settings", True, f"{volume} is in use; a fresh start would cost a login")


def second_factor(evidence: Evidence) -> Observation:
    check = evidence.reason(
        Reason.SECOND_FACTOR_PENDING,
        Reason.SECOND_FACTOR_TIMEOUT,
        Reason.SECOND_FACTOR_DENIED,
        Reason.SECOND_FACTOR_CODE,
        Reason.SECOND_FACTOR_DEVICE,
        Reason.SECOND_FACTOR_TYPING,
        Reason.SECOND_FACTOR_UNTYPED,
        Reason.SECOND_FACTOR_HELD,
    )
    if check is not None:
        return _from(check, "second factor")
    configured = evidence.gateway.second_factor
    planned = next_planned(evidence.gateway.schedule, evidence.now)
    when = f"; next planned: {planned.event}, {planned.at:%a %H:%M}" if planned else ""
    how = {SecondFactor.PUSH: "by push", SecondFactor.TOTP: "by an authenticator's codes, which are typed"}.get(
        configured, "none configured"
    )
    return Observation("second factor", True, f"{how}, nobody waits for one{when}")


def schedule(evidence: Evidence) -> Observation:
    """Proved by what happened, not by the setting."""
    planned = next_planned(evidence.gateway.schedule, evidence.now)
    coming = f"; next: {planned.event}, {planned.at:%a %H:%M}" if planned else ""
    last = last_planned(evidence.told, evidence.gateway)
    check = evidence.reason(Reason.PLAN_MISSED, Reason.OFFLINE, Reason.PAUSED)
    if check is not None:
        return _from(check, "schedule")
    return Observation("schedule", True, f"{last or 'nothing planned was due yet'}{coming}")


def time_zone(evidence: Evidence) -> Observation:
    wanted = evidence.gateway.schedule.time_zone
    if evidence.jts_zone is not None and evidence.jts_zone != wanted:
        return Observation(
            "time zone", False, f"jts.ini has {evidence.jts_zone or 'none'}, the configuration {wanted}",
            evidence.command("restart"),
        )  # fmt: skip
    return Observation("time zone", True, f"{wanted}, where it is {evidence.now.astimezone(ZoneInfo(wanted)):%a %H:%M}")


URGENT = frozenset({Reason.ACCOUNT_KIND_MISMATCH, Reason.EXPOSED, Reason.UNDECLARED_CLIENT, Reason.CREDENTIAL_VISIBLE})
"""What comes before all else: orders may go, or come from, where they must not."""


def next_step(
    stack: str,
    report: Report,
    findings: Mapping[str, Sequence[Observation]],
    of_host: Sequence[Observation] = (),
) -> str:
    """What to do first, up to its one command: about the worst gateway that fails, then what is amiss beside it, on the
    host too, and then what only warns."""
    failed: list[CheckResult] = []
    warned: list[CheckResult] = []
    for seen in report.gateways:
        failed += sorted(red(seen.checks), key=lambda check: check.reason not in URGENT)
        # What needs nothing, such as a closed market, has no command.
        warned += [check for check in seen.checks if check.verdict is CheckVerdict.WARN and "`" in (check.remedy or "")]
    amiss = [finding for of_one in (*findings.values(), of_host) for finding in of_one if finding.ok is False]
    todo = [
        *(check.remedy for check in failed),
        *(finding.next for finding in amiss),
        *(check.remedy for check in warned),
    ]
    text = next(filter(None, todo), None)
    if text is None:
        return "nothing to do"
    until_command = re.match(r"[^`]*`[^`]*`", text)
    if until_command is not None:
        return until_command[0]
    return f"{text}; then `ibgw verify --stack {stack} --gateway {report.gateways[0].gateway}`"


def debugging(evidence: Evidence) -> Observation:
    """By name: what is in them is not looked at."""
    if not evidence.debugging:
        return Observation("debugging", True, "no log or trace of the engine's in sight")
    names = shlex.join(str(path) for path in evidence.debugging)
    return Observation(
        "debugging", False, f"may hold credentials in plain text, left by debugging Pulumi's engine: {names}",
        f"`rm -- {names}`",
    )  # fmt: skip


Topic = Callable[[Evidence], Observation]
TOPICS: tuple[Topic, ...] = (
    container, authentication, lockout, port, firewall, settings, second_factor, schedule, time_zone,
    debugging,
)  # fmt: skip


def collect(docker: DockerHost, deployment: Deployment, report: GatewayReport) -> Evidence:
    """Reads what Docker knows of one gateway. Raises IbgwError (could not run) when it fails."""
    gateway = deployment.gateways[report.gateway]
    with docker_errors(
        f"Container {gateway.container.name} on {deployment.docker_host}", "check the daemon (`docker info`)"
    ):
        now = docker.now()
        inspected = docker.inspect(Kind.CONTAINER, gateway.container.name)
        left = tuple(engine_debugging.files(os.environ))
        if inspected is None:
            return Evidence(deployment, gateway, report, now, None, debugging=left)
        return Evidence(
            deployment,
            gateway,
            report,
            now,
            status=inspected["State"]["Status"],
            restarts=inspected["RestartCount"],
            attempts=guard_attempts(docker, gateway),
            locked_until=_locked_until(docker.log(gateway.container.name, timestamps=True, tail=2000)),
            jts_zone=_jts_zone(docker, gateway),
            told=status_of(docker, gateway) if inspected["State"]["Running"] else None,
            debugging=left,
        )


def _locked_until(lines: list[str]) -> datetime | None:
    """The end of the last lock that no login has followed."""
    until: datetime | None = None
    for raw in lines:
        stamp, _, text = raw.partition(" ")
        reading = logs.read([text])
        if reading.state is logs.LoginState.LOCKED_OUT and reading.retry_after is not None:
            until = moment(stamp) + timedelta(seconds=reading.retry_after)
        elif reading.state is logs.LoginState.LOGGED_IN:
            until = None
    return until


def _jts_zone(docker: DockerHost, gateway: Gateway) -> str | None:
    """`TimeZone=` of jts.ini, "" where it is not set, None without the file."""
    text = docker.read_file(gateway.container.name, f"{SETTINGS_PATH}/jts.ini")
    if text is None:
        return None
    return next((line.partition("=")[2].strip() for line in text.splitlines() if line.startswith("TimeZone=")), "")


_MARKS = {True: "ok", False: "LOOK", None: "?"}


def render(name: str, findings: list[Observation]) -> str:
    """For people: a line a topic, and what to do under those that need it."""
    width = max(len(finding.topic) for finding in findings)
    lines = [name]
    for finding in findings:
        lines.append(f"  {_MARKS[finding.ok]:<4}  {finding.topic:<{width}}  {finding.found}")
        if not finding.ok and finding.next:
            lines.append(f"  {'':<4}  {'':<{width}}  -> {finding.next}")
    return "\n".join(map(clean, lines))
