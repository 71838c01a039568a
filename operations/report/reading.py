"""What a stack's watcher kept, asked from it through Docker."""

import json
from datetime import UTC, datetime

from pydantic import ValidationError

from deployment.description import Deployment
from deployment.errors import IbgwError
from healthcheck.docker_host import DockerHost, docker_errors
from healthcheck.monitoring.history import END, Hour
from infra.trading import in_words
from operations.forward import monitoring_of, require_watching
from operations.report.facts import StackFacts, facts
from operations.stack import Stack

TELLS = ("python3", "-m", "healthcheck.monitoring.history", "--since")


def kept(docker: DockerHost, deployment: Deployment, since: float) -> list[Hour | None]:
    """The hours from then on; None for one that cannot be read.

    Raises IbgwError, REFUSED where nothing watches the stack."""
    watcher = monitoring_of(deployment).watcher
    require_watching(docker, deployment, watcher)
    with docker_errors(f"Container {watcher.name} on {docker.url}", "try again"):
        text = docker.run(watcher.id, (*TELLS, f"{since:.0f}"))
    lines = text.splitlines()
    if not lines or lines[-1] != json.dumps(END):
        raise IbgwError(
            f"The watcher {watcher.name} did not say what it saw. Try again; an update puts a watcher of this version "
            f"there: `pulumi up --stack {deployment.stack}`, which touches no gateway."
        )
    return [_hour(line) for line in lines[:-1]]


def _hour(line: str) -> Hour | None:
    try:
        return Hour.model_validate_json(line)
    except (ValidationError, ValueError):
        return None


def look(docker: DockerHost, deployment: Deployment, seconds: float) -> StackFacts:
    """How the stack fared in so many seconds. Raises IbgwError."""
    now = datetime.now(UTC).timestamp()
    since = now - seconds
    hours = kept(docker, deployment, since)
    try:
        trading = Stack(deployment.stack).trading_hours()
    except IbgwError as error:
        return facts(deployment.stack, hours, since=since, now=now, trading=None, told=str(error))
    days = ", ".join(trading.days)
    return facts(deployment.stack, hours, since=since, now=now, trading=trading, told=f"{in_words(trading)}, {days}")
