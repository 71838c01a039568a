"""The drills of docs/disaster.md: something is lost, and what is put back costs no login."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import Tools
from tests.engine.stacks import StackUnderTest

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
