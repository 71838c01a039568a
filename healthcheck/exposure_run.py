"""Asks the verifier's image what is open under gateways: a container for each, on its api network."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from deployment.description import Deployment, Gateway
from deployment.tables import Kind
from healthcheck.docker_host import DockerError, DockerHost
from healthcheck.exposure import COMMAND, Exposure
from healthcheck.janitor import janitor
from healthcheck.redact import Redactor
from healthcheck.verifier_container import remove, start

SECONDS = 45
"""How long a verifier's container may take to tell."""

AT_A_TIME = 16
"""Docker is slow at starting containers."""


def exposures(docker: DockerHost, deployment: Deployment, gateways: Sequence[Gateway]) -> list[Exposure]:
    """What is open under each gateway, all asked at once; a janitor removes what a kill leaves. Raises nothing that
    Docker or a verifier fails with."""
    with (
        janitor(deployment.docker_host),
        ThreadPoolExecutor(max_workers=AT_A_TIME, thread_name_prefix="exposure") as pool,
    ):
        return list(pool.map(lambda gateway: _of(docker, deployment, gateway), gateways))


def _of(docker: DockerHost, deployment: Deployment, gateway: Gateway) -> Exposure:
    def unread(why: str) -> Exposure:
        return Exposure(gateway=gateway.name, unread=Redactor().text(why))

    try:
        container = docker.inspect(Kind.CONTAINER, gateway.container.name)
        if container is None or container["State"]["Status"] != "running":
            return unread("its container does not run")
        return _asked(docker, deployment, gateway)
    except DockerError as error:
        return unread(f"Docker: {error}")


def _asked(docker: DockerHost, deployment: Deployment, gateway: Gateway) -> Exposure:
    command = [COMMAND, "--gateway-json", gateway.model_dump_json()]
    container = start(docker, deployment, [gateway.api.network], command, gateway.name)
    try:
        docker.wait(container, timeout=SECONDS)
        told = docker.log(container, only="stdout")
    finally:
        remove(docker, container, at_once=True)
    for line in told:
        try:
            return Exposure.model_validate(json.loads(line))
        except ValueError:
            continue
    why = "the verifier that this stack was deployed with told nothing; one of an earlier version cannot be asked that"
    return Exposure(gateway=gateway.name, unread=why)
