"""A client's way in: the variables, the example bot on the gateway's network, and a forwarded port on the loopback; and
the client library through a restart of the gateway's container, from this host's side of its network.
"""

import asyncio
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container

from client import ConnectionLost, Pool
from sandbox.environment import ROOT, Sandbox, Stack
from tests.engine.conftest import Completed, Pulumi
from tests.helpers import free_port, until

BOT = ROOT / "docs" / "examples" / "bot.py"
ORDER = ROOT / "docs" / "examples" / "order.py"
# README of the image (gnzsnz/ib-gateway): paper is 4002 inside the container and, through socat, 4004 on its networks.
PAPER_PORT = "4004"
FORWARD_SECONDS = 30
POOL_SECONDS = 120
STOP_GRACE = 90

Run = Callable[..., Completed]


@pytest.fixture(scope="module")
def deployed(
    sandbox: Sandbox, project: Callable[..., Stack], pulumi: Pulumi, leave: Callable[[Stack], None]
) -> Iterator[Stack]:
    """A paper stack with one declared client."""
    stack = project("paper-clients", gateways={"main": {"clients": [{"container": f"{sandbox.prefix}-bot"}]}})
    pulumi(["up", "--yes", "--skip-preview"], stack=stack)
    yield stack
    leave(stack)


@pytest.fixture(scope="module")
def deployment(deployed: Stack, pulumi: Pulumi) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pulumi(["stack", "output", "contract", "--json"], stack=deployed).stdout)
    return found


@pytest.fixture(scope="module")
def variables(deployed: Stack, run: Run) -> dict[str, str]:
    """What `ibgw env` prints, read as a compose env file is."""
    shown = run(["ibgw", "env", "--stack", deployed.name, "--gateway", "main"], stack=deployed).stdout
    return dict(line.split("=", 1) for line in shown.splitlines())


@contextmanager
def bot(
    client: docker.DockerClient, deployment: Mapping[str, Any], variables: Mapping[str, str], name: str
) -> Iterator[Container]:
    """The example bot in a container on the gateway's network, not started. The verifier's image has what it needs."""
    container = client.containers.create(
        deployment["verifier"]["image_id"],
        entrypoint=["python3", "/tmp/bot.py"],
        environment=dict(variables),
        network=variables["IBGW_NETWORK"],
        name=name,
    )
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("bot.py")
        entry.size = BOT.stat().st_size
        entry.mode = 0o444
        tar.addfile(entry, io.BytesIO(BOT.read_bytes()))
    try:
        container.put_archive("/tmp", archive.getvalue())
        yield container
    finally:
        container.remove(force=True)


def assert_bot_worked(output: str) -> None:
    # IBKR: accounts of the paper kind begin with D.
    assert re.search(r"^accounts: D[A-Z]\d+", output, re.MULTILINE), output
    price = re.search(r"^SPY: (\S+)$", output, re.MULTILINE)
    assert price is not None, output
    assert float(price[1]) > 0


def test_the_variables_describe_the_gateways_network(variables: dict[str, str], deployment: dict[str, Any]) -> None:
    prefix = deployment["name_prefix"]
    assert variables["IBGW_NETWORK"] == f"{prefix}-paper-clients-main-api"
    assert variables["IBGW_HOST"] == f"{prefix}-paper-clients-main"
    assert variables["IBGW_PORT"] == PAPER_PORT
    # docs/clients.md: 100 to 199 are production bots.
    assert (variables["IBGW_CLIENT_ID_MIN"], variables["IBGW_CLIENT_ID_MAX"]) == ("100", "199")


def test_the_example_bot_trades_places_with_nobody_and_sees_accounts_and_a_price(
    docker_client: docker.DockerClient, deployment: dict[str, Any], variables: dict[str, str]
) -> None:
    with bot(docker_client, deployment, variables, f"{deployment['name_prefix']}-bot") as container:
        container.start()
        status = container.wait(timeout=120)
        output = container.logs().decode()
    assert status["StatusCode"] == 0, output
    assert_bot_worked(output)


