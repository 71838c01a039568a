"""A gateway's screen, by `docker exec` and the X protocol alone: no port, no password, nothing configured."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from healthcheck.docker_host import DockerHost
from healthcheck.docker_stream import bridged
from healthcheck.reasons import Reason
from healthcheck.screen.display import Screen, ScreenError
from healthcheck.screen.look import look, png

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


TELLING = frozenset(
    {
        Reason.DIALOG_BLOCKING,
        Reason.AUTOMATION_FAILED,
        Reason.LOGIN_ERROR,
        Reason.SECOND_FACTOR_CODE,
        Reason.SECOND_FACTOR_DEVICE,
        Reason.START_STUCK,
        Reason.NOT_LOGGED_IN,
        Reason.HALF_OPEN,
        Reason.WEDGED,
        Reason.NO_MARGIN_FIGURES,
    }
)
"""Of these a window may be the cause: it is a dialog, or nobody knows."""


def titles(docker: DockerHost, container: str, picture: Path | None) -> tuple[str, ...]:
    """Of the windows that a container shows, the topmost first. Where one is known to hold no account, a picture is in
    this file then, for its owner alone. Raises ScreenError, DockerError, and OSError for the file."""
    with screen_of(docker, container) as screen:
        seen = look(screen)
    if picture is not None and seen.pictured:
        keep(png(seen.picture), picture)
    return tuple(window.title or "(untitled)" for window in reversed(seen.windows))


def keep(picture: bytes, file: Path) -> None:
    """In a file that only its owner may read, whole or not at all. Raises OSError."""
    unfinished = file.with_name(f".{file.name}.new")
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished.unlink(missing_ok=True)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(picture)
    unfinished.replace(file)
