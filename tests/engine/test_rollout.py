"""`ibgw rollout` on three gateways: the real engine's targeted updates, and a broker that counts each login.

The tests go through one story, in the order in which they stand.
"""

import json
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import docker
import pytest

from deployment.description import COMMAND_PORT
from operations import rollout
from sandbox.broker.control import BrokerControl
from sandbox.docker_engine import SANDBOX_LABEL
from sandbox.environment import Sandbox, Stack
from tests.engine.conftest import Completed, Pulumi
from tests.engine.promotions import SECOND, build

STACK = "paper-rollout"
NAMES = ("main", "second", "third")
UP = ["up", "--yes", "--skip-preview"]


@dataclass(frozen=True)
class World:
    sandbox: Sandbox
    stack: Stack
    run: Callable[..., Completed]
    project: Callable[..., Stack]
    client: docker.DockerClient

    def declare(self, *more: str, image: str = "", **of_each: Any) -> None:
        """The three gateways and `more`; `image` by its tag."""
        repository = self.sandbox.gateway_image.partition("@")[0]
        reference = f"{repository}:{image}" if image else self.sandbox.gateway_image
        gateways = dict.fromkeys((*NAMES, *more), of_each)
        self.project(STACK, verifier={"timeout": "30s"}, image=reference, gateways=gateways)

    def rollout(self, line: str, code: int) -> tuple[dict[str, str], str]:
        """Each gateway's result, and what was said."""
        done = self.run(shlex.split(f"ibgw rollout --stack {STACK} --json {line}"), stack=self.stack, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        found = json.loads(done.stdout)
        assert found["exit_code"] == code
        return {one["gateway"]: one["result"] for one in found["gateways"]}, done.stderr

    def containers(self) -> dict[str, str]:
        prefix = f"{self.sandbox.prefix}-{STACK}"
        return {name: self.client.api.inspect_container(f"{prefix}-{name}")["Id"] for name in NAMES}

    def user(self, gateway: str) -> str:
        return self.sandbox.user_of(STACK, gateway)

    def counted(self, what: str) -> list[int]:
        users = self.sandbox.broker().status()["users"]
        return [users[self.user(name)][what] for name in NAMES]


@pytest.fixture(scope="module")
def world(
    sandbox: Sandbox,
    docker_client: docker.DockerClient,
    project: Callable[..., Stack],
    pulumi: Pulumi,
    run: Callable[..., Completed],
) -> Iterator[World]:
    stack = project(STACK, verifier={"timeout": "30s"}, gateways={name: {} for name in NAMES})
    pulumi(UP, stack=stack)
    yield World(sandbox, stack, run, project, docker_client)
    pulumi(["destroy", "--yes", "--skip-preview"], stack=stack)


def changed(world: World, before: dict[str, str]) -> list[str]:
    return [name for name, container in world.containers().items() if container != before[name]]


def test_what_is_as_declared_is_verified_and_not_touched(world: World) -> None:
    before, logins = world.containers(), world.counted("logins")
    assert world.rollout("", 0)[0] == dict.fromkeys(NAMES, "verified")
    assert (changed(world, before), world.counted("logins")) == ([], logins)


def test_a_canary_that_fails_keeps_the_others_as_they_were(world: World, broker: BrokerControl) -> None:
    before, logins = world.containers(), world.counted("logins")
    world.declare(container={"probeInterval": "45s"})
    broker.scenario("summary-empty", world.user("main"))
    results, said = world.rollout("", 3)
    assert results == {"main": "failed", "second": "not_reached", "third": "not_reached"}
    assert "1/3 main: failed (no_account_summary)" in said
    assert changed(world, before) == ["main"]
    # What failed is verified again before another is begun.
    results, _ = world.rollout("", 3)
    assert results == {"main": "failed", "second": "not_reached", "third": "not_reached"}
    assert world.counted("logins") == [logins[0] + 1, *logins[1:]]


def test_nothing_is_begun_while_an_approval_is_pending(world: World, broker: BrokerControl) -> None:
    before, logins = world.containers(), world.counted("logins")
    broker.scenario("push-pending", world.user("second"))
    results, said = world.rollout("--max-failures 2", 6)
    assert results == {"main": "verified", "second": "waiting", "third": "not_reached"}
    assert "second: waits for an approval. Stopped, with 1 left as they were" in said
    # Nor by the next one, while it still waits.
    assert world.rollout("--max-failures 2", 6)[0]["third"] == "not_reached"
    assert (changed(world, before), world.counted("logins")) == (["second"], logins)
    assert sum(world.counted("second_factor_prompts")) == 1
    assert broker.approve(world.user("second"))


def test_run_again_it_goes_on_with_what_is_left(world: World, pulumi: Pulumi) -> None:
    before, logins = world.containers(), world.counted("logins")
    results, _ = world.rollout("--gateway 'thi*'", 0)
    assert (results, changed(world, before)) == ({"third": "verified"}, ["third"])
    assert world.counted("logins") == [logins[0], logins[1], logins[2] + 1]
    assert world.rollout("", 0)[0] == dict.fromkeys(NAMES, "verified")
    # Nothing was left out of the state.
    pulumi(["preview", "--expect-no-changes"], stack=world.stack)


def test_another_image_is_taken_to_one_after_the_other(world: World, pulumi: Pulumi) -> None:
    build(world.sandbox, world.client, SECOND)
    world.declare(image=SECOND)
    before = world.containers()
    assert world.rollout("--gateway main", 0)[0] == {"main": "verified"}
    assert changed(world, before) == ["main"]
    assert world.rollout("", 0)[0] == dict.fromkeys(NAMES, "verified")
    assert changed(world, before) == list(NAMES)
    pulumi(["preview", "--expect-no-changes"], stack=world.stack)


def test_one_that_is_not_there_comes_first_and_is_never_left_out(world: World) -> None:
    world.declare("fourth", image=SECOND)
    before = world.containers()
    refused = world.run(shlex.split(f"ibgw rollout --stack {STACK} --gateway main"), stack=world.stack, check=False)
    assert (refused.returncode, "fourth: not there" in refused.stderr) == (7, True)
    results, said = world.rollout("", 0)
    assert results == dict.fromkeys((*NAMES, "fourth"), "verified")
    assert said.index("1/2 fourth: verified") < said.index("2/2 main: verified")
    assert changed(world, before) == []


# IBC's side of STOP, in the order and the words of its StopTask: an answer, then the program ends.
COMMAND_SERVER = f"""
import socket, time
server = socket.create_server(("127.0.0.1", {COMMAND_PORT}))
while True:
    channel, _ = server.accept()
    if channel.makefile().readline() == "STOP\\n":
        channel.sendall(b"INFO Closing IBC\\nOK Shutting down: STOP command\\n")
        channel.close()
        time.sleep(1)
        raise SystemExit
"""


@pytest.mark.parametrize("program", [COMMAND_SERVER, "import time; time.sleep(600)"], ids=["asked", "deaf"])
def test_a_container_that_is_asked_to_log_out_ends_and_is_not_started_again(
    program: str, sandbox: Sandbox, docker_client: docker.DockerClient
) -> None:
    container = docker_client.containers.run(
        sandbox.base_image,
        ["python3", "-c", program],
        labels={SANDBOX_LABEL: sandbox.prefix},
        restart_policy={"Name": "always"},
        network_mode="none",
        stop_signal="SIGKILL",
        detach=True,
    )
    try:
        deadline = time.monotonic() + 20
        inspected = docker_client.api.inspect_container(str(container.id))
        wanted = program is COMMAND_SERVER
        # It may not listen yet.
        while not (done := rollout.log_out(docker_client, inspected)) and wanted and time.monotonic() < deadline:
            time.sleep(0.2)
        assert done == wanted
        time.sleep(1)
        after = docker_client.api.inspect_container(str(container.id))
        assert (after["State"]["Running"], after["RestartCount"]) == (not wanted, 0)
        assert after["HostConfig"]["RestartPolicy"] == inspected["HostConfig"]["RestartPolicy"]
    finally:
        container.remove(force=True)
