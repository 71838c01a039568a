"""Before an update touches a gateway: whether Docker takes the container that the gateway is to have.

The old container goes before its successor comes, so a setting that Docker refuses would cost a gateway that runs.
A container with the same arguments is created under another name, never started, and removed. It has no network, no
volume and no file, and so neither a secret nor anything that could log in or be reached.
"""

import asyncio
from contextlib import suppress

from deployment.errors import ExitCode, IbgwError
from deployment.names import Role, labels
from deployment.parts import ContainerSpec
from deployment.properties import asked_of_docker, is_as_asked
from deployment.tables import CONTAINER, Kind
from healthcheck.docker_host import DockerError, DockerHost, NotFound, docker_errors
from healthcheck.redact import Redactor
from infra.failure import failed
from infra.spec import HostSpec, StackSpec
from infra.verification import chosen_gateways


async def pass_trial(stack: StackSpec, host: HostSpec, image_id: str) -> None:
    """Raises RunError, with Docker's words, where it takes one of the containers not."""
    try:
        await asyncio.to_thread(try_out, stack, host, image_id)
    except IbgwError as error:
        raise failed(str(error)) from None


def try_out(stack: StackSpec, host: HostSpec, image_id: str) -> None:
    """Tries the container of each gateway that this update is for, unless it runs as described. Raises IbgwError."""
    chosen = chosen_gateways() or host.gateways
    with (
        DockerHost(host.docker_host) as docker,
        docker_errors(
            f"the gateways' containers could not be tried on {host.docker_host}; no gateway was touched", "try again"
        ),
    ):
        own = labels(
            prefix=stack.names.prefix, project=stack.project, stack=stack.stack, mode=stack.mode, role=Role.TRIAL
        )
        # What an update left that was killed.
        for left in docker.find(Kind.CONTAINER, own):
            _remove(docker, left["Id"])
        for name, gateway in host.gateways.items():
            part = gateway.container
            if name not in chosen:
                continue
            current = docker.inspect(Kind.CONTAINER, part.name)
            if current is None or current["Image"] != image_id or not is_as_asked(CONTAINER, part, current):
                _try(docker, name, stack.names.trial(name), part, image_id, own)


def _try(docker: DockerHost, gateway: str, name: str, part: ContainerSpec, image_id: str, own: dict[str, str]) -> None:
    asked = asked_of_docker(CONTAINER, part)
    # A daemon starts what has a restart policy after its own restart, even what never ran.
    alone = {"NetworkMode": "none", "RestartPolicy": {"Name": "no"}}
    body = {**asked["Config"], "Image": image_id, "Labels": own, "HostConfig": {**asked["HostConfig"], **alone}}
    try:
        made = docker.create_as_asked(name, body)
    except DockerError as error:
        raise IbgwError(
            f"ibgw:gateways.{gateway}: Docker refuses the container that it is to have: "
            f"{Redactor().text(str(error))}; no gateway was touched; change the setting that Docker names",
            exit_code=ExitCode.REFUSED,
        ) from None
    _remove(docker, made)


def _remove(docker: DockerHost, container: str) -> None:
    # Somebody else did.
    with suppress(NotFound):
        docker.remove(container)
