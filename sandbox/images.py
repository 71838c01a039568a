"""Images that the sandbox builds: from files in memory, named after a hash of all that they are made from."""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import docker
from docker.errors import APIError, BuildError, ImageNotFound

from deployment.errors import IbgwError
from sandbox.docker_engine import SANDBOX_LABEL

TAG_LENGTH = 12
LOG_TAIL = 2000


class ContextFile(NamedTuple):
    content: bytes
    executable: bool = False


Context = Mapping[str, ContextFile]
"""A build context: path in it -> file."""


def folder_context(folder: Path) -> Context:
    """A folder's files, without what Python and editors leave behind."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pyc")
    return {
        str(path.relative_to(folder)): ContextFile(path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def digest(context: Context, arguments: Mapping[str, str]) -> str:
    """What to tag an image with, so that it is built again when, and only when, it would come out differently."""
    found = hashlib.sha256()
    for name, (content, executable) in sorted(context.items()):
        found.update(f"{name} {executable} {len(content)}\n".encode() + content)
    for name, value in sorted(arguments.items()):
        found.update(f"{name}={value}\n".encode())
    return found.hexdigest()[:TAG_LENGTH]


def exists(client: docker.DockerClient, reference: str) -> bool:
    try:
        client.images.get(reference)
    except ImageNotFound:
        return False
    return True


def build(
    client: docker.DockerClient, context: Context, *, reference: str, prefix: str, arguments: Mapping[str, str]
) -> None:
    """Builds an image, labelled as this sandbox's. Raises IbgwError with the last lines of the build's log."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, (content, executable) in sorted(context.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755 if executable else 0o644
            tar.addfile(entry, io.BytesIO(content))
    packed.seek(0)
    try:
        client.images.build(
            fileobj=packed,
            custom_context=True,
            tag=reference,
            buildargs=dict(arguments),
            labels={SANDBOX_LABEL: prefix},
            rm=True,
            forcerm=True,
        )
    except BuildError as error:
        lines = "".join(str(line.get("stream", line.get("error", ""))) for line in error.build_log)
        raise IbgwError(f"the image {reference} could not be built:\n{lines[-LOG_TAIL:].strip()}") from error
    except APIError as error:
        raise IbgwError(f"the image {reference} could not be built: {error.explanation}") from error
