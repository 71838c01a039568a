"""One version of a secret is tried at most twice without a login, whatever restarts the gateway; a good one never held.

The broker's own counter of submitted login forms is the proof. Why each way of restarting matters: run.sh ignores what
a start script returns, ibcstart.sh restarts Java by itself, and Docker restarts the container
(unless-stopped).
"""

import time
from collections.abc import Callable, Iterator

import docker
import pytest
from docker.models.containers import Container

from sandbox.broker.control import BrokerControl
from sandbox.environment import Sandbox, Stack
from tests.engine.conftest import Completed, Pulumi

STACK = "paper-guard"
HELD = "ibgw-guard: held: this secret version was tried twice without a successful login"
DEADLINE = 60.0


@pytest.fixture(scope="module")
def stack(project: Callable[..., Stack], pulumi: Pulumi) -> Iterator[Stack]:
    made = project(
        STACK,
        verifier={"timeout": "20s"},
        gateways={
            "main": {"secondFactor": {"method": "push", "onTimeout": "restart", "exitInterval": "10s", "relogin": True}}
        },
    )
    pulumi(["up", "--yes", "--skip-preview"], stack=made)
    yield made
    pulumi(["destroy", "--yes", "--skip-preview"], stack=made)


@pytest.fixture
def user(sandbox: Sandbox, stack: Stack) -> str:
    return sandbox.user_of(stack.name, "main")


@pytest.fixture
def container(
    sandbox: Sandbox, stack: Stack, docker_client: docker.DockerClient, broker: BrokerControl, user: str
) -> Iterator[Container]:
    """The gateway's container, logged in, its count at zero before and after."""
    found = docker_client.containers.get(f"{sandbox.prefix}-{STACK}-main")
    until(lambda: guard_count(found) == "0", "the guard has seen the login")
    yield found
    broker.clear(user)
    fresh = docker_client.containers.get(f"{sandbox.prefix}-{STACK}-main")
    fresh.restart(timeout=10)
    fresh.exec_run(["bash", "-c", "rm -f /home/ibgateway/tws_settings/guard/*.attempts"])
    before = attempts(broker, user, "logins")
    fresh.restart(timeout=10)
    until(lambda: attempts(broker, user, "logins") > before, "the gateway logs in again")
    until(lambda: guard_count(fresh) == "0", "the guard has seen the login")


def attempts(broker: BrokerControl, user: str, counter: str = "attempts") -> int:
    return int(broker.status()["users"][user][counter])


def guard_count(container: Container) -> str:
    output = container.exec_run(["bash", "-c", "cat /home/ibgateway/tws_settings/guard/*.attempts"]).output
    assert isinstance(output, bytes)
    return output.decode().strip()


def until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not done():
        assert time.monotonic() < deadline, f"not within {DEADLINE:.0f} s: {what}"
        time.sleep(0.2)


def log_since(container: Container, since: float) -> str:
    return str(container.logs(since=since).decode(errors="replace"))


def held_since(container: Container, since: float) -> None:
    until(lambda: HELD in log_since(container, since), "the guard holds")


def test_ibc_s_own_cold_restarts_are_counted(container: Container, broker: BrokerControl, user: str) -> None:
    """IBC restarts Java inside ibcstart.sh after `Login failed`, without a start script and without a delay."""
    broker.scenario("login-failed-restart", user)
    before, began = attempts(broker, user), time.time()
    container.restart(timeout=10)
    held_since(container, began)
    time.sleep(5)  # long enough for several more tries, if anything still tried
    assert attempts(broker, user) - before == 2


@pytest.mark.exhaustive
def test_the_second_factor_s_restarts_are_counted(container: Container, broker: BrokerControl, user: str) -> None:
    """Exit 87 (1111): the push was denied, and on2fatimeout=restart starts Java again inside ibcstart.sh."""
    broker.scenario("push-denied", user)
    before, began = attempts(broker, user), time.time()
    container.restart(timeout=10)
    held_since(container, began)
    time.sleep(5)
    assert attempts(broker, user) - before <= 2


@pytest.mark.exhaustive
def test_docker_restarts_are_counted(container: Container, broker: BrokerControl, user: str) -> None:
    broker.scenario("wrong-password", user)
    before, began = attempts(broker, user), time.time()
    for _ in range(5):
        container.restart(timeout=10)
        time.sleep(3)  # a real gateway needs longer than this from its start to the form
    assert HELD in log_since(container, began)
    assert attempts(broker, user) - before <= 2


