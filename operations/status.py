"""`ibgw status`: all gateways of a stack at a glance, as they are now."""

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from deployment.description import Deployment, Gateway, SecondFactor
from deployment.errors import ExitCode
from deployment.tables import Kind
from healthcheck.automation.status import Status
from healthcheck.docker_host import DockerHost, Inspected, docker_errors, moment
from healthcheck.inside import Answered, ask, ask_beside, on_networks_of, running_prober
from healthcheck.observation import Attempt, CheckName, timestamp
from healthcheck.redact import Redactor
from healthcheck.report import CheckResult, GatewayReport, Model, Report, Vantage, gateway_report, red
from healthcheck.schedule import next_planned, weekly_login
from healthcheck.text import clean
from healthcheck.verdict import EXIT_CODES, CheckVerdict
from operations.answers import Answer, Moment
from operations.formats import columns

CHECKS = (CheckName.CONNECTED, CheckName.AUTHENTICATED)
"""What a glance asks of the API."""


@dataclass(frozen=True)
class Row:
    """One gateway. Times in UTC; `since`: when its container started."""

    gateway: str
    state: str
    since: Moment | None
    accounts: str
    latency_ms: int | None
    restarts: int | None
    image: str
    planned: str
    last_planned: str
    """The last planned restart or logoff: when it was due, and whether it took place."""

    note: str | None = None
    """What a person should know beside it."""

    weekly_login: Moment | None = None
    """The next one (session.coldRestart), which asks for a second factor where the user has one."""

    def cells(self, now: datetime) -> tuple[str, ...]:
        cells = (
            self.gateway,
            self.state,
            age(now - self.since) if self.since is not None else "-",
            self.accounts or "-",
            f"{self.latency_ms} ms" if self.latency_ms is not None else "-",
            str(self.restarts) if self.restarts is not None else "-",
            self.image,
            self.planned or "-",
            self.last_planned or "-",
        )
        return tuple(map(clean, cells))


class StackStatus(Model):
    """One stack. `description`: where what is known of it comes from, if not from its state. `error`: why nothing is
    known. `by_prober`: the gateways that were asked beside the stack's prober."""

    stack: str
    exit_code: int
    description: str | None = None
    error: str | None = None
    by_prober: tuple[str, ...] = ()
    gateways: tuple[Row, ...] = ()

    @property
    def asker(self) -> str | None:
        """In words, where it was the prober's place for any."""
        if not self.by_prober:
            return None
        names = "" if len(self.by_prober) == len(self.gateways) else f": {', '.join(self.by_prober)}"
        return f"asked beside the prober{names}"


class StatusAnswer(Answer):
    """`exit_code`: the worst of the stacks'."""

    exit_code: int
    stacks: tuple[StackStatus, ...]

    @classmethod
    def of(cls, stacks: Sequence[StackStatus]) -> "StatusAnswer":
        worst_first = list(EXIT_CODES.values())
        codes = [stack.exit_code for stack in stacks] or [ExitCode.OK]
        worst = min(codes, key=lambda code: worst_first.index(ExitCode(code)) if code in worst_first else -1)
        return cls(exit_code=worst, stacks=tuple(stacks))

    def former_json(self) -> list[dict[str, Any]]:
        """As version 0.2 printed it."""
        told = self.model_dump(mode="json")["stacks"]
        return [row | {"description": stack["description"]} for stack in told for row in stack["gateways"]]


DISPENSABLE = ("image", "last planned", "restarts", "latency", "next planned", "account")
"""Columns that go first where a terminal has no room for all."""

HEADINGS = ("gateway", "state", "since", "account", "latency", "restarts", "image", "next planned", "last planned")


AT_ONCE = 16
"""Gateways that are asked at a time: for each, Docker starts a process."""


def looked(docker: DockerHost, deployment: Deployment) -> StackStatus:
    """The gateways as they answer now. Those that do not answer as a login in order does are left to a verifier, which
    tells why. Raises IbgwError (could not run) when Docker fails."""
    began = time.monotonic()
    gateways = [gateway for _, gateway in sorted(deployment.gateways.items())]
    todo = "check the daemon and run the same again"
    with (
        docker_errors(f"Docker host {deployment.docker_host}", todo),
        ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="ask") as pool,
    ):
        containers = list(pool.map(lambda gateway: docker.inspect(Kind.CONTAINER, gateway.container.name), gateways))
        prober = running_prober(docker, deployment)
        well = {gateway.name for gateway, found in zip(gateways, containers, strict=True) if _answering(gateway, found)}
        beside = [gateway for gateway in gateways if gateway.name in well and on_networks_of(prober, gateway)]
        by_prober = ask_beside(docker, prober["Id"], beside) if prober is not None and beside else {}

        def asked(gateway: Gateway, container: Inspected | None) -> Answered | None:
            if gateway.name in by_prober:
                return by_prober[gateway.name]
            return ask(docker, container["Id"], gateway) if container is not None and gateway.name in well else None

        answers = list(pool.map(asked, gateways, containers))
    seen = list(zip(gateways, containers, answers, strict=True))
    reports = {
        gateway.name: _report(deployment, gateway, answer, time.monotonic() - began)
        for gateway, _, answer in seen
        if answer is not None
    }
    if unanswered := [gateway.name for gateway in gateways if gateway.name not in reports]:
        from healthcheck.runner import look

        report = look(deployment, gateways=unanswered, wait=0, checks=CHECKS, progress=lambda _: None)
        reports |= {one.gateway: one for one in report.gateways}
    now = datetime.now(UTC)
    rows = []
    for gateway, container, answer in seen:
        told = answer.status if answer is not None else None
        if answer is None and container is not None and container["State"]["Running"]:
            from healthcheck.gateway_container import status_of

            with docker_errors(f"Container {gateway.container.name} on {deployment.docker_host}", todo):
                told = status_of(docker, gateway)
        rows.append(row_of(gateway, reports[gateway.name], container, told, now))
    return StackStatus(
        stack=deployment.stack,
        exit_code=Report.of(deployment.stack, reports.values()).exit_code,
        by_prober=tuple(by_prober),
        gateways=tuple(rows),
    )


