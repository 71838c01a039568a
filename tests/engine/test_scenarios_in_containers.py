"""What only a container shows of the broker's scenarios and its clock: the limit of memory, and time over a network."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import docker
import pytest
from docker.models.containers import Container

from sandbox.broker.control import BrokerControl
from sandbox.docker_engine import SANDBOX_LABEL
from sandbox.environment import Sandbox, Stack
from tests.helpers import until

STACK = "paper-scenarios"
DEADLINE = 60.0
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture(scope="module")
def user(sandbox: Sandbox, project: Callable[..., Stack]) -> str:
    return sandbox.user_of(project(STACK).name, "main")


@pytest.fixture
def container(
    sandbox: Sandbox, gateway_image: str, docker_client: docker.DockerClient, user: str, broker: BrokerControl
) -> Iterator[Container]:
    """Logged in, with 256 MiB of memory. Monday at noon: a session that is kept over Sunday morning is refused, so that
    a night from now on would end otherwise on Saturdays."""
    broker.clock(at=MONDAY.replace(hour=12).timestamp())
    (password,) = [credential.password for credential in sandbox.credentials() if credential.user_id == user]
    network = docker_client.networks.create(f"{sandbox.prefix}-scenarios", labels={SANDBOX_LABEL: sandbox.prefix})
    made = docker_client.containers.run(
        gateway_image,
        detach=True,
        network=network.name,
        environment={
            "TWS_USERID": user,
            "TWS_PASSWORD": password,
            "TRADING_MODE": "paper",
            "AUTO_RESTART_TIME": "11:59 PM",
            "EXISTING_SESSION_DETECTED_ACTION": "primary",
        },
        mem_limit="256m",
        labels={SANDBOX_LABEL: sandbox.prefix},
    )
    try:
        shows(made, "IBC: Configuration tasks completed")
        yield made
    finally:
        broker.clock(real=True)
        made.remove(force=True, v=True)
        network.remove()


def shows(container: Container, line: str) -> None:
    until(lambda: line in container.logs().decode(), f"the log shows {line!r}")


def test_a_gateway_that_grows_is_killed_at_its_limit(container: Container, broker: BrokerControl, user: str) -> None:
    """The kernel kills the program in the container, 128 + SIGKILL; the start script does not start it again."""
    broker.scenario("memory-growth:512", user)
    assert container.wait(timeout=DEADLINE)["StatusCode"] == 137
    container.reload()
    assert container.attrs["State"]["OOMKilled"] is True
    assert "IBC returned exit status 137" in container.logs().decode()


def test_a_gateway_restarts_at_night_by_the_broker_s_clock(
    container: Container, broker: BrokerControl, user: str
) -> None:
    """AUTO_RESTART_TIME is in the container's time zone, which is UTC here."""
    before = broker.status()["users"][user]
    broker.clock(at=MONDAY.replace(hour=23, minute=58, second=59).timestamp(), speed=2.0)
    shows(container, f"{MONDAY:%Y-%m-%d} 23:59:")
    shows(container, "IBC: Re-starting session")
    until(lambda: broker.status()["users"][user]["soft_logins"] > before["soft_logins"])
    assert broker.status()["users"][user]["logins"] == before["logins"]
