"""Tries to reach gateways from where nobody must, and from inside their own network, which must work.

One container a vantage point serves all gateways of a run; on their own networks, one serves several. Who may conclude
what is `healthcheck.isolation`'s business.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum

import docker
from docker.errors import NotFound

from contract.target import PORTS, VNC_PORT, Contract
from healthcheck.docker_host import FAILURES
from healthcheck.probe import Answer, probe_all
from healthcheck.verifier_container import ProbeFailed, run_probe, throwaway_bridge, together

# The relay's and the gateway's own port of both modes, and VNC's.
TRIED_PORTS = (*sorted(port for ports in PORTS.values() for port in ports), VNC_PORT)

MOST_AT_ONCE = 16
"""Probes' containers that run at the same time."""


class Vantage(StrEnum):
    INSIDE = "inside"  # the positive control
    BRIDGE = "throwaway_bridge"
    EGRESS = "egress"
    OTHER_API = "other_api"
    BEYOND = "beyond_the_host"


OUTSIDE = (Vantage.BRIDGE, Vantage.EGRESS, Vantage.OTHER_API, Vantage.BEYOND)


@dataclass(frozen=True)
class Target:
    """A running gateway. `addresses`: its own on each network. `routers`: the Docker host's on these networks."""

    gateway: str
    addresses: tuple[str, ...]
    routers: tuple[str, ...]

    @property
    def tried(self) -> tuple[str, ...]:
        return tuple(f"{address}:{port}" for address in self.addresses for port in TRIED_PORTS)


@dataclass
class Views:
    """Of one gateway. A vantage point is in exactly one of the three. `took`: seconds for all of them together."""

    answers: dict[Vantage, Mapping[str, Answer]] = field(default_factory=dict)
    not_applicable: dict[Vantage, str] = field(default_factory=dict)
    failed: dict[Vantage, str] = field(default_factory=dict)
    took: float = 0


def look(client: docker.DockerClient, contract: Contract, targets: Sequence[Target]) -> dict[str, Views]:
    """The views of each gateway, by its name, after two or three seconds. What fails is in them."""
    began = time.monotonic()
    round_ = _Round(client, contract, targets)
    if targets:
        round_.run()
    for views in round_.views.values():
        views.took = time.monotonic() - began
    return round_.views


class Looks:
    """Looks for whoever asks, one at a time: those who ask while one is under way go together in the next.

    Fifty gateways that have just come up would else be tried again from two hundred containers at once.
    """

    def __init__(self, client: docker.DockerClient, contract: Contract) -> None:
        self._client = client
        self._contract = contract
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="look")
        self._lock = threading.Lock()
        self._targets: list[Target] = []
        self._next: Future[dict[str, Views]] | None = None  # until it begins

    def __enter__(self) -> "Looks":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def ask(self, targets: Iterable[Target]) -> Future[dict[str, Views]]:
        """The views of these, and maybe of others, by the gateways' names."""
        with self._lock:
            self._targets.extend(targets)
            if self._next is None:
                self._next = self._pool.submit(self._look)
            return self._next

    def _look(self) -> dict[str, Views]:
        with self._lock:
            targets, self._targets, self._next = self._targets, [], None
        return look(self._client, self._contract, targets)


