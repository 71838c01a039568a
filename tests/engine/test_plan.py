"""`ibgw plan` against what an update then does: the verdict, the broker's count of logins, and what is in effect."""

import json
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest

from sandbox.environment import Sandbox, Stack
from tests.engine.conftest import Completed, Pulumi

STACK = "paper-plan"
UP = ["up", "--yes", "--skip-preview"]
MAIN = f"{STACK}-main"


@pytest.fixture(scope="module")
def stack(project: Callable[..., Stack], pulumi: Pulumi, leave: Callable[[Stack], None]) -> Iterator[Stack]:
    made = project(STACK)
    pulumi(UP, stack=made)
    yield made
    leave(made)


@pytest.fixture
def plan(stack: Stack, run: Callable[..., Completed]) -> Callable[..., tuple[dict[str, Any], int]]:
    """The plan of the one gateway, and the exit code under a gate."""

    def command(gate: str = "relogin") -> tuple[dict[str, Any], int]:
        done = run(shlex.split(f"ibgw plan --stack {STACK} --json --fail-on {gate}"), stack=stack, check=False)
        assert done.returncode in (0, 9), done.stdout + done.stderr
        [found] = json.loads(done.stdout)["gateways"]
        return found, done.returncode

    return command


def inspected(docker_client: docker.DockerClient, sandbox: Sandbox) -> dict[str, Any]:
    return dict(docker_client.api.inspect_container(f"{sandbox.prefix}-{MAIN}"))


def variable(docker_client: docker.DockerClient, sandbox: Sandbox, name: str) -> str:
    """Of the first process in the container."""
    started = docker_client.api.exec_create(f"{sandbox.prefix}-{MAIN}", ["cat", "/proc/1/environ"])
    entries = bytes(docker_client.api.exec_start(started["Id"])).decode().split("\0")
    return {key: value for key, _, value in (entry.partition("=") for entry in entries)}[name]


# One of each verdict; each setting: test_plan_settings. What changes under the gateway, verdict, exit code of the gate
# `relogin`, logins that it costs, and the effect: a command on what runs and what it must give.
Look = Callable[[docker.DockerClient, Sandbox], object]
EDITS: list[tuple[str, dict[str, Any], str, int, int, Look, object]] = [
    (
        "checks.marketData.level",
        {"checks": {"marketData": {"level": "off"}}},
        "none",
        0,
        0,
        lambda client, sandbox: None,
        None,
    ),
    (
        "resources.memory",
        {"resources": {"memory": 1600}},
        "in_place",
        0,
        0,
        lambda client, sandbox: inspected(client, sandbox)["HostConfig"]["Memory"],
        1600 * 2**20,
    ),
    (
        "session.timeZone",
        {"session": {"timeZone": "America/Chicago"}},
        "relogin",
        9,
        1,
        lambda client, sandbox: variable(client, sandbox, "TZ"),
        "America/Chicago",
    ),
]


def test_no_change_is_one_line(stack: Stack, run: Callable[..., Completed]) -> None:
    done = run(shlex.split(f"ibgw plan --stack {STACK} --fail-on any"), stack=stack)
    assert done.stdout == f"{STACK}: no change\n"


def test_what_the_plan_says_is_what_the_update_does(
    stack: Stack,
    plan: Callable[..., tuple[dict[str, Any], int]],
    project: Callable[..., Stack],
    pulumi: Pulumi,
    sandbox: Sandbox,
    docker_client: docker.DockerClient,
) -> None:
    user = sandbox.user_of(STACK, "main")

    def counted() -> int:
        return int(sandbox.broker().status()["users"][user]["logins"])

    edited: dict[str, Any] = {}
    for setting, change, verdict, code, logins, look, effect in EDITS:
        edited |= change
        project(STACK, gateways={"main": edited})
        before, container = counted(), inspected(docker_client, sandbox)["Id"]
        planned, gate = plan()
        assert (planned["verdict"], gate) == (verdict, code), setting
        assert [reason["setting"] for reason in planned["reasons"]] == [setting]
        assert counted() == before, "the plan itself logged somebody in"
        pulumi(UP, stack=stack)
        assert counted() - before == logins, setting
        assert (inspected(docker_client, sandbox)["Id"] == container) == (logins == 0), setting
        assert look(docker_client, sandbox) == effect, setting
    assert planned["downtime"] == "up to 1m30s to log out, then the login"
