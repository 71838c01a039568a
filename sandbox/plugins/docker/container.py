"""`docker:index/container:Container`: create, read, update and delete, as terraform-provider-docker 4.5.0 does them."""

import base64
import io
import math
import re
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.plugins.docker import remote_image
from sandbox.plugins.docker.daemon import Daemon, failing_as, labels_to_docker
from sandbox.plugins.docker.properties import CONTAINER
from sandbox.plugins.docker.schema import with_defaults
from sandbox.plugins.provider import PluginError, RecordedButFailed, State
from sandbox.plugins.values import Properties

_MIB = 1024 * 1024
_POLL = 0.1
# A property that is in the state of a container whose creation failed half-way: the next update replaces it.
FAILED = "__failed"


def _same(value: Any) -> Any:
    return value


def _to_bytes(mib: int) -> int:
    """MiB to bytes; 0 and the -1 of an unlimited swap stay as they are."""
    return mib * _MIB if mib > 0 else mib


def _to_mib(value: int) -> int:
    return value // _MIB if value > 0 else value


@dataclass(frozen=True)
class Field:
    """Where the Docker API keeps a property, and how it writes it."""

    path: str
    write: Callable[[Any], Any] = _same
    read: Callable[[Any], Any] | None = _same


def _mount_to_docker(mount: Properties) -> dict[str, Any]:
    request: dict[str, Any] = {
        "Type": mount["type"],
        "Target": mount["target"],
        "Source": mount.get("source") or "",
        "ReadOnly": bool(mount.get("readOnly")),
    }
    if options := mount.get("bindOptions"):
        request["BindOptions"] = {"Propagation": options.get("propagation")}
    if options := mount.get("tmpfsOptions"):
        request["TmpfsOptions"] = {"SizeBytes": options.get("sizeBytes") or 0, "Mode": options.get("mode") or 0}
    if options := mount.get("volumeOptions"):
        request["VolumeOptions"] = {
            "NoCopy": bool(options.get("noCopy")),
            "Labels": labels_to_docker(options.get("labels")),
            "DriverConfig": {"Name": options.get("driverName") or "", "Options": options.get("driverOptions") or {}},
        }
    return request


def _mount_from_docker(entry: dict[str, Any]) -> Properties:
    mount: Properties = {
        "type": entry["Type"],
        "target": entry["Target"],
        "source": entry.get("Source") or None,
        "readOnly": entry.get("ReadOnly") or None,
    }
    if options := entry.get("BindOptions"):
        mount["bindOptions"] = {"propagation": options.get("Propagation")}
    if options := entry.get("TmpfsOptions"):
        mount["tmpfsOptions"] = {"sizeBytes": options.get("SizeBytes"), "mode": options.get("Mode")}
    if options := entry.get("VolumeOptions"):
        driver = options.get("DriverConfig") or {}
        mount["volumeOptions"] = {
            "noCopy": options.get("NoCopy"),
            "labels": [{"label": key, "value": value} for key, value in sorted((options.get("Labels") or {}).items())],
            "driverName": driver.get("Name"),
            "driverOptions": driver.get("Options"),
        }
    return mount


def _volume_to_docker(volume: Properties) -> str:
    source = volume.get("volumeName") or volume.get("hostPath")
    return f"{source}:{volume['containerPath']}:{'ro' if volume.get('readOnly') else 'rw'}"


_NANOSECONDS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 1000, "µs": 1000, "ns": 1}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?)(h|ms|m|s|us|µs|ns)")


def parse_duration(text: str) -> int:
    """A Go duration (`1m30s`) in nanoseconds; raises PluginError for anything else."""
    parts = _DURATION_PART.findall(text)
    if not text or "".join(number + unit for number, unit in parts) != text:
        raise PluginError(f"{text!r} is not a duration such as 30s or 1m30s")
    return sum(round(float(number) * _NANOSECONDS[unit]) for number, unit in parts)


