"""What people do with a deployed gateway, on a real one: look, restart, reset. Each login is counted at the broker."""

import json
import re
import shlex
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container

from sandbox.broker.control import BrokerControl
from sandbox.environment import Sandbox, Stack
from tests.engine.conftest import Completed, Pulumi
from tests.engine.secret_versions import rotated
from tests.helpers import until
from tests.leaks import Scanner
from tests.unit.commands import check_text

STACK = "paper-operations"
MARKER = "/home/ibgateway/tws_settings/marker"

Run = Callable[..., Completed]


@pytest.fixture(scope="module")
def stack(project: Callable[..., Stack], pulumi: Pulumi, leave: Callable[[Stack], None]) -> Iterator[Stack]:
    made = project(STACK)
    pulumi(["up", "--yes", "--skip-preview"], stack=made)
    yield made
    leave(made)


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


def networks(container: Container) -> dict[str, Any]:
    found: dict[str, Any] = container.attrs["NetworkSettings"]["Networks"]
    return found


def ibgw(run: Run, stack: Stack, *words: str, check: bool = True) -> Completed:
    return run(["ibgw", *words, "--stack", stack.name], stack=stack, check=check)


def test_status_shows_what_the_api_and_docker_say(stack: Stack, run: Run) -> None:
    [of_stack] = json.loads(ibgw(run, stack, "status", "--json").stdout)["stacks"]
    [row] = of_stack["gateways"]
    assert (row["gateway"], row["state"], row["restarts"]) == ("main", "logged in", 0)
    assert re.fullmatch(r"D[A-Z]\*\*\*\d{3}", row["accounts"])
    assert row["latency_ms"] >= 0
    # Pulumi.paper.yaml: autoRestart and coldRestart, in New York's time.
    assert re.search(r"America/New_York (auto|cold) restart$", row["planned"])
    assert "logged in" in ibgw(run, stack, "status").stdout.splitlines()[1]


def test_logs_show_the_login_and_no_credential(stack: Stack, scanner: Scanner, run: Run) -> None:
    shown = ibgw(run, stack, "logs", "--tail", "1000").stdout
    assert re.search(r"main  logged_in +IBC: Login has completed", shown)
    scanner.check({"logs": shown})


def test_doctor_finds_nothing_to_do(stack: Stack, run: Run) -> None:
    told = json.loads(ibgw(run, stack, "doctor", "--json").stdout)
    findings = told["gateways"]["main"]
    assert [finding for finding in findings if not finding["ok"]] == []
    assert len(findings) == 10
    host = {finding["topic"]: finding for finding in told["host"]}
    assert host["clock"]["ok"] is True
    assert "left where volumes lie" in host["disk"]["found"]


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


@pytest.mark.exhaustive
def test_a_stopped_gateway_is_told_by_status_and_doctor(stack: Stack, run: Run) -> None:
    ibgw(run, stack, "stop")
    shown = ibgw(run, stack, "status", check=False)
    assert shown.returncode == 3
    assert "stopped" in shown.stdout
    advice = ibgw(run, stack, "doctor", check=False).stdout
    assert f"-> start it: `ibgw start --stack {STACK} --gateway main`" in advice
    assert advice.splitlines()[-1] == f"next: start it: `ibgw start --stack {STACK} --gateway main`"
    ibgw(run, stack, "start")
    assert ibgw(run, stack, "verify", "--wait", "60s").returncode == 0


AWAY = {
    "PULUMI_BACKEND_URL": "file:///nowhere/at/all",
    "PULUMI_CONFIG_PASSPHRASE": "another",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}
"""The state's backend, the key of its secrets and Secrets Manager, each refusing."""


def test_with_the_cloud_away_a_gateway_is_looked_at_stopped_and_started(
    stack: Stack, run: Run, logins: Callable[[], tuple[int, int]]
) -> None:
    def without(*words: str, code: int = 0) -> Completed:
        done = run(["ibgw", *words, "--stack", stack.name], stack=stack, check=False, env=AWAY)
        assert done.returncode == code, done.stdout + done.stderr
        assert "all its gateways are there under their ids" in done.stderr
        return done

    full, _ = logins()
    [of_stack] = json.loads(without("status", "--json").stdout)["stacks"]
    assert of_stack["gateways"][0]["state"] == "logged in"
    assert "Not known: " in of_stack["description"]
    assert "IBC: Login has completed" in without("logs", "--tail", "1000").stdout
    without("restart")
    assert json.loads(without("verify", "--wait", "60s", "--json").stdout)["note"] == of_stack["description"]
    without("doctor")
    without("stop")
    without("start")
    without("verify", "--wait", "60s")
    assert logins()[0] == full + 2
    refused = run(["ibgw", "plan", "--stack", stack.name], stack=stack, check=False, env=AWAY)
    assert refused.returncode == 5


