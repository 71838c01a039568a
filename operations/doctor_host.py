"""`ibgw doctor`: what Docker tells of the host that the gateways run on. What it cannot tell is said to be unknown, and
docs/host.md says how to look. Nothing is changed, and no container is started for it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from deployment.abilities import limits_lacking, rootless
from deployment.description import Deployment
from deployment.names import Label, Role
from deployment.properties import row
from deployment.tables import CONTAINER, MIB, Kind
from healthcheck.docker_host import DockerError, DockerHost, Inspected, docker_errors, moment
from healthcheck.gateway_container import stop_grace
from infra.spec import SETTINGS_PATH
from operations.doctor import Observation
from operations.status import age

SKEW = timedelta(seconds=5)
"""Clocks further apart are told: orders and schedules go by the gateway's."""

GUIDE = "docs/host.md"

SPARE_MEMORY = 512
"""MiB for the system, Docker and the verifiers, beside the gateways."""

SPARE_DISK = 1024
"""MiB for images, settings and the system's own logs, beside the logs of containers."""

STOP_MARGIN = 30
"""Seconds for Docker itself to end, after the gateway with the longest grace."""

_SIZES = {"k": 10**3, "m": 10**6, "g": 10**9}
"""Docker's units of a log's `max-size` (go-units, FromHumanSize)."""


@dataclass(frozen=True)
class HostEvidence:
    """`info`: what the daemon says (GET /info). `skew`: by how much the host's clock is ahead of this machine's, give
    or take `doubt`. `gateways`: the containers of all gateways on the host, whatever their stack. `disk_left`: bytes
    where volumes lie, None where no running container could tell. `watching`: what watches this stack, by name, None
    for one that is not there."""

    deployment: Deployment
    info: Inspected
    skew: timedelta
    doubt: timedelta
    gateways: tuple[Inspected, ...]
    disk_left: int | None
    watching: Mapping[str, Inspected | None] = field(default_factory=dict)


def examine_host(evidence: HostEvidence) -> list[Observation]:
    return [topic(evidence) for topic in TOPICS]


def _mebibytes(size: float) -> str:
    return f"{size:.0f} MiB" if size < 10240 else f"{size / 1024:.0f} GiB"


def _gateways(number: int) -> str:
    return f"{number} gateway{'' if number == 1 else 's'}"


def clock(evidence: HostEvidence) -> Observation:
    known = f"{evidence.doubt.total_seconds():.1f} s"
    if abs(evidence.skew) > SKEW + evidence.doubt:
        ahead = "ahead of" if evidence.skew > timedelta() else "behind"
        return Observation(
            "clock", False, f"the host's clock is {age(abs(evidence.skew))} {ahead} this machine's (to {known})",
            f"on both machines, `timedatectl` tells which one is not synchronised ({GUIDE})",
        )  # fmt: skip
    if evidence.doubt > SKEW:
        return Observation(
            "clock", None, f"the host answers too slowly to compare its clock (to {known})", f"timedatectl ({GUIDE})"
        )
    return Observation(
        "clock", True, f"as this machine's, to {known}; whether both are synchronised, `timedatectl` tells"
    )


def limits(evidence: HostEvidence) -> Observation:
    """What the kernel keeps of what containers are limited to."""
    lacking = limits_lacking(evidence.info)
    for lack in lacking:
        if not lack.accepted_by(evidence.deployment.accepted):
            # Only a command stands in such quotes here.
            todo = lack.todo.replace("`", "")
            accept = f"accept the host as it is: ibgw:acceptHost: [{lack.acceptable}]"
            return Observation("limits", False, lack.what, f"{todo}, or {accept} ({GUIDE})")
    accepted = ", ".join(lack.what for lack in lacking)
    return Observation("limits", True, f"accepted by ibgw:acceptHost: {accepted}" if lacking else "memory and swap")


