"""What is otherwise on the Docker host than the last update left it, whoever changed it. Only looks.

Two sources. A refresh in preview: what was recorded, beside what the provider reads today. And Docker itself, for what
the provider does not read back (environment, labels, mounts, networks) and for objects that somebody made anew, which
the provider only knows to be gone. `TABLES` says for each input of an object where Docker's inspect has it; what is not
in there is compared as the provider read it.

Everything is compared by key, so that the order means nothing. Values are told only of rows marked `show`: in an
environment or a label somebody may have put a password.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from deployment.durations import parse_duration
from deployment.errors import IbgwError
from deployment.names import Names
from healthcheck.docker_host import DockerHost, Inspected, Kind, docker_errors
from healthcheck.inspected import DOCKERS_GRACE, MIB, published
from operations.repair.state import PROVIDER
from operations.stack import OUTPUT, Stack, parse_contract

View = Mapping[str, object]
"""What is compared of one input, by key; a single value has the empty key."""

STACK = "pulumi:pulumi:Stack"
"""The resource that has the stack's output."""

HIDDEN = "[secret]"
"""What the engine's JSON has in place of a secret."""


TYPES = {
    "docker:index/container:Container": Kind.CONTAINER,
    "docker:index/network:Network": Kind.NETWORK,
    "docker:index/volume:Volume": Kind.VOLUME,
    "docker:index/remoteImage:RemoteImage": Kind.IMAGE,
    "docker:index/image:Image": Kind.IMAGE,
}


class Change(StrEnum):
    """Of a whole object (gone, recreated, forgotten) or of a part of it."""

    GONE = "gone"
    RECREATED = "recreated"
    """Another object of its name is there instead of the one that was deployed."""
    FORGOTTEN = "forgotten"
    """The last update left it, and the state has it no more: a refresh has found it gone."""
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Difference(_Model):
    """`item`: what of it, such as `environment TIME_ZONE`; None where it is the whole object. `recorded` and `found`
    are None where the values are not to be told."""

    kind: Kind
    name: str
    item: str | None
    change: Change
    recorded: str | None = None
    found: str | None = None


class Drift(_Model):
    stack: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Recorded:
    """One object as the state has it. `inputs` are what the last update asked for, `outputs` what the provider made of
    it and read at the last update or refresh, `read` what it reads now, None if it finds nothing."""

    kind: Kind
    id: str
    name: str
    host: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    read: Mapping[str, Any] | None


@dataclass(frozen=True)
class Seen:
    """One object as Docker inspects it. `image`: the `Config` of the image that a container was made from, whose
    environment and labels Docker adds to the container's. `networks`: names of the recorded networks, by id."""

    inspected: Inspected
    image: Inspected
    networks: Mapping[str, str]


@dataclass(frozen=True)
class Row:
    """Where one input is found: both functions give the same view of it. `undeclared`: what an input that is not
    declared stands for; None leaves it to what the provider reads."""

    item: str
    recorded: Callable[[Any, Seen], View]
    found: Callable[[Seen], View]
    show: bool = False
    undeclared: Any = None


# --- the tables ---------------------------------------------------------------------------------------------------


def _at(inspected: Inspected, path: str) -> Any:
    value: Any = inspected
    for step in path.split("."):
        value = (value or {}).get(step)
    return value


def _single(
    item: str,
    path: str,
    *,
    write: Callable[[Any], object] = lambda value: value,
    read: Callable[[Any], object] = lambda value: value,
    show: bool = False,
    undeclared: Any = None,
) -> Row:
    """A single value. `write` is for the recorded one, `read` for Docker's."""
    return Row(
        item, lambda value, _: {"": write(value)}, lambda seen: {"": read(_at(seen.inspected, path))}, show, undeclared
    )


def _labels(path: str, undeclared: Any = None) -> Row:
    return Row(
        "label",
        lambda value, seen: {**(seen.image.get("Labels") or {}), **{one["label"]: one["value"] for one in value}},
        lambda seen: _at(seen.inspected, path) or {},
        undeclared=undeclared,
    )


def _map(item: str, path: str) -> Row:
    return Row(item, lambda value, _: value, lambda seen: _at(seen.inspected, path) or {})


def _environment(entries: Iterable[str] | None) -> View:
    return dict(entry.partition("=")[::2] for entry in entries or ())


def _mib(value: float) -> str:
    return f"{round(value, 1):.10g} MiB" if value > 0 else "no limit"


def _state(seen: Seen) -> View:
    status = seen.inspected["State"]["Status"]
    return {"": "running" if status in ("running", "restarting") else status}


