"""Each property of a container, a network and a volume, a row each. Pure.

Whoever declares, judges, plans or compares reads these tables, so that a further property is one row here.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any

from deployment.durations import format_duration, parse_duration
from deployment.parts import Attachment, ContainerSpec, NetworkSpec, Probe, Reference, Restart, VolumeSpec
from deployment.properties import Facts, Inputs, Inspected, Property, Table, Update, each

DOCKERS_GRACE = 10
"""Seconds until the kill where a container has no `StopTimeout` (docker stop, API 1.41)."""
MIB = 2**20
ICC = "com.docker.network.bridge.enable_icc"
"""A bridge's option: whether its containers reach each other. Docker's default is true."""
NO_FORWARDING = {"net.ipv4.ip_forward": "0"}
"""Docker switches it on in every container that has a network."""
READ_ONLY = "0444"
"""Uploads belong to root, and the gateway runs as uid 1000."""
RESTART = {Restart.UNLESS_STOPPED: "unless-stopped", Restart.NEVER: "no"}


class Kind(StrEnum):
    """Of an object on a Docker host."""

    CONTAINER = "container"
    NETWORK = "network"
    VOLUME = "volume"
    IMAGE = "image"


class Token(StrEnum):
    """A resource's type in the engine."""

    CONTAINER = "docker:index/container:Container"
    NETWORK = "docker:index/network:Network"
    VOLUME = "docker:index/volume:Volume"
    PULLED_IMAGE = "docker:index/remoteImage:RemoteImage"
    BUILT_IMAGE = "docker:index/image:Image"


KINDS: Mapping[str, Kind] = {
    Token.CONTAINER: Kind.CONTAINER,
    Token.NETWORK: Kind.NETWORK,
    Token.VOLUME: Kind.VOLUME,
    Token.PULLED_IMAGE: Kind.IMAGE,
    Token.BUILT_IMAGE: Kind.IMAGE,
}


def _pairs(entries: Iterable[str]) -> dict[str, str]:
    return dict(entry.partition("=")[::2] for entry in entries)


def _labels(entries: Iterable[Inputs]) -> dict[str, str]:
    return {entry["label"]: entry["value"] for entry in entries}


def _entries(labels: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"label": key, "value": value} for key, value in sorted(labels.items())]


