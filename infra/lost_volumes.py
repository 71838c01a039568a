"""A settings volume that was lost took the start guard's counts along: its gateway starts held, until a person says so.

That the gateway was deployed is known from the stack's output, or from the description that an update leaves on the
operator's machine, or, where both are lost, from what else of the gateway is on the Docker host; that its volume is
gone, from that host. What is in a new volume's place then is one whose count is used up. A secret's version that was
never deployed has no attempts to forget, and starts at zero as ever. One that is filled from a copy is the supervisor's
to notice.
"""

import asyncio
import io
import json
import tarfile
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi

from deployment.errors import IbgwError, kind
from deployment.names import Role, labels
from deployment.paths import kept_file
from deployment.tables import Kind
from healthcheck.docker_host import DockerHost, docker_errors
from infra.failure import failed
from infra.host import HostObject
from infra.spec import SETTINGS_PATH, UID, GatewaySpec, HostSpec, StackSpec
from infra.supervisor import MAXIMUM_ATTEMPTS
from infra.verification import chosen_gateways

OUTCOME = "volume_lost"
"""The word of healthcheck.automation.base.OUTCOMES that stands in place of how an attempt ended."""

OUTPUTS = "pulumi:pulumi:readStackOutputs"
"""The engine's own function: what the last update exported; nothing where there was none."""

Tried = Collection[tuple[str, str]]
"""Settings volumes, each with a version of the secret that was deployed on it."""


@dataclass(frozen=True)
class Lost:
    """Gateways whose count was tried for, and may be gone. `missing`: with their volume. `unsure`: their volume is
    there, and none of the containers that keep Docker from removing it: an update that was killed may have made it."""

    missing: frozenset[str] = frozenset()
    unsure: frozenset[str] = frozenset()


async def find(stack: StackSpec, objects: Collection[HostObject], versions: Mapping[str, str]) -> Lost:
    """The gateways whose volume was lost. `versions`: of the secrets, by gateway.

    Raises IbgwError where the engine does not tell the stack's output."""
    there = {(thing.kind, thing.name) for thing in objects}
    volumes = {
        name: gateway.volumes[Role.SETTINGS].name
        for name, gateway in stack.gateways.items()
        if not any((Kind.CONTAINER, container.name) in there for container in gateway.containers.values())
    }
    if not volumes:
        return Lost()
    tried = {*_tried(await _output(stack.stack)), *_tried(_kept(stack.stack))}
    missing = {name for name, volume in volumes.items() if (Kind.VOLUME, volume) not in there}
    lost = {name for name, volume in volumes.items() if (volume, versions[name]) in tried}
    # Of no record, a network is one: a gateway's volume is made before it.
    recorded = {volume for volume, _ in tried}
    traces = {
        name
        for name in missing
        if volumes[name] not in recorded and (Kind.NETWORK, stack.gateways[name].api_network.name) in there
    }
    return Lost(frozenset(missing & lost | traces), frozenset(lost - missing))


async def _output(stack: str) -> Any:
    try:
        told = await pulumi.runtime.invoke_async(OUTPUTS, {"name": stack})
        return told["outputs"].get("contract")
    except Exception as error:  # noqa: BLE001 - the engine raises a bare Exception, whose text may hold anything
        raise IbgwError(f"the engine did not tell the outputs of stack {stack!r} ({kind(error)})") from None


def _kept(stack: str) -> Any:
    path = kept_file(Path(pulumi.get_root_directory()), stack)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        pulumi.log.warn(f"{path} cannot be read ({kind(error)}): what it says of lost settings volumes is not known")
        return None


def _tried(contract: Any) -> Tried:
    """Of any version's description, which may have been written by an older one."""
    if not isinstance(contract, dict):
        return ()
    return {
        (str(gateway["volumes"]["settings"]), str(gateway["secret"]["version_id"]))
        for gateway in (contract.get("gateways") or {}).values()
    }


def in_words(stack: StackSpec, lost: Lost) -> list[str]:
    return [
        f"gateway {name}: its settings volume {stack.gateways[name].volumes[Role.SETTINGS].name} is not on this Docker "
        f"host, and with it went the count of its attempts to log in. A new one starts held. Once it is certain that "
        f"this user logs in nowhere else: `ibgw login --again --stack {stack.stack} --gateway {name}`"
        for name in sorted(lost.missing)
    ]


async def hold(stack: StackSpec, host: HostSpec, image_id: str, lost: Lost, versions: Mapping[str, str]) -> None:
    """Makes their volumes, with the attempts used up, before anything of them is declared. Raises RunError."""
    held = sorted(lost.missing | lost.unsure)
    chosen = [host.gateways[name] for name in held if name in (chosen_gateways() or host.gateways)]
    try:
        await asyncio.to_thread(make, stack, host, image_id, chosen, versions)
    except IbgwError as error:
        raise failed(str(error)) from None


def make(
    stack: StackSpec, host: HostSpec, image_id: str, gateways: Iterable[GatewaySpec], versions: Mapping[str, str]
) -> None:
    """Makes these gateways' volumes; one that is there and has a count keeps it. Raises IbgwError."""
    own = labels(prefix=stack.names.prefix, project=stack.project, stack=stack.stack, mode=stack.mode, role=Role.TRIAL)
    with (
        DockerHost(host.docker_host) as docker,
        docker_errors(f"settings volumes could not be made on {host.docker_host}; no gateway was touched", "try again"),
    ):
        for gateway in gateways:
            volume = gateway.volumes[Role.SETTINGS]
            docker.create_volume(volume.name, volume.labels)
            # Never started: Docker writes files into the volumes of a container that is only made.
            name = stack.names.trial(gateway.name)
            made = docker.create(image_id, name=name, labels=own, user=str(UID), volumes={volume.name: SETTINGS_PATH})
            try:
                version = versions[gateway.name]
                if docker.read_file(made, f"{SETTINGS_PATH}/{_count_file(version)}") is None:
                    docker.write_archive(made, SETTINGS_PATH, _used_up(version))
            finally:
                docker.remove(made)


def _count_file(version: str) -> str:
    return f"guard/{version}.attempts"


def _used_up(version: str) -> bytes:
    """The start guard's count as infra/supervisor keeps it."""
    text = f"{MAXIMUM_ATTEMPTS}\n{int(time.time())} {OUTCOME}\n".encode()
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        folder = tarfile.TarInfo("guard")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        file = tarfile.TarInfo(_count_file(version))
        file.size, file.mode = len(text), 0o600
        for entry in (folder, file):
            entry.uid = entry.gid = UID
        archive.addfile(folder)
        archive.addfile(file, io.BytesIO(text))
    return data.getvalue()
