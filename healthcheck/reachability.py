"""Tries to reach gateways from where nobody must, and from inside their own network, which must work.

One container an origin serves all gateways of a run; on their own networks, their verifiers do. Who may conclude
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

from deployment.description import PORTS, STATUS_PORT, VNC_PORT, Deployment
from deployment.tables import Kind
from healthcheck.docker_host import DockerError, DockerHost
from healthcheck.probe import Answer, probe_all
from healthcheck.verifier_container import Asker, VerifierFailed, run_probe, throwaway_bridge

# The relay's and the gateway's own port of both modes, the status line's, and VNC's.
TRIED_PORTS = (*sorted(port for ports in PORTS.values() for port in ports), STATUS_PORT, VNC_PORT)


class Origin(StrEnum):
    INSIDE = "inside"  # the positive control
    BRIDGE = "throwaway_bridge"
    EGRESS = "egress"
    OTHER_API = "other_api"
    BEYOND = "beyond_the_host"


OUTSIDE = (Origin.BRIDGE, Origin.EGRESS, Origin.OTHER_API, Origin.BEYOND)


@dataclass(frozen=True)
class ProbeTarget:
    """A running gateway. `addresses`: its own on each network. `routers`: the Docker host's on these networks."""

    gateway: str
    addresses: tuple[str, ...]
    routers: tuple[str, ...]

    @property
    def tried(self) -> tuple[str, ...]:
        return self.at(*TRIED_PORTS)

    def at(self, *ports: int) -> tuple[str, ...]:
        return tuple(f"{address}:{port}" for address in self.addresses for port in ports)


@dataclass
class Reachability:
    """Of one gateway. An origin is in exactly one of the three. `took`: seconds for all of them together."""

    answers: dict[Origin, Mapping[str, Answer]] = field(default_factory=dict)
    not_applicable: dict[Origin, str] = field(default_factory=dict)
    failed: dict[Origin, str] = field(default_factory=dict)
    took: float = 0


class ReachabilityRounds:
    """Tries gateways for whoever asks, a round at a time: those who ask while one is under way go together in the next.

    Fifty gateways that have just come up would else be tried again from two hundred containers at once.
    """

    def __init__(self, docker: DockerHost, deployment: Deployment, verifiers: Mapping[str, Future[Asker]]) -> None:
        """`verifiers`: by the gateways' names, those that start or run beside them."""
        self._docker = docker
        self._deployment = deployment
        self._verifiers = verifiers
        self._under_way = threading.Lock()
        self._asking = threading.Lock()
        self._asked: dict[str, ProbeTarget] = {}
        self._views: dict[str, Reachability] = {}

    def ask(self, targets: Iterable[ProbeTarget]) -> dict[str, Reachability]:
        """The views of these, by the gateways' names, after two or three seconds a round. What fails is in them."""
        asked = {target.gateway: target for target in targets}
        with self._asking:
            self._asked |= asked
        with self._under_way:
            with self._asking:
                # Else whoever had the round before took these along.
                together: dict[str, ProbeTarget] = {}
                if not asked.keys().isdisjoint(self._asked):
                    together, self._asked = self._asked, together
            if together:
                self._views |= self._round([*together.values()])
            return {gateway: self._views[gateway] for gateway in asked}

    def _round(self, targets: Sequence[ProbeTarget]) -> dict[str, Reachability]:
        began = time.monotonic()
        round_ = _Round(self._docker, self._deployment, targets, self._verifiers)
        round_.run()
        for views in round_.views.values():
            views.took = time.monotonic() - began
        return round_.views


