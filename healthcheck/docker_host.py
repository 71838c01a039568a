"""The one way to open a Docker host, local or over ssh, to name its failures, and to read its times."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from deployment.errors import ExitCode, IbgwError
from healthcheck.docker_connections import keep_connections
from healthcheck.redact import Redactor

FAILURES = (DockerException, RequestException)
"""What docker-py raises: its own, and those of the connection that it asks over."""

CONNECTIONS = 1000
"""Kept at most, which is more than the threads that ever ask at once: urllib3 warns of each that finds no room."""

SCHEMES = ("unix://", "ssh://")


def open_docker(host: str, *, timeout: float = 60) -> docker.DockerClient:
    """A client of `unix:///path` or `ssh://user@host[:port]` that has answered once.

    With ssh the operator's own `ssh` command and configuration are used. `timeout`: seconds that an answer may take.
    Raises IbgwError (could not run) for any other kind of address, and when the host does not answer.
    """
    if not host.startswith(SCHEMES):
        raise IbgwError(
            f"Docker host {host}: expected unix:///path or ssh://user@host[:port]; others lack encryption or login",
            exit_code=ExitCode.COULD_NOT_RUN,
        )
    keep_connections()
    opened: list[docker.DockerClient] = []
    failures: list[Exception] = []

    def connect() -> None:
        try:
            client = docker.DockerClient(
                base_url=host,
                timeout=round(timeout),
                use_ssh_client=host.startswith("ssh://"),
                max_pool_size=CONNECTIONS,
            )
            client.ping()
            opened.append(client)
        except (*FAILURES, OSError, ValueError) as error:
            failures.append(error)

    # A thread of its own, since docker-py's ssh socket knows no timeout.
    thread = threading.Thread(target=connect, name="open-docker", daemon=True)
    thread.start()
    thread.join(timeout)
    if opened:
        return opened[0]
    found = f"{failures[0]}" if failures else f"no answer within {timeout:g} s"
    hint = (
        f"check that `ssh {host.removeprefix('ssh://')} docker version` works without a question"
        if host.startswith("ssh://")
        else "check that the daemon runs and that you may use its socket (`docker version`)"
    )
    raise IbgwError(f"Docker host {host}: {found}; expected an answer; {hint}", exit_code=ExitCode.COULD_NOT_RUN)


@contextmanager
def docker_errors(what: str, todo: str) -> Iterator[None]:
    """Turns a failure of Docker's into IbgwError (could not run): `what` it was about, its words, and what to do."""
    try:
        yield
    except FAILURES as error:
        raise IbgwError(f"{what}: {Redactor().text(str(error))}; {todo}", exit_code=ExitCode.COULD_NOT_RUN) from error


def moment(text: str) -> datetime:
    """One of Docker's times: RFC 3339 with up to nine decimals, in UTC or, for `SystemTime`, the daemon's own zone."""
    return datetime.fromisoformat(text)
