"""The client library through a real restart of a gateway's container, from this host's side of the api network."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest
from docker.models.containers import Container

from client import ConnectionLost, Pool
from sandbox.environment import Stack
from tests.engine.conftest import Pulumi

# README of the image (gnzsnz/ib-gateway): paper is 4004 on its networks.
PAPER_PORT = 4004
SECONDS = 120
STOP_GRACE = 90


@pytest.fixture(scope="module")
def gateway(
    project: Callable[..., Stack], pulumi: Pulumi, docker_client: docker.DockerClient
) -> Iterator[tuple[Container, str]]:
    """A gateway's container, and its address on the api network."""
    stack = project("paper-pool")
    pulumi(["up", "--yes", "--skip-preview"], stack=stack)
    deployment: dict[str, Any] = json.loads(pulumi(["stack", "output", "contract", "--json"], stack=stack).stdout)
    described = deployment["gateways"]["main"]
    container = docker_client.containers.get(described["container"]["id"])
    yield container, container.attrs["NetworkSettings"]["Networks"][described["api"]["network"]]["IPAddress"]
    pulumi(["destroy", "--yes", "--skip-preview"], stack=stack)


async def ids(pool: Pool) -> list[int]:
    """The client ids of three connections that are borrowed at once, each of which the gateway answers."""
    async with pool.connection(SECONDS) as one, pool.connection(SECONDS) as two, pool.connection(SECONDS) as three:
        await asyncio.gather(*(ib.reqCurrentTimeAsync() for ib in (one, two, three)))
        return sorted(ib.client.clientId for ib in (one, two, three))


async def borrow_over_a_restart(pool: Pool, container: Container) -> None:
    async with pool.connection() as ib:
        await asyncio.to_thread(container.restart, timeout=STOP_GRACE)
        await ib.reqCurrentTimeAsync()


def test_a_pool_is_whole_again_after_the_gateways_container_was_restarted(gateway: tuple[Container, str]) -> None:
    container, address = gateway

    async def work() -> None:
        async with Pool(address, PAPER_PORT, range(100, 200), size=3) as pool:
            assert await ids(pool) == [100, 101, 102]
            with pytest.raises(ConnectionLost, match="was lost while it was borrowed"):
                await borrow_over_a_restart(pool, container)
            assert await ids(pool) == [100, 101, 102]

    asyncio.run(work())