@pytest.mark.parametrize(("suffix", "code"), [("bot", 0), ("stranger", 3)])
def test_a_declared_client_may_be_attached_and_nobody_else(
    docker_client: docker.DockerClient,
    deployed: Stack,
    deployment: dict[str, Any],
    run: Run,
    suffix: str,
    code: int,
) -> None:
    name = f"{deployment['name_prefix']}-{suffix}"
    container = docker_client.containers.run(
        deployment["verifier"]["image_id"],
        entrypoint=["sleep", "300"],
        network=deployment["gateways"]["main"]["api"]["network"],
        name=name,
        detach=True,
    )
    try:
        done = run(["ibgw", "verify", "--stack", deployed.name, "--wait", "0s", "--json"], stack=deployed, check=False)
    finally:
        container.remove(force=True)
    assert done.returncode == code, done.stdout + done.stderr
    [isolation] = [check for check in json.loads(done.stdout)["gateways"][0]["checks"] if check["name"] == "isolation"]
    assert name in json.dumps(isolation["data"])
    assert isolation["verdict"] == ("pass" if code == 0 else "fail")


class Forwarding:
    """`ibgw forward` in the background, until `end`."""

    def __init__(self, stack: Stack) -> None:
        self.port = free_port()
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PULUMI_"))}
        self.process = subprocess.Popen(
            ["ibgw", "forward", "--stack", stack.name, "--port", str(self.port)],
            env=environment | dict(stack.env),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.wait_for(f"127.0.0.1:{self.port} leads to")

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + FORWARD_SECONDS
        while not any(text in line for line in self.said):
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=FORWARD_SECONDS)


@pytest.fixture
def forwarding(deployed: Stack) -> Iterator[Forwarding]:
    running = Forwarding(deployed)
    yield running
    running.process.kill()
    running.process.wait()


def relays(client: docker.DockerClient, deployment: Mapping[str, Any]) -> list[str]:
    """socat processes in the container that `docker exec` started: those that talk to the inner port from stdin."""
    listed = client.containers.get(deployment["gateways"]["main"]["container"]["id"]).top(ps_args="-eo pid,args")
    return [" ".join(row) for row in listed["Processes"] if "socat - " in " ".join(row)]


