"""A screen over Docker itself: a real display and x11vnc in a container that is confined as a gateway's is.

The sandbox's gateway draws nothing. This container has this machine's programs, read-only.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from Xlib import X
from Xlib.display import Display

from healthcheck.docker_host import DockerHost
from healthcheck.docker_stream import bridged
from healthcheck.screen.display import Area, _given
from healthcheck.screen.look import look
from healthcheck.screen_run import TO_DISPLAY, screen_of
from sandbox.docker_engine import SANDBOX_LABEL
from sandbox.environment import Sandbox
from tests.helpers import free_port, until
from tests.unit.rfb import Viewer

FACTOR = "Second Factor Authentication"
RED = 0xF800
SERVE = """
import sys
from healthcheck.docker_host import DockerHost
from operations.screen_viewer import serve

with DockerHost(sys.argv[1]) as docker:
    port, say = int(sys.argv[3]), lambda text: print(text, flush=True)
    serve(docker, sys.argv[2], port=port, control=False, who="me@here", say=say)
"""


@pytest.fixture(scope="module")
def shown(sandbox: Sandbox, docker_client: docker.DockerClient) -> Iterator[Any]:
    """A container with a window on its screen."""
    container = docker_client.containers.run(
        sandbox.base_image,
        ["bash", "-c", "mkdir -p /tmp/.X11-unix; Xvfb :1 -ac -nolisten tcp -screen 0 1024x768x16 & wait"],
        name=f"{sandbox.prefix}-screen",
        labels={SANDBOX_LABEL: sandbox.prefix},
        user="1000:1000",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
        network_mode="none",
        volumes={"/usr": {"bind": "/usr", "mode": "ro"}},
        detach=True,
    )
    try:
        until(lambda: container.exec_run("test -S /tmp/.X11-unix/X1").exit_code == 0, "the display")
        with (
            DockerHost(sandbox.docker_host) as host,
            host.talk(f"{sandbox.prefix}-screen", TO_DISPLAY) as stream,
            bridged(stream) as way,
        ):
            with _given(way):
                display = Display()
            root = display.screen().root
            window = root.create_window(100, 50, 200, 80, 0, 16, background_pixel=RED, event_mask=X.ButtonPressMask)
            window.set_wm_name(FACTOR)
            window.map()
            display.sync()
            yield container
    finally:
        container.remove(force=True)


@pytest.fixture(params=["unix", "ssh"])
def host(request: pytest.FixtureRequest, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Over ssh: Docker's own end of it, without the login."""
    if request.param == "unix":
        return sandbox.docker_host
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\nexec docker --host {sandbox.docker_host} system dial-stdio\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin")
    return "ssh://me@host"


def running(container: Any) -> list[str]:
    titles, lines = (container.top(ps_args="-eo pid,args")[key] for key in ("Titles", "Processes"))
    return [line[titles.index("COMMAND")] for line in lines if "socat" in line[-1] or "x11vnc" in line[-1]]


def test_its_windows_and_a_picture_are_seen(shown: Any, host: str) -> None:
    with DockerHost(host) as docker_host, screen_of(docker_host, shown.id) as screen:
        found = look(screen)
    assert [(window.title, window.area) for window in found.windows] == [(FACTOR, Area(100, 50, 200, 80))]
    at = 3 * (60 * 1024 + 150)
    assert found.picture.pixels[at : at + 3] == b"\xff\0\0"


@pytest.mark.parametrize("how", ["left", "killed", pytest.param("hung up", marks=pytest.mark.exhaustive)])
def test_a_viewer_sees_it_and_nothing_is_left(shown: Any, host: str, how: str) -> None:
    before, port = running(shown), free_port()
    command = [sys.executable, "-c", SERVE, host, shown.id, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as serving:
        assert serving.stdout is not None
        serving.stdout.readline()
        viewer = Viewer(port)
        assert (viewer.width, viewer.pixel(150, 60)) == (1024, (255, 0, 0))
        assert len(running(shown)) > len(before)
        match how:
            case "left":
                viewer.close()
            case "killed":
                serving.send_signal(signal.SIGKILL)
            case "hung up":
                serving.send_signal(signal.SIGHUP)
        serving.wait(60)
        viewer.close()
    until(lambda: running(shown) == before, lambda: f"an end of {running(shown)}")
    assert b"ibgw: the screen is opened by me@here" in shown.logs()