def _texts(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(map(str, values))


def _mebibytes(size: int) -> float:
    """Of bytes; whole ones as a whole number. Docker's -1 is no limit, as is 0."""
    return max(size // MIB if size % MIB == 0 else round(size / MIB, 1), 0)


def _limit(mebibytes: float) -> str:
    return f"{mebibytes:.10g} MiB" if mebibytes else "no limit"


def _grace(container: ContainerSpec) -> int | None:
    return None if container.stop_grace is None else round(container.stop_grace.total_seconds())


def _once(container: ContainerSpec) -> bool:
    return container.restart is Restart.NEVER


def _of_probe(
    name: str, key: str, docker: str, declare: Callable[[Probe], Any] | None, **options: Any
) -> Property[ContainerSpec]:
    """The provider records a changed probe and changes nothing."""

    def of(container: ContainerSpec) -> Any:
        return None if declare is None or container.probe is None else declare(container.probe)

    paths = f"healthcheck.{key}", f"Config.Healthcheck.{docker}"
    return Property(name, *paths, of, update=Update.RECORDS, **options)


_TIME: Any = {
    "given": lambda text: parse_duration(text).total_seconds(),
    "shown": lambda nanoseconds: nanoseconds / 1e9,
    "default": 0.0,
}
_SIZE: Any = {
    "given": lambda size: max(int(size), 0),
    "shown": _mebibytes,
    "default": 0,
    "update": Update.IN_PLACE,
    "tell": _limit,
}


def _mounts(entries: Iterable[Inputs]) -> Facts:
    """By path: the volume or the host's folder, and whether it can be written to."""
    return {
        one["containerPath"]: (one.get("volumeName") or one.get("hostPath"), not one.get("readOnly")) for one in entries
    }


def _mounted(entries: Iterable[Inspected]) -> Facts:
    return {one["Destination"]: (one.get("Name") or one.get("Source"), one.get("RW")) for one in entries}


def _attachment(one: Attachment) -> dict[str, Any]:
    return {"name": Reference(one.network), **({"aliases": list(one.aliases)} if one.aliases else {})}


def _networks(entries: Iterable[Inputs]) -> Facts:
    """By the name or id that the input has: that, and the aliases."""
    return {one["name"]: (one["name"], _texts(one.get("aliases") or ())) for one in entries}


def _attached(inspected: Inspected) -> Facts:
    # Docker itself gives these two as aliases; they are the same unless somebody chose a host name.
    own = {inspected["Id"][:12], inspected["Config"].get("Hostname")}
    return {
        name: (endpoint.get("NetworkID"), tuple(alias for alias in endpoint.get("Aliases") or () if alias not in own))
        for name, endpoint in inspected["NetworkSettings"]["Networks"].items()
    }


def _attachments(fact: Facts) -> Mapping[str, object]:
    found: dict[str, object] = {}
    for name, (network, aliases) in fact.items():
        found |= {name: network, **{f"{name} alias {alias}": True for alias in aliases}}
    return found


def _ports(entries: Iterable[Inputs]) -> tuple[str, ...]:
    return tuple(
        f"{int(port['internal'])}/{port.get('protocol') or 'tcp'} on {port.get('ip') or '0.0.0.0'}:"
        f"{int(port['external']) if port.get('external') else 'any'}"
        for port in entries
    )


def _published(inspected: Inspected) -> tuple[str, ...]:
    """Configured and actual bindings, since a container that was just restarted may show only the first."""
    found = set()
    for ports in (inspected["HostConfig"].get("PortBindings"), inspected["NetworkSettings"].get("Ports")):
        for port, bindings in (ports or {}).items():
            for binding in bindings or []:
                found.add(f"{port} on {binding.get('HostIp') or '0.0.0.0'}:{binding.get('HostPort') or 'any'}")
    return tuple(sorted(found))


CONTAINER: Table[ContainerSpec] = (
    Property("name", "name", "Name", lambda part: part.name, shown=lambda name: name.lstrip("/"), tell=str),
    Property("image", "image", "Image", lambda part: Reference(part.image), default="", tell=str),
    Property(
        "environment",
        "envs",
        "Config.Env",
        lambda part: [f"{key}={value}" for key, value in sorted(part.environment.items())] or None,
        read=_pairs,
        default={},
        inherited=True,
        counts_undeclared=True,
    ),
    Property(
        "labels",
        "labels",
        "Config.Labels",
        lambda part: _entries(part.labels),
        given=_labels,
        default={},
        words="label",
        inherited=True,
        counts_undeclared=True,
    ),
    Property(
        "mounts",
        "volumes",
        "Mounts",
        lambda part: [{"volumeName": Reference(mount.volume), "containerPath": mount.path} for mount in part.mounts],
        given=_mounts,
        shown=_mounted,
        default={},
        words="mount",
        counts_undeclared=True,
    ),
    Property(
        "networks",
        "networksAdvanced",
        "",
        lambda part: [_attachment(one) for one in part.networks] or None,
        given=_networks,
        shown=_attached,
        default={},
        words="network",
        parts=_attachments,
    ),
    Property(
        "network_mode",
        "networkMode",
        "HostConfig.NetworkMode",
        lambda part: None if part.networks else "none",
        default="bridge",
        tell=str,
    ),
    Property(
        "published",
        "ports",
        "",
        given=_ports,
        shown=_published,
        default=(),
        words="published port",
        parts=each,
        counts_undeclared=True,
    ),
    Property(
        "all_published",
        "publishAllPorts",
        "HostConfig.PublishAllPorts",
        read=lambda every: ("all exposed ports",) if every else (),
        default=(),
        words="published port",
        parts=each,
        counts_undeclared=True,
    ),
    _of_probe("probe", "tests", "Test", lambda probe: list(probe.test), read=_texts, default=(), words="probe command"),
    # In Go's own spelling, as it is read back: any other is a change at each refresh.
    _of_probe("probe_interval", "interval", "Interval", lambda probe: format_duration(probe.interval), **_TIME),
    _of_probe("probe_retries", "retries", "Retries", lambda probe: probe.retries, default=0),
    _of_probe("probe_start_period", "startPeriod", "StartPeriod", None, words="probe startPeriod", **_TIME),
    _of_probe("probe_timeout", "timeout", "Timeout", lambda probe: format_duration(probe.timeout), **_TIME),
    Property(
        "capabilities_added",
        "capabilities.adds",
        "HostConfig.CapAdd",
        # CAP_ is part of the name: a refresh reads it back so, and any other spelling replaces the container.
        lambda part: [f"CAP_{name}" for name in part.capabilities] or None,
        read=_texts,
        default=(),
        words="capability add",
        parts=each,
    ),
    Property(
        "capabilities_dropped",
        "capabilities.drops",
        "HostConfig.CapDrop",
        lambda _: ["ALL"],
        read=_texts,
        default=(),
        words="capability drop",
        parts=each,
    ),
    Property("privileged", "privileged", "HostConfig.Privileged", default=False, tell=str, counts_undeclared=True),
    Property(
        "security_options",
        "securityOpts",
        "HostConfig.SecurityOpt",
        lambda _: ["no-new-privileges:true"],
        read=lambda options: tuple(sorted(options)),
        default=(),
    ),
    Property(
        "kernel_parameters",
        "sysctls",
        "HostConfig.Sysctls",
        lambda part: NO_FORWARDING if part.networks else None,
        default={},
        words="kernel parameter",
    ),
    Property("memory", "memory", "HostConfig.Memory", lambda part: part.memory, **_SIZE),
    # Equal, so that there is no swap; without it every preview would show a change.
    Property(
        "memory_swap",
        "memorySwap",
        "HostConfig.MemorySwap",
        lambda part: part.memory,
        words="memory with swap",
        **_SIZE,
    ),
    Property(
        "restart",
        "restart",
        "HostConfig.RestartPolicy.Name",
        lambda part: RESTART[part.restart],
        read=lambda name: name or "no",
        default="no",
        words="restart policy",
        update=Update.IN_PLACE,
        tell=str,
    ),
    Property("stop_grace", "stopTimeout", "Config.StopTimeout", _grace, read=int, default=DOCKERS_GRACE, tell=str),
    Property(
        "log_driver",
        "logDriver",
        "HostConfig.LogConfig.Type",
        lambda part: part.log and "json-file",
        default="",
        tell=str,
    ),
    Property(
        "log_options",
        "logOpts",
        "HostConfig.LogConfig.Config",
        lambda part: part.log and {"max-size": part.log.max_size, "max-file": str(part.log.max_files)},
        default={},
        words="log option",
    ),
    Property(
        "entry_point",
        "entrypoints",
        "Config.Entrypoint",
        lambda part: list(part.entry_point) or None,
        read=_texts,
        default=(),
    ),
    Property("command", "command", "Config.Cmd", lambda part: list(part.command) or None, read=_texts, default=()),
    Property("user", "user", "Config.User", lambda part: part.user),
    Property(
        "state",
        "mustRun",
        "State.Status",
        lambda part: part.restart is Restart.UNLESS_STOPPED,
        # A container that need not run may do both.
        given=lambda must: "running" if must else None,
        shown=lambda status: "running" if status == "restarting" else status,
        update=Update.IN_PLACE,
        tell=str,
    ),
    # Inside the container, and one secret to the engine.
    Property(
        "files",
        "uploads",
        declare=lambda part: [
            {"file": file.path, "content": file.content, "permissions": READ_ONLY} for file in part.files
        ],
    ),
    # The provider kills at once without it, and a killed gateway leaves its session at the broker.
    Property("removal_grace", "destroyGraceSeconds", None, _grace, read=int, default=0, update=Update.RECORDS),
    # A failed wait would replace the container at the next update, and every replacement is a login.
    Property("waits_for_probe", "wait", None, lambda part: None if _once(part) else False, update=Update.RECORDS),
    Property("waits_for_end", "attach", None, lambda part: _once(part) or None, update=Update.RECORDS),
    Property("keeps_output", "logs", None, lambda part: _once(part) or None, update=Update.RECORDS),
)

NETWORK: Table[NetworkSpec] = (
    Property("name", "name", "Name", lambda part: part.name, tell=str),
    Property("driver", "driver", "Driver", lambda _: "bridge", default="bridge", tell=str),
    Property("internal", "internal", "Internal", lambda part: part.internal, default=False, tell=str),
    Property(
        "subnets",
        "ipamConfigs",
        "IPAM.Config",
        # The address is Docker's own choice, said here because a restarted daemon reports it: unsaid, the next refresh
        # would replace the network, and with it the gateway.
        lambda part: [{"subnet": str(part.subnet), "gateway": str(next(part.subnet.hosts()))}],
        given=lambda ranges: {one["subnet"]: one.get("gateway") for one in ranges},
        shown=lambda ranges: {one["Subnet"]: one.get("Gateway") for one in ranges},
        default={},
        words="subnet",
    ),
    Property(
        "options",
        "options",
        "Options",
        lambda part: {ICC: "false"} if part.separates else {},
        default={},
        words="option",
    ),
    Property(
        "labels", "labels", "Labels", lambda part: _entries(part.labels), given=_labels, default={}, words="label"
    ),
)

VOLUME: Table[VolumeSpec] = (
    Property("name", "name", "Name", lambda part: part.name, tell=str),
    Property("driver", "driver", "Driver", lambda _: "local", tell=str),
    Property(
        "labels", "labels", "Labels", lambda part: _entries(part.labels), given=_labels, default={}, words="label"
    ),
)

IMAGE: Table[Any] = (Property("reference", "name", default=""),)
"""Of one that is pulled."""

TABLES: Mapping[Kind, Table[Any]] = {
    Kind.CONTAINER: CONTAINER,
    Kind.NETWORK: NETWORK,
    Kind.VOLUME: VOLUME,
    Kind.IMAGE: IMAGE,
}