# --- a command that a message proposes is run in the state in which it is proposed ------------------------------------


def failing(run: Run, stack: Stack) -> dict[str, Any]:
    """The first check that fails."""
    done = ibgw(run, stack, "verify", "--wait", "0s", "--json", check=False)
    checks = json.loads(done.stdout)["gateways"][0]["checks"]
    found: dict[str, Any] = next(check for check in checks if check["verdict"] == "fail")
    return found


def follow(run: Run, stack: Stack, check: dict[str, Any]) -> list[str]:
    """Runs what a check tells to do, step by step: of a step with several ways the last. Then all is well."""
    commands = [[*check_text(step)][-1] for step in check["steps"] if "`" in step]
    for command in commands:
        run(shlex.split(command), stack=stack, check=not command.startswith("ibgw verify"))
    ibgw(run, stack, "verify", "--wait", "60s")
    return commands


def test_a_mistyped_stack_names_the_one_that_was_meant(stack: Stack, run: Run) -> None:
    done = run(["ibgw", "status", "--stack", "paper-operation"], stack=stack, check=False)
    assert done.returncode == 5
    meant = re.search(r"Then say (--stack \S+)\.$", done.stderr.strip())
    assert meant is not None, done.stderr
    run(["ibgw", "status", *meant[1].split()], stack=stack)


def test_what_docker_paused_is_let_run_on(stack: Stack, run: Run, container: Container) -> None:
    container.pause()
    assert "docker unpause" in ibgw(run, stack, "stop", check=False).stderr
    check = failing(run, stack)
    assert check["reason"] == "frozen"
    follow(run, stack, check)


@pytest.mark.exhaustive
def test_a_gateway_without_a_free_place_is_told_from_one_that_is_not_logged_in(
    stack: Stack, run: Run, container: Container
) -> None:
    container.reload()
    [address] = [one["IPAddress"] for name, one in networks(container).items() if name.endswith("-api")]
    with ExitStack() as clients:
        for _ in range(32):
            clients.enter_context(socket.create_connection((address, 4004), timeout=10))
        until(lambda: failing(run, stack)["reason"] == "clients_full", "all places are taken", seconds=30)
        check = failing(run, stack)
        assert "docker network inspect" in check["steps"][0]
    follow(run, stack, check)


@pytest.mark.exhaustive
def test_a_start_that_was_interrupted_is_started(stack: Stack, run: Run, container: Container) -> None:
    container.restart(timeout=60)
    container.stop(timeout=60)
    check = failing(run, stack)
    assert check["reason"] == "stopped"
    assert follow(run, stack, check)[-1] == f"ibgw start --stack {STACK} --gateway main"


@pytest.mark.exhaustive
def test_rejected_credentials_are_replaced(
    stack: Stack, run: Run, broker: BrokerControl, sandbox: Sandbox, container: Container
) -> None:
    user = sandbox.user_of(STACK, "main")
    broker.scenario("wrong-password", user)
    container.restart(timeout=60)
    until(lambda: failing(run, stack)["reason"] == "login_failed", "rejected")
    check = failing(run, stack)
    assert check["reason"] == "stopped"
    put, update = check["steps"]
    assert next(check_text(put)).startswith("ibgw credentials put --stack ")
    broker.clear(user)
    with rotated(stack):
        run([*shlex.split(next(check_text(update))), "--yes", "--skip-preview"], stack=stack)
        ibgw(run, stack, "verify", "--wait", "60s")


@pytest.mark.exhaustive
def test_a_competing_session_is_ended_and_no_secret_replaced(
    stack: Stack, run: Run, broker: BrokerControl, sandbox: Sandbox, container: Container
) -> None:
    user = sandbox.user_of(STACK, "main")
    broker.scenario("competing-session", user)
    container.restart(timeout=60)
    told: list[dict[str, Any]] = []

    def met() -> bool:
        told.append(failing(run, stack))
        return any("end the other session" in step for step in told[-1]["steps"])

    until(met, lambda: f"another session is met: {told[-1]}")
    assert "secret" not in told[-1]["remedy"]
    broker.clear(user)
    follow(run, stack, told[-1])
