"""A Docker host that cannot limit memory, as far as its API tells: the proxy has it say so, and drops limits as Docker
does there (daemon/daemon_unix.go, verifyPlatformContainerResources)."""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from deployment.description import Deployment
from deployment.tables import MIB
from sandbox.environment import Sandbox, Stack
from tests.engine.conftest import Completed, Pulumi
from tests.engine.docker_proxy import Call, DockerProxy

pytestmark = pytest.mark.exhaustive

STACK, UNACCEPTED = "paper-lacking", "paper-lacking-not"
UP = ["up", "--yes", "--skip-preview"]


def tell(info: dict[str, Any]) -> None:
    info |= {"MemoryLimit": False, "SwapLimit": False}


def drop(limits: dict[str, Any]) -> None:
    if limits.get("Memory"):
        limits |= {"Memory": 0, "MemorySwap": -1}


def drop_at_creation(container: dict[str, Any]) -> None:
    drop(container["HostConfig"])


@pytest.fixture(scope="module")
def proxy() -> Iterator[DockerProxy]:
    with tempfile.TemporaryDirectory(prefix="ibgw-") as folder, DockerProxy(Path(folder) / "docker.sock") as made:
        made.change(lambda call: call.path == "/info", answer=tell)
        made.change(lambda call: call.path == "/containers/create", request=drop_at_creation)
        made.change(updates, request=drop)
        yield made


def updates(call: Call) -> bool:
    return call.path.startswith("/containers/") and call.path.endswith("/update")


@pytest.fixture(scope="module")
def stack(project: Callable[..., Stack], pulumi: Pulumi, proxy: DockerProxy) -> Iterator[Stack]:
    made = project(STACK, dockerHost=proxy.url, acceptHost=["memoryLimit"])
    pulumi(UP, stack=made)
    yield made
    pulumi(["destroy", "--yes", "--skip-preview"], stack=made)


def test_the_preview_refuses_it_with_the_kernels_setting(
    project: Callable[..., Stack], pulumi: Pulumi, proxy: DockerProxy
) -> None:
    done = pulumi(["preview"], stack=project(UNACCEPTED, dockerHost=proxy.url), check=False)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert "cgroup_enable=memory swapaccount=1" in said
    assert "ibgw:acceptHost: [memoryLimit]" in said
    assert [call for call in proxy.calls if not call.reads and call.path != "/_ping"] == []


def test_once_accepted_all_agree_and_the_limit_comes_back_without_a_login(
    stack: Stack,
    pulumi: Pulumi,
    run: Callable[..., Completed],
    proxy: DockerProxy,
    docker_client: docker.DockerClient,
    sandbox: Sandbox,
) -> None:
    """The policy pack is among them: the sandbox's environment names it."""
    settled = pulumi(["preview", "--expect-no-changes"], stack=stack)
    assert "ibgw:acceptHost accepts memoryLimit" in " ".join((settled.stdout + settled.stderr).split())
    assert json.loads(run(["ibgw", "drift", "--stack", STACK, "--json"], stack=stack).stdout)["drift"] is False
    verified = json.loads(run(["ibgw", "verify", "--stack", STACK, "--wait", "0s", "--json"], stack=stack).stdout)
    assert "lacks memoryLimit, as ibgw:acceptHost accepts" in json.dumps(verified)
    assert '"memory_limited": "accepted"' in json.dumps(verified)
    told = json.loads(run(["ibgw", "doctor", "--stack", STACK, "--json"], stack=stack).stdout)["host"]
    topics = {one["topic"]: one for one in told}
    assert topics["limits"]["found"].startswith("accepted by ibgw:acceptHost")
    assert "MiB left" in topics["disk"]["found"] or "GiB left" in topics["disk"]["found"]
    assert topics["clock"]["ok"] is True
    before = docker_client.api.inspect_container(f"{sandbox.prefix}-{STACK}-main")
    assert before["HostConfig"]["Memory"] == 0

    # The kernel has its setting.
    proxy.forget_changes()
    plan = json.loads(run(["ibgw", "plan", "--stack", STACK, "--json"], stack=stack).stdout)
    assert [(one["verdict"], one["reasons"]) for one in plan["gateways"]] == [
        ("in_place", [{"setting": "ibgw:acceptHost", "effect": "in_place"}])
    ]
    done = pulumi(UP, stack=stack)
    assert "this Docker host has; remove it" in " ".join((done.stdout + done.stderr).split())
    after = docker_client.api.inspect_container(f"{sandbox.prefix}-{STACK}-main")
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    assert (after["HostConfig"]["Memory"], after["HostConfig"]["MemorySwap"]) == (1536 * MIB, 1536 * MIB)
    contract = pulumi(["stack", "output", "contract", "--json"], stack=stack).stdout
    assert "accepted" not in json.loads(contract)
    assert Deployment.model_validate_json(contract).accepted == ()