def _attachments(value: Iterable[Mapping[str, Any]], seen: Seen) -> View:
    found: dict[str, object] = {}
    for one in value:
        name = seen.networks.get(one["name"], one["name"])
        found |= {name: one["name"], **{f"{name} alias {alias}": True for alias in one.get("aliases") or ()}}
    return found


def _attached(seen: Seen) -> View:
    found: dict[str, object] = {}
    # Docker itself gives these two as aliases; they are the same unless somebody chose a host name.
    own = {seen.inspected["Id"][:12], seen.inspected["Config"]["Hostname"]}
    for name, endpoint in seen.inspected["NetworkSettings"]["Networks"].items():
        aliases = set(endpoint.get("Aliases") or ()) - own
        found |= {name: endpoint["NetworkID"], **{f"{name} alias {alias}": True for alias in aliases}}
    return found


def _mounts(value: Iterable[Mapping[str, Any]], seen: Seen) -> View:
    return {
        one["containerPath"]: (one.get("volumeName") or one.get("hostPath"), not one.get("readOnly")) for one in value
    }


def _mounted(seen: Seen) -> View:
    """Without the volumes that the image asks for and that nobody named."""
    of_image = seen.image.get("Volumes") or {}
    return {
        one["Destination"]: (one.get("Name") or one["Source"], one["RW"])
        for one in seen.inspected["Mounts"]
        if not (one["Destination"] in of_image and re.fullmatch("[0-9a-f]{64}", one.get("Name") or ""))
    }


_PROBE_TIMES = {"interval": "Interval", "timeout": "Timeout", "startPeriod": "StartPeriod"}


def _probe(value: Mapping[str, Any], seen: Seen) -> View:
    times = {key: parse_duration(value.get(key) or "0s").total_seconds() for key in _PROBE_TIMES}
    return {"command": value.get("tests") or [], "retries": value.get("retries") or 0, **times}


def _probed(seen: Seen) -> View:
    probe = seen.inspected["Config"].get("Healthcheck") or {}
    times = {key: probe.get(theirs, 0) / 1e9 for key, theirs in _PROBE_TIMES.items()}
    return {"command": probe.get("Test") or [], "retries": probe.get("Retries", 0), **times}


def _capabilities(added: Iterable[str] | None, dropped: Iterable[str] | None) -> View:
    return {f"{verb} {name}": True for verb, names in (("add", added), ("drop", dropped)) for name in names or ()}


def _ranges(value: Iterable[Mapping[str, Any]], subnet: str, gateway: str) -> View:
    return {one[subnet]: one.get(gateway) for one in value}


Table = Mapping[str, Row | None]

CONTAINER: Table = {
    "name": _single("name", "Name", read=lambda name: name.lstrip("/"), show=True),
    "image": _single("image", "Image", show=True),
    "envs": Row(
        "environment",
        lambda value, seen: {**_environment(seen.image.get("Env")), **_environment(value)},
        lambda seen: _environment(seen.inspected["Config"].get("Env")),
        undeclared=(),
    ),
    "labels": _labels("Config.Labels", undeclared=()),
    "volumes": Row("mount", _mounts, _mounted, undeclared=()),
    "networksAdvanced": Row("network", _attachments, _attached),
    "networkMode": _single("network mode", "HostConfig.NetworkMode", show=True),
    "ports": Row(
        "published port",
        lambda value, _: dict.fromkeys(value, True),
        lambda seen: dict.fromkeys(published(seen.inspected), True),
        undeclared=(),
    ),
    "healthcheck": Row("probe", _probe, _probed),
    "capabilities": Row(
        "capability",
        lambda value, _: _capabilities(value.get("adds"), value.get("drops")),
        lambda seen: _capabilities(_at(seen.inspected, "HostConfig.CapAdd"), _at(seen.inspected, "HostConfig.CapDrop")),
    ),
    "privileged": _single("privileged", "HostConfig.Privileged", show=True, undeclared=False),
    "securityOpts": _single("security options", "HostConfig.SecurityOpt", write=sorted, read=lambda v: sorted(v or ())),
    "sysctls": _map("kernel parameter", "HostConfig.Sysctls"),
    "memory": _single("memory", "HostConfig.Memory", write=_mib, read=lambda size: _mib(size / MIB), show=True),
    "memorySwap": _single(
        "memory with swap", "HostConfig.MemorySwap", write=_mib, read=lambda size: _mib(size / MIB), show=True
    ),
    "restart": _single("restart policy", "HostConfig.RestartPolicy.Name", read=lambda name: name or "no", show=True),
    "stopTimeout": _single(
        "stop grace", "Config.StopTimeout", read=lambda found: DOCKERS_GRACE if found is None else found, show=True
    ),
    "logDriver": _single("log driver", "HostConfig.LogConfig.Type", show=True),
    "logOpts": _map("log option", "HostConfig.LogConfig.Config"),
    "entrypoints": _single("entry point", "Config.Entrypoint"),
    "command": _single("command", "Config.Cmd"),
    "user": _single("user", "Config.User"),
    # A container that need not run may do both.
    "mustRun": Row("state", lambda value, seen: {"": "running"} if value else _state(seen), _state, show=True),
    # Inside the container, and one secret in the state.
    "uploads": None,
    # For the provider alone: how it creates and removes.
    "destroyGraceSeconds": None,
    "wait": None,
    "attach": None,
    "logs": None,
}

