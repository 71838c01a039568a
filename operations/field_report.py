"""`ibgw field-report`: what a deployment has lived through, to be shown to strangers.

Every field is a number, a time, a version, a digest or one of our own words, so that nothing of an account, a user, a
host or a name can be in it: gateways are numbers, and no line of a log is repeated.
"""

import platform
import re
import subprocess
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from deployment import VERSION
from deployment.description import Deployment, Gateway, Mode
from deployment.tables import Kind
from healthcheck import logs
from healthcheck.automation.status import Status, Word
from healthcheck.docker_host import DockerHost, Inspected, docker_errors, moment
from healthcheck.gateway_container import status_of
from healthcheck.observation import CheckName
from healthcheck.reasons import Reason
from healthcheck.report import Model, Report
from healthcheck.verdict import CheckVerdict
from infra.spec import SETTINGS_PATH
from operations.answers import Answer, Moment
from operations.lifecycle import HISTORY_FILE

LINES = 20_000
"""Of a gateway's log."""

EVENTS = 1000
"""The last of what the log says of the login."""

REMEMBERED = {"history": HISTORY_FILE, "heals": "guard/heals"}
"""What the gateway's first process remembers of its starts, and of what it healed."""

_VERSION = re.compile(r"v?[0-9]+\.[0-9]+[0-9A-Za-z.+~-]{0,30}")


def _version(text: object) -> str | None:
    found = _VERSION.fullmatch(str(text or "").strip())
    return found and found[0]


Version = Annotated[str | None, BeforeValidator(_version)]
"""None where there is none, or it is of an unknown form."""


class Versions(Model):
    ibgw: Version
    python: Version
    pulumi: Version
    docker: Version


class Event(Model):
    at: Moment
    what: Word


class Check(Model):
    """Of the last report that was kept here, without what was seen."""

    name: CheckName
    verdict: CheckVerdict
    reason: Reason | None
    duration_ms: int


class GatewayLife(Model):
    """Of one gateway. `status`, `exit_code`, `restarts`: Docker's. `logins`: what its log says of the login, each state
    when it began. `reported`: when `checks` were made."""

    number: int
    image_digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    status: Word | None = None
    created: Moment | None = None
    started: Moment | None = None
    ended: Moment | None = None
    exit_code: int | None = None
    restarts: int | None = None
    out_of_memory: bool | None = None
    now: Status | None = None
    history: tuple[Event, ...] = ()
    heals: tuple[Event, ...] = ()
    logins: tuple[Event, ...] = ()
    reported: Moment | None = None
    checks: tuple[Check, ...] = ()


class FieldReport(Answer):
    made: Moment
    mode: Mode
    versions: Versions
    gateways: tuple[GatewayLife, ...]


def collect(docker: DockerHost, deployment: Deployment, report: Report | None) -> FieldReport:
    """`report`: the last that was kept. Raises IbgwError (could not run) when Docker fails."""
    with docker_errors(f"Docker host {deployment.docker_host}", "check the daemon (`docker info`)"):
        return FieldReport(
            made=datetime.now(UTC),
            mode=deployment.mode,
            versions=Versions(
                ibgw=VERSION,
                python=platform.python_version(),
                pulumi=_pulumi(),
                docker=docker.info().get("ServerVersion"),
            ),
            gateways=tuple(
                _life(docker, number, gateway, report)
                for number, gateway in enumerate(deployment.gateways.values(), start=1)
            ),
        )


def last_report(path: Path) -> Report | None:
    """None where none is kept, or it is another version's."""
    try:
        return Report.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None


def _pulumi() -> str | None:
    try:
        return subprocess.run(["pulumi", "version"], capture_output=True, text=True, check=False, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None


def _life(docker: DockerHost, number: int, gateway: Gateway, report: Report | None) -> GatewayLife:
    inspected = docker.inspect(Kind.CONTAINER, gateway.container.name)
    known: dict[str, Any] = {"number": number, "image_digest": gateway.image.digest, **_checks(gateway, report)}
    if inspected is None:
        return GatewayLife(**known)
    for name, file in REMEMBERED.items():
        text = docker.read_file(gateway.container.name, f"{SETTINGS_PATH}/{file}") or ""
        known[name] = tuple(_remembered(text.splitlines()))
    said = docker.log(gateway.container.name, timestamps=True, tail=LINES)
    return GatewayLife(
        **known,
        **_docker(inspected),
        now=status_of(docker, gateway) if inspected["State"]["Running"] else None,
        logins=tuple(_said(said))[-EVENTS:],
    )


def _docker(inspected: Inspected) -> dict[str, Any]:
    state = inspected["State"]
    return {
        "status": state["Status"],
        "created": _at(inspected["Created"]),
        "started": _at(state["StartedAt"]),
        "ended": _at(state["FinishedAt"]),
        "exit_code": state["ExitCode"],
        "restarts": inspected["RestartCount"],
        "out_of_memory": state["OOMKilled"],
    }


def _at(text: str) -> datetime | None:
    """Docker's year 1 is never."""
    at = moment(text)
    return at if at.year > 1 else None


def _remembered(lines: Iterable[str]) -> Iterator[Event]:
    """Lines of seconds since the epoch and a word."""
    for line in lines:
        if found := re.fullmatch(r"(\d{1,10}) ([a-z_]{1,40})", line):
            yield Event(at=datetime.fromtimestamp(int(found[1]), UTC), what=found[2])


def _said(lines: Iterable[str]) -> Iterator[Event]:
    told = ((stamp, logs.classify(text)) for stamp, _, text in (line.partition(" ") for line in lines))
    known = ((stamp, state) for stamp, state in told if state is not None)
    for state, run in groupby(known, key=lambda pair: pair[1]):
        yield Event(at=moment(next(run)[0]), what=state.value)


def _checks(gateway: Gateway, report: Report | None) -> dict[str, Any]:
    found = next((one for one in report.gateways if one.gateway == gateway.name), None) if report else None
    if found is None:
        return {}
    checks = (
        Check(name=check.name, verdict=check.verdict, reason=check.reason, duration_ms=check.duration_ms)
        for check in found.checks
    )
    return {"reported": datetime.fromisoformat(found.started_at), "checks": tuple(checks)}
