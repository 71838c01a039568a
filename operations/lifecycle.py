"""Starting, stopping and restarting a deployed gateway's container, without Pulumi and without replacing anything."""

import io
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import docker
import docker.errors

from contract.errors import ExitCode, IbgwError
from contract.target import Contract, Gateway
from healthcheck.docker_host import docker_errors
from healthcheck.gateway_container import stop_grace
from infra.spec import MAXIMUM_ATTEMPTS, SETTINGS_PATH, UID

Say = Callable[[str], None]
Act = Callable[[docker.DockerClient, Contract, Gateway, Say], None]
"""Each of the acts below. All raise IbgwError that names the container when there is none, and when Docker fails."""


def start(client: docker.DockerClient, contract: Contract, gateway: Gateway, say: Say) -> None:
    """Starts the gateway's container unless it runs."""
    with _docker(contract, gateway):
        if _inspect(client, contract, gateway)["State"]["Running"]:
            say(f"{gateway.container.name} runs already.")
            return
        client.api.start(gateway.container.id)
    say(
        f"{gateway.container.name} started; it logs in now. "
        f"`ibgw verify --stack {contract.stack} --gateway {gateway.name}` says when it is ready."
    )


def stop(client: docker.DockerClient, contract: Contract, gateway: Gateway, say: Say) -> None:
    """Stops the gateway's container, leaving it time to log out."""
    with _docker(contract, gateway):
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
    """Stops the gateway with time to log out and starts it again."""
    with _docker(contract, gateway):
        found = _inspect(client, contract, gateway)
        if found["State"]["Running"]:
            _stop(client, gateway, found, say)
    start(client, contract, gateway, say)


def login_again(client: docker.DockerClient, contract: Contract, gateway: Gateway, say: Say) -> None:
    """Grants one more attempt to a secret version that the start guard holds back, and restarts the gateway for it.

    The guard's count on the settings volume is set to one below its limit (infra/start.d). Raises IbgwError (refused)
    and changes nothing if the count is not at its limit: then the guard holds nothing back.
    """
    with _docker(contract, gateway):
        _inspect(client, contract, gateway)
        used = _attempts(client, gateway)
        if used < MAXIMUM_ATTEMPTS:
            raise IbgwError(
                f"{gateway.container.name}: the start guard does not hold this version of the secret back, with "
                f"{used} of {MAXIMUM_ATTEMPTS} attempts used, so nothing was changed. "
                f"`ibgw verify --stack {contract.stack} --gateway {gateway.name}` says what is wrong; "
                f"`ibgw restart --stack {contract.stack} --gateway {gateway.name}` logs in again.",
                exit_code=ExitCode.REFUSED,
            )
        _grant(client, gateway)
    say(f"{gateway.container.name}: one more attempt with this version of the secret.")
    restart(client, contract, gateway, say)


def _docker(contract: Contract, gateway: Gateway) -> AbstractContextManager[None]:
    return docker_errors(
        f"Container {gateway.container.name} on {contract.docker_host}",
        f"`ibgw verify --stack {contract.stack} --gateway {gateway.name}` says how the gateway is now",
    )


def _count_file(gateway: Gateway) -> str:
    return f"guard/{gateway.secret.version_id}.attempts"


def _attempts(client: docker.DockerClient, gateway: Gateway) -> int:
    """The guard's count. What cannot be read as a number counts as exhausted, as it does there."""
    try:
        archive, _ = client.api.get_archive(gateway.container.id, f"{SETTINGS_PATH}/{_count_file(gateway)}")
    except docker.errors.NotFound:
        return 0
    with tarfile.open(fileobj=io.BytesIO(b"".join(archive))) as files:
        file = files.extractfile(files.getmembers()[0])
        text = file.read().partition(b"\n")[0].strip() if file is not None else b""
    return int(text) if text.isdigit() else MAXIMUM_ATTEMPTS


def _grant(client: docker.DockerClient, gateway: Gateway) -> None:
    count = f"{MAXIMUM_ATTEMPTS - 1}\n".encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as files:
        entry = tarfile.TarInfo(_count_file(gateway))
        entry.size, entry.mode, entry.uid, entry.gid = len(count), 0o600, UID, UID
        files.addfile(entry, io.BytesIO(count))
    client.api.put_archive(gateway.container.id, SETTINGS_PATH, archive.getvalue())


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
