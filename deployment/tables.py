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
NO_LIMIT = -1
"""What Docker has as `MemorySwap` where it limits no swap, and so where it has dropped the limit."""
ICC = "com.docker.network.bridge.enable_icc"
"""A bridge's option: whether its containers reach each other. Docker's default is true."""
NO_FORWARDING = {"net.ipv4.ip_forward": "0"}
"""Docker switches it on in every container that has a network."""
READ_ONLY = "0444"
"""Uploads belong to root, and the gateway runs as uid 1000."""
NO_NEW_PRIVILEGES = "no-new-privileges:true"
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
    GATEWAY = "ibgw:gateway:Gateway"
    """The component that a gateway's resources belong to."""
    MONITORING = "ibgw:monitoring:Monitoring"
    """The one of what watches the gateways."""
    PROVIDER = "pulumi:providers:docker"
    STACK = "pulumi:pulumi:Stack"


KINDS: Mapping[str, Kind] = {
    Token.CONTAINER: Kind.CONTAINER,
    Token.NETWORK: Kind.NETWORK,
    Token.VOLUME: Kind.VOLUME,
    Token.PULLED_IMAGE: Kind.IMAGE,
    Token.BUILT_IMAGE: Kind.IMAGE,
}


# --- what is declared ---------------------------------------------------------------------------------------------


def _variables(part: ContainerSpec) -> list[str] | None:
    return [f"{key}={value}" for key, value in sorted(part.environment.items())] or None


def _entries(labels: Mapping[str, str]) -> list[Inputs]:
    return [{"label": key, "value": value} for key, value in sorted(labels.items())]


def _volumes(part: ContainerSpec) -> list[Inputs]:
    return [
        {
            "volumeName": Reference(mount.volume),
            "containerPath": mount.path,
            **({"readOnly": True} if mount.read_only else {}),
        }
        for mount in part.mounts
    ]


def _attachment(attachment: Attachment) -> Inputs:
    return {
        "name": Reference(attachment.network),
        **({"aliases": list(attachment.aliases)} if attachment.aliases else {}),
    }


def _network_mode(part: ContainerSpec) -> str | None:
    return None if part.networks else "none"


def _capabilities(part: ContainerSpec) -> list[str] | None:
    # CAP_ is part of the name: a refresh reads it back so, and any other spelling replaces the container.
    return [f"CAP_{name}" for name in part.capabilities] or None


def _kernel_parameters(part: ContainerSpec) -> Mapping[str, str] | None:
    return NO_FORWARDING if part.networks else None


def _grace(part: ContainerSpec) -> int | None:
    return None if part.stop_grace is None else round(part.stop_grace.total_seconds())


def _memory_with_swap(part: ContainerSpec) -> int | None:
    """Equal to the memory, so that there is no swap; without it every preview would show a change."""
    return part.memory if part.memory is None or (part.memory and part.swap_limited) else NO_LIMIT


def _log_options(part: ContainerSpec) -> Mapping[str, str] | None:
    return None if part.log is None else {"max-size": part.log.max_size, "max-file": str(part.log.max_files)}


def _once(part: ContainerSpec) -> bool:
    return part.restart is Restart.NEVER


def _uploads(part: ContainerSpec) -> list[Inputs]:
    return [{"file": file.path, "content": file.content, "permissions": READ_ONLY} for file in part.files]


def _bridge_options(part: NetworkSpec) -> Mapping[str, str]:
    return {ICC: "false"} if part.separates else {}


# --- what is found ------------------------------------------------------------------------------------------------


def _pairs(entries: Iterable[str]) -> dict[str, str]:
    return dict(entry.partition("=")[::2] for entry in entries)


def _in_order(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(values))


def _all_ports(every: bool) -> tuple[str, ...]:
    return ("all exposed ports",) if every else ()


def _labels(entries: Iterable[Inputs]) -> dict[str, str]:
    return {entry["label"]: entry["value"] for entry in entries}


