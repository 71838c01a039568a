"""Opening a Docker host, against a stand-in that answers like one on a socket of its own, and over an `ssh` to it."""

import http.server
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deployment.errors import IbgwError
from healthcheck import docker_connections
from healthcheck.docker_host import FAILURES, open_docker

SSH = """\
#!{python}
# As `ssh HOST docker system dial-stdio`: what comes in goes to Docker's socket, and the other way round.
import os, socket, sys, threading

if sys.argv[5:] != ["-l", "me", "-p", "2222", "--", "host", "docker system dial-stdio"]:
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


class Answering(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "StandIn"

    def setup(self) -> None:
        super().setup()
        self.server.come(1)
        self.new = True

    def do_GET(self) -> None:
        if self.new:
            time.sleep(0.05)
            self.server.come(-1)
            self.new = False
        text = b"OK" if self.path.endswith("/_ping") else b'{"ApiVersion": "1.41", "Rest": "%s"}' % (b"x" * REST)
        self.send_response(200)
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

    def come(self, number: int) -> None:
        with self.lock:
            self.connections += max(0, number)
            self.new += number
            self.most_new = max(self.new, self.most_new)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[StandIn]:
    with StandIn(str(tmp_path / "d.sock"), Answering) as server:
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


def test_what_is_asked_in_turn_goes_over_one_connection(engine: StandIn, host: str) -> None:
    client = open_docker(host)
    opened = engine.connections
    for number in range(60):
        assert client.api.inspect_container(str(number))["ApiVersion"] == "1.41"
    client.close()
    assert engine.connections == opened


def test_a_connection_that_docker_has_closed_is_made_again(engine: StandIn, host: str) -> None:
    client = open_docker(host)
    opened = engine.connections
    client.api.inspect_container("last")
    time.sleep(0.5)  # the ssh has ended
    assert client.api.inspect_container("next")["ApiVersion"] == "1.41"
    client.close()
    assert engine.connections == opened + 1


def test_an_answer_is_read_to_its_end_where_docker_closes_after_it(host: str) -> None:
    client = open_docker(host)
    assert len(client.api.inspect_container("announced")["Rest"]) == REST
    assert len(client.api.inspect_container("next")["Rest"]) == REST
    client.close()


def test_an_ssh_that_was_idle_for_long_is_not_used_again(
    engine: StandIn, ssh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_docker(ssh)
    opened = engine.connections
    monkeypatch.setattr(docker_connections, "IDLE", 0)
    client.api.inspect_container("next")
    client.close()
    assert engine.connections == opened + 1


def test_a_later_login_that_fails_is_one_of_dockers_failures(
    ssh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_docker(ssh)
    monkeypatch.setattr(docker_connections, "IDLE", 0)
    (tmp_path / "bin" / "ssh").write_text("#!/bin/sh\nexit 255\n")
    with pytest.raises(FAILURES, match="ssh host ended without an answer"):
        client.ping()
    client.close()


def test_few_logins_are_under_way_at_a_time(engine: StandIn, ssh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_connections, "LOGINS", threading.BoundedSemaphore(3))
    client = open_docker(ssh)
    together = threading.Barrier(20)

    def ask() -> bool:
        together.wait()
        return client.ping()

    with ThreadPoolExecutor(together.parties) as pool:
        assert all(future.result() for future in [pool.submit(ask) for _ in range(together.parties)])
    client.close()
    assert engine.most_new == 3


def test_an_ssh_that_cannot_log_in_leaves_nothing(ssh: str) -> None:
    with pytest.raises(IbgwError, match=r"Docker host ssh://other@host: .*check that `ssh other@host docker version`"):
        open_docker("ssh://other@host")
    assert open_docker(ssh).ping()


def test_docker_over_plain_tcp_is_not_opened() -> None:
    with pytest.raises(IbgwError, match=r"tcp://127\.0\.0\.1:1: expected unix:///path or ssh://") as refusal:
        open_docker("tcp://127.0.0.1:1")
    assert refusal.value.exit_code == 5
