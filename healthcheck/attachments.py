"""Who is attached to the gateways' networks, and who was while nobody looked, from Docker's events."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Generic, TypeVar

from deployment.names import Label, Role
from deployment.tables import Kind
from healthcheck.docker_host import DockerError, DockerHost, Inspected

T = TypeVar("T")


@dataclass(frozen=True)
class Attached:
    """A container on one of the gateway's networks."""

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


OWN: set[str] = set()
"""Ids and names of all containers that this process has made: of many at once, some are gone before their labels can be
read."""

ENDPOINT = "ep-"
"""How the id of an endpoint begins, by which a network lists a container that is being removed, beside its name."""


class Shared(Generic[T]):
    """What many ask at the same moment, asked once: each gets the answer, or the failure, of a question put after its
    own."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._began = -math.inf
        self._last: Future[T] = Future()

    def get(self) -> T:
        """Raises what asking raises."""
        wanted = time.monotonic()
        with self._lock:
            if self._began < wanted:
                began, answer = time.monotonic(), Future[T]()
                try:
                    answer.set_result(self._ask())
                except DockerError as error:
                    answer.set_exception(error)
                self._began, self._last = began, answer
            return self._last.result()


class Attachments:
    """Who is on the gateways' networks, for all gateways of a run.

    Reads the events in pieces, since Docker remembers only the last 256 of all kinds. Those of containers are read too:
    they alone tell the name and labels of one that is gone again.
    """

    EVENTS = ("connect", "create", "start", "die", "destroy")

    def __init__(self, docker: DockerHost, networks: Iterable[str], egress_network: str) -> None:
        """`networks`: the api networks. All by their names."""
        self._docker = docker
        self._known: dict[str, Attached] = {}
        self._named: dict[str, Attached] = {}
        self._came: dict[str, set[str]] = {name: set() for name in (*networks, egress_network)}
        self._look_at_events = Shared(self._look)
        self._egress = Shared(lambda: self.network(egress_network))
        self._lock = threading.Lock()
        self._since = 0.0
        self._ahead = 0.0

    def begin(self) -> None:
        """Watches from now on. Raises DockerError."""
        before = time.time()
        self._since = self._docker.now().timestamp()
        # The daemon read its clock after `before`, so that this puts `until` a little late, never early.
        self._ahead = self._since - before

    def now(self) -> datetime:
        """By the daemon's clock, which containers log by."""
        return datetime.fromtimestamp(time.time() + self._ahead, UTC)

    def look(self) -> None:
        """Takes in what happened up to now. Raises DockerError."""
        self._look_at_events.get()

    def _look(self) -> None:
        until = time.time() + self._ahead
        if until <= self._since:
            return
        kinds = (Kind.NETWORK, Kind.CONTAINER)
        for event in self._docker.events(self._since, until, kinds=kinds, actions=self.EVENTS):
            self._take(event)
        self._since = until

    def egress(self) -> Inspected | None:
        """As it is now; None where there is none. Every gateway is on it. Raises DockerError."""
        return self._egress.get()

    def network(self, name: str) -> Inspected | None:
        return self._docker.inspect(Kind.NETWORK, name)

    def came(self, network: str) -> tuple[Attached, ...]:
        """Everything that was attached to a network, by its name, since the beginning. Raises DockerError."""
        return tuple(self.who(container_id) for container_id in sorted(self._came[network]))

    def who(self, container_id: str, name: str | None = None) -> Attached:
        """A container that was attached, with its labels as far as they can be known. Raises DockerError.

        `name`: as its network tells it.

        Read once, as the labels of a container never change: each gateway's check meets all the others on `egress`. One
        that is gone meanwhile, as the verifier's of another run may be, told them in its last events.
        """
        with self._lock:  # many ask for the same ones at once
            if container_id in self._known:
                return replace(self._known[container_id], name=name or self._known[container_id].name)
            container = self._docker.inspect(Kind.CONTAINER, container_id)
            if container is not None:
                labels = container["Config"]["Labels"] or {}
                self._known[container_id] = Attached(container_id, container["Name"].lstrip("/"), labels)
                return self._known[container_id]
        return self._gone(container_id, name or container_id[:12])

    def _gone(self, container_id: str, name: str) -> Attached:
        if OWN & {container_id, name}:
            return Attached(container_id, name, {Label.ROLE: Role.VERIFIER})
        told, key = (self._named, name) if container_id.startswith(ENDPOINT) else (self._known, container_id)
        if key not in told:
            self.look()
        return replace(told.get(key, Attached(container_id, name)), id=container_id)

    def _take(self, event: Inspected) -> None:
        actor = event["Actor"]
        attributes: Mapping[str, str] = actor.get("Attributes") or {}
        if event["Type"] == "container":
            attached = Attached(actor["ID"], attributes.get("name", actor["ID"][:12]), attributes)
            self._known[attached.id] = self._named[attached.name] = attached
        elif event["Action"] == "connect" and "container" in attributes:
            name = attributes.get("name", "")
            if name in self._came:
                self._came[name].add(attributes["container"])