def format_duration(nanoseconds: int) -> str:
    """As Go prints a duration: `1m0s`, never `60s`."""
    if nanoseconds < 10**9:
        for unit in ("ms", "us", "ns"):
            if nanoseconds and nanoseconds % _NANOSECONDS[unit] == 0:
                return f"{nanoseconds // _NANOSECONDS[unit]}{'µs' if unit == 'us' else unit}"
        return "0s"
    seconds, rest = divmod(nanoseconds, 10**9)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    text = f"{seconds % 60 + rest / 10**9:g}s"
    if seconds >= 60:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def _healthcheck_to_docker(check: Properties) -> dict[str, Any]:
    return {
        "Test": check["tests"],
        "Interval": parse_duration(check["interval"]),
        "Timeout": parse_duration(check["timeout"]),
        "StartPeriod": parse_duration(check["startPeriod"]),
        "Retries": check["retries"],
    }


def _healthcheck_from_docker(probe: dict[str, Any]) -> Properties:
    return {
        "tests": probe.get("Test"),
        "interval": format_duration(probe.get("Interval", 0)),
        "timeout": format_duration(probe.get("Timeout", 0)),
        "startPeriod": format_duration(probe.get("StartPeriod", 0)),
        "retries": probe.get("Retries", 0),
    }


def _hosts_to_docker(hosts: list[Properties]) -> list[str]:
    return [f"{host['host']}:{host['ip']}" for host in hosts]


def _hosts_from_docker(entries: list[str]) -> list[Properties]:
    return [{"host": host, "ip": ip} for host, _, ip in (entry.partition(":") for entry in entries)]


def _ulimits_to_docker(limits: list[Properties]) -> list[dict[str, Any]]:
    return [{"Name": limit["name"], "Soft": limit["soft"], "Hard": limit["hard"]} for limit in limits]


def _ulimits_from_docker(limits: list[dict[str, Any]]) -> list[Properties]:
    return [{"name": limit["Name"], "soft": limit["Soft"], "hard": limit["Hard"]} for limit in limits]


# Environment, labels and volumes are not read back (the image adds its own); nor are uploads and networks.
_FIELDS: dict[str, Field] = {
    "command": Field("Config.Cmd"),
    "entrypoints": Field("Config.Entrypoint"),
    "envs": Field("Config.Env", read=None),
    "user": Field("Config.User"),
    "workingDir": Field("Config.WorkingDir"),
    "tty": Field("Config.Tty"),
    "stdinOpen": Field("Config.OpenStdin"),
    "stopSignal": Field("Config.StopSignal"),
    "stopTimeout": Field("Config.StopTimeout"),
    "hostname": Field("Config.Hostname"),
    "domainname": Field("Config.Domainname"),
    "labels": Field("Config.Labels", write=labels_to_docker, read=None),
    "healthcheck": Field("Config.Healthcheck", _healthcheck_to_docker, _healthcheck_from_docker),
    "restart": Field("HostConfig.RestartPolicy.Name"),
    "maxRetryCount": Field("HostConfig.RestartPolicy.MaximumRetryCount"),
    "init": Field("HostConfig.Init"),
    "groupAdds": Field("HostConfig.GroupAdd"),
    "memory": Field("HostConfig.Memory", _to_bytes, _to_mib),
    "memoryReservation": Field("HostConfig.MemoryReservation", _to_bytes, _to_mib),
    "memorySwap": Field("HostConfig.MemorySwap", _to_bytes, _to_mib),
    "shmSize": Field("HostConfig.ShmSize", _to_bytes, _to_mib),
    "cpuShares": Field("HostConfig.CpuShares"),
    "cpuSet": Field("HostConfig.CpusetCpus"),
    "cpuPeriod": Field("HostConfig.CpuPeriod"),
    "cpuQuota": Field("HostConfig.CpuQuota"),
    "cpus": Field("HostConfig.NanoCpus", lambda cpus: round(float(cpus) * 10**9), read=None),
    "ulimits": Field("HostConfig.Ulimits", _ulimits_to_docker, _ulimits_from_docker),
    "securityOpts": Field("HostConfig.SecurityOpt"),
    "privileged": Field("HostConfig.Privileged"),
    "readOnly": Field("HostConfig.ReadonlyRootfs"),
    "sysctls": Field("HostConfig.Sysctls"),
    "ipcMode": Field("HostConfig.IpcMode"),
    "pidMode": Field("HostConfig.PidMode"),
    "usernsMode": Field("HostConfig.UsernsMode"),
    "cgroupnsMode": Field("HostConfig.CgroupnsMode"),
    "cgroupParent": Field("HostConfig.CgroupParent"),
    "runtime": Field("HostConfig.Runtime"),
    "mounts": Field(
        "HostConfig.Mounts",
        lambda mounts: [_mount_to_docker(mount) for mount in mounts],
        lambda mounts: [_mount_from_docker(mount) for mount in mounts],
    ),
    "volumes": Field("HostConfig.Binds", lambda volumes: [_volume_to_docker(v) for v in volumes], read=None),
    "tmpfs": Field("HostConfig.Tmpfs"),
    "networkMode": Field("HostConfig.NetworkMode"),
    "hosts": Field("HostConfig.ExtraHosts", _hosts_to_docker, _hosts_from_docker),
    "dns": Field("HostConfig.Dns"),
    "dnsOpts": Field("HostConfig.DnsOptions"),
    "dnsSearches": Field("HostConfig.DnsSearch"),
    "logDriver": Field("HostConfig.LogConfig.Type"),
    "logOpts": Field("HostConfig.LogConfig.Config"),
}

