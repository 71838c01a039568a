"""Starting, stopping and restarting a deployed gateway's container, without Pulumi and without replacing anything."""

import io
import tarfile
from collections.abc import Callable
from typing import Any

import docker
import docker.errors

from contract.errors import IbgwError
from contract.target import Contract, Gateway
from infra.spec import MAXIMUM_ATTEMPTS, SETTINGS_PATH, UID

DEFAULT_GRACE = 90
"""Seconds for a clean logout where the container does not say: the default of `container.stopGrace`. A gateway that is
killed instead leaves its session open at IBKR, sometimes for hours."""

Say = Callable[[str], None]


def start(client: docker.DockerClient, contract: Contract, gateway: Gateway, say: Say) -> None:
    """Starts the gateway's container unless it runs. Raises IbgwError if there is no such container."""
    if _inspect(client, contract, gateway)["State"]["Running"]:
        say(f"{gateway.container.name} runs already.")
        return
    client.api.start(gateway.container.id)
    say(
        f"{gateway.container.name} started; it logs in now. "
        f"`ibgw verify --stack {contract.stack} --gateway {gateway.name}` says when it is ready."
    )


def stop(client: docker.DockerClient, contract: Contract, gateway: Gateway, say: Say) -> None:
    """Stops the gateway's container, leaving it time to log out. Raises IbgwError if there is no such container."""
    found = _inspect(client, contract, gateway)
    if not found["State"]["Running"]:
        say(f"{gateway.container.name} is stopped already.")
        return
    _stop(client, gateway, found, say)
    say(
        f"{gateway.container.name} stopped. It stays stopped until "
        f"`ibgw start --stack {contract.stack} --gateway {gateway.name}`; `pulumi up` does not start it."
    )


def restart(client: docker.DockerClient, contract: Contract, gateway: Gateway, say: Say) -> None:
    """Stops the gateway with time to log out and starts it again. Raises IbgwError if there is no such container."""
    found = _inspect(client, contract, gateway)
    if found["State"]["Running"]:
        _stop(client, gateway, found, say)
    start(client, contract, gateway, say)


def login_again(client: docker.DockerClient, contract: Contract, gateway: Gateway, say: Say) -> None:
    """Grants one more attempt to a secret version that the start guard holds back, and restarts the gateway for it.

    The guard's count on the settings volume is set to one below its limit (infra/start.d), whatever it was. Raises
    IbgwError if there is no such container.
    """
    _inspect(client, contract, gateway)
    count = f"{MAXIMUM_ATTEMPTS - 1}\n".encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as files:
        entry = tarfile.TarInfo(f"guard/{gateway.secret.version_id}.attempts")
        entry.size, entry.mode, entry.uid, entry.gid = len(count), 0o600, UID, UID
        files.addfile(entry, io.BytesIO(count))
    client.api.put_archive(gateway.container.id, SETTINGS_PATH, archive.getvalue())
    say(f"{gateway.container.name}: one more attempt with this version of the secret.")
    restart(client, contract, gateway, say)


def stop_grace(inspected: dict[str, Any]) -> int:
    """Seconds between the request to stop and the kill, from the container's own `StopTimeout`."""
    return int(inspected["Config"].get("StopTimeout") or DEFAULT_GRACE)


def _stop(client: docker.DockerClient, gateway: Gateway, inspected: dict[str, Any], say: Say) -> None:
    grace = stop_grace(inspected)
    say(f"Stopping {gateway.container.name}; it has {grace} s to log out.")
    client.api.stop(gateway.container.id, timeout=grace)


def _inspect(client: docker.DockerClient, contract: Contract, gateway: Gateway) -> dict[str, Any]:
    try:
        found: dict[str, Any] = client.api.inspect_container(gateway.container.id)
    except docker.errors.NotFound:
        raise IbgwError(
            f"The container {gateway.container.name} of stack {contract.stack!r} is gone from {contract.docker_host}. "
            f"Create it again with `pulumi up --refresh --stack {contract.stack}`."
        ) from None
    return found
