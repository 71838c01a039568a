"""One sandbox for all engine tests of a worker: real Docker, real Pulumi, a broker, a registry, Secrets Manager.

Nothing here is skipped where Docker is missing: the tests fail, since what they prove would be unproven.
"""

import fcntl
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import docker
import pytest

from sandbox.broker.control import BrokerControl
from sandbox.environment import ROOT, Sandbox, Stack, default_cache, free_index, sweep
from sandbox.locks import locked
from sandbox.packages import TESTS
from sandbox.record import Record
from tests.engine.private_docker import PrivateDocker, private_docker
from tests.leaks import Scanner

SANDBOXES = ROOT / ".ibgw" / "test-sandboxes"
SANDBOX_VARIABLE = "IBGW_TEST_SANDBOX"
"""The name of a sandbox to use and to leave up, for who runs a few tests many times; it is then theirs to sweep."""
COMMAND_SECONDS = 900

RUNTIME = {"name": "python", "options": {"toolchain": "uv", "virtualenv": sys.prefix}}
"""The `runtime` of a project or policy pack that a test writes: the environment that the tests run in. Without the
options the official language host would run whatever Python is on PATH."""

Completed = subprocess.CompletedProcess[str]


class Pulumi(Protocol):
    def __call__(
        self,
        args: Sequence[str],
        *,
        stack: Stack | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        seconds: float = COMMAND_SECONDS,
    ) -> Completed: ...


@dataclass(frozen=True)
class Tools:
    """What a test of a stack works with: the fixtures of these names (tests/engine/stacks.py)."""

    sandbox: Sandbox
    client: docker.DockerClient
    project: Callable[..., Stack]
    pulumi: Pulumi
    run: Callable[..., Completed]
    leave: Callable[[Stack], None]


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Writes a line to the terminal at once, past pytest's capturing: bringing a sandbox up can take minutes. A worker
    has no terminal, and only its standard error is that of the whole run."""
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    assert terminal is not None
    assert capture is not None
    worker = os.environ.get("PYTEST_XDIST_WORKER")

    def write(text: str) -> None:
        with capture.global_and_fixture_disabled():
            if worker:
                sys.stderr.write(f"    [{worker}] {text}\n")
                sys.stderr.flush()
            else:
                terminal.ensure_newline()
                terminal.write_line(f"    {text}")

    return write


@pytest.fixture(scope="session", autouse=True)
def sandbox(say: Callable[[str], None]) -> Iterator[Sandbox]:
    """Up for all tests of this worker, and down after them whatever happens; what a killed run left is swept at the
    beginning of the next. For every test here: it starts Docker where none runs.

    Every worker that uses Docker holds a lock, shared. The one that started it stays until the others have let go.
    """
    kept = os.environ.get(SANDBOX_VARIABLE)
    if kept:
        made = Sandbox(SANDBOXES / kept, kept, known_index(SANDBOXES / kept) or free_index(), say=say, also=TESTS)
        made.up()
        yield made
        return
    with locked(SANDBOXES / "sweep.lock"):
        sweep(SANDBOXES, say)
    prefix = f"ibgw-test-{secrets.token_hex(3)}"
    made = Sandbox(SANDBOXES / prefix, prefix, free_index(), say=say, also=TESTS)
    with (default_cache() / "tests.lock").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            made.up()
            yield made
            if made.started_docker:
                fcntl.flock(users, fcntl.LOCK_EX)
        finally:
            made.down()


def known_index(folder: Path) -> int | None:
    record = folder / "record.json"
    return Record.model_validate_json(record.read_text()).index if record.exists() else None


@pytest.fixture(scope="session")
def base_image(sandbox: Sandbox) -> str:
    return sandbox.base_image


@pytest.fixture(scope="session")
def gateway_image(sandbox: Sandbox) -> str:
    """By digest, in the sandbox's registry."""
    return sandbox.gateway_image


@pytest.fixture(scope="session")
def docker_client(sandbox: Sandbox) -> Iterator[docker.DockerClient]:
    client = sandbox.client()
    yield client
    client.close()