def _texts(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(map(str, values))


def _mebibytes(size: int) -> float:
    """Of bytes; whole ones as a whole number. Docker's -1 is no limit, as is 0."""
    return max(size // MIB if size % MIB == 0 else round(size / MIB, 1), 0)


def _limit(mebibytes: float) -> str:
    return f"{mebibytes:.10g} MiB" if mebibytes else "no limit"


def _mounts(entries: Iterable[Inputs]) -> Facts:
    """By path: the volume or the host's folder, and whether it can be written to."""
    return {
        mount["containerPath"]: (mount.get("volumeName") or mount.get("hostPath"), not mount.get("readOnly"))
        for mount in entries
    }


def _mounted(entries: Iterable[Inspected]) -> Facts:
    return {mount["Destination"]: (mount.get("Name") or mount.get("Source"), mount.get("RW")) for mount in entries}


def _networks(entries: Iterable[Inputs]) -> Facts:
    """By the name or id that the input has: that, and the aliases."""
    return {network["name"]: (network["name"], _texts(network.get("aliases") or ())) for network in entries}


def _attached(inspected: Inspected) -> Facts:
    # Docker itself gives these two as aliases; they are the same unless somebody chose a host name.
    own = {inspected["Id"][:12], inspected["Config"].get("Hostname")}
    return {
        name: (endpoint.get("NetworkID"), tuple(alias for alias in endpoint.get("Aliases") or () if alias not in own))
        for name, endpoint in inspected["NetworkSettings"]["Networks"].items()
    }


def _attachments(fact: Facts) -> Mapping[str, object]:
    parts: dict[str, object] = {}
    for name, (network, aliases) in fact.items():
        parts |= {name: network, **{f"{name} alias {alias}": True for alias in aliases}}
    return parts


def _ports(entries: Iterable[Inputs]) -> tuple[str, ...]:
    return tuple(
        f"{int(port['internal'])}/{port.get('protocol') or 'tcp'} on {port.get('ip') or '0.0.0.0'}:"
        f"{int(port['external']) if port.get('external') else 'any'}"
        for port in entries
    )


def _published(inspected: Inspected) -> tuple[str, ...]:
    """Configured and actual bindings, since a container that was just restarted may show only the first."""
    texts = set()
    for ports in (inspected["HostConfig"].get("PortBindings"), inspected["NetworkSettings"].get("Ports")):
        for port, bindings in (ports or {}).items():
            for binding in bindings or []:
                texts.add(f"{port} on {binding.get('HostIp') or '0.0.0.0'}:{binding.get('HostPort') or 'any'}")
    return tuple(sorted(texts))


# --- the tables ---------------------------------------------------------------------------------------------------

_TIME: Any = {
    "given": lambda text: parse_duration(text).total_seconds(),
    "shown": lambda nanoseconds: nanoseconds / 1e9,
    "ask": lambda text: round(parse_duration(text).total_seconds() * 1e9),
    "default": 0.0,
}
_SIZE: Any = {
    "given": lambda size: max(int(size), 0),
    "shown": _mebibytes,
    "ask": lambda size: size * MIB,
    "default": 0,
    "update": Update.IN_PLACE,
    "tell": _limit,
}
_LABELS: Any = {"given": _labels, "ask": _labels, "default": {}, "words": "label"}
_WORDS: Any = {"read": _texts, "default": ()}
_SET: Any = {**_WORDS, "parts": each}
_ANYWAY: Any = {"counts_undeclared": True}
_RECORDED: Any = {"update": Update.RECORDS}
"""For the provider alone: how it creates and removes."""

Declare = Callable[[ContainerSpec], Any] | None


def _config(name: str, key: str, inspect: str, declare: Declare = None, **options: Any) -> Property[ContainerSpec]:
    return Property(name, key, f"Config.{inspect}", declare, **options)


def _host(name: str, key: str, inspect: str, declare: Declare = None, **options: Any) -> Property[ContainerSpec]:
    return Property(name, key, f"HostConfig.{inspect}", declare, **options)


def _probe(
    name: str, key: str, inspect: str, declare: Callable[[Probe], Any] = lambda _: None, **options: Any
) -> Property[ContainerSpec]:
    """The provider records a changed probe and changes nothing."""
    paths = f"healthcheck.{key}", f"Config.Healthcheck.{inspect}"
    return Property(name, *paths, lambda part: part.probe and declare(part.probe), update=Update.RECORDS, **options)


CONTAINER: Table[ContainerSpec] = (
    Property("name", "name", "Name", lambda part: part.name, shown=lambda name: name.lstrip("/"), tell=str),
    Property("image", "image", "Image", lambda part: Reference(part.image), default="", tell=str),
    _config("environment", "envs", "Env", _variables, read=_pairs, default={}, inherited=True, **_ANYWAY),
    _config("labels", "labels", "Labels", lambda part: _entries(part.labels), inherited=True, **_LABELS, **_ANYWAY),
    Property(
        "mounts", "volumes", "Mounts", _volumes, given=_mounts, shown=_mounted, default={}, words="mount", **_ANYWAY
    ),
    Property(
        "networks",
        "networksAdvanced",
        "",
        lambda part: [_attachment(attachment) for attachment in part.networks] or None,
        given=_networks,
        shown=_attached,
        default={},
        words="network",
        parts=_attachments,
    ),
    _host("network_mode", "networkMode", "NetworkMode", _network_mode, default="bridge", tell=str),
    Property(
        "published",
        "ports",
        "",
        given=_ports,
        shown=_published,
        default=(),
        words="published port",
        parts=each,
        **_ANYWAY,
    ),
    _host(
        "all_published",
        "publishAllPorts",
        "PublishAllPorts",
        read=_all_ports,
        default=(),
        words="published port",
        parts=each,
        **_ANYWAY,
    ),
    _probe("probe", "tests", "Test", lambda probe: list(probe.test), words="probe command", **_WORDS),
    # In Go's own spelling, as it is read back: any other is a change at each refresh.
    _probe("probe_interval", "interval", "Interval", lambda probe: format_duration(probe.interval), **_TIME),
    _probe("probe_retries", "retries", "Retries", lambda probe: probe.retries, default=0),
    _probe("probe_start_period", "startPeriod", "StartPeriod", words="probe startPeriod", **_TIME),
    _probe("probe_timeout", "timeout", "Timeout", lambda probe: format_duration(probe.timeout), **_TIME),
    _host("capabilities_added", "capabilities.adds", "CapAdd", _capabilities, words="capability add", **_SET),
    _host("capabilities_dropped", "capabilities.drops", "CapDrop", lambda _: ["ALL"], words="capability drop", **_SET),
    _host("privileged", "privileged", "Privileged", default=False, tell=str, **_ANYWAY),
    _host("read_only", "readOnly", "ReadonlyRootfs", lambda part: part.read_only or None, default=False, tell=str),
    _host("security_options", "securityOpts", "SecurityOpt", lambda _: [NO_NEW_PRIVILEGES], read=_in_order, default=()),
    _host("kernel_parameters", "sysctls", "Sysctls", _kernel_parameters, default={}, words="kernel parameter"),
    _host("memory", "memory", "Memory", lambda part: part.memory, **_SIZE),
    _host("memory_swap", "memorySwap", "MemorySwap", _memory_with_swap, words="memory with swap", **_SIZE),
    _host(
        "restart",
        "restart",
        "RestartPolicy.Name",
        lambda part: RESTART[part.restart],
        read=lambda name: name or "no",
        default="no",
        words="restart policy",
        update=Update.IN_PLACE,
        tell=str,
    ),
    _config("stop_grace", "stopTimeout", "StopTimeout", _grace, read=int, default=DOCKERS_GRACE, tell=str),
    _host("log_driver", "logDriver", "LogConfig.Type", lambda part: part.log and "json-file", default="", tell=str),
    _host("log_options", "logOpts", "LogConfig.Config", _log_options, default={}, words="log option"),
    _config("entry_point", "entrypoints", "Entrypoint", lambda part: list(part.entry_point) or None, **_WORDS),
    _config("command", "command", "Cmd", lambda part: list(part.command) or None, **_WORDS),
    _config("user", "user", "User", lambda part: part.user),
    Property(
        "state",
        "mustRun",
        "State.Status",
        lambda part: not _once(part),
        # A container that need not run may do both.
        given=lambda must: "running" if must else None,
        shown=lambda status: "running" if status == "restarting" else status,
        update=Update.IN_PLACE,
        tell=str,
    ),
    # Inside the container, and one secret to the engine.
    Property("files", "uploads", None, _uploads),
    # The provider kills at once without it, and a killed gateway leaves its session at the broker.
    Property("removal_grace", "destroyGraceSeconds", None, _grace, read=int, default=0, **_RECORDED),
    # A failed wait would replace the container at the next update, and every replacement is a login.
    Property("waits_for_probe", "wait", None, lambda part: None if _once(part) else False, **_RECORDED),
    Property("waits_for_end", "attach", None, lambda part: _once(part) or None, **_RECORDED),
    Property("keeps_output", "logs", None, lambda part: _once(part) or None, **_RECORDED),
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
        given=lambda ranges: {entry["subnet"]: entry.get("gateway") for entry in ranges},
        shown=lambda ranges: {entry["Subnet"]: entry.get("Gateway") for entry in ranges},
        default={},
        words="subnet",
    ),
    Property("options", "options", "Options", _bridge_options, default={}, words="option"),
    Property("labels", "labels", "Labels", lambda part: _entries(part.labels), **_LABELS),
)

VOLUME: Table[VolumeSpec] = (
    Property("name", "name", "Name", lambda part: part.name, tell=str),
    Property("driver", "driver", "Driver", lambda _: "local", tell=str),
    Property("options", "driverOpts", "Options", lambda part: part.options or None, default={}, words="option"),
    Property("labels", "labels", "Labels", lambda part: _entries(part.labels), **_LABELS),
)

IMAGE: Table[Any] = (Property("reference", "name", default=""),)
"""Of one that is pulled."""

TABLES: Mapping[Kind, Table[Any]] = {
    Kind.CONTAINER: CONTAINER,
    Kind.NETWORK: NETWORK,
    Kind.VOLUME: VOLUME,
    Kind.IMAGE: IMAGE,
}
