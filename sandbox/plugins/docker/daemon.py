"""The connection to the Docker daemon, and its errors in the official plug-in's words.

The docker SDK takes 0.4 s to import and a preview without changes never needs it, so it is imported, and the daemon
asked, with the first call: the official plug-in asks once when it is configured.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from deployment.errors import kind
from sandbox.plugins.provider import PluginError

if TYPE_CHECKING:
    from docker import APIClient

_DEFAULT_HOST = "unix:///var/run/docker.sock"
# Kept at most: as many as sandbox.plugins.process has workers.
_CONNECTIONS = 128
# Seconds that one call may take. A stop waits for the container's grace, a build and a pull for as long as they take.
_CALL_TIMEOUT = 3600
# terraform-provider-docker: networkRemoveRefreshTimeout, volumeReadRefreshTimeout.
REMOVAL_SECONDS = 30.0
_REMOVAL_POLL = 0.5


class Daemon:
    """The daemon that the provider's `host` names: unix://, tcp:// or ssh:// (the operator's own ssh, no options)."""

    def __init__(self, host: str | None) -> None:
        self.host = host or _DEFAULT_HOST
        self._client: APIClient | None = None
        self._lock = threading.Lock()

    @property
    def client(self) -> "APIClient":
        """The low-level client, at the API version that both sides know."""
        with self._lock:
            if self._client is None:
                self._client = _connect(self.host)
            return self._client

    def create_container(self, request: dict[str, Any], name: str, platform: str | None) -> str:
        """Creates a container from the API's own request body; returns its id."""
        found: dict[str, Any] = self.client.create_container_from_config(  # type: ignore[no-untyped-call]
            request, name, platform
        )
        return str(found["Id"])

    def inspect_image(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.inspect_image(name)  # type: ignore[no-untyped-call]
        return found


def _connect(host: str) -> "APIClient":
    from docker.errors import DockerException

    from healthcheck.docker_connections import connected

    try:
        return connected(host, timeout=_CALL_TIMEOUT, at_most=_CONNECTIONS)
    except (DockerException, OSError) as error:
        raise PluginError(
            f"Error pinging Docker server, please make sure that {host} is reachable and has a  '_ping' endpoint. "
            f"Error: {error}"
        ) from None


@contextmanager
def failing_as(action: str) -> Iterator[None]:
    """Turns the daemon's error into `<action>: Error response from daemon: ...`."""
    from docker.errors import APIError
    from requests.exceptions import RequestException

    try:
        yield
    except APIError as error:
        raise PluginError(f"{action}: Error response from daemon: {error.explanation or error}") from None
    except RequestException as error:
        raise PluginError(f"{action}: the connection to the Docker daemon failed: {kind(error)}") from None


def remove_when_free(remove: Callable[[], None], busy: str, what: str) -> None:
    """Removes what may still be in use for a moment: tries again for 30 s while the daemon's answer contains `busy`."""
    from docker.errors import APIError, NotFound

    deadline = time.monotonic() + REMOVAL_SECONDS
    while True:
        try:
            return remove()
        except NotFound:
            return None
        except APIError as error:
            reason = str(error.explanation or error)
            if busy not in reason:
                raise PluginError(f"{what}: Error response from daemon: {reason}") from None
            if time.monotonic() > deadline:
                raise PluginError(f"{what}: still in use after {REMOVAL_SECONDS:.0f} s: {reason}") from None
        time.sleep(_REMOVAL_POLL)


def labels_to_docker(labels: list[dict[str, str]] | None) -> dict[str, str]:
    return {item["label"]: item["value"] for item in labels or ()}


def labels_from_docker(labels: dict[str, str] | None) -> list[dict[str, str]]:
    return [{"label": label, "value": value} for label, value in sorted((labels or {}).items())]
