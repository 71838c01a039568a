"""How the real Pulumi CLI fails, and what `operations.stack` makes of it. Nothing is deployed here."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.environment import Sandbox, Stack
from tests.engine.conftest import Completed

STACK = "paper-failing"
CALL = (
    "import sys; from operations.stack import IbgwError, Stack\n"
    "try: getattr(Stack(sys.argv[1]), sys.argv[2])()\n"
    "except IbgwError as error: print(type(error).__name__, error)\n"
)

Call = Callable[..., str]


@pytest.fixture(scope="module")
def stack(project: Callable[..., Stack]) -> Stack:
    return project(STACK)


@pytest.fixture
def call(stack: Stack, run: Callable[..., Completed]) -> Call:
    """A method of `operations.stack.Stack`: the refusal that it ends with."""

    def refused(method: str, name: str = STACK, **env: str) -> str:
        return run([sys.executable, "-c", CALL, name, method], stack=stack, env=env).stdout

    return refused


@pytest.fixture
def locked(stack: Stack, sandbox: Sandbox) -> Iterator[None]:
    """As another machine's update has it (pkg/backend/diy/lock.go)."""
    folder = sandbox.folder / "state" / ".pulumi" / "locks" / "organization" / "ibgw" / STACK
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / "00000000-0000-4000-8000-000000000000.json"
    lock.write_text(
        json.dumps({"pid": 1, "username": "other", "hostname": "elsewhere", "timestamp": "2026-01-01T00:00:00Z"})
    )
    yield
    lock.unlink(missing_ok=True)


REST = ("configured", "history", "export_state", "refresh_preview")


@pytest.mark.parametrize(
    "method", ["deployment", "preview", *(pytest.param(method, marks=pytest.mark.exhaustive) for method in REST)]
)
def test_a_stack_that_is_not_there(call: Call, method: str) -> None:
    assert "There is no stack 'paper-nowhere' in this backend" in call(method, "paper-nowhere")


def test_a_stack_that_was_never_deployed(call: Call) -> None:
    assert "has no output 'contract' yet" in call("deployment")


@pytest.mark.usefixtures("locked")
def test_a_locked_stack(call: Call) -> None:
    assert call("clear_pending").startswith(f"StackLockedError Stack '{STACK}' is locked")


def test_outside_of_a_project(call: Call, tmp_path: Path) -> None:
    for method in ("deployment", "configured"):
        assert "No Pulumi project here" in call(method, PULUMI_OPTION_CWD=str(tmp_path))


def test_a_backend_that_nobody_is_logged_in_to(call: Call, tmp_path: Path) -> None:
    said = call("deployment", PULUMI_BACKEND_URL="", PULUMI_HOME=str(tmp_path))
    assert "`pulumi login s3://BUCKET`" in said


def test_a_stacks_file_with_a_tab(call: Call, stack: Stack) -> None:
    file = stack.folder / f"Pulumi.{STACK}.yaml"
    text = file.read_text()
    try:
        file.write_text(text.replace("config:\n", "config:\n\tibgw:other: 1\n"))
        said = call("preview")
    finally:
        file.write_text(text)
    assert f"{file} is not YAML: line " in said
    assert "is indented with a tab" in said


def test_a_preview_without_uv(call: Call, stack: Stack) -> None:
    folders = stack.env.get("PATH", os.environ["PATH"]).split(os.pathsep)
    path = os.pathsep.join(folder for folder in folders if not os.access(Path(folder) / "uv", os.X_OK))
    assert "no `uv` on PATH in this shell" in call("preview", PATH=path)


def test_what_the_program_refuses(call: Call, project: Callable[..., Stack]) -> None:
    project(STACK, gateways={"main": {"resources": {"memory": 600}}})
    said = call("preview")
    project(STACK)
    assert f"The preview of stack '{STACK}' failed, and nothing was changed. It said: error: " in said
    assert "memory 600 MiB is too little" in said
