"""`ibgw reset-settings`: gives a gateway a fresh settings volume, with a way back.

The start guard's counts (`guard/`) are no settings: they stay through a reset and are left out of a restore, so that
neither grants another attempt with a password that failed.
"""

import os
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from deployment.description import Deployment, Gateway
from deployment.errors import ExitCode, IbgwError, words
from deployment.names import Names, Role, labels
from deployment.tables import Kind
from healthcheck.docker_host import DockerError, DockerHost, docker_errors
from infra.spec import HOME, SETTINGS_PATH, UID
from operations.lifecycle import Say, start, stop

GUARD = "guard"
"""The start guard's folder on the settings volume (infra/start.d)."""

LOSS = (
    "What the gateway has saved is lost: its window and API settings that no configuration sets, and the token with "
    "which its daily restart keeps the session. It logs in anew, on live with a phone approval."
)

# Everything but the guard; the image's own shell, in a container that reaches nothing.
_EMPTY = f"find {SETTINGS_PATH} -mindepth 1 -maxdepth 1 ! -name {GUARD} -exec rm -rf -- {{}} +"


def reset(
    docker: DockerHost,
    deployment: Deployment,
    gateway: Gateway,
    *,
    ask: Callable[[str], None],
    say: Say,
    backups: Path,
) -> Path:
    """Stops the gateway, backs its settings up, empties them and starts it. Returns the backup.

    When a step after the backup fails, the settings are restored. Raises IbgwError.
    """
    name = gateway.container.name
    ask(f"{name}: {LOSS}\nA backup is kept under {backups}. Go on?")
    stop(docker, deployment, gateway, say)
    backup = backups / f"{deployment.stack}-{gateway.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar"
    with _docker(deployment, gateway, f"nothing was reset; {_start_hint(deployment, gateway)}"):
        _back_up(docker, gateway, backup)
    say(f"backed up to {backup}")
    try:
        with _docker(deployment, gateway, "the settings are put back"):
            _empty(docker, deployment, gateway)
    except IbgwError:
        restore(docker, deployment, gateway, backup, say=say)
        raise
    say(f"{gateway.volumes.settings} is empty but for the start guard's counts")
    start(docker, deployment, gateway, say)
    return backup


def restore(docker: DockerHost, deployment: Deployment, gateway: Gateway, backup: Path, *, say: Say) -> None:
    """Puts a backup in the place of what the settings volume holds, and starts the gateway. Raises IbgwError."""
    with _docker(deployment, gateway, f"the backup {backup} is untouched"), tempfile.TemporaryFile() as content:
        _without_guard(backup, content.fileno())
        content.seek(0)
        stop(docker, deployment, gateway, say)
        _empty(docker, deployment, gateway)
        docker.write_archive(gateway.container.id, HOME, content)
    say(f"restored {gateway.volumes.settings} from {backup}")
    start(docker, deployment, gateway, say)


def _back_up(docker: DockerHost, gateway: Gateway, backup: Path) -> None:
    """Whole or not at all, readable by its owner only: the folder's name is made from the user."""
    backup.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = backup.with_suffix(".new")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        for chunk in docker.read_archive(gateway.container.id, SETTINGS_PATH):
            file.write(chunk)
    unfinished.replace(backup)


def _without_guard(backup: Path, descriptor: int) -> None:
    """Copies an archive of the settings folder, leaving the guard's counts out. Raises IbgwError for another file."""
    top = PurePosixPath(SETTINGS_PATH).name
    try:
        with (
            tarfile.open(backup) as source,
            open(descriptor, "wb", closefd=False) as raw,
            tarfile.open(fileobj=raw, mode="w") as target,
        ):
            for entry in source:
                parts = PurePosixPath(entry.name).parts
                if parts[:1] != (top,) or ".." in parts:
                    raise _no_backup(backup, f"it holds {entry.name!r}")
                if parts[1:2] != (GUARD,):
                    target.addfile(entry, source.extractfile(entry) if entry.isfile() else None)
    except (OSError, tarfile.TarError) as error:
        raise _no_backup(backup, words(error)) from None


def _no_backup(backup: Path, fault: str) -> IbgwError:
    return IbgwError(
        f"{backup} is no backup of a settings volume: {fault}. Expected an archive that `ibgw reset-settings` made; "
        "they lie under .ibgw/backups, beside Pulumi.yaml. Nothing was changed.",
        exit_code=ExitCode.REFUSED,
    )


def _empty(docker: DockerHost, deployment: Deployment, gateway: Gateway) -> None:
    """In a container of the gateway's own image, which is on the host and knows the user."""
    image = docker.there(Kind.CONTAINER, gateway.container.id)["Image"]
    container = docker.create(
        image,
        entrypoint=["bash", "-c", _EMPTY],
        name=f"{Names(deployment.name_prefix, deployment.stack).settings_owner(gateway.name)}-reset",
        labels=labels(
            prefix=deployment.name_prefix,
            project=deployment.project,
            stack=deployment.stack,
            mode=deployment.mode,
            role=Role.SETTINGS_OWNER,
            gateway=gateway.name,
        ),
        user=f"{UID}:{UID}",
        volumes={gateway.volumes.settings: SETTINGS_PATH},
    )
    try:
        docker.start(container)
        status = docker.wait(container)
        if status != 0:
            complaint = "\n".join(docker.log(container, tail=5)).strip()
            raise DockerError(f"emptying the settings ended with exit code {status}: {complaint}")
    finally:
        docker.remove(container)


def _docker(deployment: Deployment, gateway: Gateway, todo: str) -> AbstractContextManager[None]:
    return docker_errors(f"Settings of {gateway.container.name} on {deployment.docker_host}", todo)


def _start_hint(deployment: Deployment, gateway: Gateway) -> str:
    return f"start it with `ibgw start --stack {deployment.stack} --gateway {gateway.name}`"
