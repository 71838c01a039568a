"""What the Docker host holds of one stack, found by our labels. Only reads.

Keys are those of the Docker Engine API 1.41 (container, network and volume objects).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deployment.names import MANAGED_BY, Label
from deployment.tables import Kind
from healthcheck.docker_host import DockerHost, Inspected
from healthcheck.gateway_container import stop_grace
from operations.repair.state import Recorded


@dataclass(frozen=True)
class Scope:
    """Whose objects: the labels that all of a stack's objects carry."""

    prefix: str
    project: str
    stack: str

    @property
    def labels(self) -> dict[str, str]:
        return {
            Label.MANAGED_BY: MANAGED_BY,
            Label.PREFIX: self.prefix,
            Label.PROJECT: self.project,
            Label.STACK: self.stack,
        }


@dataclass(frozen=True)
class Guest:
    """A container on a network, whosever it is."""

    id: str
    name: str


@dataclass(frozen=True)
class Existing:
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

    objects: tuple[Existing, ...]
    missing: frozenset[str]


def take_inventory(docker: DockerHost, scope: Scope, recorded: Iterable[Recorded]) -> Inventory:
    """Reads the host. A recorded object counts as missing only on Docker's own word (404), never on an error."""
    containers = [docker.inspect(Kind.CONTAINER, entry["Id"]) for entry in docker.find(Kind.CONTAINER, scope.labels)]
    networks = docker.find(Kind.NETWORK, scope.labels)
    objects = (
        # Verification's containers come and go between the list and the look.
        *(_container(entry) for entry in containers if entry is not None),
        *(_network(entry, docker.find(Kind.CONTAINER, network=entry["Id"])) for entry in networks),
        *(_volume(entry) for entry in docker.find(Kind.VOLUME, scope.labels)),
    )
    present = {(existing.kind, existing.id) for existing in objects}
    missing = (
        entry.urn
        for entry in recorded
        if (entry.kind, entry.id) not in present and docker.inspect(entry.kind, entry.id) is None
    )
    return Inventory(objects=objects, missing=frozenset(missing))


def _container(entry: Inspected) -> Existing:
    labels, state = entry["Config"]["Labels"], entry["State"]
    return Existing(
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


def _network(entry: Inspected, attached: Iterable[Inspected]) -> Existing:
    return Existing(
        kind=Kind.NETWORK,
        id=entry["Id"],
        name=entry["Name"],
        role=entry["Labels"].get(Label.ROLE, ""),
        gateway=entry["Labels"].get(Label.GATEWAY),
        guests=tuple(Guest(guest["Id"], guest["Names"][0].lstrip("/")) for guest in attached),
    )


def _volume(entry: Inspected) -> Existing:
    return Existing(
        kind=Kind.VOLUME,
        id=entry["Name"],
        name=entry["Name"],
        role=entry["Labels"].get(Label.ROLE, ""),
        gateway=entry["Labels"].get(Label.GATEWAY),
    )
