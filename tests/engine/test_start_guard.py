"""One version of a secret is tried at most twice without a login, whatever restarts the gateway; a good one never held.

The broker's own counter of submitted login forms is the proof. Why each way of restarting matters: run.sh ignores what
a start script returns, ibcstart.sh restarts Java by itself, and Docker restarts the container
(unless-stopped).
"""

import io
import json
import signal
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import docker
import pytest
from docker.models.containers import Container

from sandbox.broker.control import BrokerControl
from sandbox.environment import Sandbox, Stack
from tests.engine.conftest import Completed, Pulumi
from tests.engine.private_docker import private_docker

STACK = "paper-guard"
HELD = "ibgw-guard: held: this secret version was tried twice without a successful login"
DEADLINE = 120.0
SEVERAL_TRIES = 4.0
"""Seconds in which a gateway that restarts at once would have tried again, more than once."""


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
) -> Container:
    """The gateway's container, stopped after a good login, its count at zero. Without one in between, the failures of
    several tests would lock the user at the broker."""
    found = docker_client.containers.get(f"{sandbox.prefix}-{STACK}-main")
    broker.clear()
    if not broker.status()["users"][user]["sessions"]:
        set_count(found, sandbox)
        before = attempts(broker, user, "logins")
        found.restart(timeout=1)
        until(lambda: attempts(broker, user, "logins") > before, "the gateway logs in")
    found.reload()
    set_count(found, sandbox)
    return found


def set_count(container: Container, sandbox: Sandbox) -> None:
    """To zero, as the guard keeps it."""
    if container.status == "running":
        container.kill()
    secret = container.labels["ibgw.secret-id"]
    [version] = {given.version_id for given in sandbox.credentials() if given.secret_id == secret}
    count = tarfile.TarInfo(f"{version}.attempts")
    count.size, count.uid, count.gid = 2, 1000, 1000  # the image's user
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(count, io.BytesIO(b"0\n"))
    container.put_archive("/home/ibgateway/tws_settings/guard", packed.getvalue())


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
    container.start()
    held_since(container, began)
    time.sleep(SEVERAL_TRIES)
    assert attempts(broker, user) - before == 2


@pytest.mark.exhaustive
def test_the_second_factor_s_restarts_are_counted(container: Container, broker: BrokerControl, user: str) -> None:
    """Exit 87 (1111): the push was denied, and on2fatimeout=restart starts Java again inside ibcstart.sh."""
    broker.scenario("push-denied", user)
    before, began = attempts(broker, user), time.time()
    container.start()
    held_since(container, began)
    time.sleep(SEVERAL_TRIES)
    assert attempts(broker, user) - before <= 2


# ibcstart.sh of IBC 3.24 starts Java again after 88 (1112, no login dialog appeared) whatever was configured, and after
# 87 (1111) with on2fatimeout=restart.
@pytest.mark.parametrize("code", [pytest.param(87, marks=pytest.mark.exhaustive), 88])
def test_crashes_before_the_login_make_no_room_for_a_third_attempt(
    code: int, container: Container, broker: BrokerControl, user: str
) -> None:
    """Before and after each attempt Java ends several times, each time restarted inside ibcstart.sh."""
    before, began, counted = attempts(broker, user), time.time(), []
    for attempt in (1, 2, 3):
        broker.scenario(f"crash-at-start:{code}", user)
        restarted = time.time()
        container.restart(timeout=1)
        if attempt < 3:
            ended = f"IBC returned exit status {code}"
            until(lambda: log_since(container, restarted).count(ended) >= 3, "three crashes")  # noqa: B023
            assert HELD not in log_since(container, began)
            broker.scenario("wrong-password", user)
            until(lambda: attempts(broker, user) - before >= attempt, "an attempt")  # noqa: B023
        else:
            held_since(container, restarted)
            broker.scenario("wrong-password", user)
            time.sleep(SEVERAL_TRIES)
        counted.append(attempts(broker, user) - before)
    assert counted == [1, 2, 2]


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
    container.start()
    kill = (
        "for f in /proc/[0-9]*/cmdline; do "
        "[[ $(tr '\\0' ' ' <$f) == */java*IbcGateway* ]] && kill -9 $(basename ${f%/cmdline}); done"
    )
    for _ in range(5):
        time.sleep(3)
        container.exec_run(["bash", "-c", kill])
    held_since(container, began)
    assert attempts(broker, user) - before <= 2


