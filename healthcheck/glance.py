"""How a gateway is by what Docker and its own first process know of it: at most a minute old, and nobody is asked.

For whoever looks again and again. A verification asks the API itself.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from deployment.description import Deployment, Gateway
from healthcheck.attachments import Attachments
from healthcheck.automation import launcher
from healthcheck.automation.status import Status
from healthcheck.docker_host import DockerHost
from healthcheck.explain import explained
from healthcheck.gateway_container import GatewayContainer, Obstacle
from healthcheck.observation import UNTIL, CheckName, CheckObservation, Observation
from healthcheck.reasons import EXPLANATIONS, Reason
from healthcheck.verdict import heals


@dataclass(frozen=True)
class Glance:
    """`check`: of the login, without a reason where it is logged in. `started`: when its container did, if it runs.
    `until`: when what it waits for ends, or should be over."""

    check: CheckObservation
    started: datetime | None
    until: datetime | None


def glance(docker: DockerHost, deployment: Deployment, gateway: Gateway) -> Glance:
    """Raises DockerError."""
    attachments = Attachments(docker, [gateway.api.network], deployment.egress_network)
    container = GatewayContainer(docker, gateway, deployment.egress_network, attachments)
    obstacle = container.obstacle()
    if obstacle is not None:
        return Glance(_of(obstacle), None, None)
    now, told = docker.now(), container.status()
    if container.healthy if told is None else told.api == "ok":
        return Glance(Observation("logged in").by(CheckName.AUTHENTICATED), container.started, None)
    word = f"its own probe says {told.api}" if told is not None else "its probe fails"
    reading = container.reading()
    if launcher.needed(reading):
        reading = launcher.joined(reading, container.witness())
    [check] = explained(
        [Observation(word, Reason.NOT_LOGGED_IN).by(CheckName.AUTHENTICATED)],
        reading,
        gateway,
        now,
        status=told,
        quiet=container.quiet(now),
    )
    return Glance(check, container.started, _until(check, told, container.started))


def _of(obstacle: Obstacle) -> CheckObservation:
    seen = Observation(obstacle.seen, obstacle.reason, because=obstacle.because, retry=obstacle.retry)
    return seen.by(CheckName.AUTHENTICATED)


def _until(check: CheckObservation, told: Status | None, started: datetime | None) -> datetime | None:
    """As the gateway says; else by how long what it waits for may take."""
    ends = check.data.get(UNTIL)
    if isinstance(ends, str):
        return datetime.fromisoformat(ends)
    if check.reason is None or not heals(check):
        return None
    pending = told.factor if told is not None and check.reason is Reason.SECOND_FACTOR_PENDING else None
    since = pending or (told.since if told is not None else None) or started
    return since + timedelta(seconds=EXPLANATIONS[check.reason].patience) if since is not None else None
