"""Starting and stopping a deployed gateway's container, without Pulumi and without replacing anything."""

from collections.abc import Callable
from typing import Any

import docker
import docker.errors

from contract.errors import IbgwError
from contract.target import Contract, Gateway

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
    grace = stop_grace(found)
    say(f"Stopping {gateway.container.name}; it has {grace} s to log out.")
    client.api.stop(gateway.container.id, timeout=grace)
    say(
        f"{gateway.container.name} stopped. It stays stopped until "
        f"`ibgw start --stack {contract.stack} --gateway {gateway.name}`; `pulumi up` does not start it."
    )


def stop_grace(inspected: dict[str, Any]) -> int:
    """Seconds between the request to stop and the kill, from the container's own `StopTimeout`."""
    return int(inspected["Config"].get("StopTimeout") or DEFAULT_GRACE)


def _inspect(client: docker.DockerClient, contract: Contract, gateway: Gateway) -> dict[str, Any]:
    try:
        found: dict[str, Any] = client.api.inspect_container(gateway.container.id)
    except docker.errors.NotFound:
        raise IbgwError(
            f"The container {gateway.container.name} of stack {contract.stack!r} is gone from {contract.docker_host}. "
            f"Create it again with `pulumi up --refresh --stack {contract.stack}`."
        ) from None
    return found
