"""`ibgw screen --open`: a gateway's screen for one VNC viewer on this machine, by the image's own x11vnc.

Nothing listens in the container but a socket in a file that its user alone may open. A keeper there starts x11vnc and
ends it as soon as this program no longer says that it is there: whether it ends, is killed or is cut off.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

from deployment.errors import ExitCode, IbgwError
from healthcheck.docker_host import DockerHost
from healthcheck.docker_stream import DockerStream, joined
from operations.forward import LOOPBACK
from operations.peer import owner

DISPLAY = ":1"
BEAT = 5.0
"""Seconds between two words to the keeper."""
LEASE = 30
"""Seconds after which the keeper takes this program for gone."""
ENDING = 10.0
"""Seconds for the keeper to end x11vnc: it kills it after two."""
TURN = 0.2
"""Seconds of a wait that a signal has to end."""
LOOKING, OPERATING = 3600, 600
"""Seconds for which a screen is open at most."""

OPTIONS = (
    # One viewer, on its standard streams; without a password, since nobody but this program leads there.
    *("-inetd", "-once", "-nopw", "-quiet", "-o", "/dev/null"),
    # Nothing of a user's file, no command, no clipboard, no files, and the keyboard's settings stay as they are.
    *("-norc", "-noremote", "-nocmds", "-novncconnect", "-nosel", "-nobell", "-repeat", "-noxrecord"),
)
VIEW_ONLY = "-viewonly"

KEEPER = r"""
# WHO DISPLAY SOCKET SECONDS LEASE OPTION...: leads whoever connects to SOCKET to the display, until a line of standard
# input is not `on` or none comes for LEASE seconds, and for SECONDS at most. The gateway's log says who asked for it.
who=$1 path=$3 seconds=$4 lease=$5
export DISPLAY=$2
shift 5
umask 077
echo "ibgw: the screen is opened by $who" 2>/dev/null >>/proc/1/fd/1
timeout --kill-after=2 "$seconds" socat "UNIX-LISTEN:$path" "EXEC:x11vnc $*" &
serving=$!
while kill -0 "$serving" 2>/dev/null && IFS= read -rt "$lease" word && [[ $word == on ]]; do :; done
kill "$serving" 2>/dev/null
wait "$serving"
rm -f "$path"
echo "ibgw: the screen is closed" 2>/dev/null >>/proc/1/fd/1
"""

Say = Callable[[str], None]


def serve(docker: DockerHost, container: str, *, port: int, control: bool, who: str, say: Say) -> str:
    """Waits for one viewer of this user's on the loopback, and leads it to the container's screen until it hangs up or
    the time is over: which of them it was. Raises IbgwError, and DockerError."""
    seconds = OPERATING if control else LOOKING
    until = time.monotonic() + seconds
    how = f"{'with your hands on it' if control else 'view only'}, for {seconds // 60} minutes at most"
    viewer = _viewer(port, until, say, how)
    if viewer is None:
        raise IbgwError(f"No viewer came within {seconds // 60} minutes.", exit_code=ExitCode.TIMED_OUT)
    path = f"/tmp/ibgw-screen-{uuid4().hex}"
    left = max(1, round(until - time.monotonic()))
    keeper = ["bash", "-c", KEEPER, "ibgw-screen", who, DISPLAY, path, str(left), str(LEASE), *OPTIONS]
    to_viewer = ["socat", "STDIO", f"UNIX-CONNECT:{path},retry=100,interval=0.1"]
    with (
        viewer,
        docker.talk(container, keeper if control else [*keeper, VIEW_ONLY]) as keeping,
        _kept(keeping) as gone,
        docker.talk(container, to_viewer) as stream,
        joined(stream, viewer) as ended,
    ):
        say("a viewer is connected")
        while not ended.wait(TURN) and not gone.is_set() and time.monotonic() < until:
            pass
    if time.monotonic() >= until:
        return "the time is over"
    return f"the viewer left, or x11vnc did: {keeping.said}" if keeping.said else "the viewer left"


def _viewer(port: int, until: float, say: Say, how: str) -> socket.socket | None:
    """The first that connects of this user's own; nobody after it gets in. None where none came in time."""
    try:
        server = socket.create_server((LOOPBACK, port), backlog=1)
    except OSError as error:
        raise IbgwError(
            f"Port {port} on {LOOPBACK} cannot be opened ({os.strerror(error.errno or 0)}): choose another with "
            "--port, or end what uses it.",
            exit_code=ExitCode.COULD_NOT_RUN,
        ) from None
    with server:
        number = server.getsockname()[1]
        say(f"{LOOPBACK}:{number} shows the screen to one VNC viewer, {how} (`vncviewer {LOOPBACK}::{number}`).")
        say("Ctrl-C ends it.")
        while (left := until - time.monotonic()) > 0:
            server.settimeout(left)
            try:
                viewer, _ = server.accept()
            except TimeoutError:
                break
            viewer.settimeout(None)
            if owner(viewer) == os.getuid():
                return viewer
            viewer.close()
            say("a connection was refused: it is not known to be of your own user")
    return None


@contextmanager
def _kept(keeper: DockerStream) -> Iterator[threading.Event]:
    """The keeper is told again and again to go on, and is waited for at the end. The event: it has ended."""
    leaving, gone = threading.Event(), threading.Event()

    def tell() -> None:
        with suppress(OSError):
            while not leaving.is_set():
                keeper.write(b"on\n")
                leaving.wait(BEAT)
            keeper.write(b"end\n")

    def watch() -> None:
        with suppress(OSError):
            while keeper.read():
                pass
        gone.set()

    for run in (tell, watch):
        threading.Thread(target=run, name="keep-screen", daemon=True).start()
    try:
        yield gone
    finally:
        leaving.set()
        gone.wait(ENDING)