NETWORK: Table = {
    "name": _single("name", "Name", show=True),
    "driver": _single("driver", "Driver", show=True),
    "internal": _single("internal", "Internal", show=True),
    "ipamConfigs": Row(
        "subnet",
        lambda value, _: _ranges(value, "subnet", "gateway"),
        lambda seen: _ranges(_at(seen.inspected, "IPAM.Config") or (), "Subnet", "Gateway"),
    ),
    "options": _map("option", "Options"),
    "labels": _labels("Labels"),
}

VOLUME: Table = {
    "name": _single("name", "Name", show=True),
    "driver": _single("driver", "Driver", show=True),
    "labels": _labels("Labels"),
}

TABLES: Mapping[Kind, Table] = {
    Kind.CONTAINER: CONTAINER,
    Kind.NETWORK: NETWORK,
    Kind.VOLUME: VOLUME,
    # Whether Docker has it at all; the rest is the provider's to say.
    Kind.IMAGE: {},
}

PASSING = frozenset({"networkDatas", "exitCode", "containerLogs", "repoDigest"})
"""Outputs that change by themselves: addresses (which the provider also gives in any order), how a container ended, and
by which of its repositories the provider names an image, whose id counts."""


# --- comparing ----------------------------------------------------------------------------------------------------


def compare(recorded: Recorded, seen: Seen | None) -> list[Difference]:
    """What differs. `seen` is None where Docker has no such object. Pure."""

    def differing(item: str | None, change: Change, before: str | None = None, after: str | None = None) -> Difference:
        return Difference(
            kind=recorded.kind, name=recorded.name, item=item, change=change, recorded=before, found=after
        )

    if seen is None:
        return [differing(None, Change.GONE)]
    found = []
    if recorded.kind in (Kind.CONTAINER, Kind.NETWORK) and seen.inspected["Id"] != recorded.id:
        found.append(differing(None, Change.RECREATED))
    compared = set()
    for key, row in TABLES[recorded.kind].items():
        if row is None:
            continue
        value = _declared(recorded, key) if key in recorded.inputs else row.undeclared
        if value is None or value == HIDDEN:
            continue
        compared.add(key)
        before, after = row.recorded(value, seen), row.found(seen)
        for part in sorted({*before, *after}):
            item = f"{row.item} {part}".rstrip()
            if part not in after:
                found.append(differing(item, Change.REMOVED))
            elif part not in before:
                found.append(differing(item, Change.ADDED))
            elif before[part] != after[part]:
                values = (str(before[part]), str(after[part])) if row.show else (None, None)
                found.append(differing(item, Change.CHANGED, *values))
    if recorded.read is not None:
        for key in sorted({*recorded.outputs, *recorded.read} - compared - PASSING):
            if _plain(recorded.outputs.get(key)) != _plain(recorded.read.get(key)):
                found.append(differing(key, Change.CHANGED))
    return found


def _declared(recorded: Recorded, key: str) -> Any:
    """What the last update asked for. Of what has keys, such as a network's options, with those that Docker added."""
    value, read = recorded.inputs[key], recorded.outputs.get(key)
    return {**read, **value} if isinstance(value, Mapping) and isinstance(read, Mapping) else value


def _plain(value: Any) -> Any:
    """Without order, and without what is empty: to the provider, empty and absent are the same."""
    if isinstance(value, Mapping):
        return {key: kept for key, part in value.items() if (kept := _plain(part)) is not None} or None
    if isinstance(value, list):
        kept_parts = (kept for part in value if (kept := _plain(part)) is not None)
        return sorted(kept_parts, key=lambda part: json.dumps(part, sort_keys=True)) or None
    return value or None


# --- looking ------------------------------------------------------------------------------------------------------


Steps = list[dict[str, Any]]
"""Of what `pulumi refresh --preview-only --json` printed."""


def read(steps: Steps) -> list[Recorded]:
    """The objects on a Docker host that the state has. Pure."""
    states = [(step["oldState"], step) for step in steps]
    hosts = {
        f"{state['urn']}::{state['id']}": state["inputs"]["host"]
        for state, _ in states
        if state["type"] == PROVIDER and "host" in state["inputs"]
    }
    return [
        _recorded(state, step, hosts)
        for state, step in states
        # What an interrupted update left to be deleted is no part of the stack any more.
        if state["type"] in TYPES and not state.get("delete")
    ]


