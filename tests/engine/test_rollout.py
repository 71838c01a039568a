"""`ibgw rollout` on three gateways: the real engine's targeted updates, and a broker that counts each login.

The tests go through one story, in the order in which they stand.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from deployment.description import COMMAND_PORT
from healthcheck.docker_host import DockerHost
from operations import rollout
from sandbox.broker.control import BrokerControl
from sandbox.docker_engine import SANDBOX_LABEL
from sandbox.environment import Sandbox
from tests.engine.conftest import Tools
from tests.engine.promotions import SECOND, build
from tests.engine.stacks import StackUnderTest

STACK = "paper-rollout"
NAMES = ("main", "second", "third")


class ThreeGateways(StackUnderTest):
    def declare(self, *more: str, image: str = "", **of_each: Any) -> None:
        """The three gateways and `more`; `image` by its tag."""
        repository = self.sandbox.gateway_image.partition("@")[0]
        reference = f"{repository}:{image}" if image else self.sandbox.gateway_image
        gateways = dict.fromkeys((*NAMES, *more), of_each)
        self.tools.project(STACK, verifier={"timeout": "30s"}, image=reference, gateways=gateways)

    def rollout(self, line: str, code: int) -> tuple[dict[str, str], str]:
        """Each gateway's result, and what was said."""
        done = self.ibgw(f"rollout --stack {STACK} --json --parallel 1 {line}", code)
        found = json.loads(done.stdout)
        assert found["exit_code"] == code
        return {one["gateway"]: one["result"] for one in found["gateways"]}, done.stderr

    def containers(self) -> dict[str, str]:
        return self.ids(*NAMES)

    def counts(self, what: str) -> list[int]:
        return [self.counted(name)[what] for name in NAMES]


@pytest.fixture(scope="module")
def gateways(tools: Tools) -> Iterator[ThreeGateways]:
    made = ThreeGateways(
        tools, tools.project(STACK, verifier={"timeout": "30s"}, gateways={name: {} for name in NAMES})
    )
    made.up()
    yield made
    made.leave()


def changed(gateways: ThreeGateways, before: dict[str, str]) -> list[str]:
    return [name for name, container in gateways.containers().items() if container != before[name]]


def test_a_canary_that_fails_keeps_the_others_as_they_were(gateways: ThreeGateways, broker: BrokerControl) -> None:
    before, logins = gateways.containers(), gateways.counts("logins")
    gateways.declare(container={"probeInterval": "45s"})
    broker.scenario("summary-empty", gateways.user("main"))
    results, said = gateways.rollout("", 3)
    assert results == {"main": "failed", "second": "not_reached", "third": "not_reached"}
    assert "1/3 main: failed (no_account_summary)" in said
    assert changed(gateways, before) == ["main"]
    # What failed is verified again before another is begun.
    results, _ = gateways.rollout("", 3)
    assert results == {"main": "failed", "second": "not_reached", "third": "not_reached"}
    assert gateways.counts("logins") == [logins[0] + 1, *logins[1:]]


def test_nothing_is_begun_while_an_approval_is_pending(gateways: ThreeGateways, broker: BrokerControl) -> None:
    before, logins = gateways.containers(), gateways.counts("logins")
    broker.scenario("push-pending", gateways.user("second"))
    results, said = gateways.rollout("--max-failures 2", 6)
    assert results == {"main": "verified", "second": "waiting", "third": "not_reached"}
    assert "second: waits for an approval. Stopped, with 1 left as they were" in said
    # Nor by the next one, while it still waits.
    assert gateways.rollout("--max-failures 2", 6)[0]["third"] == "not_reached"
    assert (changed(gateways, before), gateways.counts("logins")) == (["second"], logins)
    assert sum(gateways.counts("second_factor_prompts")) == 1
    assert broker.approve(gateways.user("second"))


def test_run_again_it_goes_on_with_what_is_left(gateways: ThreeGateways) -> None:
    before, logins = gateways.containers(), gateways.counts("logins")
    results, _ = gateways.rollout("--gateway 'thi*'", 0)
    assert (results, changed(gateways, before)) == ({"third": "verified"}, ["third"])
    before, after = gateways.containers(), gateways.counts("logins")
    assert after == [logins[0], logins[1], logins[2] + 1]
    # What is as declared is verified and not touched.
    assert gateways.rollout("", 0)[0] == dict.fromkeys(NAMES, "verified")
    assert (changed(gateways, before), gateways.counts("logins")) == ([], after)
    # Nothing was left out of the state.
    gateways.pulumi("preview", "--expect-no-changes")


def test_another_image_is_taken_to_the_canary_and_then_to_a_batch(gateways: ThreeGateways) -> None:
    build(gateways.sandbox, gateways.client, SECOND)
    gateways.declare(image=SECOND)
    before = gateways.containers()
    results, said = gateways.rollout("--parallel 2", 0)
    assert results == dict.fromkeys(NAMES, "verified")
    assert "1/2 main: " in said
    assert "2/2 second, third: " in said
    assert changed(gateways, before) == list(NAMES)
    gateways.pulumi("preview", "--expect-no-changes")


def test_one_that_is_not_there_comes_first_and_is_never_left_out(gateways: ThreeGateways) -> None:
    gateways.declare("fourth", image=SECOND)
    before = gateways.containers()
    assert "fourth: not there" in gateways.ibgw(f"rollout --stack {STACK} --gateway main", 7).stderr
    results, said = gateways.rollout("", 0)
    assert results == dict.fromkeys((*NAMES, "fourth"), "verified")
    assert said.index("1/2 fourth: verified") < said.index("2/2 main: verified")
    assert changed(gateways, before) == []


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
        with DockerHost(sandbox.docker_host) as docker:
            # It may not listen yet.
            while not (done := rollout.log_out(docker, inspected)) and wanted and time.monotonic() < deadline:
                time.sleep(0.2)
        assert done == wanted
        time.sleep(1)
        after = docker_client.api.inspect_container(str(container.id))
        assert (after["State"]["Running"], after["RestartCount"]) == (not wanted, 0)
        assert after["HostConfig"]["RestartPolicy"] == inspected["HostConfig"]["RestartPolicy"]
    finally:
        container.remove(force=True)
