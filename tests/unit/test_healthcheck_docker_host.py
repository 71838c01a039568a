"""Opening a Docker host, against a stand-in that answers like one on a socket of its own, and over an `ssh` to it."""

import http.server
import io
import json
import os
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deployment.errors import IbgwError
from deployment.tables import Kind
from healthcheck import docker_connections
from healthcheck.docker_host import ARCHIVES, Conflict, DockerError, DockerHost, File, Inspected, NotFound
from healthcheck.docker_stream import bridged
from tests.helpers import DEADLINE

SSH = """\
#!{python}
# As `ssh HOST docker system dial-stdio`: what comes in goes to Docker's socket, and the other way round.
import os, socket, sys, threading

if sys.argv[10:] != ["-l", "me", "-p", "2222", "--", "host", "docker system dial-stdio"]:
    sys.exit(255)
docker = socket.socket(socket.AF_UNIX)
docker.connect({socket!r})

def out():
    while data := docker.recv(65536):
        os.write(1, data)
    os._exit(0)

threading.Thread(target=out, daemon=True).start()
while data := os.read(0, 65536):
    docker.sendall(data)
"""


REST = 50_000
"""Characters that make an answer longer than any buffer."""

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ANSWER = json.dumps(
    {"ApiVersion": "1.41", "SystemTime": NOON.isoformat(), "Config": {"Tty": False}, "Rest": "x" * REST}
).encode()
"""To whatever is asked and has no answer of its own."""


def frame(stream: int, text: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(text)) + text