class _Round:
    """Everything tried once, from all origins at the same time."""

    def __init__(
        self,
        docker: DockerHost,
        deployment: Deployment,
        targets: Sequence[ProbeTarget],
        verifiers: Mapping[str, Future[Asker]],
    ) -> None:
        self._docker = docker
        self._deployment = deployment
        self._targets = targets
        self._verifiers = verifiers
        self.views = {target.gateway: Reachability() for target in targets}

    def run(self) -> None:
        jobs = [
            lambda: self._ask(None, self._targets, Origin.BRIDGE),
            lambda: self._ask(self._deployment.egress_network, self._targets, Origin.EGRESS),
            *(lambda at=at, asked=asked: self._ask(at, asked, Origin.OTHER_API) for at, asked in self._neighbours()),
            *(lambda at=at, asked=asked: self._ask_inside(at, asked) for at, asked in self._inside()),
            self._ask_from_here,
        ]
        with ThreadPoolExecutor(max_workers=len(jobs), thread_name_prefix="probe") as pool:
            for future in [pool.submit(job) for job in jobs]:
                future.result()

    def _inside(self) -> Iterable[tuple[Future[Asker], Sequence[ProbeTarget]]]:
        """The verifiers, which are on their gateways' api networks, each with what it is to try."""
        groups: dict[Future[Asker], list[ProbeTarget]] = {}
        for target in self._targets:
            groups.setdefault(self._verifiers[target.gateway], []).append(target)
        return groups.items()

    def _neighbours(self) -> Iterable[tuple[str, Sequence[ProbeTarget]]]:
        """Api networks, each with what is to be tried from there: all from the first one's but that one itself."""
        first, *others = self._targets
        names = list(self._deployment.gateways)
        second = others[0].gateway if others else names[(names.index(first.gateway) + 1) % len(names)]
        if second == first.gateway:
            self.views[second].not_applicable[Origin.OTHER_API] = "the stack has one gateway"
            return
        yield self._api(second), [first]
        if others:
            yield self._api(first.gateway), others

    def _api(self, gateway: str) -> str:
        return self._deployment.gateways[gateway].api.network

    def _ask_inside(self, verifier: Future[Asker], targets: Sequence[ProbeTarget]) -> None:
        """The client ports alone: an address that nobody tried from outside would be no control."""
        tried: dict[str, tuple[str, ...]] = {}
        for target in targets:
            api = self._deployment.gateways[target.gateway].api
            tried[target.gateway] = target.at(api.port)
        try:
            answers = verifier.result().probe([address for addresses in tried.values() for address in addresses])
        except (DockerError, VerifierFailed) as error:
            self._fail(targets, Origin.INSIDE, error)
        else:
            for gateway, addresses in tried.items():
                self.views[gateway].answers[Origin.INSIDE] = {address: answers[address] for address in addresses}

    def _ask(self, network: str | None, targets: Sequence[ProbeTarget], origin: Origin) -> None:
        """Asks gateways from a container on this network; without one, from a throwaway bridge."""
        try:
            if network is None:
                with throwaway_bridge(self._docker, self._deployment) as bridge:
                    answers = self._confirmed(bridge, _tried(targets))
            else:
                answers = self._confirmed(network, _tried(targets))
        except (DockerError, VerifierFailed) as error:
            if origin is Origin.OTHER_API and network is not None and not self._exists(network):
                for target in targets:
                    self.views[target.gateway].not_applicable[origin] = f"network {network} does not exist"
            else:
                self._fail(targets, origin, error)
        else:
            self._keep(targets, origin, answers)

    def _exists(self, network: str) -> bool:
        try:
            return self._docker.inspect(Kind.NETWORK, network) is not None
        except DockerError:
            return True

    def _fail(self, targets: Iterable[ProbeTarget], origin: Origin, error: Exception) -> None:
        for target in targets:
            self.views[target.gateway].failed[origin] = str(error)

    def _keep(self, targets: Iterable[ProbeTarget], origin: Origin, answers: Mapping[str, Answer]) -> None:
        for target in targets:
            self.views[target.gateway].answers[origin] = {address: answers[address] for address in target.tried}

    def _confirmed(self, network: str, tried: Sequence[str]) -> dict[str, Answer]:
        """What should be silent and is not is asked again, and what it then says counts: whenever a network is made,
        Docker takes its isolation rule out of the packets' way and puts it back on top, and lets some through for a
        moment (EnsureJumpRule in setup_ip_tables.go of its bridge driver)."""
        answers = dict(run_probe(self._docker, self._deployment, network, tried))
        loud = [address for address in tried if answers[address] is not Answer.UNREACHABLE]
        if loud:
            answers |= run_probe(self._docker, self._deployment, network, loud)
        return answers

    def _ask_from_here(self) -> None:
        """From beyond the host, where this machine is."""
        absent = self._why_not_beyond()
        if absent is not None:
            for views in self.views.values():
                views.not_applicable[Origin.BEYOND] = absent
            return
        self._keep(self._targets, Origin.BEYOND, asyncio.run(probe_all(_tried(self._targets))))

    def _why_not_beyond(self) -> str | None:
        if not self._deployment.docker_host.startswith("ssh://"):
            return "this machine is the Docker host; judged from Docker's records"
        if _is_ours(address for target in self._targets for address in target.routers):
            return "this machine is the Docker host or has the same addresses; judged from Docker's records"
        return None


def _tried(targets: Iterable[ProbeTarget]) -> list[str]:
    return [address for target in targets for address in target.tried]


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
