"""One version of a secret is tried at most twice without a login, whatever restarts the gateway; a good one never held.

The broker's own counter of submitted login forms is the proof. Why each way of restarting matters: IBC restarts Java by
itself, and Docker restarts the container (unless-stopped). One that is held runs no program of the gateway at all.
The counting itself: tests/unit/test_supervisor.py. Here one restart inside the container, one by an update, a grant and
a good version are run each time; the other ways are exhaustive.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import docker
import pytest

from sandbox.broker.control import BrokerControl
from sandbox.environment import Sandbox, Stack
from tests.engine.conftest import Completed, Pulumi
from tests.engine.deployed import Deployed, nothing_planned
from tests.engine.private_docker import PrivateDocker
from tests.helpers import until

STACK = "paper-guard"
UP = ["up", "--yes", "--skip-preview"]
STOPPED = 143


@pytest.fixture(scope="module")
def stack(project: Callable[..., Stack], pulumi: Pulumi, leave: Callable[[Stack], None]) -> Iterator[Stack]:
    made = project(
        STACK,
        verifier={"timeout": "20s"},
        gateways={
            "main": {
                "session": nothing_planned(),
                "secondFactor": {"method": "push", "onTimeout": "restart", "exitInterval": "10s", "relogin": True},
            }
        },
    )
    pulumi(UP, stack=made)
    yield made
    leave(made)


@pytest.fixture
def gateway(sandbox: Sandbox, stack: Stack, docker_client: docker.DockerClient, broker: BrokerControl) -> Deployed:
    """Stopped after a good login, with nothing remembered. Without one in between, the failures of several tests would
    lock the user at the broker."""
    found = Deployed(sandbox, stack.name, docker_client, broker)
    broker.clear()
    if not found.sessions:
        found.forget()
        found.container.start()
        found.until_logged_in()
    found.forget()
    return found


def held(gateway: Deployed, outcome: str) -> None:
    """For good, with no program left that could try again."""
    gateway.says(f"ibgw: held: attempts: {outcome}")
    gateway.until_status(hold="attempts")
    assert gateway.runs_nothing()


def test_ibc_s_own_cold_restarts_are_counted(gateway: Deployed) -> None:
    """IBC restarts Java inside ibcstart.sh after `Login failed`, without a delay."""
    gateway.scenario("login-failed-restart")
    before = gateway.counted
    gateway.container.start()
    held(gateway, "rejected")
    assert gateway.since(before) == {"attempts": 2}
    assert gateway.restarts, "the attempts were used up, and Docker had nothing to start again"


@pytest.mark.exhaustive
def test_the_second_factor_s_restarts_are_counted(gateway: Deployed) -> None:
    """Exit 87 (1111): the push was denied, and on2fatimeout=restart starts Java again inside ibcstart.sh. The second
    time IBC is told not to log in again, and stands there."""
    gateway.scenario("push-denied")
    before = gateway.counted
    gateway.container.start()
    gateway.until_status(attempts="2", phase="second_factor_denied")
    gateway.container.restart(timeout=60)
    held(gateway, "second_factor_denied")
    assert gateway.since(before) == {"attempts": 2}


# ibcstart.sh of IBC 3.24 starts Java again after 88 (1112, no login dialog appeared) whatever was configured, and after
# 87 (1111) with on2fatimeout=restart.
@pytest.mark.exhaustive
@pytest.mark.parametrize("code", [87, 88])
def test_crashes_before_the_login_make_no_room_for_a_third_attempt(code: int, gateway: Deployed) -> None:
    """Before each attempt and after the last one Java ends, restarted inside ibcstart.sh; a pause follows."""
    before = gateway.counted
    for attempt in (1, 2):
        gateway.scenario(f"crash-at-start:{code}")
        gateway.began = time.time()
        gateway.container.start()
        gateway.says(f"IBC returned exit status {code}")
        gateway.says("ibgw: waiting: pause")
        gateway.scenario("wrong-password")
        until(lambda attempt=attempt: gateway.since(before) == {"attempts": attempt}, "an attempt")  # type: ignore[misc]
        gateway.container.stop(timeout=60)
    gateway.container.start()
    held(gateway, "rejected")
    assert gateway.since(before) == {"attempts": 2}


@pytest.mark.exhaustive
def test_docker_restarts_are_counted(gateway: Deployed) -> None:
    gateway.scenario("wrong-password")
    before = gateway.counted
    gateway.container.start()
    for attempt in (1, 2):
        until(lambda attempt=attempt: gateway.since(before) == {"attempts": attempt}, "an attempt")  # type: ignore[misc]
        gateway.container.restart(timeout=60)
    held(gateway, "")
    assert gateway.since(before) == {"attempts": 2}


@pytest.mark.exhaustive
def test_a_crash_loop_is_counted(gateway: Deployed) -> None:
    """Java dies, the container ends, the restart policy starts it again."""
    gateway.scenario("wrong-password")
    before = gateway.counted
    kill = (
        "for f in /proc/[0-9]*/cmdline; do "
        "[[ $(tr '\\0' ' ' <$f) == */java*IbcGateway* ]] && kill -9 $(basename ${f%/cmdline}); done"
    )
    gateway.container.start()
    for attempt in (1, 2):
        until(lambda attempt=attempt: gateway.since(before) == {"attempts": attempt}, "an attempt")  # type: ignore[misc]
        gateway.bash(kill)
    held(gateway, "")
    assert gateway.since(before) == {"attempts": 2}


@pytest.mark.exhaustive
def test_restarts_of_dockerd_are_counted(
    own_docker: PrivateDocker, sandbox: Sandbox, project: Callable[..., Stack], pulumi: Pulumi, broker: BrokerControl
) -> None:
    """With the daemon the restart policy starts the gateway. After a crash of the daemon alone Docker 20.10 ends what
    ran on and does not start it again, later versions do; the restarts before have used the attempts up by then."""
    made = project(f"{STACK}-dockerd", dockerHost=own_docker.host)
    pulumi(UP, stack=made)
    with closing(own_docker.client()) as client:
        gateway = Deployed(sandbox, made.name, client, broker)
    gateway.scenario("wrong-password")
    before = gateway.counted
    for restarts, number in enumerate((signal.SIGTERM, signal.SIGTERM, signal.SIGTERM, signal.SIGKILL), 1):
        own_docker.end(number)
        gateway.began = time.time()
        own_docker.start()
        with closing(own_docker.client()) as client:
            gateway.client = client
            if restarts == 1:
                gateway.until_status(phase="rejected")
            elif restarts <= 3:
                held(gateway, "rejected")
    assert gateway.since(before) == {"attempts": 2, "logouts": 1}


def test_updates_are_counted_and_a_rejected_gateway_is_stopped(
    gateway: Deployed, stack: Stack, pulumi: Pulumi, run: Callable[..., Completed]
) -> None:
    gateway.scenario("wrong-password")
    before = gateway.counted
    gateway.container.start()
    first = pulumi(UP, stack=stack, check=False)
    assert first.returncode != 0
    assert "login_failed" in first.stdout + first.stderr
    assert gateway.ended == STOPPED, "a gateway with rejected credentials goes on running"
    assert "ibgw: stopped: no session" in gateway.log
    again = pulumi(UP, stack=stack, check=False)
    assert "stopped" in again.stdout + again.stderr
    assert "ibgw start" in again.stdout + again.stderr
    assert gateway.since(before) == {"attempts": 1}
    # What starts it is the second attempt, and whatever starts it after that finds it held.
    pulumi([*UP, "--refresh"], stack=stack, check=False)
    assert gateway.since(before) == {"attempts": 2}
    run(["ibgw", "start", "--stack", stack.name], stack=stack, check=False)
    held(gateway, "rejected")
    assert gateway.since(before) == {"attempts": 2}


@pytest.mark.exhaustive
@pytest.mark.parametrize("cause", ["no way out", "login server down"])
def test_attempts_that_reach_nobody_are_not_used_up(
    cause: str, gateway: Deployed, sandbox: Sandbox, docker_client: docker.DockerClient
) -> None:
    """A host that boots before its network, or an outage of IBKR's: it starts again and again, and logs in once it
    can."""
    egress = docker_client.networks.get(f"{sandbox.prefix}-{STACK}-egress")
    if cause == "no way out":
        egress.disconnect(gateway.container)
    else:
        gateway.scenario("login-server-down")
    before = gateway.counted
    try:
        gateway.container.start()
        # One more than may fail.
        gateway.says("attempt taken back", 3)
        assert "ibgw: held: " not in gateway.log
        assert gateway.since(before) == {}
    finally:
        if cause == "no way out":
            egress.connect(gateway.container)
        else:
            gateway.broker.clear(gateway.user)
    gateway.until_logged_in()
    assert gateway.since(before) == {"attempts": 1, "logins": 1}


def test_one_more_attempt_can_be_granted(gateway: Deployed, stack: Stack, run: Callable[..., Completed]) -> None:
    before = gateway.counted
    gateway.scenario("wrong-password")
    gateway.remember(**{f"{gateway.version}.attempts": "2\n1 rejected\n2 rejected\n"})
    gateway.container.start()
    held(gateway, "rejected")
    again = ["ibgw", "login", "--again", "--stack", stack.name]
    gateway.began = time.time()
    run(again, stack=stack)
    gateway.says("ibgw: attempt 2 of 2")
    held(gateway, "rejected")
    assert gateway.since(before) == {"attempts": 1}
    gateway.broker.clear(gateway.user)
    run(again, stack=stack)
    gateway.until_logged_in()
    assert gateway.since(before) == {"attempts": 2, "logins": 1}
    assert gateway.guard(f"{gateway.version}.attempts") == ["0"]


# Three of each are one more than the guard would allow if they counted.
@pytest.mark.parametrize("nights", [3, pytest.param(10, marks=pytest.mark.exhaustive)])
def test_a_good_version_is_never_held(nights: int, gateway: Deployed) -> None:
    """Nights of the gateway's own soft restart, which keeps its session, and three full logins."""
    before = gateway.counted
    gateway.container.start()
    for night in range(1, nights + 1):
        gateway.says("ibgw: logged in", night)
        gateway.scenario("nightly-restart")
        # Each night is seen before the next one comes; a second apart they would be no nights.
        gateway.says("ibgw: logged in", night + 1)
        gateway.broker.clear(gateway.user)
    for logins in range(nights + 2, nights + 5):
        gateway.container.restart(timeout=60)
        gateway.says("ibgw: logged in", logins)
    assert "ibgw: held: " not in gateway.log
    assert gateway.guard(f"{gateway.version}.attempts") == ["0"]
    assert gateway.since(before) == {"attempts": 4, "logins": 4, "soft_logins": nights, "logouts": nights + 3}
