"""A gateway's screen for a VNC viewer: the real x11vnc on a real display, as processes of this machine."""

import json
import os
import re
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from Xlib import X

from deployment.errors import IbgwError
from healthcheck.screen.display import Area
from healthcheck.screen_run import SOCKET
from operations import peer, screen_control, screen_viewer
from operations.screen_control import Titles, check, opened
from operations.screen_viewer import DISPLAY, KEEPER, serve
from tests.displays import TestDisplay, display
from tests.helpers import free_port, until
from tests.unit.local_commands import LocalDocker
from tests.unit.rfb import Viewer
from tests.unit.test_screen import RED, Client
from tests.unit.test_screen_look import CONTRACT, GATEWAY, LOGIN

FORM = Area(0, 0, 40, 40)


@pytest.fixture(scope="module")
def shown() -> Iterator[TestDisplay]:
    with display(width=120, height=80) as found:
        yield found


@pytest.fixture
def client(shown: TestDisplay) -> Iterator[Client]:
    found = Client(shown.name)
    yield found
    found.display.close()


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short one: the path of a socket has at most 107 characters (unix(7))."""
    with tempfile.TemporaryDirectory(prefix="screen-") as folder:
        yield Path(folder)


@pytest.fixture
def docker(shown: TestDisplay, tmp_path: Path) -> LocalDocker:
    """Whose first process's log is no file that a test may write."""
    found = LocalDocker({SOCKET: shown.path, "/proc/1/fd/1": str(tmp_path / "log"), "/tmp/ibgw": f"{tmp_path}/ibgw"})
    found.exactly = {DISPLAY: shown.name}
    found.add_container("ibgw-paper-main", container_id=GATEWAY.container.id)
    found.containers[GATEWAY.container.id] = found.containers["ibgw-paper-main"]
    found.containers["ibgw-paper-main"]["State"]["Running"] = True
    return found


class Served:
    """`serve` in a thread."""

    def __init__(self, docker: LocalDocker, *, control: bool) -> None:
        self.port, self.said, self.ended = free_port(), list[str](), list[Any]()
        self.thread = threading.Thread(target=self._run, args=(docker, control))
        self.thread.start()
        until(lambda: self.said, "the port")

    def _run(self, docker: LocalDocker, control: bool) -> None:
        try:
            ended = serve(docker, "main", port=self.port, control=control, who="me@here", say=self.said.append)
        except IbgwError as error:
            self.ended.append(error)
        else:
            self.ended.append(ended)

    def end(self) -> Any:
        self.thread.join(60)
        return self.ended[0]


def servers(tmp_path: Path) -> list[str]:
    """What still runs of what leads to the display."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    sockets = [line for line in listed.splitlines() if str(tmp_path) in line and "socat" in line]
    parents = {line.split()[0] for line in sockets}
    return sockets + [line for line in listed.splitlines() if "x11vnc" in line and line.split()[1] in parents]


def test_a_viewer_sees_everything_and_can_do_nothing(docker: LocalDocker, client: Client, tmp_path: Path) -> None:
    window = client.window(LOGIN, FORM, RED)
    served = Served(docker, control=False)
    viewer = Viewer(served.port)
    assert (viewer.width, viewer.height) == (120, 80)
    assert viewer.pixel(20, 20) == (255, 0, 0)
    for colour, channel in ((0x07E0, 1), (0x001F, 2), (0xF800, 0)):
        viewer.click(20, 20)
        window.change_attributes(background_pixel=colour)
        window.clear_area()
        client.display.sync()
        until(lambda channel=channel: viewer.pixel(20, 20)[channel] > 200, "the new colour")  # type: ignore[misc]
    assert client.events() == []
    # Nobody else gets in.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", served.port))
    viewer.close()
    assert served.end() == "the viewer left"
    assert servers(tmp_path) == []
    assert [line.rpartition(" ")[2] for line in (tmp_path / "log").read_text().splitlines()] == ["me@here", "closed"]


def test_hands_on_it_arrive(docker: LocalDocker, client: Client, tmp_path: Path) -> None:
    client.window(LOGIN, FORM, RED)
    served = Served(docker, control=True)
    viewer = Viewer(served.port)
    viewer.click(20, 20)
    until(lambda: client.display.pending_events(), "the click")
    [arrived, *_] = client.events()
    assert (arrived.type, arrived.event_x, arrived.event_y) == (X.ButtonPress, 20, 20)
    viewer.close()
    served.end()
    assert servers(tmp_path) == []


def test_it_ends_when_its_time_is_over(
    docker: LocalDocker, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen_viewer, "OPERATING", 3)
    served = Served(docker, control=True)
    viewer = Viewer(served.port)
    assert served.end() == "the time is over"
    with pytest.raises((EOFError, OSError)):
        viewer.read(1)
    assert servers(tmp_path) == []


def test_without_a_viewer_it_ends_too(docker: LocalDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen_viewer, "LOOKING", 0.2)
    error = Served(docker, control=False).end()
    assert (error.exit_code, docker.did("talk")) == (6, [])


def test_another_user_s_connection_is_refused(
    docker: LocalDocker, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = iter([os.getuid() + 1, None, os.getuid()])
    monkeypatch.setattr(screen_viewer, "owner", lambda _: next(owners))
    served = Served(docker, control=False)
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", served.port)) as stranger:
            stranger.settimeout(60)
            assert stranger.recv(1) == b""
    assert docker.did("talk") == []
    Viewer(served.port).close()
    served.end()
    assert sum("not known to be of your own user" in line for line in served.said) == 2


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1")])
def test_whose_a_connection_is(family: int, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(family) as other:
        other.connect((host, server.getsockname()[1]))
        connection, _ = server.accept()
        with connection:
            assert peer.owner(connection) == os.getuid()
            tables = [Path(table).read_text() for table in peer.TABLES]
            for changed, whose in (((" 01 ", " 01 "), 65534), ((" 01 ", " 06 "), None)):
                for number, text in enumerate(tables):
                    of_other = re.sub(
                        rf"(?m)^( *\S+(?: +\S+){{6}} +){os.getuid()} ", r"\g<1>65534 ", text.replace(*changed)
                    )
                    (tmp_path / str(number)).write_text(of_other)
                monkeypatch.setattr(peer, "TABLES", (str(tmp_path / "0"), str(tmp_path / "1"), str(tmp_path / "none")))
                # One that has ended belongs to nobody.
                assert peer.owner(connection) == whose


@pytest.fixture
def keeper(shown: TestDisplay, tmp_path: Path) -> Iterator[Callable[[int], "subprocess.Popen[bytes]"]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(lease: int) -> "subprocess.Popen[bytes]":
        script = KEEPER.replace("/proc/1/fd/1", str(tmp_path / "log"))
        words = ["bash", "-c", script, "x", "me", shown.name, str(tmp_path / "s"), "600", str(lease)]
        made = subprocess.Popen(
            [*words, "-inetd", "-once", "-nopw", "-quiet", "-o", "/dev/null"], stdin=subprocess.PIPE
        )
        started.append(made)
        until((tmp_path / "s").exists, "the socket")
        return made

    yield start
    for made in started:
        assert made.stdin is not None
        made.stdin.close()
        made.wait(60)


def connected(path: Path) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX)
    # It is there a moment before anybody listens.
    until(lambda: stream.connect_ex(str(path)) == 0, "a listener")
    stream.settimeout(60)
    assert stream.recv(12) == b"RFB 003.008\n"
    return stream


@pytest.mark.parametrize("how", ["killed", "cut off", "told"])
def test_x11vnc_never_outlives_the_command(
    keeper: Callable[[int], "subprocess.Popen[bytes]"], tmp_path: Path, how: str
) -> None:
    """Killed: Docker closes the keeper's input. Cut off: nobody closes it, and nothing comes."""
    made = keeper(1 if how == "cut off" else 600)
    assert made.stdin is not None
    made.stdin.write(b"on\n")
    made.stdin.flush()
    stream = connected(tmp_path / "s")
    if how == "killed":
        made.stdin.close()
    elif how == "told":
        made.stdin.write(b"end\n")
        made.stdin.flush()
    made.wait(60)
    assert servers(tmp_path) == []
    assert not (tmp_path / "s").exists()
    assert stream.recv(100) == b""
    stream.close()