class Answering(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "StandIn"

    def setup(self) -> None:
        super().setup()
        self.server.come(1)
        self.new = True

    def do_POST(self) -> None:
        self.server.sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        if self.path.endswith("/exec/talking/start"):
            self.talk()
        else:
            self.do_GET()

    def talk(self) -> None:
        """The first words come along with the answer, then each that comes in goes back."""
        answer = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        self.wfile.write(answer + frame(1, b"hel") + frame(2, b"warning\n") + frame(1, b"lo"))
        while data := self.rfile.read1(65536):
            self.wfile.write(frame(1, data))
        self.close_connection = True
        self.server.hung_up.set()

    def do_GET(self) -> None:
        if self.new:
            time.sleep(0.05)
            self.server.come(-1)
            self.new = False
        path = self.path.partition("?")[0].removeprefix("/v1.41")
        status, text = self.server.answers.get(path) or (200, ANSWER)
        self.server.asked.append(self.path)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if self.path.endswith("/announced/json"):
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)
        if self.path.endswith("/last/json"):
            self.close_connection = True

    def address_string(self) -> str:
        return "socket"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class StandIn(socketserver.ThreadingUnixStreamServer):
    """`connections`: how many came; `new`, `most_new`: those that have no answer yet, and how many there ever were."""

    daemon_threads = True
    request_queue_size = 100
    connections = new = most_new = 0
    lock = threading.Lock()

    def __init__(self, path: str) -> None:
        super().__init__(path, Answering)
        self.answers: dict[str, tuple[int, bytes]] = {}
        """Status and text, by path."""
        self.asked: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.hung_up = threading.Event()

    def come(self, number: int) -> None:
        with self.lock:
            self.connections += max(0, number)
            self.new += number
            self.most_new = max(self.new, self.most_new)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[StandIn]:
    with StandIn(str(tmp_path / "d.sock")) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def ssh(engine: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Docker host over ssh."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(SSH.format(python=sys.executable, socket=engine.server_address))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return "ssh://me@host:2222"


@pytest.fixture(params=["unix", "ssh"])
def host(engine: StandIn, ssh: str, request: pytest.FixtureRequest) -> str:
    return ssh if request.param == "ssh" else f"unix://{engine.server_address!s}"


def inspect(client: DockerHost, name: str) -> Inspected:
    found = client.inspect(Kind.CONTAINER, name)
    assert found is not None
    return found


def test_what_is_asked_in_turn_goes_over_one_connection(engine: StandIn, host: str) -> None:
    client = DockerHost(host)
    opened = engine.connections
    for number in range(60):
        assert inspect(client, str(number))["ApiVersion"] == "1.41"
    client.close()
    assert engine.connections == opened


def test_a_command_is_talked_to_while_it_runs(engine: StandIn, host: str) -> None:
    engine.answers["/containers/main/exec"] = (201, b'{"Id": "talking"}')
    with DockerHost(host) as client:
        with client.talk("main", ["cat", "-"]) as stream:
            assert [stream.read(), stream.read()] == [b"hel", b"lo"]
            assert stream.said == "warning"
            stream.write(b"abc")
            assert stream.read() == b"abc"
            assert not engine.hung_up.is_set()
        assert engine.hung_up.wait(DEADLINE)
        assert engine.sent[0]["Cmd"] == ["cat", "-"]
        assert client.now() == NOON


def test_a_socket_leads_to_a_command_until_either_ends(engine: StandIn, host: str) -> None:
    engine.answers["/containers/main/exec"] = (201, b'{"Id": "talking"}')
    with DockerHost(host) as client:
        with client.talk("main", ["cat"]) as stream, bridged(stream) as connection:
            much = b"x" * 1_000_000
            threading.Thread(target=connection.sendall, args=(much,), daemon=True).start()
            came = b""
            while len(came) < len(b"hello" + much):
                came += connection.recv(65536)
            assert came == b"hello" + much
        assert engine.hung_up.wait(DEADLINE)
        # A reading that waits is no hindrance to the end of it, and a command that ends is the socket's end.
        with client.talk("main", ["cat"]) as stream, bridged(stream) as connection:
            stream.close()
            while connection.recv(100):
                pass


def test_a_connection_that_docker_has_closed_is_made_again(engine: StandIn, host: str) -> None:
    client = DockerHost(host)
    opened = engine.connections
    inspect(client, "last")
    time.sleep(0.5)  # the ssh has ended
    assert inspect(client, "next")["ApiVersion"] == "1.41"
    client.close()
    assert engine.connections == opened + 1


def test_an_answer_is_read_to_its_end_where_docker_closes_after_it(host: str) -> None:
    client = DockerHost(host)
    assert len(inspect(client, "announced")["Rest"]) == REST
    assert len(inspect(client, "next")["Rest"]) == REST
    client.close()


def test_an_ssh_that_was_idle_for_long_is_not_used_again(
    engine: StandIn, ssh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = DockerHost(ssh)
    opened = engine.connections
    monkeypatch.setattr(docker_connections, "IDLE", 0)
    inspect(client, "next")
    client.close()
    assert engine.connections == opened + 1


def test_a_later_login_that_fails_is_one_of_dockers_failures(
    ssh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = DockerHost(ssh)
    monkeypatch.setattr(docker_connections, "IDLE", 0)
    (tmp_path / "bin" / "ssh").write_text("#!/bin/sh\nexit 255\n")
    with pytest.raises(DockerError, match="ssh host ended without an answer"):
        client.now()
    client.close()


def test_few_logins_are_under_way_at_a_time(engine: StandIn, ssh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_connections, "LOGINS", threading.BoundedSemaphore(3))
    client = DockerHost(ssh)
    together = threading.Barrier(20)

    def ask() -> datetime:
        together.wait()
        return client.now()

    with ThreadPoolExecutor(together.parties) as pool:
        assert {future.result() for future in [pool.submit(ask) for _ in range(together.parties)]} == {NOON}
    client.close()
    assert engine.most_new == 3


def test_an_ssh_that_cannot_log_in_leaves_nothing(ssh: str) -> None:
    with pytest.raises(IbgwError, match=r"Docker host ssh://other@host: .*check that `ssh other@host docker version`"):
        DockerHost("ssh://other@host")
    assert DockerHost(ssh).now() == NOON


ASKED = """\
#!/bin/sh
# What the ssh is started with, a line each; nothing is connected.
printf '%s\\n' "$@" >{file}
exit 255
"""


@pytest.mark.parametrize(
    ("url", "arguments"),
    [
        ("ssh://me@host", ["-l", "me", "--", "host"]),
        ("ssh://me@host:22", ["-l", "me", "-p", "22", "--", "host"]),
        ("ssh://me@[2001:db8::1]", ["-l", "me", "--", "2001:db8::1"]),
        ("ssh://me@[fe80::1%25eth0]:2222", ["-l", "me", "-p", "2222", "--", "fe80::1%eth0"]),
    ],
)
def test_ssh_is_told_what_the_address_says_and_nothing_else(
    ssh: str, tmp_path: Path, url: str, arguments: list[str]
) -> None:
    (tmp_path / "bin" / "ssh").write_text(ASKED.format(file=tmp_path / "asked"))
    with pytest.raises(IbgwError, match="ssh"):
        DockerHost(url)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[:5] == ["-T", "-o", "ClearAllForwardings=yes", "-o", "PermitLocalCommand=no"]
    assert asked[9:] == [*arguments, "docker system dial-stdio"]


def refusal_of(tmp_path: Path, script: str, url: str = "ssh://me@host") -> str:
    """What is said where `ssh` is this shell script."""
    (tmp_path / "bin" / "ssh").write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises(IbgwError) as refusal:
        DockerHost(url)
    assert refusal.value.exit_code == 5
    return str(refusal.value)


def test_a_socket_that_cannot_be_used_is_told_with_what_to_do(tmp_path: Path) -> None:
    nobody = socket.socket(socket.AF_UNIX)
    nobody.bind(str(tmp_path / "nobody.sock"))
    for name, said in (("none.sock", "there is no such socket"), ("nobody.sock", "nobody answers at the socket")):
        with pytest.raises(IbgwError, match=said) as refusal:
            DockerHost(f"unix://{tmp_path}/{name}")
        assert "systemctl start docker" in str(refusal.value)
        assert "Error" not in str(refusal.value)
    nobody.close()


def test_what_ssh_said_is_in_the_message_with_the_command_to_try(ssh: str, tmp_path: Path) -> None:
    said = refusal_of(tmp_path, "echo 'me@host: Permission denied (publickey).' >&2; exit 255", "ssh://me@host:2222")
    assert "the host does not accept the login" in said
    assert "me@host: Permission denied (publickey)." in said
    assert "`ssh -p 2222 me@host docker version`" in said
    # Neither urllib3's nor docker-py's words around it.
    assert "Connection aborted" not in said


@pytest.mark.parametrize("greeting", ["Welcome to host", "", "\033]0;title\007logged in"])
def test_a_start_up_file_that_prints_something_is_named_with_what_it_printed(
    ssh: str, tmp_path: Path, greeting: str
) -> None:
    shell = tmp_path / "bin" / "ssh"
    whole = shell.read_text()
    (tmp_path / "whole").write_text(whole.replace('["-l", "me", "-p", "2222", ', '["-l", "me", '))
    said = refusal_of(tmp_path, f"printf '{greeting}\\n'; exec {sys.executable} {tmp_path}/whole \"$@\"")
    assert (greeting[-9:] or "an empty line") in said
    assert "where only Docker's answer may come" in said
    assert said.isprintable()


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("HTTP/1.1 502 Bad Gateway\\r\\nContent-Length: 0\\r\\n\\r\\n", "printed 'HTTP 502 Bad Gateway'"),
        ("HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nOK", "closed connection without response"),
    ],
)
def test_what_answers_once_and_is_no_docker_is_told_with_what_to_do(
    ssh: str, tmp_path: Path, printed: str, told: str
) -> None:
    said = refusal_of(tmp_path, f"read -r _; printf '{printed}'; sleep 0.2")
    assert told in said
    assert "check that `ssh me@host docker version` works" in said


def test_an_ssh_that_waits_for_ever_is_ended_and_its_question_is_told(
    ssh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_connections, "LOGIN", 0.5)
    said = refusal_of(tmp_path, "echo 'Enter PIN for key:' >&2; sleep 600")
    assert "was ended, since Docker did not answer in time, and said: Enter PIN for key:" in said


def test_an_ssh_whose_shared_connection_stays_behind_is_not_waited_for(ssh: str, tmp_path: Path) -> None:
    said = refusal_of(tmp_path, "sleep 20 >/dev/null </dev/null & echo 'bash: docker: command not found' >&2; exit 127")
    assert "the host's shell does not find `docker`" in said


INTERRUPTED = """\
import pathlib, signal, sys, threading, time
from healthcheck.docker_host import DockerHost
# Whoever started the tests may have had it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def interrupt():
    while not pathlib.Path(sys.argv[1]).exists():
        time.sleep(0.02)
    # To a thread that does not wait for the login: the kernel may give a program's signal to any.
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
DockerHost("ssh://me@host")
"""


def test_a_program_that_is_interrupted_at_a_login_ends(ssh: str, tmp_path: Path) -> None:
    login = tmp_path / "pid"
    (tmp_path / "bin" / "ssh").write_text(f"#!/bin/sh\necho $$ >{login}.new\nmv {login}.new {login}\nexec sleep 600\n")
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED, login], stderr=subprocess.DEVNULL, timeout=DEADLINE)
    assert ended.returncode != 0
    # Nobody has waited for the time that a login has: the ssh would be gone.
    os.kill(int(login.read_text()), signal.SIGKILL)


