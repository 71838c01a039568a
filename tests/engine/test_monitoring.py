"""Monitoring switched on and off on a running stack: no gateway is touched, and what is wrong is told by its reason."""

import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deployment.description import MONITORING_HISTORY, MONITORING_PORT, Deployment
from deployment.names import Names
from tests.engine.conftest import Tools
from tests.engine.deployed import Deployed, nothing_planned
from tests.engine.secret_versions import secrets_manager
from tests.engine.stacks import StackUnderTest
from tests.helpers import free_port, until
from tests.unit.monitored import webhook

STACK = "paper-watched"
QUIET = {"main": {"session": nothing_planned()}}
CHAT, BEAT = "ibgw/paper/watched-chat", "ibgw/paper/watched-beat"
TOKEN = "tok3nThatNobodySees"  # noqa: S105 - made up
OFF, ON = {"enabled": False}, {"enabled": True, "interval": "5s"}
TELLING = ON | {"notify": [CHAT], "heartbeat": BEAT}
WRITABLE = "find / -xdev -writable -type d -o -writable -type f 2>/dev/null"
"""What may not even be listed is complained of."""


@contextmanager
def outside(stack: StackUnderTest) -> Iterator[str]:
    """The watcher's address on this machine."""
    port = free_port()
    command = ["ibgw", "forward", "--stack", STACK, "--monitoring", "--port", str(port)]
    with subprocess.Popen(command, env={**os.environ, **stack.stack.env}, start_new_session=True) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)