@pytest.fixture
def broker(sandbox: Sandbox) -> Iterator[BrokerControl]:
    """The broker's control, back to normal afterwards."""
    control = sandbox.broker()
    yield control
    control.clear()


@pytest.fixture(scope="session")
def project(sandbox: Sandbox) -> Callable[..., Stack]:
    """`project("paper-two", gateways={"main": {"container": {"probeInterval": "5s"}}})`: a further stack, from the
    tracked file of its mode with changes to its `ibgw` keys; subnets, secrets and users are its own. Watched only where
    a test says so (`monitoring={}`: as the tracked file has it), since two more containers take their time."""

    def declared(name: str, **changes: Any) -> Stack:
        return sandbox.add_stack(name, **{"monitoring": {"enabled": False}, **changes})

    return declared


@pytest.fixture(scope="session")
def run(sandbox: Sandbox) -> Callable[..., Completed]:
    """Runs a command in the sandbox's environment and captures its output. What is shown of a failure has every
    credential of the sandbox blanked."""

    def command(
        args: Sequence[str],
        *,
        stack: Stack | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        seconds: float = COMMAND_SECONDS,
    ) -> Completed:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_"))}
        done = subprocess.run(
            args,
            env={**ours, **(sandbox.env() if stack is None else stack.env), **(env or {})},
            cwd=cwd,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
        )
        if check and done.returncode != 0:
            shown = f"{' '.join(args)} ended with status {done.returncode}\n{done.stdout}\n{done.stderr}"
            for credential in sandbox.credentials():
                for value in (credential.password, credential.user_id):
                    shown = shown.replace(value, "***")
            pytest.fail(shown, pytrace=False)
        return done

    return command


@pytest.fixture(scope="session")
def pulumi(run: Callable[..., Completed]) -> Pulumi:
    """`pulumi(["preview"], stack=STACK)`: the real CLI, never asking. With `stack`, on that stack."""

    def command(
        args: Sequence[str],
        *,
        stack: Stack | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        seconds: float = COMMAND_SECONDS,
    ) -> Completed:
        chosen = () if stack is None else ("--stack", stack.name)
        line = ["pulumi", *args, *chosen, "--non-interactive", "--color", "never"]
        return run(line, stack=stack, check=check, env=env, seconds=seconds)

    return command


@pytest.fixture
def scanner(sandbox: Sandbox) -> Scanner:
    """For the credentials of all users that the sandbox has at a test's beginning."""
    return Scanner(*(value for found in sandbox.credentials() for value in (found.user_id, found.password)))


@pytest.fixture(scope="session")
def leave(sandbox: Sandbox, docker_client: docker.DockerClient, pulumi: Pulumi) -> Callable[[Stack], None]:
    """Ends what runs of a stack; the rest of it goes with the sandbox. A destroy costs seconds, and is a test's of its
    own (test_main_job, test_supervisor, test_isolation)."""

    def left(stack: Stack) -> None:
        if os.environ.get(SANDBOX_VARIABLE):
            # The next run finds the state that this one leaves.
            pulumi(["destroy", "--yes", "--skip-preview"], stack=stack)
            return
        ours: dict[str, str | list[str] | bool] = {
            "label": [f"ibgw.prefix={sandbox.prefix}", f"ibgw.stack={stack.name}"]
        }
        for container in docker_client.containers.list(all=True, filters=ours, ignore_removed=True):
            container.remove(force=True)

    return left


@pytest.fixture(scope="session")
def tools(
    sandbox: Sandbox,
    docker_client: docker.DockerClient,
    project: Callable[..., Stack],
    pulumi: Pulumi,
    run: Callable[..., Completed],
    leave: Callable[[Stack], None],
) -> Tools:
    return Tools(sandbox, docker_client, project, pulumi, run, leave)


@pytest.fixture
def own_docker(sandbox: Sandbox, stack: Stack, pulumi: Pulumi) -> Iterator[PrivateDocker]:
    """For a further stack like the module's `stack`, whose verifier is there already."""
    document = json.loads(pulumi(["stack", "output", "contract", "--json"], stack=stack).stdout)
    with private_docker(sandbox, document["verifier"]["image_id"]) as made:
        yield made