def test_a_machine_without_ssh_is_told_so(ssh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(IbgwError, match=r"`ssh` cannot be started \(No such file or directory\); install it"):
        DockerHost("ssh://me@host")


def test_docker_over_plain_tcp_is_not_opened() -> None:
    with pytest.raises(
        IbgwError, match=r"'tcp://127\.0\.0\.1:1' is not supported; expected unix:///var/run/docker.sock or ssh://"
    ) as refusal:
        DockerHost("tcp://127.0.0.1:1")
    assert refusal.value.exit_code == 5


# --- what is asked --------------------------------------------------------------------------------------------------


@pytest.fixture
def local(engine: StandIn) -> Iterator[DockerHost]:
    with DockerHost(f"unix://{engine.server_address!s}") as found:
        yield found


def archive(files: dict[str, str], owner: int = 1000) -> bytes:
    """Of a folder `secrets` with these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        folder = tarfile.TarInfo("secrets/")
        folder.type, folder.uid, folder.gid = tarfile.DIRTYPE, owner, owner + 1
        tar.addfile(folder)
        for name, text in files.items():
            entry = tarfile.TarInfo(f"secrets/{name}")
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


ONE_FILE = archive({"status": "first\nlast \u00fc\n"})[tarfile.BLOCKSIZE :]


def test_a_file_is_read_whole_or_its_end(engine: StandIn, local: DockerHost) -> None:
    engine.answers["/containers/main/archive"] = 200, ONE_FILE
    assert local.read_file("main", "/run/secrets/status") == "first\nlast \u00fc\n"
    assert local.read_file("main", "/run/secrets/status", last=8) == "last \u00fc\n"


def test_a_folder_is_read_with_its_owner_and_all_files(engine: StandIn, local: DockerHost) -> None:
    engine.answers["/containers/main/archive"] = 200, archive({"user": "u", "deep/password": "p"})
    assert local.owner("main", "/run/secrets") == (1000, 1001)
    assert local.read_folder("main", "/run/secrets") == {"/run/secrets/user": "u", "/run/secrets/deep/password": "p"}
    assert local.read_file("main", "/run/secrets") is None


def test_of_a_folder_s_files_the_ends_are_read_of_those_that_are_wanted(engine: StandIn, local: DockerHost) -> None:
    engine.answers["/containers/main/archive"] = 200, archive({"a.log": "x" * 50_000 + "end", "deep/b.enc": "secret"})
    files = local.list_folder("main", "/run/secrets", wanted=lambda name: name.endswith(".log"), last=3)
    epoch = datetime.fromtimestamp(0, UTC)
    assert files == [File("a.log", 50_003, epoch, "end"), File("b.enc", 6, epoch, None)]


@pytest.mark.parametrize("mtime", [2**40, 2**62, -(2**40)])
def test_a_file_may_have_any_time(engine: StandIn, local: DockerHost, mtime: int) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("logs/a.log")
        entry.mtime = mtime
        tar.addfile(entry)
    engine.answers["/containers/main/archive"] = 200, packed.getvalue()
    [file] = local.list_folder("main", "/logs", wanted=bool, last=1)
    assert file.modified.year == (1970 if mtime < 0 else 9999)


def test_of_an_owner_little_is_read(engine: StandIn, local: DockerHost) -> None:
    engine.answers["/containers/main/archive"] = 200, archive({"log": "x" * 100_000})[:50_000]
    assert local.owner("main", "/run/secrets") == (1000, 1001)
    with pytest.raises(DockerError, match="the archive of /run/secrets is broken"):
        local.read_folder("main", "/run/secrets")


def test_what_is_not_there_is_none(engine: StandIn, local: DockerHost) -> None:
    gone = 404, b'{"message": "No such object"}'
    engine.answers |= dict.fromkeys(("/containers/main/archive", "/containers/main/json", "/images/main/json"), gone)
    engine.answers |= dict.fromkeys(("/networks/main", "/volumes/main"), gone)
    assert [local.inspect(kind, "main") for kind in Kind] == [None] * 4
    assert local.read_file("main", "/x") is None
    assert local.owner("main", "/x") is None
    assert local.read_folder("main", "/x") == {}
    assert local.list_folder("main", "/x", wanted=bool, last=1) == []


@pytest.mark.parametrize(("status", "kind"), [(404, NotFound), (403, Conflict), (409, Conflict), (500, DockerError)])
def test_a_refusal_has_a_type_and_dockers_words(
    engine: StandIn, local: DockerHost, status: int, kind: type[DockerError]
) -> None:
    engine.answers["/info"] = status, b'{"message": "not today"}'
    with pytest.raises(DockerError, match="not today") as refusal:
        local.now()
    assert type(refusal.value) is kind


def test_a_host_that_went_away_is_one_of_its_errors(engine: StandIn, local: DockerHost, tmp_path: Path) -> None:
    local.close()
    (tmp_path / "d.sock").unlink()
    with pytest.raises(DockerError):
        local.inspect(Kind.IMAGE, "x")
    with pytest.raises(DockerError):
        list(local.follow("main"))


def test_a_log_is_read_in_lines_and_followed_in_whole_ones(engine: StandIn, local: DockerHost) -> None:
    pieces = frame(1, b"one\r\ntw") + frame(2, b"o \xc3\xbc\nthr")
    engine.answers["/containers/main/logs"] = 200, pieces
    assert local.log("main", tail=7, since=NOON) == ["one", "two \u00fc", "thr"]
    [asked] = [path for path in engine.asked if "/logs" in path]
    assert "tail=7" in asked
    assert f"since={NOON.timestamp():.0f}" in asked
    # What is unfinished when the container ends was never a line.
    assert list(local.follow("main", only="stderr")) == ["one", "two \u00fc"]
    assert "stdout=0" in [path for path in engine.asked if "/logs" in path][-1]


def test_what_it_creates_can_do_as_little_as_possible(engine: StandIn, local: DockerHost) -> None:
    engine.answers["/containers/create"] = 200, b'{"Id": "c0ffee"}'
    made = local.create(
        "sha256:feed",
        ["verify"],
        name="ours",
        labels={"a": "b"},
        user="1000:1000",
        network="api",
        volumes={"settings": "/settings"},
        read_only=True,
        memory="256m",
        processes=64,
        sysctls={"net.ipv4.ip_forward": "0"},
    )
    assert made == "c0ffee"
    [sent] = engine.sent
    assert "name=ours" in engine.asked[-1]
    assert (sent["Image"], sent["Cmd"], sent["User"], sent["Labels"]) == (
        "sha256:feed",
        ["verify"],
        "1000:1000",
        {"a": "b"},
    )
    assert (
        sent["HostConfig"].items()
        >= {
            "NetworkMode": "api",
            "Binds": ["settings:/settings"],
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "ReadonlyRootfs": True,
            "Memory": 256 * 2**20,
            "MemorySwap": 256 * 2**20,
            "PidsLimit": 64,
            "Sysctls": {"net.ipv4.ip_forward": "0"},
            "LogConfig": {"Type": "json-file", "Config": {}},
        }.items()
    )
    local.create("sha256:feed", name="ours", labels={}, user="1", entrypoint=["bash"])
    assert engine.sent[-1]["HostConfig"]["NetworkMode"] == "none"
    assert engine.sent[-1]["Entrypoint"] == ["bash"]


def test_files_are_read_two_at_a_time(engine: StandIn, local: DockerHost) -> None:
    under_way, most = 0, 0
    lock = threading.Lock()
    read = local.read_archive

    def slow(container: str, path: str) -> Iterator[bytes]:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.05)
        try:
            yield from read(container, path)
        finally:
            with lock:
                under_way -= 1

    engine.answers["/containers/main/archive"] = 200, ONE_FILE
    local.read_archive = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor(6) as pool:
        texts = [pool.submit(local.read_file, "main", "/run/secrets/status") for _ in range(6)]
        assert all(text.result() for text in texts)
    assert most == ARCHIVES == 2