# What an update sends to the daemon, all together, when one of them changed.
_UPDATED_TOGETHER = (
    "restart",
    "maxRetryCount",
    "memory",
    "memoryReservation",
    "memorySwap",
    "cpuShares",
    "cpuSet",
)


def create(daemon: Daemon, inputs: Properties) -> State:
    """Creates, connects, fills and starts the container, then reads it back.

    Raises PluginError when there is no container afterwards, RecordedButFailed when there is one that is not as asked.
    """
    wanted = with_defaults(CONTAINER, inputs)
    try:
        image = remote_image.find_or_pull(daemon, wanted["image"])
    except PluginError as error:
        raise PluginError(f"Unable to create container with image {wanted['image']}: {error}") from None
    with failing_as("Unable to create container"):
        identity = daemon.create_container(_request(wanted), wanted["name"], wanted.get("platform"))
    try:
        outputs = _bring_up(daemon, identity, wanted)
    except PluginError as error:
        raise RecordedButFailed(str(error), id=identity, properties={**wanted, FAILED: True}) from None
    with failing_as(f"Unable to inspect container {identity}"):
        inspected = daemon.client.inspect_container(identity)
    return State(identity, _properties({**wanted, **outputs}, inspected, image))


def _request(wanted: Properties) -> dict[str, Any]:
    """The body of POST /containers/create: Config's fields on top, HostConfig inside."""
    request: dict[str, Any] = {"Image": wanted["image"], "HostConfig": {"Init": False}}
    for name, field in _FIELDS.items():
        value = wanted.get(name)
        if value is None or value in ("", [], {}):
            continue
        *path, last = field.path.removeprefix("Config.").split(".")
        target = request
        for step in path:
            target = target.setdefault(step, {})
        target[last] = field.write(value)
    if capabilities := wanted.get("capabilities"):
        request["HostConfig"]["CapAdd"] = _capabilities(capabilities.get("adds"))
        request["HostConfig"]["CapDrop"] = _capabilities(capabilities.get("drops"))
    return request


def _capabilities(names: list[str] | None) -> list[str]:
    """As Docker's Go client writes them: `CAP_CHOWN`, whatever was asked for; so that is what is read back."""
    upper = {name.upper() for name in names or ()}
    if "ALL" in upper:
        return ["ALL"]
    return sorted(name if name.startswith("CAP_") else f"CAP_{name}" for name in upper)


