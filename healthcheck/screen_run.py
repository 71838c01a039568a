"""A gateway's screen, by `docker exec` and the X protocol alone: no port, no password, nothing configured."""

from collections.abc import Iterator
from contextlib import contextmanager

from healthcheck.docker_host import DockerHost
from healthcheck.docker_stream import bridged
from healthcheck.screen.display import Screen, ScreenError

SOCKET = "/tmp/.X11-unix/X1"
TO_DISPLAY = ("socat", "STDIO", f"UNIX-CONNECT:{SOCKET}")


@contextmanager
def screen_of(docker: DockerHost, container: str) -> Iterator[Screen]:
    """The display of a running container, by what its image has. Raises ScreenError, and DockerError."""
    with docker.talk(container, TO_DISPLAY) as stream, bridged(stream) as connection:
        try:
            screen = Screen(connection)
        except ScreenError as error:
            raise ScreenError(f"{error} ({stream.said})" if stream.said else str(error)) from error
        yield screen