def test_nobody_else_in_the_container_may_connect(
    keeper: Callable[[int], "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    keeper(600)
    assert (tmp_path / "s").stat().st_mode & 0o077 == 0


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_who_had_hands_on_it_and_which_windows_were_there_is_recorded(
    docker: LocalDocker, client: Client, tmp_path: Path
) -> None:
    record, port, said = tmp_path / "reports" / "paper.screen.jsonl", free_port(), list[str]()
    found: list[Titles] = []
    client.window("DU1234567 Configuration", FORM)

    def run() -> None:
        found.append(opened(docker, CONTRACT, GATEWAY, record, port=port, control=True, say=said.append))

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: said, "the port")
    Viewer(port).close()
    thread.join(60)
    first, last = lines(record)
    assert (first["stack"], first["gateway"], first["control"], first["ended"]) == ("paper", "main", True, None)
    assert (last["who"], last["ended"], last["windows"]) == (
        first["who"], "the viewer left", ["DU***567 Configuration"],
    )  # fmt: skip
    assert record.stat().st_mode & 0o077 == 0
    assert found[0].seen == {"DU***567 Configuration"}


def test_what_cannot_be_recorded_is_not_opened(
    docker: LocalDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[str] = []
    monkeypatch.setattr(screen_control, "serve", lambda _, container, **__: served.append(container))
    (tmp_path / "reports").touch()
    with pytest.raises(IbgwError, match="whoever opens a screen is recorded there"):
        opened(docker, CONTRACT, GATEWAY, tmp_path / "reports" / "x", port=0, control=False, say=print)
    assert served == []


@pytest.mark.parametrize(
    ("ini", "titles", "as_configured", "said"),
    [
        (
            "TrustedIPs=127.0.0.1\nApiOnly=true\n",
            set[str](),
            True,
            "ok       TrustedIPs (jts.ini): configured 127.0.0.1",
        ),
        ("TrustedIPs=127.0.0.1,10.0.0.9\n", set[str](), False, "DIFFERS  TrustedIPs (jts.ini): configured 127.0.0.1"),
        ("", set[str](), True, "?        ApiOnly (jts.ini): configured true, cannot be read"),
        ("", {"IBKR Gateway Configuration"}, True, "Settings may have been changed"),
    ],
)
def test_what_can_be_read_of_the_settings_is_compared(
    docker: LocalDocker, ini: str, titles: set[str], as_configured: bool, said: str
) -> None:
    docker.files["/home/ibgateway/tws_settings/jts.ini"] = ini
    told, same = check(docker, CONTRACT, GATEWAY, Titles(titles))
    assert same is as_configured
    assert said in told
    assert ("Settings may have been changed" in told) is bool(titles)