def _bring_up(daemon: Daemon, identity: str, wanted: Properties) -> Properties:
    """Networks, uploads, start, and what is waited for. Returns the outputs that only this moment knows."""
    client = daemon.client
    if networks := wanted.get("networksAdvanced"):
        _move_to(daemon, identity, networks)
    for upload in wanted.get("uploads") or ():
        with failing_as("Unable to upload volume content"):
            client.put_archive(identity, "/", _upload_archive(upload))
    if not wanted["start"]:
        return {}
    with failing_as("Unable to start container"):
        client.start(identity)
    if wanted["wait"]:
        _await_healthy(daemon, identity, wanted["waitTimeout"])
    if not wanted["attach"]:
        return {}
    with failing_as("Unable to wait container end of execution"):
        client.wait(identity)
        if wanted["logs"]:
            return {"containerLogs": client.logs(identity).decode(errors="replace")}
    return {}


def _move_to(daemon: Daemon, identity: str, networks: list[Properties]) -> None:
    """Takes the container off the default bridge, where it was created, and into its own networks."""
    from docker.errors import APIError

    client = daemon.client
    try:
        client.disconnect_container_from_network(identity, "bridge")
    except APIError as error:
        if "is not connected to" not in str(error.explanation):
            raise PluginError(f"Unable to disconnect the default network: {error.explanation}") from None
    for network in networks:
        with failing_as(f"Unable to connect to network '{network['name']}'"):
            client.connect_container_to_network(
                identity,
                network["name"],
                aliases=network.get("aliases"),
                ipv4_address=network.get("ipv4Address"),
                ipv6_address=network.get("ipv6Address"),
            )


