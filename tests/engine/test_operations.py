"""What people do with a deployed gateway, on a real one: look, restart, reset. Each login is counted at the broker."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from sandbox.broker.control import BrokerControl
from sandbox.environment import Sandbox, Stack
from tests.engine.conftest import Completed, Pulumi
from tests.helpers import until

STACK = "paper-operations"
MARKER = "/home/ibgateway/tws_settings/marker"

Run = Callable[..., Completed]


@pytest.fixture(scope="module")
def stack(project: Callable[..., Stack], pulumi: Pulumi) -> Iterator[Stack]:
    made = project(STACK)
    pulumi(["up", "--yes", "--skip-preview"], stack=made)
    yield made
    pulumi(["destroy", "--yes", "--skip-preview"], stack=made)


@pytest.fixture
def container(stack: Stack, sandbox: Sandbox, docker_client: docker.DockerClient) -> Container:
    return docker_client.containers.get(f"{sandbox.prefix}-{STACK}-main")


@pytest.fixture
def logins(sandbox: Sandbox, broker: BrokerControl) -> Callable[[], tuple[int, int]]:
    """Full logins and those with a kept session."""

    def count() -> tuple[int, int]:
        user = broker.status()["users"][sandbox.user_of(STACK, "main")]
        return user["logins"], user["soft_logins"]

    return count


def ibgw(run: Run, stack: Stack, *words: str, check: bool = True) -> Completed:
    return run(["ibgw", *words, "--stack", stack.name], stack=stack, check=check)


def test_status_shows_what_the_api_and_docker_say(stack: Stack, run: Run) -> None:
    [row] = json.loads(ibgw(run, stack, "status", "--json").stdout)
    assert (row["gateway"], row["state"], row["restarts"]) == ("main", "logged in", 0)
    assert re.fullmatch(r"D[A-Z]\*\*\*\d{3}", row["accounts"])
    assert row["latency_ms"] >= 0
    # Pulumi.paper.yaml: autoRestart and coldRestart, in New York's time.
    assert re.search(r"America/New_York (auto|cold) restart$", row["planned"])
    assert "logged in" in ibgw(run, stack, "status").stdout.splitlines()[1]


def test_logs_show_the_login_and_no_credential(stack: Stack, sandbox: Sandbox, run: Run) -> None:
    shown = ibgw(run, stack, "logs", "--tail", "1000").stdout
    assert re.search(r"main  logged_in +20\S+ \S+ IBC: Login has completed", shown)
    for credential in sandbox.credentials():
        assert credential.password not in shown
        assert credential.user_id not in shown


def test_doctor_finds_nothing_to_do(stack: Stack, run: Run) -> None:
    findings = json.loads(ibgw(run, stack, "doctor", "--json").stdout)["main"]
    assert [finding for finding in findings if not finding["ok"]] == []
    assert len(findings) == 9


def test_a_soft_restart_keeps_the_session(
    stack: Stack, run: Run, logins: Callable[[], tuple[int, int]], container: Container
) -> None:
    full, soft = logins()
    started = container.attrs["State"]["StartedAt"]
    assert "is back, with its session kept" in ibgw(run, stack, "restart", "--soft").stdout
    until(lambda: logins() == (full, soft + 1))
    assert ibgw(run, stack, "verify", "--wait", "60s").returncode == 0
    container.reload()
    assert container.attrs["State"]["StartedAt"] == started


def test_a_reset_costs_one_login_and_can_be_taken_back(
    stack: Stack, run: Run, logins: Callable[[], tuple[int, int]], container: Container
) -> None:
    def exists(path: str) -> bool:
        return container.exec_run(["test", "-e", path]).exit_code == 0

    container.exec_run(["touch", MARKER])
    version = container.exec_run(["cat", "/run/secrets/secret_version"]).output
    assert isinstance(version, bytes)
    full, _ = logins()
    done = ibgw(run, stack, "reset-settings", "--yes")
    backup = Path(re.search(r"backed up to (\S+)", done.stdout)[1])  # type: ignore[index]
    try:
        until(lambda: logins()[0] == full + 1)
        assert not exists(MARKER)
        assert exists(f"/home/ibgateway/tws_settings/guard/{version.decode()}.attempts")
        assert ibgw(run, stack, "verify", "--wait", "60s").returncode == 0
        ibgw(run, stack, "reset-settings", "--yes", "--restore", str(backup))
        until(lambda: logins()[0] == full + 2)
        assert exists(MARKER)
    finally:
        backup.unlink()


def test_without_a_yes_nothing_is_reset(stack: Stack, run: Run, logins: Callable[[], tuple[int, int]]) -> None:
    before = logins()
    refused = ibgw(run, stack, "reset-settings", check=False)
    assert refused.returncode == 8
    assert "the token with which its daily restart keeps the session" in refused.stderr
    assert logins() == before


def test_a_stopped_gateway_is_told_by_status_and_doctor(stack: Stack, run: Run) -> None:
    ibgw(run, stack, "stop")
    shown = ibgw(run, stack, "status", check=False)
    assert shown.returncode == 3
    assert "stopped" in shown.stdout
    advice = ibgw(run, stack, "doctor", check=False).stdout
    assert f"-> start it: ibgw start --stack {STACK} --gateway main" in advice
    ibgw(run, stack, "start")
    assert ibgw(run, stack, "verify", "--wait", "60s").returncode == 0
