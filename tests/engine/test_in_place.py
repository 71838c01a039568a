"""A change in place that Docker never got: recorded by the provider, seen by the verification, mended by its remedy."""

import tempfile
from pathlib import Path

from tests.engine.conftest import Tools
from tests.engine.docker_proxy import DockerProxy, Moment
from tests.engine.stacks import UP, StackUnderTest

STACK = "paper-lost"


def test_a_lost_change_of_memory_is_seen_and_its_remedy_needs_no_login(tools: Tools) -> None:
    with tempfile.TemporaryDirectory(prefix="ibgw-") as folder, DockerProxy(Path(folder) / "docker.sock") as proxy:
        lost = StackUnderTest(tools, tools.project(STACK, dockerHost=proxy.url))
        lost.up()
        before = lost.container()
        try:
            tools.project(STACK, dockerHost=proxy.url, gateways={"main": {"resources": {"memory": 2048}}})
            # The connection breaks, once.
            proxy.step_in(Moment.BEFORE, lambda call: call.path.endswith("/update"), lambda: None)
            failed = lost.up(check=False)
            assert failed.returncode != 0
            assert "Unable to update a container" in failed.stdout + failed.stderr

            again = lost.up(check=False)
            said = " ".join((again.stdout + again.stderr).split())
            assert lost.container()["HostConfig"]["Memory"] == 1536 * 2**20, "the plain update has applied it after all"
            assert again.returncode != 0, "verified, and Docker has the old value"
            assert "not_applied" in said
            assert "memory: found 1536 MiB, expected 2048 MiB" in said
            assert f"pulumi up --refresh --stack {STACK}" in said
            assert "unhandled error" not in said, "the failed verification is followed by a second error"

            lost.pulumi(*UP, "--refresh")
            after = lost.container()
            assert after["HostConfig"]["Memory"] == after["HostConfig"]["MemorySwap"] == 2048 * 2**20
            assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
        finally:
            lost.leave()
