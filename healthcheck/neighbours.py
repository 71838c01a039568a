"""What another container of the Docker host is to a gateway: what prepares its volumes, or one that shares what is the
gateway's own. Pure: of what `docker inspect` shows, whether it runs or would only need to be started."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from healthcheck.attachments import Attached
from healthcheck.docker_host import Inspected
from healthcheck.hygiene import OWNER

NAMESPACES = {"NetworkMode": "network", "PidMode": "process", "IpcMode": "IPC"}
"""Of `HostConfig`: what `docker run` calls --network, --pid and --ipc."""

BRIDGE = "br-{}"
"""What Docker calls a network's bridge, by the beginning of the network's id (libnetwork's bridge driver)."""

JOINS = "container:"
"""How a mode begins that joins another container's namespace."""


def holders(container: Inspected, mode: str, containers: Mapping[str, Attached]) -> Iterator[str]:
    """The ids of those whose namespace it is in: of the container that it joins, of the one that this joins, ..."""
    seen: set[str] = set()
    while (target := _target(container["HostConfig"].get(mode) or "", containers)) is not None and target[
        "Id"
    ] not in seen:
        seen.add(target["Id"])
        yield target["Id"]
        container = target


def _target(mode: str, containers: Mapping[str, Attached]) -> Inspected | None:
    """Docker takes a name, an id or the beginning of one."""
    if not mode.startswith(JOINS):
        return None
    wanted = mode.removeprefix(JOINS).removeprefix("/")
    by_name = (
        container
        for container in containers.values()
        if container.inspected is not None and wanted in (container.id, container.name)
    )
    by_beginning = (container for container in containers.values() if container.id.startswith(wanted))
    joined = next(by_name, None) or next(by_beginning, None)
    return None if joined is None else joined.inspected


def shares(
    container: Inspected,
    gateway: Inspected,
    containers: Mapping[str, Attached],
    volumes: Mapping[str, Inspected],
    interfaces: Mapping[str, str],
) -> Iterator[str]:
    """What of a gateway's own it has, in words. `volumes`: of the host, by their names. `interfaces`: of the host, that
    the container's networks lie on, with these networks' names."""
    for mode, word in NAMESPACES.items():
        if gateway["Id"] in holders(container, mode, containers):
            yield f"its {word} namespace"
    for network, joined in ((gateway.get("NetworkSettings") or {}).get("Networks") or {}).items():
        # One that has never run knows its networks by name alone.
        if by := interfaces.get(BRIDGE.format(joined.get("NetworkID", "")[:12])):
            yield f"its network {network}, by network {by}"
    own = {mount["Name"]: mount["Source"] for mount in gateway["Mounts"] if mount["Type"] == "volume"}
    layers = (gateway.get("GraphDriver") or {}).get("Data") or {}
    folders = [(f"volume {name}", source) for name, source in own.items()]
    folders += [("file system", layers[key]) for key in ("UpperDir", "MergedDir") if key in layers]
    for mount in container["Mounts"]:
        name = mount.get("Name", "")
        # A volume may itself be a bind of a folder (--opt o=bind).
        device = ((volumes.get(name) or {}).get("Options") or {}).get("device")
        source = device or mount.get("Source", "")
        if name in own:
            yield f"its volume {name}"
            continue
        for what, folder in folders:
            if _meet(source, folder):
                yield f"its {what}, by {source}"


def _meet(source: str, folder: str) -> bool:
    """Whether a folder of the host is this one, lies in it, or is the one that Docker keeps it and its like in. Who has
    all of Docker's data, or the host's whole disk, has the host: that is not told of a gateway."""
    given, kept = PurePosixPath(source), PurePosixPath(folder)
    return given.is_relative_to(kept) or (kept.is_relative_to(given) and given.is_relative_to(kept.parents[1]))


def prepares(container: Inspected, gateway: Inspected) -> bool:
    """Whether it is the step that gives a gateway's volumes to the image's user (infra.spec), which does nothing else
    and has no network."""
    config, mounts = container["Config"], [(mount.get("Name"), mount["Destination"]) for mount in container["Mounts"]]
    own = [(mount.get("Name"), mount["Destination"]) for mount in gateway["Mounts"]]
    return (
        container["Image"] == gateway["Image"]
        and config["Entrypoint"] == ["chown"]
        and (config["Cmd"] or [""])[0] == ":".join(map(str, OWNER))
        and {*(config["Env"] or ())} <= {*(gateway["Config"]["Env"] or ())}
        and {*mounts} <= {*own}
        and container["HostConfig"]["NetworkMode"] == "none"
        and not any((container["HostConfig"].get(mode) or "").startswith(JOINS) for mode in NAMESPACES)
    )