def test_a_bot_on_this_machine_works_while_forward_runs(forwarding: Forwarding, variables: dict[str, str]) -> None:
    environment = {**os.environ, **variables, "IBGW_HOST": "127.0.0.1", "IBGW_PORT": str(forwarding.port)}
    done = subprocess.run(
        [sys.executable, BOT], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert_bot_worked(done.stdout)
    forwarding.wait_for("client disconnected")


def test_the_example_order_is_seen_and_cancelled_on_paper_and_refused_elsewhere(
    forwarding: Forwarding, variables: dict[str, str]
) -> None:
    def place(mode: str) -> Completed:
        own = {"IBGW_HOST": "127.0.0.1", "IBGW_PORT": str(forwarding.port), "IBGW_MODE": mode}
        return subprocess.run(
            [sys.executable, ORDER],
            env={**os.environ, **variables, **own},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    placed = place("paper")
    assert placed.returncode == 0, placed.stderr
    assert re.search(r"^buy 1 SPY at \S+: (PreS|S)ubmitted$", placed.stdout, re.MULTILINE), placed.stdout
    assert re.search(r"^afterwards: \w*Cancelled$", placed.stdout, re.MULTILINE), placed.stdout
    refused = place("live")
    assert refused.returncode == 1
    assert "nothing was sent" in refused.stderr


def test_the_guides_own_names_are_printed(deployed: Stack, variables: dict[str, str], run: Run) -> None:
    shown = run(["ibgw", "env", "--stack", deployed.name, "--names", "guide"], stack=deployed).stdout
    assert dict(line.split("=", 1) for line in shown.splitlines()) == {
        "IB_CLIENT_ID": "100",
        "IB_GATEWAY_HOST": variables["IBGW_HOST"],
        "IB_GATEWAY_PORT": PAPER_PORT,
        "IB_TRADING_MODE": "paper",
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_of_forward_is_clean_even_with_a_client_connected(
    forwarding: Forwarding, docker_client: docker.DockerClient, deployment: dict[str, Any], number: signal.Signals
) -> None:
    with socket.create_connection(("127.0.0.1", forwarding.port), timeout=FORWARD_SECONDS) as connection:
        # Stage 1 of the handshake; the answer's first four bytes are its length (TWS API reference, EClient.connect).
        connection.sendall(b"API\0\0\0\0\x09v100..178")
        assert len(connection.recv(4, socket.MSG_WAITALL)) == 4
        assert len(relays(docker_client, deployment)) == 1
        children = Path(f"/proc/{forwarding.process.pid}/task/{forwarding.process.pid}/children").read_text().split()
        assert len(children) == 1
        assert forwarding.end(number) == 0
    assert not Path(f"/proc/{children[0]}").exists()
    until(lambda: not relays(docker_client, deployment))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", forwarding.port), timeout=5)


def test_a_port_that_is_taken_is_refused_by_name(deployed: Stack, run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run(["ibgw", "forward", "--stack", deployed.name, "--port", port], stack=deployed, check=False)
    assert done.returncode == 5
    assert f"Port {port} on 127.0.0.1" in done.stderr


def test_a_client_s_way_is_tried_from_where_it_is(
    deployed: Stack, run: Run, sandbox: Sandbox, docker_client: docker.DockerClient, deployment: dict[str, Any]
) -> None:
    network = deployment["gateways"]["main"]["api"]["network"]
    client = docker_client.containers.create(
        deployment["verifier"]["image_id"], entrypoint=["sleep", "300"], name=f"{sandbox.prefix}-bot", network=network
    )
    try:
        client.start()
        doctor = ["ibgw", "doctor", "--stack", deployed.name, "--from", client.name]
        found = json.loads(run([*doctor, "--json"], stack=deployed).stdout)["gateways"]["main"]
        assert {finding["topic"]: finding["ok"] for finding in found} == dict.fromkeys(
            ("network", "declared", "name", "port", "handshake"), True
        )
        docker_client.networks.get(network).disconnect(client)
        lost = run(doctor, stack=deployed, check=False)
        assert lost.returncode == 3
        assert f"docker network connect {network}" in lost.stdout
    finally:
        client.remove(force=True)


async def ids(pool: Pool) -> list[int]:
    """The client ids of three connections that are borrowed at once, each of which the gateway answers."""
    async with (
        pool.connection(POOL_SECONDS) as one,
        pool.connection(POOL_SECONDS) as two,
        pool.connection(POOL_SECONDS) as three,
    ):
        await asyncio.gather(*(ib.reqCurrentTimeAsync() for ib in (one, two, three)))
        return sorted(ib.client.clientId for ib in (one, two, three))


async def borrow_over_a_restart(pool: Pool, container: Container) -> None:
    async with pool.connection() as ib:
        await asyncio.to_thread(container.restart, timeout=STOP_GRACE)
        await ib.reqCurrentTimeAsync()


def test_a_pool_is_whole_again_after_the_gateways_container_was_restarted(
    docker_client: docker.DockerClient, deployment: dict[str, Any]
) -> None:
    described = deployment["gateways"]["main"]
    container = docker_client.containers.get(described["container"]["id"])
    address = container.attrs["NetworkSettings"]["Networks"][described["api"]["network"]]["IPAddress"]

    async def work() -> None:
        async with Pool(address, int(PAPER_PORT), range(100, 200), size=3) as pool:
            assert await ids(pool) == [100, 101, 102]
            with pytest.raises(ConnectionLost, match="was lost while it was borrowed"):
                await borrow_over_a_restart(pool, container)
            assert await ids(pool) == [100, 101, 102]

    asyncio.run(work())


# Each command on a real stop is test_supervisor's; what the others then say is a unit test's.
@pytest.mark.exhaustive
def test_a_gateway_is_stopped_and_started_by_hand(
    deployed: Stack, run: Run, docker_client: docker.DockerClient, deployment: dict[str, Any], sandbox: Sandbox
) -> None:
    user = sandbox.user_of(deployed.name, "main")
    container = docker_client.containers.get(deployment["gateways"]["main"]["container"]["id"])
    logouts = sandbox.broker().status()["users"][user]["logouts"]
    try:
        run(["ibgw", "stop", "--stack", deployed.name], stack=deployed)
        container.reload()
        assert container.status == "exited"
        # A clean logout: the session at the broker is over.
        status = sandbox.broker().status()["users"][user]
        assert (status["sessions"], status["logouts"]) == ([], logouts + 1)
        verified = run(["ibgw", "verify", "--stack", deployed.name, "--wait", "0s"], stack=deployed, check=False)
        assert verified.returncode == 3
        assert "ibgw start" in verified.stdout
        refused = run(["ibgw", "forward", "--stack", deployed.name], stack=deployed, check=False)
        assert refused.returncode == 7
        assert "ibgw start" in refused.stderr
    finally:
        run(["ibgw", "start", "--stack", deployed.name, "--gateway", "main"], stack=deployed)
    run(["ibgw", "verify", "--stack", deployed.name], stack=deployed)