def _upload_archive(upload: Properties) -> bytes:
    """A tar file with one member. It belongs to root, whoever the container's user is."""
    given = [key for key in ("content", "contentBase64") if upload.get(key)]
    if len(given) != 1:
        kinds = "'content', 'content_base64', or 'source'"
        wrong = f"only one of {kinds} can be set" if given else f"one of {kinds} must be set"
        raise PluginError(f"error with upload content: {wrong}")
    content = upload["content"].encode() if "content" in given else base64.b64decode(upload["contentBase64"])
    member = tarfile.TarInfo(upload["file"].lstrip("/"))
    member.mode = int(upload.get("permissions") or ("0744" if upload["executable"] else "0644"), 8)
    member.size = len(content)
    member.mtime = int(time.time())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _await_healthy(daemon: Daemon, identity: str, timeout: float) -> None:
    """Waits until the probe passes, however hopeless it looks before the time is over."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with failing_as("error inspecting container state"):
            state = daemon.client.inspect_container(identity)["State"]
        if "Health" not in state:
            raise PluginError(
                "you have supplied a 'wait' argument, but the container does not have a healthcheck defined. Please "
                "remove the 'wait' argument or add a 'healthcheck' attribute"
            )
        if state["Health"]["Status"] == "healthy":
            return
        time.sleep(min(1.0, max(_POLL, deadline - time.monotonic())))
    raise PluginError("container failed to be in healthy state")


def read(daemon: Daemon, state: State) -> State | None:
    """The container as it is now, or None if it is gone. A stopped one shows as `mustRun: false`."""
    from docker.errors import NotFound

    with failing_as(f"Unable to inspect container {state.id}"):
        try:
            inspected = daemon.client.inspect_container(state.id)
        except NotFound:
            return None
    image = remote_image.find(daemon, state.properties.get("image") or inspected["Image"])
    return State(inspected["Id"], _properties(state.properties, inspected, image))


def _properties(known: Properties, inspected: dict[str, Any], image: dict[str, Any] | None) -> Properties:
    """All properties: what is known of it, overlaid with what Docker says of it."""
    properties = {**known, "name": inspected["Name"].lstrip("/"), "bridge": inspected["NetworkSettings"]["Bridge"]}
    for name, field in _FIELDS.items():
        if field.read is not None:
            value = _look_up(inspected, field.path)
            properties[name] = None if value is None else field.read(value)
    # A digest is kept while the container runs what it names; any other reference is replaced by the image's id.
    digest_reference = "@sha256:" in str(known.get("image")) and image is not None and image["Id"] == inspected["Image"]
    properties["image"] = known["image"] if digest_reference else inspected["Image"]
    host = inspected["HostConfig"]
    if host.get("CapAdd") or host.get("CapDrop"):
        properties["capabilities"] = {"adds": host.get("CapAdd") or [], "drops": host.get("CapDrop") or []}
    properties["networkDatas"] = [
        {
            "networkName": name,
            "ipAddress": settings["IPAddress"],
            "ipPrefixLength": settings["IPPrefixLen"],
            "gateway": settings["Gateway"],
            "globalIpv6Address": settings["GlobalIPv6Address"],
            "globalIpv6PrefixLength": settings["GlobalIPv6PrefixLen"],
            "ipv6Gateway": settings["IPv6Gateway"],
            "macAddress": settings["MacAddress"],
        }
        for name, settings in sorted(inspected["NetworkSettings"]["Networks"].items())
    ]
    if not inspected["State"]["Running"]:
        properties["exitCode"] = inspected["State"]["ExitCode"]
        # Also of one that has just been made and has ended at once: it is recorded, and nothing failed.
        properties["mustRun"] = False
    return properties


def _look_up(inspected: dict[str, Any], path: str) -> Any:
    value: Any = inspected
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def update(daemon: Daemon, state: State, inputs: Properties) -> Properties:
    """Applies what can be applied in place and records all of the new inputs, also where Docker refused them: the next
    update then finds nothing to do. Only a refresh sees what Docker has.

    Raises RecordedButFailed in that case (terraform-plugin-sdk keeps the planned state beside the error).
    """
    wanted = with_defaults(CONTAINER, inputs)
    kept = {name: value for name, value in state.properties.items() if name in CONTAINER}
    properties = {**kept, **wanted}
    try:
        _apply(daemon, state, wanted)
        with failing_as(f"Unable to inspect container {state.id}"):
            inspected = daemon.client.inspect_container(state.id)
    except PluginError as error:
        raise RecordedButFailed(str(error), id=state.id, properties=properties) from None
    return properties | {name: _read_field(inspected, name) for name in _UPDATED_TOGETHER if wanted.get(name) is None}


def _apply(daemon: Daemon, state: State, wanted: Properties) -> None:
    before, client = state.properties, daemon.client
    if wanted["mustRun"] and wanted["start"] and before.get("mustRun") is False:
        with failing_as("Unable to start container"):
            client.start(state.id)
    if any(_differs(before.get(name), wanted.get(name)) for name in _UPDATED_TOGETHER):
        restart: Any = {"Name": wanted["restart"], "MaximumRetryCount": wanted.get("maxRetryCount") or 0}
        with failing_as("Unable to update a container"):
            client.update_container(
                state.id,
                restart_policy=restart,
                mem_limit=_to_bytes(wanted.get("memory") or 0),
                mem_reservation=_to_bytes(wanted.get("memoryReservation") or 0),
                memswap_limit=_to_bytes(wanted.get("memorySwap") or 0),
                cpu_shares=wanted.get("cpuShares") or 0,
                cpuset_cpus=wanted.get("cpuSet") or "",
            )


def _read_field(inspected: dict[str, Any], name: str) -> Any:
    field = _FIELDS[name]
    value = _look_up(inspected, field.path)
    return None if value is None or field.read is None else field.read(value)


def _differs(before: Any, after: Any) -> bool:
    return (before or None) != (after or None)


def delete(daemon: Daemon, state: State) -> None:
    """Stops with the recorded grace (none recorded: SIGKILL at once) and removes, anonymous volumes included."""
    from docker.errors import APIError, NotFound

    client, properties = daemon.client, state.properties
    if not properties.get("attach"):
        try:
            client.stop(state.id, timeout=math.ceil(properties.get("destroyGraceSeconds") or 0))
        except NotFound:
            return
        except APIError as error:
            raise PluginError(f"Error stopping container {state.id}: {error.explanation}") from None
    try:
        client.remove_container(state.id, v=bool(properties.get("removeVolumes", True)), force=True)
    except NotFound:
        return
    except APIError as error:
        if "is already in progress" not in str(error.explanation):
            raise PluginError(f"Error deleting container {state.id}: {error.explanation}") from None
