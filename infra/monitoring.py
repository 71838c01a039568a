"""What watches a stack's gateways, as data: the prober on their `api` networks, the watcher on a network of its own,
and the volume between them. Pure, and without pulumi."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network

from deployment.description import MONITORING_FOLDER, MONITORING_PORT, PROBER, WATCHER
from deployment.names import Names, Role
from deployment.parts import (
    VERIFIER_IMAGE,
    Attachment,
    ContainerSpec,
    LogSpec,
    Mount,
    NetworkSpec,
    Probe,
    Reference,
    Restart,
    VolumeSpec,
)

USER = "65534:65534"
"""The verifier's, whose image it is."""
MEMORY = 192
"""MiB, for each; and one more of the prober's for each gateway."""
VOLUME = {"type": "tmpfs", "device": "tmpfs", "o": "size=4m,uid=65534,gid=65534,mode=0700"}
"""Of the local driver: in memory, small, and the prober's own. What is in it is seconds old, or worth nothing."""
EVERY = timedelta(seconds=60)
TIMEOUT = timedelta(seconds=10)
GRACE = timedelta(seconds=60)
"""As the rules want it of whatever has a network (deployment.rules); both end at once."""
LOG = LogSpec("1m", 3)

_FRESH = f"import os, sys, time; sys.exit(time.time() - os.stat('{MONITORING_FOLDER}/seen.json').st_mtime > 120)"
_ANSWERS = (
    "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', "
    f"{MONITORING_PORT}, timeout=5); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"
)


@dataclass(frozen=True)
class MonitoringSpec:
    """`containers`: the prober and the watcher, by their roles."""

    network: NetworkSpec
    volume: VolumeSpec
    containers: Mapping[Role, ContainerSpec]


def entry(gateway: str) -> Reference:
    """What the prober is told of a gateway, for whoever knows it (infra.outputs.watched_entry)."""
    return Reference(f"watched {gateway}")


def describe(
    names: Names,
    stack: str,
    gateways: Iterable[str],
    *,
    interval: timedelta,
    subnet: IPv4Network,
    labelled: Callable[[Role], dict[str, str]],
    limited: bool,
    swap_limited: bool,
) -> MonitoringSpec:
    """`interval`: between two looks. `limited`, `swap_limited`: whether the host can limit memory, and swap."""
    gateways = sorted(gateways)

    def container(
        name: str,
        role: Role,
        entry_point: tuple[str, ...],
        probe: str,
        command: tuple[str, ...] = (),
        networks: tuple[str, ...] = (),
    ) -> ContainerSpec:
        return ContainerSpec(
            name=name,
            image=VERIFIER_IMAGE,
            labels=labelled(role),
            restart=Restart.UNLESS_STOPPED,
            entry_point=entry_point,
            command=command,
            user=USER,
            mounts=(Mount(names.handover, MONITORING_FOLDER, read_only=role is Role.WATCHER),),
            networks=tuple(map(Attachment, networks)),
            read_only=True,
            probe=Probe(("CMD", "python3", "-S", "-c", probe), EVERY, TIMEOUT, 3),
            memory=MEMORY + len(gateways) if limited else 0,
            swap_limited=swap_limited,
            stop_grace=GRACE,
            log=LOG,
        )

    told = [word for name in gateways for word in ("--gateway-json", entry(name))]
    command = ("--stack", stack, "--interval", f"{interval.total_seconds():g}", *told)
    api = tuple(map(names.api_network, gateways))
    return MonitoringSpec(
        network=NetworkSpec(names.monitoring, subnet, labelled(Role.MONITORING), internal=True),
        volume=VolumeSpec(names.handover, labelled(Role.MONITORING), VOLUME),
        containers={
            Role.PROBER: container(names.prober, Role.PROBER, PROBER, _FRESH, command, api),
            Role.WATCHER: container(names.watcher, Role.WATCHER, WATCHER, _ANSWERS, networks=(names.monitoring,)),
        },
    )
