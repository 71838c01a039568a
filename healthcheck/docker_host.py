"""The one way to open a Docker host, local or over ssh."""

import threading

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from contract.errors import ExitCode, IbgwError


def open_docker(host: str, *, timeout: float = 60) -> docker.DockerClient:
    """A client of `unix:///path`, `ssh://user@host[:port]` or `tcp://host:port` that has answered once.

    With ssh the operator's own `ssh` command and configuration are used. `timeout`: seconds that an answer may take.
    Raises IbgwError (could not run) when the host does not answer.
    """
    opened: list[docker.DockerClient] = []
    failures: list[Exception] = []

    def connect() -> None:
        try:
            client = docker.DockerClient(
                base_url=host, timeout=round(timeout), use_ssh_client=host.startswith("ssh://")
            )
            client.ping()
            opened.append(client)
        except (DockerException, RequestException, OSError, ValueError) as error:
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