@pytest.mark.exhaustive
def test_a_crash_loop_is_counted(container: Container, broker: BrokerControl, user: str) -> None:
    """Java dies, the container ends, the restart policy starts it again."""
    broker.scenario("wrong-password", user)
    before, began = attempts(broker, user), time.time()
    container.restart(timeout=10)
    kill = (
        "for f in /proc/[0-9]*/cmdline; do "
        "[[ $(tr '\\0' ' ' <$f) == */java*IbcGateway* ]] && kill -9 $(basename ${f%/cmdline}); done"
    )
    for _ in range(5):
        time.sleep(3)
        container.exec_run(["bash", "-c", kill])
    held_since(container, began)
    assert attempts(broker, user) - before <= 2


def test_updates_are_counted_and_a_rejected_gateway_is_stopped(
    container: Container,
    broker: BrokerControl,
    user: str,
    stack: Stack,
    pulumi: Pulumi,
    run: Callable[..., Completed],
) -> None:
    broker.scenario("wrong-password", user)
    before = attempts(broker, user)
    container.restart(timeout=10)
    first = pulumi(["up", "--yes", "--skip-preview"], stack=stack, check=False)
    assert first.returncode != 0
    assert "login_failed" in first.stdout + first.stderr
    container.reload()
    assert container.status == "exited", "a gateway with rejected credentials goes on running"
    again = pulumi(["up", "--yes", "--skip-preview"], stack=stack, check=False)
    assert "stopped" in again.stdout + again.stderr
    assert "ibgw start" in again.stdout + again.stderr
    for _ in range(2):
        pulumi(["up", "--refresh", "--yes", "--skip-preview"], stack=stack, check=False)
        run(["ibgw", "start", "--stack", stack.name], stack=stack, check=False)
        time.sleep(3)
    assert attempts(broker, user) - before <= 2


def test_without_a_way_out_no_attempt_is_used_up(
    container: Container, broker: BrokerControl, user: str, sandbox: Sandbox, docker_client: docker.DockerClient
) -> None:
    """A host that boots before its network: IBC restarts again and again, and once there is a way out it logs in."""
    egress = docker_client.networks.get(f"{sandbox.prefix}-{STACK}-egress")
    container.stop(timeout=10)
    egress.disconnect(container)
    began, before = time.time(), attempts(broker, user, "logins")
    try:
        container.start()
        until(lambda: log_since(container, began).count("attempt taken back") >= 3, "three attempts reached nobody")
        assert HELD not in log_since(container, began)
        assert attempts(broker, user, "logins") == before
    finally:
        egress.connect(container)
    until(lambda: attempts(broker, user, "logins") > before, "the gateway logs in once it can")


def test_one_more_attempt_can_be_granted(
    container: Container, broker: BrokerControl, user: str, stack: Stack, run: Callable[..., Completed]
) -> None:
    broker.scenario("login-failed-restart", user)
    before, began = attempts(broker, user), time.time()
    container.restart(timeout=10)
    held_since(container, began)
    assert attempts(broker, user) - before == 2
    run(["ibgw", "login", "--again", "--stack", stack.name], stack=stack)
    until(lambda: attempts(broker, user) - before == 3, "one more attempt")
    time.sleep(5)
    assert attempts(broker, user) - before == 3
    broker.clear(user)
    run(["ibgw", "login", "--again", "--stack", stack.name], stack=stack)
    until(lambda: guard_count(container) == "0", "the login is seen and clears the count")


def test_a_good_version_is_never_held(container: Container, broker: BrokerControl, user: str) -> None:
    """Ten nights of the gateway's own soft restart, which keeps its session, and three full logins."""
    began = time.time()

    def confirmed() -> int:
        return log_since(container, began).count("ibgw-guard: logged in")

    for nights in range(1, 11):
        broker.scenario("nightly-restart", user)
        # Each night is seen by the guard before the next one comes; a second apart they would be no nights.
        until(lambda nights=nights: confirmed() == nights, f"night {nights} is confirmed")  # type: ignore[misc]
        broker.clear(user)
    for logins in range(11, 14):
        container.restart(timeout=10)
        until(lambda logins=logins: confirmed() == logins, "a full login is confirmed")  # type: ignore[misc]
    assert "held" not in log_since(container, began)
    assert guard_count(container) == "0"