class _Round:
    def __init__(self, client: docker.DockerClient, contract: Contract, targets: Sequence[Target]) -> None:
        self._client = client
        self._contract = contract
        self._targets = targets
        self.views = {target.gateway: Views() for target in targets}

    def run(self) -> None:
        everything = {target.gateway: Vantage.BRIDGE for target in self._targets}
        jobs = [
            lambda: self._ask((), everything),
            lambda: self._ask((self._contract.egress_network,), dict.fromkeys(everything, Vantage.EGRESS)),
            *(lambda names=names, asked=asked: self._ask(self._api(names), asked) for names, asked in self._inside()),
            self._ask_from_here,
        ]
        with ThreadPoolExecutor(max_workers=min(len(jobs), MOST_AT_ONCE), thread_name_prefix="probe") as pool:
            for future in [pool.submit(job) for job in jobs]:
                future.result()

    def _inside(self) -> list[tuple[Sequence[str], dict[str, Vantage]]]:
        """For groups of gateways, who is asked from a container on their api networks: these, and as neighbours others.

        There are two halves, and a group is part of one half, so that no gateway is the neighbour of its own network.
        """
        asked = [target.gateway for target in self._targets]
        halves = [asked[::2], asked[1::2] or self._neighbour_of(asked[0])]
        jobs: list[tuple[Sequence[str], dict[str, Vantage]]] = []
        for half, others in (halves, reversed(halves)):
            for at, group in enumerate(together(half)):
                neighbours = others if at == 0 else []
                jobs.append(
                    (
                        group,
                        {name: Vantage.INSIDE for name in group if name in asked}
                        | {name: Vantage.OTHER_API for name in neighbours if name in asked},
                    )
                )
        if not halves[1]:
            self.views[asked[0]].not_applicable[Vantage.OTHER_API] = "the stack has one gateway"
        return jobs

    def _neighbour_of(self, gateway: str) -> list[str]:
        names = list(self._contract.gateways)
        neighbour = names[(names.index(gateway) + 1) % len(names)]
        return [neighbour] if neighbour != gateway else []

    def _api(self, gateways: Iterable[str]) -> tuple[str, ...]:
        return tuple(self._contract.gateways[name].api.network for name in gateways)

    def _ask(self, networks: Sequence[str], asked: Mapping[str, Vantage]) -> None:
        """Asks gateways from one container on these networks; without any, from a throwaway bridge."""
        targets = [target for target in self._targets if target.gateway in asked]
        tried = [address for target in targets for address in target.tried]
        outside = {address for one in targets if asked[one.gateway] is not Vantage.INSIDE for address in one.tried}
        try:
            if not networks:
                with throwaway_bridge(self._client, self._contract) as bridge:
                    answers = self._confirmed([bridge], tried, outside)
            else:
                answers = self._confirmed(networks, tried, outside)
        except (*FAILURES, ProbeFailed) as error:
            for target in targets:
                vantage = asked[target.gateway]
                if vantage is Vantage.OTHER_API and isinstance(error, NotFound) and len(networks) == 1:
                    self.views[target.gateway].not_applicable[vantage] = f"network {networks[0]} does not exist"
                else:
                    self.views[target.gateway].failed[vantage] = str(error)
        else:
            for target in targets:
                self.views[target.gateway].answers[asked[target.gateway]] = _of(target, answers)

    def _confirmed(self, networks: Sequence[str], tried: Sequence[str], outside: set[str]) -> dict[str, Answer]:
        """What should be silent and is not is asked again, and what it then says counts: whenever a network is made,
        Docker takes its isolation rule out of the packets' way and puts it back on top, and lets some through for a
        moment (EnsureJumpRule in setup_ip_tables.go of its bridge driver)."""
        answers = dict(run_probe(self._client, self._contract, networks, tried))
        loud = [address for address in tried if address in outside and answers[address] is not Answer.UNREACHABLE]
        if loud:
            answers |= run_probe(self._client, self._contract, networks, loud)
        return answers

    def _ask_from_here(self) -> None:
        """From beyond the host, where this machine is."""
        absent = self._why_not_beyond()
        if absent is not None:
            for views in self.views.values():
                views.not_applicable[Vantage.BEYOND] = absent
            return
        answers = asyncio.run(probe_all(address for target in self._targets for address in target.tried))
        for target in self._targets:
            self.views[target.gateway].answers[Vantage.BEYOND] = _of(target, answers)

    def _why_not_beyond(self) -> str | None:
        if not self._contract.docker_host.startswith("ssh://"):
            return "this machine is the Docker host; judged from Docker's records"
        if _is_ours(address for target in self._targets for address in target.routers):
            return "this machine is the Docker host or has the same addresses; judged from Docker's records"
        return None


def _of(target: Target, answers: Mapping[str, Answer]) -> dict[str, Answer]:
    return {address: answers[address] for address in target.tried}


def _is_ours(addresses: Iterable[str]) -> bool:
    """Whether this machine has one of the addresses: only its own can be bound."""
    for address in addresses:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
            try:
                tried.bind((address, 0))
            except OSError:
                continue
            return True
    return False