def memory(evidence: HostEvidence) -> Observation:
    total = evidence.info.get("MemTotal")
    if not total:
        return Observation("memory", None, "Docker does not tell how much the host has", f"free -m ({GUIDE})")
    sizes = [row(CONTAINER, "memory").of_docker(container) for container in evidence.gateways]
    unlimited = sizes.count(0)
    beside = f", {unlimited} of them without a limit" if unlimited else ""
    seen = f"{_gateways(len(sizes))} may take {_mebibytes(sum(sizes))}{beside}; the host has {_mebibytes(total / MIB)}"
    if sum(sizes) + SPARE_MEMORY > total / MIB:
        return Observation(
            "memory", False, f"{seen}, of which {SPARE_MEMORY} MiB should be left",
            f"lower resources.memory and javaHeap, or move a gateway to another host ({GUIDE})",
        )  # fmt: skip
    return Observation("memory", True, seen)


def disk(evidence: HostEvidence) -> Observation:
    if evidence.disk_left is None:
        return Observation(
            "disk", None, "no running gateway could tell what is left",
            f"df -h {evidence.info.get('DockerRootDir', '/var/lib/docker')} on the host",
        )  # fmt: skip
    wanted = SPARE_DISK + sum(map(_log_limit, evidence.gateways)) / MIB
    seen = f"{_mebibytes(evidence.disk_left / MIB)} left where volumes lie"
    if evidence.disk_left / MIB < wanted:
        return Observation(
            "disk", False, f"{seen}; logs may grow, and {_mebibytes(wanted)} should be free",
            "look with `docker system df` what takes the place; `docker image prune` removes images that nobody uses",
        )  # fmt: skip
    return Observation("disk", True, seen)


def _log_limit(container: Inspected) -> int:
    """Bytes that a container's log may take; 0 where it says none, which is the rules' business."""
    options: Any = row(CONTAINER, "log_options").of_docker(container)
    size = re.fullmatch(r"(\d+)([kmg])", str(options.get("max-size", "")))
    files = re.fullmatch(r"\d+", str(options.get("max-file", "1")))
    return int(size[1]) * _SIZES[size[2]] * int(files[0]) if size and files else 0


def forwarding(evidence: HostEvidence) -> Observation:
    if evidence.info.get("IPv4Forwarding") is False:
        return Observation(
            "forwarding", False, "the host forwards no packets, so no gateway reaches IBKR",
            "set net.ipv4.ip_forward=1 on the host (/etc/sysctl.d)",
        )  # fmt: skip
    return Observation("forwarding", True, "containers reach the outside")


def live_restore(evidence: HostEvidence) -> Observation:
    """Whether containers go on while Docker itself is restarted or upgraded."""
    if evidence.info.get("LiveRestoreEnabled"):
        return Observation("live restore", True, "on: gateways go on while Docker is restarted")
    file = "~/.config/docker/daemon.json" if rootless(evidence.info) else "/etc/docker/daemon.json"
    return Observation(
        "live restore", False, "off: whatever restarts Docker, an upgrade too, has every gateway log in again",
        f'"live-restore": true in {file}, then `{_systemctl(evidence)} reload docker` ({GUIDE})',
    )  # fmt: skip


def _systemctl(evidence: HostEvidence) -> str:
    return "systemctl --user" if rootless(evidence.info) else "systemctl"


def stop_time(evidence: HostEvidence) -> Observation:
    longest = max(map(stop_grace, evidence.gateways), default=0)
    return Observation(
        "stop time", None, f"systemd's limit for Docker cannot be seen from here; the longest grace is {longest} s",
        f"on the host: `{_systemctl(evidence)} show docker -p TimeoutStopUSec`, which must say "
        f"{longest + STOP_MARGIN} s or more ({GUIDE})",
    )  # fmt: skip


def upgrades(evidence: HostEvidence) -> Observation:
    version = evidence.info.get("ServerVersion", "of an unknown version")
    return Observation(
        "upgrades", None, f"Docker {version}; whether it is upgraded unattended cannot be seen from here",
        f"on the host: `apt-mark showhold` names Docker's packages ({GUIDE})",
    )  # fmt: skip


