"""No running gateway is removed for one that Docker refuses to create."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deployment.names import Names, Role, labels
from tests.engine.conftest import Tools
from tests.engine.docker_proxy import DockerProxy
from tests.engine.stacks import StackUnderTest

STACK = "paper-trial"
REFUSED = {
    "a probe": ("spec.PROBE_RETRIES = -1", "Retries in Healthcheck cannot be negative"),
    "too little memory": (
        "made = spec.ContainerSpec\n"
        "spec.ContainerSpec = lambda **given: made(**given | ({'memory': 4} if 'memory' in given else {}))",
        "Minimum memory limit allowed is 6MB",
    ),
}
"""What is patched in the program, since the settings allow nothing that Docker refuses, and Docker's words for it."""


class Tried(StackUnderTest):
    @property
    def trial(self) -> str:
        return Names(self.sandbox.prefix, self.name).trial("main")

    def networks(self) -> set[str | None]:
        """This stack's, by their ids: others share the host."""
        named = self.client.networks.list(filters={"name": f"{self.sandbox.prefix}-{self.name}-"})
        return {network.id for network in named}

    def patch(self, code: str) -> None:
        """The stack's program from now on."""
        folder = self.stack.folder / "patched"
        folder.mkdir(exist_ok=True)
        run = "import runpy\nrunpy.run_module('infra', run_name='__main__')\n"
        (folder / "__main__.py").write_text(f"from infra import spec\n{code}\n{run}")
        file = self.stack.folder / "Pulumi.yaml"
        file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "main": "patched"}))


@pytest.fixture(scope="module")
def proxy() -> Iterator[DockerProxy]:
    with tempfile.TemporaryDirectory(prefix="ibgw-") as folder, DockerProxy(Path(folder) / "docker.sock") as made:
        yield made


@pytest.fixture(scope="module")
def tried(tools: Tools, proxy: DockerProxy) -> Iterator[Tried]:
    made = Tried(tools, tools.project(STACK, dockerHost=proxy.url))
    made.up()
    yield made
    made.leave()


def test_what_is_as_described_is_not_tried_and_what_changes_is_before_the_old_one_goes(
    tried: Tried, proxy: DockerProxy
) -> None:
    spec = tried.container()
    left = tried.client.api.create_container(
        spec["Image"],
        name=tried.trial,
        labels=labels(prefix=tried.sandbox.prefix, project="ibgw", stack=STACK, mode="paper", role=Role.TRIAL),
    )
    proxy.forget_calls()
    tried.up()
    assert tried.container()["Id"] == spec["Id"]
    assert left["Id"] not in [one["Id"] for one in tried.client.api.containers(all=True)]
    assert [str(call) for call in proxy.calls if call.query == f"name={tried.trial}"] == []

    tried.tools.project(STACK, dockerHost=proxy.url, gateways={"main": {"container": {"probeInterval": "45s"}}})
    proxy.forget_calls()
    tried.pulumi("preview")
    assert [str(call) for call in proxy.calls if not call.reads] == []
    tried.up()
    assert tried.container()["Id"] != spec["Id"]
    changing = [call for call in proxy.calls if not call.reads]
    made = next(at for at, call in enumerate(changing) if call.query == f"name={tried.trial}")
    assert changing[made + 1].method == "DELETE", "it is removed at once"
    touched = next(at for at, call in enumerate(changing) if spec["Id"] in call.path)
    assert made + 1 < touched
    trial = changing[made + 1].path
    assert not [str(call) for call in changing if call.path.startswith(trial) and call.path != trial], (
        "it is not started"
    )


def test_an_image_that_is_not_there_ends_the_update_before_anything_is_tried(tried: Tried, proxy: DockerProxy) -> None:
    before = tried.container()
    absent = f"{tried.sandbox.gateway_image.partition('@')[0]}@sha256:{'0' * 64}"
    tried.tools.project(STACK, dockerHost=proxy.url, image=absent)
    proxy.forget_calls()
    refused = tried.up(check=False)
    said = refused.stdout + refused.stderr
    assert refused.returncode != 0
    assert "0" * 64 in said
    assert "unhandled error" not in said
    assert "Traceback" not in said
    assert [str(call) for call in proxy.calls if call.path.startswith("/containers/create")] == []
    assert tried.container()["Id"] == before["Id"]
    tried.tools.project(STACK, dockerHost=proxy.url)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param(*REFUSED["a probe"], id="a probe", marks=pytest.mark.exhaustive),
        pytest.param(*REFUSED["too little memory"], id="too little memory"),
    ],
)
def test_a_refused_container_leaves_the_old_one_running(tried: Tried, code: str, words: str) -> None:
    before, counted = tried.container(), tried.counted()
    networks = tried.networks()
    tried.patch(code)
    refused = tried.up(check=False)
    said = " ".join((refused.stdout + refused.stderr).split())
    assert refused.returncode != 0
    assert "ibgw:gateways.main: Docker refuses the container" in said
    assert words in said
    assert "no gateway was touched" in said
    assert "unhandled error" not in said
    assert "Traceback" not in said
    after = tried.container()
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    assert after["State"]["Running"]
    assert tried.counted() == counted
    assert tried.networks() == networks
