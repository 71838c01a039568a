"""The one way in which a command that acts on a Docker host learns what a stack is: by its state, and where the cloud
refuses that, by what the last update left here and the Docker host shows.

Not for what changes what is deployed: plan, update, rollout, promotion and repair need the state itself.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from deployment.description import Container, Deployment, Gateway
from deployment.docker_address import command_line
from deployment.errors import IbgwError, words
from deployment.kept import keep
from deployment.names import Label, Names, Role
from deployment.paths import find_project, kept_file, project_folder
from deployment.tables import Kind
from operations.stack import SECONDS, Stack, StateUnreadableError, parse_contract

if TYPE_CHECKING:
    from healthcheck.docker_host import DockerHost, Inspected


@dataclass(frozen=True)
class Described:
    """`note`: where the description is from and what it cannot tell, if it is not the state's."""

    deployment: Deployment
    note: str | None = None


def described(stack: str) -> Described:
    """Raises IbgwError: what the state's backend says of the stack, or, where it refuses and nothing is kept here,
    both; and where the Docker host does not answer."""
    # Pulumi's process takes a while, and whoever asks goes on to ask Docker: what that needs is loaded meanwhile.
    threading.Thread(target=import_module, args=("healthcheck.docker_host",), name="load", daemon=True).start()
    try:
        deployment = Stack(stack).deployment(seconds=SECONDS)
    except StateUnreadableError as error:
        return _by_the_host(stack, error)
    project = find_project()
    if project is None:
        return Described(deployment)
    try:
        keep(deployment, project)
    except OSError as error:
        path = kept_file(project, stack)
        return Described(
            deployment, f"{path} cannot be written ({error.strerror}): without the cloud it would be missed"
        )
    return Described(deployment)


def _by_the_host(stack: str, refusal: StateUnreadableError) -> Described:
    from healthcheck.docker_host import DockerHost, docker_errors

    path = kept_file(project_folder(), stack)
    kept = _read(path, stack, refusal)
    with (
        DockerHost(kept.docker_host) as docker,
        docker_errors(f"Docker host {kept.docker_host}", "check the daemon and run the same again"),
    ):
        deployment, differences = _as_the_host_has_it(docker, kept)
    at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    differs = "; ".join(differences) or f"all its gateways are there under their ids on {kept.docker_host}"
    return Described(
        deployment,
        f"{str(refusal).rstrip('.')}. Going by the description of {at:%Y-%m-%d %H:%M} UTC in {path.name}, which the "
        f"last update or a later look left here: {differs}. Not known: what was configured or deployed elsewhere since "
        "then, whether an update runs now, and what the secrets hold.",
    )


def _read(path: Path, stack: str, refusal: StateUnreadableError) -> Deployment:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise IbgwError(
            f"{refusal} Nor is a description of {stack} kept here ({path}), which an update from this folder leaves. "
            f"{_by_hand(stack)}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise IbgwError(f"{refusal} Nor can {path} be read ({words(error)}).") from None
    try:
        deployment = parse_contract(text, str(path))
    except IbgwError as error:
        raise IbgwError(f"{refusal} {error}") from None
    if deployment.stack != stack:
        raise IbgwError(f"{refusal} {path} is of stack {deployment.stack!r}, and not of {stack!r}.")
    return deployment


def _by_hand(stack: str) -> str:
    """What still works where nothing tells what the stack is: Docker's own commands, by the labels on its host."""
    from healthcheck.docker_host import DockerHost, docker_errors

    labels = {str(Label.STACK): stack, str(Label.ROLE): Role.GATEWAY.value}
    try:
        url = Stack(stack).docker_host()
        with DockerHost(url) as docker, docker_errors(f"Docker host {url}", "run the same again"):
            names = sorted(found["Names"][0].lstrip("/") for found in docker.find(Kind.CONTAINER, labels))
    except IbgwError as error:
        listed = f"`docker ps --filter label={Label.STACK}={stack}`"
        return f"On the Docker host, {listed} shows its containers, and `docker stop` ends one. From here: {error}"
    if not names:
        return f"No gateway on {url} carries its label."
    client, all_names = command_line(url), " ".join(names)
    return (
        f"By their label its gateways on {url} are {', '.join(names)}: `{client} stop {all_names}` ends them, each "
        f"with its time to log out, `{client} start {all_names}` has them log in again, and `{client} logs {names[0]}` "
        "tells what one said."
    )


def _as_the_host_has_it(docker: "DockerHost", kept: Deployment) -> tuple[Deployment, list[str]]:
    """With the ids that the containers have now, and what is otherwise than described. Raises DockerError.

    A container is the stack's by its name and its labels together: a name is one on its host, and a label anybody's.
    """
    ours = {
        Label.PREFIX: kept.name_prefix,
        Label.PROJECT: kept.project,
        Label.STACK: kept.stack,
        Label.ROLE: Role.GATEWAY.value,
    }
    labelled: dict[str, Inspected] = {
        container["Labels"].get(Label.GATEWAY, ""): container
        for container in docker.find(Kind.CONTAINER, {str(key): value for key, value in ours.items()})
        if f"/{Names(kept.name_prefix, kept.stack).gateway(container['Labels'].get(Label.GATEWAY, ''))}"
        in container["Names"]
    }
    gateways = {
        name: gateway
        if name not in labelled
        else gateway.model_copy(update={"container": Container(name=gateway.container.name, id=labelled[name]["Id"])})
        for name, gateway in kept.gateways.items()
    }
    return kept.model_copy(update={"gateways": gateways}), list(
        _differences(kept.gateways, labelled, command_line(kept.docker_host))
    )


def _differences(kept: dict[str, Gateway], labelled: "dict[str, Inspected]", docker: str) -> Iterator[str]:
    """`docker`: its command line, for the host."""
    for name, gateway in kept.items():
        if name not in labelled:
            yield f"{name}: no container of this stack has its name"
        elif labelled[name]["Id"] != gateway.container.id:
            yield (
                f"{name}: its container was made anew since, so that its image, secret, accounts and schedule may be "
                "others than described"
            )
    for name in sorted(set(labelled) - set(kept)):
        yield (
            f"{name}: runs on the host and is not described, so that nothing here reaches it "
            f"(`{docker} stop {labelled[name]['Names'][0].lstrip('/')}` does)"
        )