def _answering(gateway: Gateway, container: Inspected | None) -> bool:
    """Whether Docker's own probe gets an answer, and somebody can reach the gateway: else asking is no use."""
    if container is None or container["State"].get("Health", {}).get("Status") != "healthy":
        return False
    return not container["State"]["Paused"] and gateway.api.network in container["NetworkSettings"]["Networks"]


def _report(deployment: Deployment, gateway: Gateway, answer: Answered, seconds: float) -> GatewayReport:
    took = round(seconds * 1000)
    return gateway_report(
        gateway,
        deployment.stack,
        Attempt(
            gateway.name, timestamp(datetime.now(UTC)), waited_ms=0, duration_ms=took, last=True, checks=answer.checks
        ),
        waited=False,
        took_ms=took,
        vantage=Vantage(api=True, docker=True),
        asked=CHECKS,
        docker_host=deployment.docker_host,
        redactor=Redactor(accounts=gateway.expected_accounts),
    )


def table(stacks: Sequence[StackStatus], now: datetime, width: int | None = None) -> str:
    """In columns, as many as `width` takes (None: all), and the notes below. Of several stacks each gateway has its
    stack's name too."""
    shown = [
        row if len(stacks) == 1 else replace(row, gateway=f"{stack.stack}/{row.gateway}")
        for stack in stacks
        for row in stack.gateways
    ]
    return "\n".join(
        [
            columns(HEADINGS, [row.cells(now) for row in shown], width=width, dispensable=DISPENSABLE),
            *(clean(f"{row.gateway}: {row.note}") for row in shown if row.note),
            *(clean(f"{stack.stack}: {told}") for stack in stacks for told in (stack.error, stack.asker) if told),
        ]
    )


def age(length: timedelta) -> str:
    """Two units at most: `3d 4h`, `12m 5s`."""
    seconds = max(0, int(length.total_seconds()))
    units = [(seconds // 86_400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    first = next((at for at, (count, _) in enumerate(units) if count), len(units) - 1)
    return " ".join(f"{count}{unit}" for count, unit in units[first : first + 2])


def last_planned(status: Status | None, gateway: Gateway) -> str:
    """Empty where none was due yet, or nobody knows."""
    if status is None or status.due is None:
        return ""
    due = status.due.astimezone(ZoneInfo(gateway.schedule.time_zone))
    came = "missed" if status.done is None else f"done after {age(status.done - status.due)}"
    return f"{due:%a %H:%M} {status.event.replace('_', ' ')}: {came}"


def row_of(
    gateway: Gateway, report: GatewayReport, inspected: Inspected | None, told: Status | None, now: datetime
) -> Row:
    """`report`: of a look of just now; `inspected`: its container; `told`: what its first process tells."""
    planned, weekly = next_planned(gateway.schedule, now), weekly_login(gateway.schedule, now)
    container = inspected or {}
    running = container.get("State", {}).get("Running", False)
    connected = _check(report.checks, CheckName.CONNECTED)
    authenticated = _check(report.checks, CheckName.AUTHENTICATED)
    accounts = authenticated.data.get("accounts") if authenticated else None
    latency = connected.data.get("latency_ms") if connected else None
    return Row(
        gateway=gateway.name,
        state=_state(report.checks),
        since=moment(container["State"]["StartedAt"]).astimezone(UTC) if running else None,
        accounts=", ".join(map(str, accounts)) if isinstance(accounts, list) else "",
        latency_ms=latency if isinstance(latency, int) else None,
        restarts=container.get("RestartCount"),
        image=_image(gateway),
        planned=f"{planned.at:%a %H:%M} {gateway.schedule.time_zone} {planned.event}" if planned else "",
        last_planned=last_planned(told, gateway),
        note="; ".join(filter(None, (report.note, weekly and _approval(gateway, weekly[1])))) or None,
        weekly_login=weekly and weekly[1].astimezone(UTC),
    )


def _approval(gateway: Gateway, coming: datetime) -> str | None:
    """Of a weekly login, for which somebody has to have the phone at hand."""
    if gateway.second_factor is not SecondFactor.PUSH:
        return None
    return f"the weekly login, to be approved on the phone, comes on {coming:%a %Y-%m-%d %H:%M %Z}"


def _state(checks: Sequence[CheckResult]) -> str:
    """`logged in`, or the reason why not."""
    failing = red(checks)
    if failing:
        return failing[0].reason or "failed"
    passed = _check(checks, CheckName.AUTHENTICATED)
    return "logged in" if passed is not None and passed.verdict is CheckVerdict.PASS else "unknown"


def _check(checks: Iterable[CheckResult], name: CheckName) -> CheckResult | None:
    return next((check for check in checks if check.name is name), None)


def _image(gateway: Gateway) -> str:
    """The tag, if the reference has one, and the beginning of the digest."""
    _, _, tag = gateway.image.reference.rpartition("/")[2].partition("@")[0].partition(":")
    digest = gateway.image.digest.removeprefix("sha256:")[:12]
    return f"{tag} {digest}" if tag else digest
