"""`ibgw forward`: a loopback port whose every connection is one process, all of them gone at the end."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from deployment.description import Container
from deployment.errors import IbgwError
from deployment.tables import Kind
from healthcheck.docker_host import DockerError
from operations.forward import (
    Forwarder,
    forward_monitoring,
    relay_command,
    require_docker_cli,
    require_running,
    require_watching,
    watcher_relay,
)
from operations.stack import parse_contract
from tests.unit.fake_docker import FakeDocker
from tests.unit.operations_contract import contract_json

CONTRACT = parse_contract(contract_json(), "x")
GATEWAY = CONTRACT.gateways["main"]

# Stands for `docker exec ... socat`: answers each line, ends when its input does, and leaves its pid behind.
RELAY = """
import os, sys
from pathlib import Path
Path(sys.argv[1], str(os.getpid())).touch()
for line in sys.stdin.buffer:
    if line == b"bye\\n":
        break
    sys.stdout.buffer.write(b"echo " + line)
    sys.stdout.buffer.flush()
"""


def test_each_connection_is_socat_inside_the_container_through_the_docker_cli() -> None:
    # README of the image: the gateway's own port is 4002 for paper, on 127.0.0.1 in the container.
    assert relay_command("ssh://me@host:2222", GATEWAY, 4002) == [
        "docker",
        "--host",
        "ssh://me@host:2222",
        "exec",
        "--interactive",
        "ibgw-paper-main",
        "socat",
        "-",
        "TCP:127.0.0.1:4002",
    ]


WATCHER = Container(name="ibgw-paper.watcher", id="e" * 64)


def test_the_watcher_is_reached_by_a_process_of_its_own_image() -> None:
    assert watcher_relay("ssh://me@host:2222", WATCHER) == [
        *("docker", "--host", "ssh://me@host:2222", "exec", "--interactive", "ibgw-paper.watcher"),
        *("python3", "-m", "healthcheck.monitoring.relay", "9464"),
    ]


def test_a_stack_that_nothing_watches_is_refused_with_the_setting() -> None:
    with pytest.raises(IbgwError, match=r"ibgw:monitoring\.enabled") as refused:
        forward_monitoring(CONTRACT, 0, print)
    assert refused.value.exit_code == 7


def test_a_watcher_that_does_not_run_is_told(docker: FakeDocker) -> None:
    with pytest.raises(IbgwError, match=r"ibgw-paper\.watcher does not run"):
        require_watching(docker, CONTRACT, WATCHER)


def test_the_relay_takes_bytes_both_ways() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-m", "healthcheck.monitoring.relay", str(server.getsockname()[1])]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as relay:
            connection, _ = server.accept()
            assert relay.stdin is not None
            assert relay.stdout is not None
            relay.stdin.write(b"GET")
            relay.stdin.close()
            assert connection.recv(16) == b"GET"
            assert connection.recv(16) == b""
            connection.sendall(b"200")
            connection.close()
            assert relay.stdout.read() == b"200"
        assert relay.returncode == 0


def run(pids: Path, client: Callable[[int], Awaitable[None]], said: list[str] | None = None) -> list[str]:
    """Runs `client` against a forwarder, then ends the forwarder; returns what it said, also into `said`."""
    said = [] if said is None else said

    async def play() -> None:
        stop, opened = asyncio.Event(), asyncio.get_running_loop().create_future()
        forwarder = Forwarder([sys.executable, "-c", RELAY, str(pids)], said.append)
        serving = asyncio.create_task(forwarder.run(0, opened.set_result, stop))
        try:
            async with asyncio.timeout(20):
                await client(await opened)
        finally:
            stop.set()
            async with asyncio.timeout(20):
                await serving

    asyncio.run(play())
    return said


def alive(pids: Path) -> list[str]:
    return [pid.name for pid in pids.iterdir() if Path("/proc", pid.name).exists()]


def test_bytes_go_both_ways_for_several_connections(tmp_path: Path) -> None:
    async def client(port: int) -> None:
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for number, (reader, writer) in enumerate(connections):
            writer.write(b"hello %d\n" % number)
            assert await reader.readline() == b"echo hello %d\n" % number

    assert run(tmp_path, client).count("client connected") == 3
    assert len(list(tmp_path.iterdir())) == 3


def test_a_client_that_leaves_ends_its_process(tmp_path: Path) -> None:
    said: list[str] = []

    async def client(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello\n")
        await reader.readline()
        writer.close()
        while alive(tmp_path) or "client disconnected" not in said:
            await asyncio.sleep(0.02)

    run(tmp_path, client, said)


def test_a_gateway_that_hangs_up_ends_the_clients_connection(tmp_path: Path) -> None:
    async def client(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"bye\n")
        assert await reader.read() == b""

    run(tmp_path, client)


def test_the_end_leaves_no_process(tmp_path: Path) -> None:
    async def client(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello\n")
        await reader.readline()
        assert len(alive(tmp_path)) == 1

    run(tmp_path, client)
    assert alive(tmp_path) == []


def test_only_the_loopback_listens(tmp_path: Path) -> None:
    async def client(port: int) -> None:
        # 4th column of /proc/net/tcp is the state (0A: listening), 2nd the local address in host byte order.
        listening = [
            line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
        ]
        assert [address for address in listening if address.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]

    run(tmp_path, client)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    async def client(port: int) -> None:
        with pytest.raises(IbgwError, match=f"Port {port} .* --port"):
            await Forwarder(["true"], print).run(port, lambda _: None, asyncio.Event())

    run(tmp_path, client)


@pytest.mark.parametrize(
    ("running", "message", "code"),
    [(None, "gone.*pulumi up --refresh --stack paper", 5), (False, "ibgw start --stack paper --gateway main", 7)],
)
def test_what_stands_in_the_way_is_said_before_the_port_opens(
    docker: FakeDocker, running: bool | None, message: str, code: int
) -> None:
    if running is not None:
        docker.objects[Kind.CONTAINER]["ibgw-paper-main"] = {"Id": "a" * 64, "State": {"Running": running}}
    with pytest.raises(IbgwError, match=message) as refusal:
        require_running(docker, CONTRACT, GATEWAY)
    assert refusal.value.exit_code == code


def test_a_gateway_that_runs_is_forwarded_to(docker: FakeDocker) -> None:
    docker.objects[Kind.CONTAINER]["ibgw-paper-main"] = {"Id": "a" * 64, "State": {"Running": True}}
    require_running(docker, CONTRACT, GATEWAY)


def test_a_host_that_stops_answering_is_no_container_that_is_gone(docker: FakeDocker) -> None:
    # Of the host, not of the container, whatever Docker's words for it.
    docker.failing["there"] = DockerError("No such object: the host")
    with pytest.raises(IbgwError, match=r"ibgw-paper-main on unix:///var/run/docker\.sock: No such object"):
        require_running(docker, CONTRACT, GATEWAY)


def test_a_missing_docker_client_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(IbgwError, match="no `docker` on PATH"):
        require_docker_cli()


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    """And a docker client on PATH."""
    client = tmp_path / "docker"
    client.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return FakeDocker()
