"""One sandbox for a whole run of the engine tests: real Docker, real Pulumi, a broker, a registry, Secrets Manager.

Nothing here is skipped where Docker is missing: the tests fail, since what they prove would be unproven.
"""

import os
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn, Protocol

import docker
import pytest

from sandbox.broker.control import BrokerControl
from sandbox.environment import ROOT, Sandbox, Stack, free_index, sweep
from sandbox.packages import TESTS

SANDBOXES = ROOT / ".ibgw" / "test-sandboxes"
COMMAND_SECONDS = 900

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


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(f"signal {number}")


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Writes a line to the terminal at once, past pytest's capturing: bringing a sandbox up can take minutes."""
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    assert terminal is not None
    assert capture is not None

    def write(text: str) -> None:
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(f"    {text}")

    return write


@pytest.fixture(scope="session", autouse=True)
def sandbox(say: Callable[[str], None]) -> Iterator[Sandbox]:
    """Up for the whole run, and down at its end whatever happens: a SIGTERM counts as an interrupt, and what a killed
    run left is swept at the beginning of the next. For every test here: it starts Docker where none runs."""
    previous = signal.signal(signal.SIGTERM, _interrupt)
    sweep(SANDBOXES, say)
    prefix = f"ibgw-test-{secrets.token_hex(3)}"
    made = Sandbox(SANDBOXES / prefix, prefix, free_index(), say=say, also=TESTS)
    try:
        made.up()
        yield made
    finally:
        made.down()
        signal.signal(signal.SIGTERM, previous)


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
    tracked file of its mode with changes to its `ibgw` keys; subnets, secrets and users are its own."""
    return sandbox.add_stack


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
