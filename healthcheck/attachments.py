"""Who is, or was for a moment, beside the gateways on their Docker host: by its lists, and its events meanwhile."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Generic, TypeVar

from deployment.tables import Kind
from healthcheck.docker_host import DockerError, DockerHost, Inspected

T = TypeVar("T")

SLICE = 1.0
"""Seconds of events in one answer of Docker's, which it sends as they happen. Two slices overlap by as much."""

REMEMBERED = 256
"""Events, of all kinds, that Docker remembers (eventsLimit in moby's daemon/events): what is older is lost to whoever
did not listen."""

CLOCKS = 0.5
"""Seconds by which the daemon's clock, as we know it, may be off."""

ASKING = 8
"""Containers that are inspected at a time: Docker answers for one that starts only when it has started."""


@dataclass(frozen=True)
class Attached:
    """A container beside a gateway. `inspected`: as Docker knew it once; None for one that was gone before it could be
    asked. `own`: of this very process."""

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    inspected: Inspected | None = field(default=None, repr=False)
    own: bool = False


OWN: set[str] = set()
"""Ids and names of all containers that this process has made: of many at once, some are gone before they can be
inspected."""

BEGINNING = ("create", "start")
LIFE = (*BEGINNING, "die", "destroy")
"""Actions of a container's events."""

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


@dataclass(frozen=True)
class Mark:
    """Up to where events have been read, in seconds of the daemon's clock, and which ones were read last."""

    since: float
    read: frozenset[str] = frozenset()


