"""The recording proxy itself: what it misses, no test that relies on it could see."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest
import requests

from sandbox.environment import Sandbox
from tests.engine.docker_proxy import DockerProxy, Moment

CREATE = "/networks/create"


@pytest.fixture
def proxy() -> Iterator[DockerProxy]:
    with tempfile.TemporaryDirectory(prefix="ibgw-") as folder, DockerProxy(Path(folder) / "docker.sock") as running:
        yield running


@pytest.fixture
def client(proxy: DockerProxy) -> Iterator[docker.DockerClient]:
    opened = docker.DockerClient(base_url=proxy.url)
    yield opened
    opened.close()


def shown(proxy: DockerProxy) -> list[str]:
    """Without the CLI's and the SDK's greetings."""
    return [f"{call.method} {call.path}" for call in proxy.calls if call.path not in ("/_ping", "/version")]


def test_calls_on_one_connection_are_all_written_down(
    proxy: DockerProxy, client: docker.DockerClient, sandbox: Sandbox
) -> None:
    name = f"{sandbox.prefix}-proxied"
    client.api.containers(all=True, filters={"name": name})  # answered in chunks
    network = client.api.create_network(name)
    with pytest.raises(docker.errors.NotFound):
        client.api.inspect_container(name)
    client.api.remove_network(network["Id"])
    assert shown(proxy) == [
        "GET /containers/json",
        "POST /networks/create",
        f"GET /containers/{name}/json",
        f"DELETE /networks/{network['Id']}",
    ]
    assert [call.reads for call in proxy.calls if call.path != "/version"] == [True, False, True, False]


def test_a_request_and_an_answer_can_be_changed(
    proxy: DockerProxy, client: docker.DockerClient, sandbox: Sandbox
) -> None:
    name = f"{sandbox.prefix}-proxied"

    def label(document: dict[str, Any]) -> None:
        document["Labels"] = {"changed": "yes"}

    def poor(document: dict[str, Any]) -> None:
        document["MemoryLimit"] = False

    proxy.change(lambda call: call.path == CREATE, request=label)
    proxy.change(lambda call: call.path == "/info", answer=poor)
    network = client.api.create_network(name)
    assert client.api.inspect_network(network["Id"])["Labels"] == {"changed": "yes"}
    client.api.remove_network(network["Id"])
    assert [client.info()["MemoryLimit"] for _ in range(2)] == [False, False]
    proxy.forget_changes()
    assert client.info()["MemoryLimit"] is True


def test_streams_pass_and_are_written_down(proxy: DockerProxy, client: docker.DockerClient, sandbox: Sandbox) -> None:
    name = f"{sandbox.prefix}-proxied"
    # Larger than any buffer on the way, and its end must be passed on, or cat would wait for ever.
    text = "over and over\n" * 50_000
    done = subprocess.run(
        [*("docker", "--host", proxy.url, "run", "--rm", "--interactive", "--name", name), sandbox.base_image, "cat"],
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == text
    methods = [line.split("/")[0] + "/" + line.rsplit("/", 1)[1] for line in shown(proxy)]
    assert [method for method in methods if method in ("POST /create", "POST /attach", "POST /start")] == [
        "POST /create",
        "POST /attach",
        "POST /start",
    ]


@pytest.mark.parametrize(("moment", "done"), [(Moment.BEFORE, False), (Moment.AFTER, True)])
def test_stepping_in_before_or_after_docker_acts(
    proxy: DockerProxy,
    client: docker.DockerClient,
    docker_client: docker.DockerClient,
    sandbox: Sandbox,
    moment: Moment,
    done: bool,
) -> None:
    name = f"{sandbox.prefix}-proxied"
    steps: list[str] = []
    proxy.step_in(moment, lambda call: call.path == CREATE, lambda: steps.append("taken"))
    with pytest.raises(requests.exceptions.ConnectionError):
        client.api.create_network(name)
    there = docker_client.networks.list(names=[f"^{name}$"])
    for network in there:
        network.remove()
    assert steps == ["taken"]
    assert bool(there) is done
    # Once only.
    client.api.remove_network(client.api.create_network(name)["Id"])
