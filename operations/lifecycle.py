"""Starting, stopping and restarting a deployed gateway's container, without Pulumi and without replacing anything."""

import io
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import docker
import docker.errors

from contract.errors import ExitCode, IbgwError
from contract.target import COMMAND_PORT, Contract, Gateway
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


def soft_restart(client: docker.DockerClient, contract: Contract, gateway: Gateway, say: Say) -> None:
    """Has the gateway restart itself, which keeps its session: no login, and no phone approval before Sunday.

    Asks IBC's command server from inside the container. Raises IbgwError (refused) and changes nothing where the
    gateway does not offer it.
    """
    name = gateway.container.name
    full = f"`ibgw restart --stack {contract.stack} --gateway {gateway.name}` restarts with a full login."
    if gateway.schedule.auto_restart is None:
        raise IbgwError(
            f"{name} has no session.autoRestart, and only a gateway that restarts itself daily can keep its session "
            f"through a restart. Nothing was changed. {full}",
            exit_code=ExitCode.REFUSED,
        )
    with _docker(contract, gateway):
        running = _inspect(client, contract, gateway)["State"]["Running"]
        answer = _command(client, gateway, "RESTART") if running else ""
    if not answer.startswith("OK"):
        found = f"answered {answer!r}" if answer else "does not answer" if running else "is stopped"
        raise IbgwError(
            f"{name} {found}, so it cannot be asked to restart itself (IBC's command server, port {COMMAND_PORT} in "
            f"the container). Nothing was changed. {full}",
            exit_code=ExitCode.REFUSED,
        )
    say(
        f"{name} restarts itself and keeps its session ({answer.removeprefix('OK').strip()}). "
        f"`ibgw verify --stack {contract.stack} --gateway {gateway.name}` says when it is ready."
    )


COMMAND_SECONDS = 10


def _command(client: docker.DockerClient, gateway: Gateway, command: str) -> str:
    """IBC's answer to one command (IBC, CommandChannel: a line of text each way); empty when there is none."""
    script = (
        f"exec 3<>/dev/tcp/127.0.0.1/{COMMAND_PORT} && echo {command} >&3 && timeout {COMMAND_SECONDS} head -n 1 <&3"
    )
    exec_id = client.api.exec_create(gateway.container.id, ["bash", "-c", script], stderr=False)["Id"]
    answer: bytes = client.api.exec_start(exec_id)
    return answer.decode(errors="replace").strip()


def login_again(client: docker.DockerClient, contract: Contract, gateway: Gateway, say: Say) -> None:
    """Grants one more attempt to a secret version that the start guard holds back, and restarts the gateway for it.

    The guard's count on the settings volume is set to one below its limit (infra/start.d). Raises IbgwError (refused)
    and changes nothing if the count is not at its limit: then the guard holds nothing back.
    """
    with _docker(contract, gateway):
        _inspect(client, contract, gateway)
        used = guard_attempts(client, gateway)
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


def guard_attempts(client: docker.DockerClient, gateway: Gateway) -> int:
    """The start guard's count of attempts with the deployed version of the secret. Raises FAILURES.

    What cannot be read as a number counts as exhausted, as it does there.
    """
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
