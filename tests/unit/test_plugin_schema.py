"""The comparison of a recorded state with new inputs."""

from typing import Any

import pytest

from sandbox.plugins.docker.properties import CONTAINER, NETWORK
from sandbox.plugins.docker.schema import compare, planned
from sandbox.plugins.provider import Change
from sandbox.plugins.values import UNKNOWN

STATE = {
    "name": "c",
    "image": "sha256:1",
    "hostname": "0123456789ab",
    "restart": "no",
    "networkMode": "bridge",
    "mustRun": True,
    "memorySwap": 0,
    "labels": [{"label": "a", "value": "1"}, {"label": "b", "value": "2"}],
    "mounts": [{"type": "tmpfs", "target": "/a", "source": None, "readOnly": None}],
    "healthcheck": {"tests": ["CMD", "true"], "interval": "30s", "timeout": "0s", "startPeriod": "0s", "retries": 0},
    "logOpts": {},
    "user": "nobody",
}
INPUTS: dict[str, Any] = {
    "name": "c",
    "image": "sha256:1",
    "labels": [{"label": "b", "value": "2"}, {"label": "a", "value": "1"}],
    "mounts": [{"type": "tmpfs", "target": "/a"}],
    "healthcheck": {"tests": ["CMD", "true"], "interval": "30s"},
}


def changes(new: dict[str, Any], state: dict[str, Any] = STATE) -> dict[str, Change]:
    recorded = {"start": True, "removeVolumes": True, "waitTimeout": 60, **state}
    recorded["containerReadRefreshTimeoutMilliseconds"] = 15000
    return dict(compare(CONTAINER, recorded, INPUTS, new).changes)


def test_defaults_order_and_emptiness_are_no_difference() -> None:
    assert changes(INPUTS) == {}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"hostname": "gateway"}, {"hostname": Change.UPDATE_REPLACE}),
        ({"user": "root"}, {"user": Change.UPDATE_REPLACE}),
        ({"restart": "always"}, {"restart": Change.UPDATE}),
        ({"memory": 64}, {"memory": Change.ADD}),
        ({"image": UNKNOWN}, {"image": Change.UPDATE_REPLACE}),
        ({"dns": ["192.0.2.1"]}, {"dns": Change.ADD_REPLACE}),
        ({"labels": [{"label": "a", "value": "2"}]}, {"labels": Change.UPDATE_REPLACE}),
        ({"healthcheck": {"tests": ["CMD", "true"], "interval": "31s"}}, {"healthcheck": Change.UPDATE}),
        ({"mounts": [{"type": "tmpfs", "target": "/b"}]}, {"mounts": Change.UPDATE}),
        ({"mounts": []}, {"mounts": Change.DELETE_REPLACE}),
        ({"uploads": [{"file": "/a", "content": UNKNOWN}]}, {"uploads": Change.ADD_REPLACE}),
        ({"mustRun": False}, {"mustRun": Change.UPDATE}),
    ],
)
def test_what_a_change_does(changed: dict[str, Any], expected: dict[str, Change]) -> None:
    assert changes({**INPUTS, **changed}) == expected


def test_what_is_left_out_goes_back_to_its_default_unless_docker_chose_it() -> None:
    without = {name: value for name, value in INPUTS.items() if name not in ("labels", "healthcheck")}
    assert changes(without) == {}  # computed: they stay as they are
    assert changes(INPUTS, {**STATE, "memorySwap": 128}) == {"memorySwap": Change.DELETE}
    assert changes(INPUTS, {**STATE, "dns": ["192.0.2.1"]}) == {"dns": Change.DELETE_REPLACE}
    assert changes(INPUTS, {**STATE, "mustRun": False}) == {"mustRun": Change.UPDATE}


def test_drift_is_told_from_the_programs_own_changes() -> None:
    state = {**STATE, "memorySwap": 128}
    found = compare(CONTAINER, state, INPUTS, {**INPUTS, "restart": "always"})
    assert "memorySwap" in found.changes
    assert "restart" in found.by_program
    assert "memorySwap" not in found.by_program


def test_a_preview_knows_the_inputs_and_nothing_that_docker_chooses() -> None:
    plan = planned(NETWORK, {"name": "n", "internal": True})
    assert plan["name"] == "n"
    assert plan["internal"] is True
    assert plan["ipamDriver"] == "default"
    assert plan["scope"] is UNKNOWN
    assert plan["options"] is UNKNOWN
    assert planned(NETWORK, {"name": "n"}, {"scope": "local", "options": {}})["scope"] == "local"
