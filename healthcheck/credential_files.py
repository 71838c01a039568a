"""The credentials in a gateway's container, read so that they can be masked in what is printed. For nothing else."""

from pathlib import PurePosixPath

from deployment.description import PASSWORD_FILE, USER_ID_FILE, Gateway
from healthcheck.docker_host import DockerHost
from healthcheck.redact import Redactor

FOLDER = PurePosixPath(USER_ID_FILE).parent
"""Of both: one archive of it takes Docker half the time of two."""


def credentials_of(docker: DockerHost, gateway: Gateway) -> tuple[str, ...]:
    """User id and password that a gateway's container holds, for a Redactor and nothing else. Raises DockerError.

    Empty where there is no such container or file.
    """
    files = docker.read_folder(gateway.container.name, str(FOLDER))
    return tuple(files[path].rstrip("\n") for path in (USER_ID_FILE, PASSWORD_FILE) if path in files)


def redactor_of(docker: DockerHost, gateway: Gateway, *, show_accounts: bool) -> Redactor:
    """For what a gateway wrote. Raises DockerError."""
    return Redactor(
        show_accounts=show_accounts, accounts=gateway.expected_accounts, credentials=credentials_of(docker, gateway)
    )