class Attachments:
    """Who is beside the gateways of a run.

    Events are read as they happen, as Docker remembers few of them, and every container that is made meanwhile is
    inspected at once: what it shares with others is told nowhere else. What was missed all the same is in `missed`.
    """

    def __init__(self, docker: DockerHost, networks: Iterable[str], egress_network: str) -> None:
        """`networks`: the api networks. All by their names."""
        self._docker = docker
        self._known: dict[str, Attached] = {}
        self._named: dict[str, Attached] = {}
        self._came: dict[str, set[str]] = {name: set() for name in (*networks, egress_network)}
        self._waiting: dict[str, set[str]] = {}
        self._volumes: dict[str, Inspected] = {}
        self._networks: dict[str, Inspected] = {}
        self._joined: dict[str, set[str]] = {}
        self._asking = ThreadPoolExecutor(max_workers=ASKING, thread_name_prefix="inspect")
        self._asked: list[Future[None]] = []
        self._started: set[str] = set()
        self._lost = False
        self._look_at_events = Shared(self._look)
        self._scanned = Shared(self._scan)
        self._egress = Shared(lambda: self.network(egress_network))
        self._mark = Mark(0.0)
        self._ahead = 0.0

    def begin(self) -> None:
        """Watches from now on. Raises DockerError."""
        before = time.time()
        self._mark = Mark(self._docker.now().timestamp())
        # The daemon read its clock after `before`, so that this puts `until` a little late, never early.
        self._ahead = self._mark.since - before

    def now(self) -> datetime:
        """By the daemon's clock, which containers log by."""
        return datetime.fromtimestamp(self._clock(), UTC)

    def watch(self, over: threading.Event) -> None:
        """Reads the events as they happen, in a thread, until it is over. Then it takes in none any more, and ends with
        Docker's answer, within a second."""
        while not over.is_set():
            until = self._clock() + SLICE
            try:
                read = self._read(until, over)
            except DockerError:
                # The next reading begins where this one did; the last one, which is a gateway's own, tells.
                over.wait(SLICE)
                continue
            if self._clock() < until - CLOCKS:
                # The connection was closed: the same again, so that nothing is passed over.
                over.wait(SLICE)
            else:
                self._mark = Mark(until - SLICE, read)

    def look(self) -> None:
        """Takes in what happened up to now. Raises DockerError."""
        self._look_at_events.get()

    def scan(self) -> None:
        """Takes in who there is now, running or not. Raises DockerError."""
        self._scanned.get()

    def _look(self) -> None:
        until = self._clock()
        if until > self._mark.since:
            self._read(until)

    def _read(self, until: float, over: threading.Event | None = None) -> frozenset[str]:
        """Takes in the events from the mark on, until it is over; which they were."""
        mark, asked_at = self._mark, self._clock()
        read: set[str] = set()
        remembered = 0
        for event in self._docker.events(mark.since, until):
            if over is not None and over.is_set():
                break
            read.add(f"{event['timeNano']} {event['Type']} {event['Action']} {event['Actor']['ID']}")
            remembered += event["timeNano"] / 1e9 < asked_at + CLOCKS
            self._take(event)
        if remembered >= REMEMBERED and read.isdisjoint(mark.read):
            self._lost = True
        return frozenset(read)

    def _scan(self) -> None:
        """Containers, what they are set to join, and volumes."""
        self._networks |= {network["Name"]: network for network in self._docker.find(Kind.NETWORK)}
        networks = {name: network["Id"] for name, network in self._networks.items()}
        containers = self._docker.find(Kind.CONTAINER)
        list(self._asking.map(lambda entry: self._learn(entry["Id"]), containers))
        # One that was removed meanwhile, as another run's verifier, waits for nothing any more.
        there = [entry for entry in containers if self._is_there(entry["Id"])]
        self._waiting = {name: {entry["Id"] for entry in there if _joins(entry, name, networks)} for name in self._came}
        for entry in containers:
            self._joined.setdefault(entry["Id"], set()).update(_networks_of(entry))
        self._volumes = {volume["Name"]: volume for volume in self._docker.find(Kind.VOLUME)}

    def egress(self) -> Inspected | None:
        """As it is now; None where there is none. Every gateway is on it. Raises DockerError."""
        return self._egress.get()

    def network(self, name: str) -> Inspected | None:
        return self._docker.inspect(Kind.NETWORK, name)

    def came(self, network: str) -> tuple[Attached, ...]:
        """Everything that was attached to a network, by its name, since the beginning. Raises DockerError."""
        return tuple(self.who(container_id) for container_id in sorted(self._came[network]))

    def waiting(self, network: str) -> tuple[Attached, ...]:
        """Everything that is attached to a network at the last scan, or will be when it starts. Raises DockerError."""
        return tuple(self.who(container_id) for container_id in sorted(self._waiting.get(network, ())))

    def everyone(self) -> Mapping[str, Attached]:
        """Every container that there was since the beginning and that could be inspected, by its id. Raises
        DockerError."""
        for asked in self._asked:
            asked.result()
        return {container.id: container for container in list(self._known.values()) if container.inspected is not None}

    def volumes(self) -> Mapping[str, Inspected]:
        """By their names, at the last scan."""
        return self._volumes

    def interfaces(self) -> Mapping[str, Mapping[str, str]]:
        """By a container's id, the interfaces of the host that its networks lie on (macvlan's and ipvlan's parent), and
        by which network: on a gateway's bridge it is with the gateway, and no list of that bridge's network has it."""
        parents = {
            name: network["Options"]["parent"].partition(".")[0]
            for name, network in self._networks.items()
            if (network.get("Options") or {}).get("parent")
        }
        return {
            container_id: {parents[name]: name for name in sorted(joined.copy()) if name in parents}
            for container_id, joined in list(self._joined.items())
        }

    def missed(self) -> tuple[str, ...]:
        """What happened and could not be seen, after `everyone`."""
        gone = sorted(
            self._known[container_id].name
            for container_id in list(self._started)
            if self._known[container_id].inspected is None
        )
        lost = (f"more than the {REMEMBERED} events that Docker remembers came at once",) if self._lost else ()
        return (*lost, *(f"{name} was gone before Docker could be asked about it" for name in gone))

    def who(self, container_id: str, name: str | None = None) -> Attached:
        """A container that was attached, as far as it can be known. Raises DockerError.

        `name`: as its network tells it.
        """
        if (name if container_id.startswith(ENDPOINT) else container_id) in OWN:
            return Attached(container_id, name or container_id[:12], own=True)
        self._learn(container_id)
        told = self._told(container_id, name)
        if told is None:
            # Its last events tell its name and labels.
            self.look()
            told = self._told(container_id, name) or Attached(container_id, container_id[:12])
        return replace(told, id=container_id, name=name or told.name)

    def _told(self, container_id: str, name: str | None) -> Attached | None:
        return self._named.get(name or "") if container_id.startswith(ENDPOINT) else self._known.get(container_id)

    def _learn(self, container_id: str) -> None:
        """Inspects a container unless that is done: what it shares and its labels never change. Raises DockerError."""
        known = self._known.get(container_id)
        if container_id in OWN or container_id.startswith(ENDPOINT) or (known is not None and known.inspected):
            return
        container = self._docker.inspect(Kind.CONTAINER, container_id)
        if container is not None:
            learnt = Attached(
                container_id, container["Name"].lstrip("/"), container["Config"]["Labels"] or {}, inspected=container
            )
            self._known[container_id] = self._named[learnt.name] = learnt

    def _is_there(self, container_id: str) -> bool:
        known = self._known.get(container_id)
        return container_id in OWN or (known is not None and known.inspected is not None)

    def _take(self, event: Inspected) -> None:
        actor, what = event["Actor"], event["Action"]
        attributes: Mapping[str, str] = actor.get("Attributes") or {}
        name = attributes.get("name", "")
        if event["Type"] == Kind.NETWORK and what == "connect" and "container" in attributes:
            self._joined.setdefault(attributes["container"], set()).add(name)
            if name in self._came:
                self._came[name].add(attributes["container"])
        elif event["Type"] == Kind.CONTAINER and what in LIFE and not OWN & {actor["ID"], name}:
            attached = self._known.setdefault(actor["ID"], Attached(actor["ID"], name or actor["ID"][:12], attributes))
            self._named.setdefault(attached.name, attached)
            # One that was made and removed and never ran, as a trial of an update, has shared nothing.
            if what == "start":
                self._started.add(attached.id)
            if what in BEGINNING and attached.inspected is None:
                self._asked.append(self._asking.submit(self._learn, attached.id))

    def _clock(self) -> float:
        """The daemon's, in seconds."""
        return time.time() + self._ahead


def _joins(entry: Inspected, network: str, networks: Mapping[str, str]) -> bool:
    """Whether a container of Docker's list is attached to a network, or will be: until it has started, it may know the
    network by the id, or the id's beginning, that it was created with. `networks`: ids by names."""
    network_id = networks.get(network, "none")
    return any(
        key == network or joined["NetworkID"] == network_id or (key not in networks and network_id.startswith(key))
        for key, joined in _networks_of(entry).items()
    )


def _networks_of(entry: Inspected) -> dict[str, Inspected]:
    return (entry.get("NetworkSettings") or {}).get("Networks") or {}