def _recorded(state: Mapping[str, Any], step: Mapping[str, Any], hosts: Mapping[str, str]) -> Recorded:
    kind, inputs, outputs = TYPES[state["type"]], state["inputs"], state["outputs"]
    # Of images, the pulled one has a name and an image id, and the one built here an image name and its id as digest.
    image = outputs.get("imageId") or outputs.get("repoDigest")
    return Recorded(
        kind=kind,
        id=str(image) if kind is Kind.IMAGE else state["id"],
        name=inputs.get("name") or inputs["imageName"],
        host=hosts[state["provider"]],
        inputs=inputs,
        outputs=outputs,
        read=(step.get("newState") or {}).get("outputs"),
    )


def forgotten(steps: Steps, recorded: Iterable[Recorded]) -> list[Difference]:
    """What the stack's output promises and the state does not have. Pure."""
    outputs = next((step["oldState"].get("outputs") or {} for step in steps if step["oldState"]["type"] == STACK), {})
    if OUTPUT not in outputs:
        return []
    deployment = parse_contract(json.dumps(outputs[OUTPUT]), f"the stack's output {OUTPUT!r}")
    names = Names(deployment.name_prefix, deployment.stack)
    promised = [(Kind.NETWORK, deployment.egress_network)]
    for gateway in deployment.gateways.values():
        promised += [
            (Kind.CONTAINER, gateway.container.name),
            (Kind.CONTAINER, names.settings_owner(gateway.name)),
            (Kind.NETWORK, gateway.api.network),
            *((Kind.VOLUME, volume) for volume in (gateway.volumes.settings, gateway.volumes.logs) if volume),
        ]
    there = {(one.kind, one.name) for one in recorded}
    return [
        Difference(kind=kind, name=name, item=None, change=Change.FORGOTTEN)
        for kind, name in promised
        if (kind, name) not in there
    ]


def look(stack: Stack) -> Drift:
    """Asks the engine and Docker. Raises IbgwError (could not run) where one of them does not answer, and where there
    is nothing to look for."""
    steps: Steps = json.loads(stack.refresh_preview()).get("steps") or []
    recorded = read(steps)
    differences = forgotten(steps, recorded)
    if not recorded and not differences:
        raise IbgwError(
            f"Stack {stack.name!r} records nothing on a Docker host: it was never deployed, or it was destroyed. "
            f"Deploy it with `pulumi up --stack {stack.name}`."
        )
    networks = {one.id: one.name for one in recorded if one.kind is Kind.NETWORK}
    for host in sorted({one.host for one in recorded}):
        with (
            DockerHost(host) as docker,
            docker_errors(f"Docker host {host}", "nothing is known of a drift; run `ibgw drift` again"),
        ):
            for one in recorded:
                if one.host == host:
                    differences += compare(one, _seen(docker, one, networks))
    return Drift(stack=stack.name, differences=tuple(sorted(differences, key=_place)))


def _place(difference: Difference) -> tuple[int, str]:
    """By object; of one object in the table's order."""
    return list(Kind).index(difference.kind), difference.name


def _seen(docker: DockerHost, recorded: Recorded, networks: Mapping[str, str]) -> Seen | None:
    """By id, else by name: whoever makes an object anew gives it another id."""
    found = docker.inspect(recorded.kind, recorded.id)
    if found is None and recorded.kind is not Kind.IMAGE:
        found = docker.inspect(recorded.kind, recorded.name)
    if found is None:
        return None
    image: Any = None
    if recorded.kind is Kind.CONTAINER:
        # Where the image itself is gone, only what we declared can be judged.
        image = (docker.inspect(Kind.IMAGE, found["Image"]) or found)["Config"]
    return Seen(inspected=found, image=image or {}, networks=networks)


# --- formats ------------------------------------------------------------------------------------------------------


def human(drift: Drift) -> str:
    """One line where nothing drifted; else a line for each difference."""
    if not drift.differences:
        return f"{drift.stack}: no drift"
    return "\n".join(_line(one) for one in drift.differences)


def _line(one: Difference) -> str:
    said = " ".join(text for text in (one.item, one.change) if text)
    values = f": {one.recorded} -> {one.found}" if one.recorded is not None else ""
    # Whoever named a variable or a label may have had a terminal in mind.
    return "".join(letter if letter.isprintable() else "?" for letter in f"{one.kind} {one.name}: {said}{values}")


def as_json(drift: Drift) -> str:
    return json.dumps({"schema": 1, "drift": bool(drift.differences), **drift.model_dump(mode="json")}, indent=2)
