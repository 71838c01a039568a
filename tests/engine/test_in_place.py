"""A change in place that Docker never got: recorded by the provider, seen by the verification, mended by its remedy."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from sandbox.environment import Sandbox, Stack
from tests.engine.conftest import Pulumi
from tests.engine.docker_proxy import DockerProxy, Moment

STACK = "paper-lost"
UP = ["up", "--yes", "--skip-preview"]


@pytest.fixture
def proxy() -> Iterator[DockerProxy]:
    with tempfile.TemporaryDirectory(prefix="ibgw-") as folder, DockerProxy(Path(folder) / "docker.sock") as running:
        yield running


def test_a_lost_change_of_memory_is_seen_and_its_remedy_needs_no_login(
    proxy: DockerProxy,
    project: Callable[..., Stack],
    pulumi: Pulumi,
    sandbox: Sandbox,
    docker_client: docker.DockerClient,
) -> None:
    def gateway() -> dict[str, Any]:
        return dict(docker_client.api.inspect_container(f"{sandbox.prefix}-{STACK}-main"))

    stack = project(STACK, dockerHost=proxy.url)
    pulumi(UP, stack=stack)
    before = gateway()
    try:
        more = project(STACK, dockerHost=proxy.url, gateways={"main": {"resources": {"memory": 2048}}})
        # The connection breaks, once.
        proxy.step_in(Moment.BEFORE, lambda call: call.path.endswith("/update"), lambda: None)
        lost = pulumi(UP, stack=more, check=False)
        assert lost.returncode != 0
        assert "Unable to update a container" in lost.stdout + lost.stderr

        again = pulumi(UP, stack=more, check=False)
        said = " ".join((again.stdout + again.stderr).split())
        assert gateway()["HostConfig"]["Memory"] == 1536 * 2**20, "the plain update has applied it after all"
        assert again.returncode != 0, "verified, and Docker has the old value"
        assert "not_applied" in said
        assert "memory: found 1536 MiB, expected 2048 MiB" in said
        assert f"pulumi up --refresh --stack {STACK}" in said
        assert "unhandled error" not in said, "the failed verification is followed by a second error"

        pulumi([*UP, "--refresh"], stack=more)
        after = gateway()
        assert after["HostConfig"]["Memory"] == after["HostConfig"]["MemorySwap"] == 2048 * 2**20
        assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    finally:
        pulumi(["destroy", "--yes", "--skip-preview"], stack=stack)