def boot(evidence: HostEvidence) -> Observation:
    coming = [
        container
        for container in evidence.gateways
        if row(CONTAINER, "restart").of_docker(container) == "unless-stopped"
    ]
    running = sum(container["State"]["Status"] == "running" for container in coming)
    at_once = f"{_gateways(running)} would log in at once"
    if rootless(evidence.info):
        return Observation(
            "boot", None, f"{at_once}; a rootless Docker runs while its user is logged in, unless that user lingers",
            f"on the host: `loginctl show-user --property=Linger` must say yes (`loginctl enable-linger`; {GUIDE})",
        )  # fmt: skip
    if evidence.info.get("OperatingSystem") == "Docker Desktop":
        return Observation(
            "boot", None, f"{at_once}; Docker Desktop runs while its user is logged in, and sleeps with the machine",
            f"trade on a host that runs on its own ({GUIDE})",
        )  # fmt: skip
    return Observation(
        "boot", None, f"{at_once}; whether after the network cannot be seen from here",
        f"on the host: `systemctl show docker -p After` names network-online.target ({GUIDE})",
    )  # fmt: skip


def monitoring(evidence: HostEvidence) -> Observation:
    """Whether what watches the stack does so: Docker asks both (infra.monitoring)."""
    for name, container in evidence.watching.items():
        if container is None:
            stack = evidence.deployment.stack
            todo = f"`ibgw repair --stack {stack}`, then `pulumi up --stack {stack}`, which touches no gateway"
            return Observation("monitoring", False, f"{name} is gone", todo)
        state = container["State"]
        if state["Status"] != "running":
            return Observation("monitoring", False, f"{name} is {state['Status']}", f"`docker start {name}`")
        if (health := state.get("Health", {}).get("Status")) == "unhealthy":
            return Observation("monitoring", False, f"{name} is {health}", f"`docker logs --tail 20 {name}`")
    if not evidence.watching:
        return Observation("monitoring", True, "off: who does not ask does not hear of a gateway that is down")
    return Observation("monitoring", True, f"{' and '.join(evidence.watching)} run")


Topic = Callable[[HostEvidence], Observation]
TOPICS: tuple[Topic, ...] = (
    clock, limits, memory, disk, forwarding, live_restore, stop_time, upgrades, boot, monitoring,
)  # fmt: skip


def collect_host(docker: DockerHost, deployment: Deployment) -> HostEvidence:
    """Reads what Docker knows of its host. Raises IbgwError (could not run) when it fails."""
    with docker_errors(f"Docker host {deployment.docker_host}", "check the daemon (`docker info`)"):
        before = datetime.now(UTC)
        info = docker.info()
        after = datetime.now(UTC)
        doubt = (after - before) / 2
        names = [container["Id"] for container in docker.find(Kind.CONTAINER, {Label.ROLE: Role.GATEWAY})]
        # One that has been removed meanwhile is nobody's any more.
        gateways = tuple(container for name in names if (container := docker.inspect(Kind.CONTAINER, name)) is not None)
        watched = deployment.monitoring
        return HostEvidence(
            deployment,
            info,
            moment(info["SystemTime"]) - before - doubt,
            doubt,
            gateways,
            _disk_left(docker, gateways),
            {each.name: docker.inspect(Kind.CONTAINER, each.id) for each in (watched.prober, watched.watcher)}
            if watched is not None
            else {},
        )


def _disk_left(docker: DockerHost, gateways: tuple[Inspected, ...]) -> int | None:
    """Asked of a gateway that runs: Docker itself does not tell, and the image's `df` only reads."""
    for gateway in gateways:
        if gateway["State"]["Status"] == "running":
            try:
                said = docker.run(gateway["Id"], ["df", "--output=avail", "-B1", SETTINGS_PATH])
            except DockerError:
                # It may have ended since, or its image has no `df`: the next one may tell.
                continue
            if number := re.search(r"^\s*(\d+)\s*$", said, re.MULTILINE):
                return int(number[1])
    return None
