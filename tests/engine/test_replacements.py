"""Edits that only a replacement puts into effect: what has a fixed name goes before its successor comes."""

import json
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from typing import Any

import docker
import pytest

from sandbox.environment import Sandbox, Stack
from tests.engine.conftest import Pulumi

STACK = "paper-edits"
UP = ["up", "--yes", "--skip-preview"]


@pytest.fixture
def stack(project: Callable[..., Stack], pulumi: Pulumi) -> Iterator[Stack]:
    made = project(STACK)
    pulumi(UP, stack=made)
    yield made
    pulumi(["destroy", "--yes", "--skip-preview"], stack=made)


def test_networks_move_with_their_gateway_and_an_edited_probe_is_what_runs(
    stack: Stack,
    project: Callable[..., Stack],
    pulumi: Pulumi,
    sandbox: Sandbox,
    docker_client: docker.DockerClient,
) -> None:
    def gateway() -> dict[str, Any]:
        return dict(docker_client.api.inspect_container(f"{sandbox.prefix}-{STACK}-main"))

    moved = {"subnetPool": sandbox.pool(f"{STACK}-moved")}
    pulumi(UP, stack=project(STACK, network=moved))
    after_move = gateway()
    attached = after_move["NetworkSettings"]["Networks"]
    assert sorted(attached) == [f"{sandbox.prefix}-{STACK}-egress", f"{sandbox.prefix}-{STACK}-main-api"]
    for name, endpoint in attached.items():
        [found] = docker_client.networks.list(names=[f"^{name}$"])
        assert found.id == endpoint["NetworkID"]
        assert IPv4Network(found.attrs["IPAM"]["Config"][0]["Subnet"]).subnet_of(IPv4Network(moved["subnetPool"]))

    # Docker cannot change a probe in place, and the provider says that it has.
    pulumi(UP, stack=project(STACK, network=moved, gateways={"main": {"container": {"probeInterval": "45s"}}}))
    after_edit = gateway()
    assert after_edit["Id"] != after_move["Id"]
    assert after_edit["Config"]["Healthcheck"]["Interval"] == 45 * 10**9
    deployment = json.loads(pulumi(["stack", "output", "contract", "--json"], stack=stack).stdout)
    assert deployment["gateways"]["main"]["container"]["id"] == after_edit["Id"]


def test_a_forced_replacement_ends_the_old_one_first(
    stack: Stack, pulumi: Pulumi, sandbox: Sandbox, docker_client: docker.DockerClient
) -> None:
    """`up --replace` is no replacement of the provider's own, so the order is what the program says. The names are
    fixed, and two gateways of one user would both log in."""

    def ids() -> dict[str, str]:
        prefix = f"{sandbox.prefix}-{STACK}-"
        found = {str(one.name): str(one.id) for one in docker_client.networks.list()}
        found |= {str(one.name): str(one.id) for one in docker_client.containers.list(all=True, ignore_removed=True)}
        return {name: identity for name, identity in found.items() if name.startswith(prefix)}

    state = json.loads(pulumi(["stack", "export"], stack=stack).stdout)["deployment"]["resources"]
    kinds = ("docker:index/container:Container", "docker:index/network:Network")
    forced = [word for one in state if one["type"] in kinds for word in ("--replace", one["urn"])]
    before = ids()
    assert len(forced) == 2 * len(before) == 2 * len({"main", "main-settings-owner", "main-api", "egress"})
    pulumi([*UP, *forced], stack=stack)
    after = ids()
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
