"""What watches a stack's gateways, as data: the prober on their `api` networks, the watcher on a network of its own,
and the volume between them. Pure, and without pulumi."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network

from deployment.description import (
    CHANNELS_FILE,
    MONITORING_FOLDER,
    MONITORING_HISTORY,
    MONITORING_PORT,
    PROBER,
    WATCHER,
)
from deployment.names import Names, Role
from deployment.parts import (
    CHANNELS,
    VERIFIER_IMAGE,
    Attachment,
    ContainerSpec,
    FileSpec,
    LogSpec,
    Mount,
    NetworkSpec,
    Probe,
    Reference,
    Restart,
    VolumeSpec,
)
from infra.settings import Monitoring, TradingHours

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
    """`containers`: the prober and the watcher. `channels`: the secrets that hold where the watcher sends to."""

    networks: Mapping[Role, NetworkSpec]
    volumes: Mapping[Role, VolumeSpec]
    containers: Mapping[Role, ContainerSpec]
    notify: tuple[str, ...]
    heartbeat: str | None


SECRETS_MADE = Reference("secrets made")
"""When the version of each gateway's secret was made, as JSON: seconds since the epoch by the gateway."""


IMAGE_MADE = Reference("image made")
"""When the gateways' image was built: seconds since the epoch."""


def entry(gateway: str) -> Reference:
    """What the prober is told of a gateway, for whoever knows it (infra.outputs.watched_entry)."""
    return Reference(f"watched {gateway}")


def networks(names: Names, settings: Monitoring) -> dict[Role, str]:
    """Those that are not a gateway's, by what they are for. There is a way out only where something is to be sent."""
    inner = {Role.MONITORING: names.monitoring}
    return inner | {Role.WAY_OUT: names.way_out} if settings.way_out else inner


def describe(
    names: Names,
    stack: str,
    gateways: Iterable[str],
    *,
    settings: Monitoring,
    hours: TradingHours,
    subnets: Mapping[Role, IPv4Network],
    labelled: Callable[[Role], dict[str, str]],
    limited: bool,
    swap_limited: bool,
) -> MonitoringSpec:
    """`subnets`: of `networks`. `limited`, `swap_limited`: whether the host can limit memory, and swap."""
    gateways = sorted(gateways)

    def container(
        name: str,
        role: Role,
        entry_point: tuple[str, ...],
        probe: str,
        command: tuple[str, ...],
        networks: Iterable[str],
        mounts: tuple[Mount, ...],
        files: tuple[FileSpec, ...] = (),
    ) -> ContainerSpec:
        return ContainerSpec(
            name=name,
            image=VERIFIER_IMAGE,
            labels=labelled(role),
            restart=Restart.UNLESS_STOPPED,
            entry_point=entry_point,
            command=command,
            user=USER,
            mounts=mounts,
            files=files,
            networks=tuple(map(Attachment, networks)),
            # Docker puts no file into a container whose root is read-only. The image has no folder that its user could
            # write to (healthcheck/Dockerfile).
            read_only=not files,
            probe=Probe(("CMD", "python3", "-S", "-c", probe), EVERY, TIMEOUT, 3),
            memory=MEMORY + len(gateways) if limited else 0,
            swap_limited=swap_limited,
            stop_grace=GRACE,
            log=LOG,
        )

    told = [word for name in gateways for word in ("--gateway-json", entry(name))]
    probing = ("--stack", stack, "--interval", f"{settings.interval.total_seconds():g}", *told)
    watching = (
        *("--stack", stack, "--trading-hours", hours.model_dump_json(), "--versions-made", SECRETS_MADE),
        *("--image-made", IMAGE_MADE),
        *(("--alertmanager",) if settings.alertmanager else ()),
        *(("--pushgateway", settings.pushgateway, "--instance", names.watcher) if settings.pushgateway else ()),
    )
    named = networks(names, settings)
    return MonitoringSpec(
        networks={
            role: NetworkSpec(
                name, subnets[role], labelled(role), internal=role is Role.MONITORING, separates=role is Role.WAY_OUT
            )
            for role, name in named.items()
        },
        volumes={
            Role.MONITORING: VolumeSpec(names.handover, labelled(Role.MONITORING), VOLUME),
            Role.HISTORY: VolumeSpec(names.history, labelled(Role.HISTORY)),
        },
        containers={
            Role.PROBER: container(
                names.prober,
                Role.PROBER,
                PROBER,
                _FRESH,
                probing,
                map(names.api_network, gateways),
                (Mount(names.handover, MONITORING_FOLDER),),
            ),
            Role.WATCHER: container(
                names.watcher,
                Role.WATCHER,
                WATCHER,
                _ANSWERS,
                watching,
                named.values(),
                (Mount(names.handover, MONITORING_FOLDER, read_only=True), Mount(names.history, MONITORING_HISTORY)),
                (FileSpec(CHANNELS_FILE, CHANNELS),) if settings.channels else (),
            ),
        },
        notify=settings.notify,
        heartbeat=settings.heartbeat,
    )
