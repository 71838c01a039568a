"""What the Docker host holds of one stack, found by our labels. Only reads.

Keys are those of the Docker Engine API 1.41 (container, network and volume objects).
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import docker
import docker.errors

from deployment.names import MANAGED_BY, Label
from healthcheck.gateway_container import stop_grace
from operations.repair.state import Kind, Recorded


@dataclass(frozen=True)
class Scope:
    """Whose objects: the labels that all of a stack's objects carry."""

    prefix: str
    project: str
    stack: str

    @property
    def filters(self) -> dict[str, list[str]]:
        wanted = {
            Label.MANAGED_BY: MANAGED_BY,
            Label.PREFIX: self.prefix,
            Label.PROJECT: self.project,
            Label.STACK: self.stack,
        }
        return {"label": [f"{key}={value}" for key, value in wanted.items()]}


@dataclass(frozen=True)
class Guest:
    """A container on a network, whosever it is."""

    id: str
    name: str


@dataclass(frozen=True)
class Found:
    """One object on the Docker host. A volume's id is its name. `role` and `gateway` are from its labels.

    Of a container: `running`, `exit_code` (None while it runs), `grace` (seconds to stop), `networks` (id to name).
    Of a network: `guests`, the containers attached to it, stopped ones included.
    """

    kind: Kind
    id: str
    name: str
    role: str
    gateway: str | None = None
    running: bool = False
    exit_code: int | None = None
    grace: int = 0
    networks: Mapping[str, str] | None = None
    guests: tuple[Guest, ...] = ()


@dataclass(frozen=True)
class Inventory:
    """`missing`: URNs of recorded objects that the host does not have."""

    found: tuple[Found, ...]
    missing: frozenset[str]


def take_inventory(client: docker.DockerClient, scope: Scope, recorded: Iterable[Recorded]) -> Inventory:
    """Reads the host. A recorded object counts as missing only on Docker's own word (404), never on an error."""
    api = client.api
    containers = list(_inspect_all(client, [entry["Id"] for entry in api.containers(all=True, filters=scope.filters)]))
    networks = api.networks(filters=scope.filters)
    volumes = api.volumes(filters=scope.filters)["Volumes"] or []
    found = (
        *(_container(entry) for entry in containers),
        *(_network(entry, api.containers(all=True, filters={"network": entry["Id"]})) for entry in networks),
        *(_volume(entry) for entry in volumes),
    )
    present = {(thing.kind, thing.id) for thing in found}
    missing = (thing.urn for thing in recorded if (thing.kind, thing.id) not in present and not _exists(client, thing))
    return Inventory(found=found, missing=frozenset(missing))


def _inspect_all(client: docker.DockerClient, ids: Iterable[str]) -> Iterator[dict[str, Any]]:
    for container in ids:
        # Verification's containers come and go between the list and the look.
        with contextlib.suppress(docker.errors.NotFound):
            yield client.api.inspect_container(container)


def _exists(client: docker.DockerClient, thing: Recorded) -> bool:
    try:
        match thing.kind:
            case Kind.CONTAINER:
                client.api.inspect_container(thing.id)
            case Kind.NETWORK:
                client.api.inspect_network(thing.id)
            case Kind.VOLUME:
                client.api.inspect_volume(thing.id)
    except docker.errors.NotFound:
        return False
    return True


def _container(entry: Mapping[str, Any]) -> Found:
    labels, state = entry["Config"]["Labels"], entry["State"]
    return Found(
        kind=Kind.CONTAINER,
        id=entry["Id"],
        name=entry["Name"].lstrip("/"),
        role=labels.get(Label.ROLE, ""),
        gateway=labels.get(Label.GATEWAY),
        running=bool(state["Running"]),
        exit_code=None if state["Running"] else int(state["ExitCode"]),
        grace=stop_grace(entry),
        networks={end["NetworkID"]: name for name, end in entry["NetworkSettings"]["Networks"].items()},
    )


def _network(entry: Mapping[str, Any], attached: Iterable[Mapping[str, Any]]) -> Found:
    return Found(
        kind=Kind.NETWORK,
        id=entry["Id"],
        name=entry["Name"],
        role=entry["Labels"].get(Label.ROLE, ""),
        gateway=entry["Labels"].get(Label.GATEWAY),
        guests=tuple(Guest(guest["Id"], guest["Names"][0].lstrip("/")) for guest in attached),
    )


def _volume(entry: Mapping[str, Any]) -> Found:
    return Found(
        kind=Kind.VOLUME,
        id=entry["Name"],
        name=entry["Name"],
        role=entry["Labels"].get(Label.ROLE, ""),
        gateway=entry["Labels"].get(Label.GATEWAY),
    )