@pytest.mark.exhaustive
def test_restarts_of_dockerd_are_counted(
    sandbox: Sandbox, stack: Stack, project: Callable[..., Stack], pulumi: Pulumi, broker: BrokerControl
) -> None:
    """With the daemon the restart policy starts the gateway. After a crash of the daemon alone Docker 20.10 ends what
    ran on and does not start it again, later versions do; the restarts before have used the attempts up by then."""
    verifier = json.loads(pulumi(["stack", "output", "contract", "--json"], stack=stack).stdout)["verifier"]["image_id"]
    with private_docker(sandbox) as private:
        private.serve_registry()
        private.copy_images(sandbox.base_image, verifier)
        made = project(f"{STACK}-dockerd", dockerHost=private.host)
        pulumi(["up", "--yes", "--skip-preview"], stack=made)
        user, name = sandbox.user_of(made.name, "main"), f"{sandbox.prefix}-{made.name}-main"
        broker.scenario("wrong-password", user)
        before = attempts(broker, user)
        counted: list[int] = []
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            private.end(number)
            began = time.time()
            private.start()
            with closing(private.client()) as client:
                gateway = client.containers.get(name)
                if len(counted) < 2:
                    until(lambda: attempts(broker, user) - before > len(counted), "an attempt")
                elif len(counted) == 2:
                    held_since(gateway, began)
            time.sleep(SEVERAL_TRIES)
            counted.append(attempts(broker, user) - before)
    assert counted == [1, 2, 2, 2]


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
    container.start()
    first = pulumi(["up", "--yes", "--skip-preview"], stack=stack, check=False)
    assert first.returncode != 0
    assert "login_failed" in first.stdout + first.stderr
    container.reload()
    assert container.status == "exited", "a gateway with rejected credentials goes on running"
    again = pulumi(["up", "--yes", "--skip-preview"], stack=stack, check=False)
    assert "stopped" in again.stdout + again.stderr
    assert "ibgw start" in again.stdout + again.stderr
    assert attempts(broker, user) - before == 1
    # What starts it is the second attempt, and whatever starts it after that finds it held.
    pulumi(["up", "--refresh", "--yes", "--skip-preview"], stack=stack, check=False)
    assert attempts(broker, user) - before == 2
    began = time.time()
    run(["ibgw", "start", "--stack", stack.name], stack=stack, check=False)
    held_since(container, began)
    time.sleep(SEVERAL_TRIES)
    assert attempts(broker, user) - before == 2


@pytest.mark.parametrize("cause", ["no way out", "login server down"])
def test_attempts_that_reach_nobody_are_not_used_up(
    cause: str,
    container: Container,
    broker: BrokerControl,
    user: str,
    sandbox: Sandbox,
    docker_client: docker.DockerClient,
) -> None:
    """A host that boots before its network, or an outage of IBKR's: IBC restarts again and again, and logs in once it
    can."""
    egress = docker_client.networks.get(f"{sandbox.prefix}-{STACK}-egress")
    if cause == "no way out":
        egress.disconnect(container)
    else:
        broker.scenario("login-server-down", user)
    began, before = time.time(), attempts(broker, user, "logins")
    try:
        container.start()
        until(lambda: log_since(container, began).count("attempt taken back") >= 3, "three attempts reached nobody")
        assert HELD not in log_since(container, began)
        assert attempts(broker, user, "logins") == before
    finally:
        if cause == "no way out":
            egress.connect(container)
        else:
            broker.clear(user)
    until(lambda: attempts(broker, user, "logins") > before, "the gateway logs in once it can")


def test_one_more_attempt_can_be_granted(
    container: Container, broker: BrokerControl, user: str, stack: Stack, run: Callable[..., Completed]
) -> None:
    broker.scenario("login-failed-restart", user)
    before, began = attempts(broker, user), time.time()
    container.start()
    held_since(container, began)
    assert attempts(broker, user) - before == 2
    run(["ibgw", "login", "--again", "--stack", stack.name], stack=stack)
    until(lambda: attempts(broker, user) - before == 3, "one more attempt")
    time.sleep(SEVERAL_TRIES)
    assert attempts(broker, user) - before == 3
    broker.clear(user)
    run(["ibgw", "login", "--again", "--stack", stack.name], stack=stack)
    until(lambda: guard_count(container) == "0", "the login is seen and clears the count")


# Three of each are one more than the guard would allow if they counted.
@pytest.mark.parametrize("nights", [3, pytest.param(10, marks=pytest.mark.exhaustive)])
def test_a_good_version_is_never_held(nights: int, container: Container, broker: BrokerControl, user: str) -> None:
    """Nights of the gateway's own soft restart, which keeps its session, and three full logins."""
    began = time.time()

    def confirmed() -> int:
        return log_since(container, began).count("ibgw-guard: logged in")

    container.start()
    for night in range(1, nights + 1):
        until(lambda night=night: confirmed() == night, "a login is confirmed")  # type: ignore[misc]
        broker.scenario("nightly-restart", user)
        # Each night is seen by the guard before the next one comes; a second apart they would be no nights.
        until(lambda night=night: confirmed() == night + 1, f"night {night} is confirmed")  # type: ignore[misc]
        broker.clear(user)
    for logins in range(nights + 2, nights + 5):
        container.restart(timeout=10)
        until(lambda logins=logins: confirmed() == logins, "a full login is confirmed")  # type: ignore[misc]
    assert "held" not in log_since(container, began)
    assert guard_count(container) == "0"
