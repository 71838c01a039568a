"""Edits that only a replacement puts into effect: what has a fixed name goes before its successor comes."""

import json
from collections.abc import Iterator
from ipaddress import IPv4Network

import pytest

from tests.engine.conftest import Tools
from tests.engine.stacks import UP, StackUnderTest

STACK = "paper-edits"


@pytest.fixture(scope="module")
def edited(tools: Tools) -> Iterator[StackUnderTest]:
    made = StackUnderTest(tools, tools.project(STACK))
    made.up()
    yield made
    made.leave()


def test_networks_move_with_their_gateway_and_an_edited_probe_is_what_runs(edited: StackUnderTest) -> None:
    project = edited.tools.project
    moved = {"subnetPool": edited.sandbox.pool(f"{STACK}-moved")}
    project(STACK, network=moved)
    edited.up()
    after_move = edited.container()
    attached = after_move["NetworkSettings"]["Networks"]
    assert sorted(attached) == [f"{edited.base}-egress", f"{edited.base}-main-api"]
    for name, endpoint in attached.items():
        [found] = edited.client.networks.list(names=[f"^{name}$"])
        assert found.id == endpoint["NetworkID"]
        assert IPv4Network(found.attrs["IPAM"]["Config"][0]["Subnet"]).subnet_of(IPv4Network(moved["subnetPool"]))

    # Docker cannot change a probe in place, and the provider says that it has.
    project(STACK, network=moved, gateways={"main": {"container": {"probeInterval": "45s"}}})
    edited.up()
    after_edit = edited.container()
    assert after_edit["Id"] != after_move["Id"]
    assert after_edit["Config"]["Healthcheck"]["Interval"] == 45 * 10**9
    deployment = json.loads(edited.pulumi("stack", "output", "contract", "--json").stdout)
    assert deployment["gateways"]["main"]["container"]["id"] == after_edit["Id"]


def test_a_forced_replacement_ends_the_old_one_first(edited: StackUnderTest) -> None:
    """`up --replace` is no replacement of the provider's own, so the order is what the program says. The names are
    fixed, and two gateways of one user would both log in."""

    def ids() -> dict[str, str]:
        found = {str(one.name): str(one.id) for one in edited.client.networks.list()}
        found |= {str(one.name): str(one.id) for one in edited.client.containers.list(all=True, ignore_removed=True)}
        return {name: identity for name, identity in found.items() if name.startswith(f"{edited.base}-")}

    state = edited.export()["deployment"]["resources"]
    kinds = ("docker:index/container:Container", "docker:index/network:Network")
    forced = [word for one in state if one["type"] in kinds for word in ("--replace", one["urn"])]
    before = ids()
    assert len(forced) == 2 * len(before) == 2 * len({"main", "main-settings-owner", "main-api", "egress"})
    edited.pulumi(*UP, *forced)
    after = ids()
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
