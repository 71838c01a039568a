"""Starting and ending dockerd, against a stand-in that answers like one on a socket of its own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployment.errors import IbgwError
from sandbox import docker_engine
from sandbox.processes import Processes, alive
from sandbox.record import RecordFile

STAND_IN = """\
#!{python}
import http.server, json, os, socketserver, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        names = os.environ.get("STAND_IN_CONTAINERS", "").split()
        if path == "/version":
            body = {{"ApiVersion": "1.41", "Version": "20.10"}}
        elif path.endswith("/containers/json"):
            body = [{{"Id": name, "Names": ["/" + name]}} for name in names]
        else:
            body = {{"Id": path.split("/")[-2], "Name": "/" + path.split("/")[-2], "Config": {{}}}}
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def address_string(self):
        return "socket"

print(sys.argv[1:], flush=True)
socketserver.UnixStreamServer(sys.argv[sys.argv.index("--host") + 1].removeprefix("unix://"), Handler).serve_forever()
"""


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    binary = tmp_path / "bin" / "dockerd"
    binary.parent.mkdir()
    binary.write_text(STAND_IN.format(python=sys.executable))
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binary.parent}:/usr/bin:/bin")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return f"unix://{tmp_path}/d.sock"


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(RecordFile(tmp_path / "record.json", prefix="p", index=1), tmp_path / "logs")
    yield found
    found.stop("dockerd", grace=5)


def recorded(tmp_path: Path) -> RecordFile:
    return RecordFile(tmp_path / "record.json", prefix="p", index=1)


def test_dockerd_is_started_recorded_and_ended(address: str, ours: Processes, tmp_path: Path) -> None:
    assert not docker_engine.running(address)
    docker_engine.start(address, ours, tmp_path, lambda text: None)
    assert docker_engine.running(address)
    assert str(["--host", address, "--pidfile", str(tmp_path / "dockerd.pid")]) in ours.log("dockerd").read_text()
    process = recorded(tmp_path).current.processes["dockerd"]
    docker_engine.stop(address, process, ours, lambda text: None)
    assert not alive(process)


def test_dockerd_is_left_running_for_somebody_elses_containers(
    address: str, ours: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_CONTAINERS", "theirs")
    docker_engine.start(address, ours, tmp_path, lambda text: None)
    process = recorded(tmp_path).current.processes["dockerd"]
    said: list[str] = []
    docker_engine.stop(address, process, ours, said.append)
    assert alive(process)
    assert said == [f"dockerd (pid {process.pid}) is left running: it runs theirs, which the sandbox did not make"]


def test_a_daemon_that_the_sandbox_did_not_start_is_not_ended(address: str, ours: Processes) -> None:
    said: list[str] = []
    docker_engine.stop(address, None, ours, said.append)
    assert said == []


def test_without_root_it_is_said_what_to_do(
    address: str, ours: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(IbgwError, match=r"no Docker daemon answers at unix:.* only root can start one; start one, or"):
        docker_engine.start(address, ours, tmp_path, lambda text: None)


def test_a_remote_docker_host_is_not_taken_for_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@elsewhere")
    assert docker_engine.host() == "unix:///var/run/docker.sock"
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/user/1000/docker.sock")
    assert docker_engine.host() == "unix:///run/user/1000/docker.sock"
