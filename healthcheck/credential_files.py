"""The credentials in a gateway's container, read so that they can be masked in what is printed. For nothing else."""

import io
import tarfile

import docker
from docker.errors import NotFound

from contract.target import PASSWORD_FILE, USER_ID_FILE, Gateway


def credentials_of(client: docker.DockerClient, gateway: Gateway) -> tuple[str, ...]:
    """User id and password that a gateway's container holds, for a Redactor and nothing else. Raises FAILURES.

    Empty where there is no such container or file.
    """
    found = []
    for path in (USER_ID_FILE, PASSWORD_FILE):
        try:
            archive, _ = client.api.get_archive(gateway.container.name, path)
        except NotFound:
            continue
        with tarfile.open(fileobj=io.BytesIO(b"".join(archive))) as files:
            file = files.extractfile(files.getmembers()[0])
            if file is not None:
                found.append(file.read().decode("utf-8", "replace").rstrip("\n"))
    return tuple(found)