def values(text: str) -> dict[tuple[str, ...], float]:
    """By the metric's name and its own labels."""
    return {
        (sample.name, *(value for key, value in sorted(sample.labels.items()) if key in ("check", "reason", "hold"))): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def fetched(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def inside(stack: StackUnderTest, network: str, host: str) -> int:
    """How a connection to the watcher's port from a container on that network ends: 0 where it is made."""
    output = stack.client.containers.run(
        contract(stack).verifier.image_id,
        ["-c", f"import socket; socket.create_connection(({host!r}, {MONITORING_PORT}), 3)"],
        entrypoint=["python3"],
        network=network,
        detach=True,
    )
    try:
        return int(output.wait()["StatusCode"])
    finally:
        output.remove(force=True)


def reported(stack: StackUnderTest) -> list[list[str]]:
    """The reasons of each incident of the only gateway, by `ibgw report`."""
    [told] = json.loads(stack.ibgw(f"report --stack {STACK} --json").stdout)["stacks"]
    return [incident["reasons"] for gateway in told["gateways"] for incident in gateway["incidents"]]


def own_address() -> str:
    """This machine's, as containers with a way out reach it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.2", 9))
        return str(probe.getsockname()[0])


def contract(stack: StackUnderTest) -> Deployment:
    return Deployment.model_validate_json(stack.pulumi("stack", "output", "contract", "--json").stdout)


def address(container: Mapping[str, Any], network: str) -> str:
    return str(container["NetworkSettings"]["Networks"][network]["IPAddress"])


@pytest.fixture(scope="module")
def stack(tools: Tools) -> Iterator[StackUnderTest]:
    made = StackUnderTest(tools, tools.project(STACK, gateways=QUIET, monitoring=OFF))
    made.up()
    yield made
    made.destroy()


@pytest.mark.exhaustive
def test_it_comes_and_goes_without_a_login_and_tells_what_is_wrong(stack: StackUnderTest, tools: Tools) -> None:
    gateway = Deployed(stack.sandbox, STACK, stack.client, stack.sandbox.broker())
    before, counted, was = stack.container(), stack.counted(), contract(stack)
    assert was.monitoring is None

    tools.project(STACK, gateways=QUIET, monitoring=ON)
    stack.up()
    described = contract(stack)
    assert described.monitoring is not None
    assert {key: value for key, value in described.model_dump().items() if key != "monitoring"} == {
        key: value for key, value in was.model_dump().items() if key != "monitoring"
    }

    names = Names(stack.sandbox.prefix, STACK)
    prober = stack.client.api.inspect_container(described.monitoring.prober.id)
    watcher = stack.client.api.inspect_container(described.monitoring.watcher.id)
    for inspected, networks in ((prober, {names.api_network("main")}), (watcher, {names.monitoring})):
        assert set(inspected["NetworkSettings"]["Networks"]) == networks
        assert inspected["HostConfig"]["ReadonlyRootfs"]
        assert inspected["Config"]["User"] == "65534:65534"
        assert not inspected["NetworkSettings"]["Ports"]
    assert [mount["RW"] for mount in prober["Mounts"]] == [True]
    assert {mount["Name"]: mount["RW"] for mount in watcher["Mounts"]} == {names.handover: False, names.history: True}
    assert "secret" not in json.dumps(prober["Config"]["Cmd"])

    # A bot on the api network reaches neither.
    api = names.api_network("main")
    assert inside(stack, names.monitoring, address(watcher, names.monitoring)) == 0
    assert inside(stack, api, address(watcher, names.monitoring)) != 0
    assert inside(stack, api, address(prober, api)) != 0

    with outside(stack) as url:

        def told(*labels: str) -> float | None:
            return values(fetched(f"{url}/metrics")).get(labels)

        until(lambda: told("ib_gateway_up") == 1, lambda: fetched(f"{url}/metrics"))
        assert told("ibgw_gateway_session") == 1
        assert told("ib_gateway_memory_mb")
        assert fetched(f"{url}/readyz") == "ok\n"
        state = json.loads(fetched(f"{url}/state.json"))
        assert state["gateways"][0]["verdict"].startswith("verified")
        assert state["disk"]["size"] == shutil.disk_usage(stack.client.info()["DockerRootDir"]).total

        gateway.scenario("connectivity-lost")
        until(
            lambda: told("ibgw_check_reason", "authenticated", "connectivity_lost") == 1,
            lambda: fetched(f"{url}/metrics"),
        )
        assert (told("ib_gateway_up"), told("ibgw_gateway_connectivity")) == (0, 0)
        gateway.scenario("connectivity-restored")
        until(lambda: told("ib_gateway_up") == 1, lambda: fetched(f"{url}/metrics"))

    # What the watcher keeps of it; it writes it down each minute.
    until(lambda: ["connectivity_lost"] in reported(stack), lambda: str(reported(stack)), seconds=120)

    # Told by a watcher that has a way out, and by nobody else; it can write to nothing but its own volume.
    with webhook(host=own_address()) as hook:
        client = secrets_manager(stack.stack.env)
        client.create_secret(Name=CHAT, SecretString=f"json://{hook.url}/{TOKEN}")
        client.create_secret(Name=BEAT, SecretString=f"http://{hook.url}/beat/{TOKEN}")
        tools.project(STACK, gateways=QUIET, monitoring=TELLING)
        said = stack.up()
        telling = contract(stack)
        assert telling.monitoring is not None
        assert telling.monitoring.heartbeat
        assert telling.monitoring.prober.id == described.monitoring.prober.id
        watcher = stack.client.api.inspect_container(telling.monitoring.watcher.id)
        assert set(watcher["NetworkSettings"]["Networks"]) == {names.monitoring, names.way_out}
        _, found = stack.client.containers.get(telling.monitoring.watcher.id).exec_run(["sh", "-c", WRITABLE])
        assert isinstance(found, bytes)
        assert {line for line in found.decode().split() if not line.startswith(MONITORING_HISTORY)} <= {"/dev/shm"}
        stack.ibgw(f"alerts test --stack {STACK}")
        assert hook.titles == ["ibgw: a test"]
        gateway.scenario("connectivity-lost")
        until(
            lambda: hook.titles[1:] == [f"ibgw {STACK}/main: connectivity lost"], lambda: str(hook.titles), seconds=200
        )
        gateway.scenario("connectivity-restored")
        until(lambda: hook.titles[2:] == [f"ibgw {STACK}/main: over"], lambda: str(hook.titles), seconds=120)
        assert ("GET", f"/beat/{TOKEN}", "") in hook.took
        log = stack.client.containers.get(telling.monitoring.watcher.id).logs().decode()
        assert TOKEN not in log + str(said) + json.dumps(watcher["Config"])

    # Its client id does not stand in the verifier's way, and it is no stranger.
    stack.ibgw(f"verify --stack {STACK} --wait 0s")
    stack.ibgw(f"drift --stack {STACK}")

    tools.project(STACK, gateways=QUIET, monitoring=OFF)
    stack.up()
    assert contract(stack) == was
    assert not stack.client.containers.list(all=True, filters={"name": f"{names.base}\\."})
    assert not stack.client.volumes.list(filters={"name": names.handover})
    after = stack.container()
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    assert {key: stack.counted()[key] for key in ("attempts", "logins", "soft_logins")} == {
        key: counted[key] for key in ("attempts", "logins", "soft_logins")
    }
