"""The drills of docs/disaster.md: something is lost, and what is put back costs no login."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.broker.control import BrokerControl
from tests.engine.conftest import Tools
from tests.engine.deployed import Deployed
from tests.engine.docker_proxy import DockerProxy
from tests.engine.stacks import StackUnderTest
from tests.helpers import until

STACK = "paper-lost"
UNCHANGED = ("attempts", "logins", "logouts", "sessions")


@pytest.fixture(scope="module")
def deployed(tools: Tools) -> Iterator[StackUnderTest]:
    stack = StackUnderTest(tools, tools.project(STACK))
    stack.up()
    yield stack
    stack.destroy()


def kept_backup(stack: StackUnderTest) -> Path:
    """What Pulumi leaves in a backend that is a folder, beside the stack's own file."""
    backend = Path(stack.stack.env["PULUMI_BACKEND_URL"].removeprefix("file://"))
    [backup] = backend.glob(f".pulumi/stacks/*/{STACK}.json.bak")
    return backup


@pytest.mark.exhaustive
def test_a_state_that_is_lost_is_put_back_without_a_login(deployed: StackUnderTest, tmp_path: Path) -> None:
    before, container = deployed.counted(), deployed.container()["Id"]
    deployed.pulumi("stack", "rm", "--force", "--yes", "--preserve-config")
    checkpoint = json.loads(kept_backup(deployed).read_text())
    deployed.pulumi("stack", "init")

    # Nothing that is done without the state touches the gateway.
    assert deployed.up(check=False).returncode != 0
    refused = deployed.ibgw(f"repair --stack {STACK} --yes", 7)
    assert "docs/disaster.md" in refused.stderr
    assert f"{deployed.base}-main" in refused.stderr
    assert deployed.container()["State"]["Running"]

    state = tmp_path / "state.json"
    state.write_text(json.dumps({"version": checkpoint["version"], "deployment": checkpoint["checkpoint"]["latest"]}))
    deployed.pulumi("stack", "import", "--file", str(state))

    deployed.pulumi("preview", "--expect-no-changes")
    assert json.loads(deployed.ibgw(f"repair --stack {STACK} --yes --json").stdout)["done"] == []
    deployed.up()
    assert deployed.container()["Id"] == container
    after = deployed.counted()
    assert {name: after[name] for name in UNCHANGED} == {name: before[name] for name in UNCHANGED}


@pytest.mark.exhaustive
def test_a_settings_volume_that_is_lost_costs_one_login(deployed: StackUnderTest) -> None:
    before = deployed.counted()
    gateway = f"{deployed.base}-main"
    for name in (gateway, f"{gateway}-settings-owner"):
        deployed.client.api.remove_container(name, force=True)
    deployed.client.api.remove_volume(f"{gateway}-settings")

    done = json.loads(deployed.ibgw(f"repair --stack {STACK} --yes --json").stdout)["done"]
    assert {(one["action"], one["name"]) for one in done} == {
        ("forget", name) for name in (gateway, f"{gateway}-settings-owner", f"{gateway}-settings")
    }
    deployed.up()
    after = deployed.counted()
    assert (after["attempts"], after["logins"]) == (before["attempts"] + 1, before["logins"] + 1)


@pytest.mark.exhaustive
def test_a_host_that_is_lost_is_replaced_with_one_login(tools: Tools, broker: BrokerControl) -> None:
    """The old host is the sandbox's own behind an address that is closed, and what was on it is gone with it."""
    name = "paper-lost-host"
    with tempfile.TemporaryDirectory(prefix="ibgw-") as folder, DockerProxy(Path(folder) / "docker.sock") as old:
        stack = StackUnderTest(tools, tools.project(name, dockerHost=old.url))
        stack.up()
    gateway = f"{stack.base}-main"
    for container in (gateway, f"{gateway}-settings-owner"):
        stack.client.api.remove_container(container, force=True)
    for network in (f"{gateway}-api", f"{stack.base}-egress"):
        stack.client.api.remove_network(network)
    stack.client.api.remove_volume(f"{gateway}-settings")
    until(lambda: not stack.counted()["sessions"], "IBKR has seen the session end")
    before = stack.counted()

    moved = StackUnderTest(tools, tools.project(name))
    assert moved.up(check=False).returncode != 0
    assert moved.counted() == before
    moved.pulumi("stack", "rm", "--force", "--yes", "--preserve-config")
    moved.pulumi("stack", "init")
    moved.up()
    after = moved.counted()
    assert (after["attempts"], after["logins"]) == (before["attempts"] + 1, before["logins"] + 1)

    # The old one returns, with what was on it: it meets the session, gives way and waits.
    new = Deployed(tools.sandbox, name, tools.client, broker)
    with new.twin(same_settings=False) as returned:
        returned.start()
        until(lambda: b"waiting: pause until" in returned.logs(), "the old gateway gives way")
        assert new.status()["phase"] == "logged_in"
        last = moved.counted()
        assert (last["attempts"], last["logins"]) == (after["attempts"] + 1, after["logins"])
        assert last["sessions"] == after["sessions"]
    moved.destroy()
