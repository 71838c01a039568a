"""A resource's inputs as the policy pack reads them: the provider's defaults, what is unknown, whom a rule is for."""

import runpy
from typing import Any

import pulumi_policy
import pytest

from deployment.description import Mode
from deployment.properties import UNKNOWN
from deployment.rules import RULES, api_internal, memory_limited, no_capabilities, no_new_privileges
from deployment.tables import Token
from infra.policy.inputs import Attached, accepted, applies, egress, mode_of, record

CONTAINER, NETWORK, IMAGE = Token.CONTAINER, Token.NETWORK, Token.PULLED_IMAGE
URN = "urn:pulumi:paper::ibgw::docker:index/network:Network::egress"


@pytest.mark.parametrize(
    ("stack", "mode"),
    [("paper", "paper"), ("paper-two", "paper"), ("live", "live"), ("live-two", "live"), ("paperish", "live")],
)
def test_the_mode_is_told_by_the_stack_and_by_nothing_in_the_program(stack: str, mode: str) -> None:
    assert mode_of(f"urn:pulumi:{stack}::ibgw::{CONTAINER}::main") == mode


def test_what_is_not_given_has_the_providers_default() -> None:
    """pulumi-docker 5.1.0 and Docker: no limit, no restart, 10 s to stop, and none at all at a removal."""
    found = record(CONTAINER, "main", {"image": "sha256:1"}, Mode.PAPER)
    assert (found.memory, found.memory_swap, found.restart, found.log_driver) == (0, 0, "no", "")
    assert (found.stop_grace, found.removal_grace, found.network_mode) == (10, 0, "bridge")
    assert (found.privileged, found.published, found.probe) == (False, (), ())
    assert (found.capabilities_dropped, found.security_options, found.image) == ((), (), None)
    assert record(NETWORK, "api", {}, Mode.PAPER).api_internal is False


def test_numbers_arrive_as_floats() -> None:
    assert record(CONTAINER, "main", {"memory": 1536.0, "memorySwap": 1536.0}, Mode.PAPER).memory == 1536


@pytest.mark.parametrize("inputs", [{"capabilities": UNKNOWN}, {"capabilities": {"drops": [UNKNOWN]}}])
def test_what_is_unknown_in_a_preview_leaves_its_rule_open(inputs: dict[str, Any]) -> None:
    found = record(CONTAINER, "main", inputs, Mode.PAPER)
    assert "capabilities_dropped" in no_capabilities.unseen(found)
    assert memory_limited.violations(found), "the rest is still judged"


def test_an_image_that_is_not_known_yet_is_not_judged() -> None:
    assert record(IMAGE, "image", {"name": UNKNOWN}, Mode.LIVE).image is None
    assert record(CONTAINER, "main", {"image": UNKNOWN}, Mode.LIVE).image is None


def test_each_resource_is_judged_by_its_own_facts_only() -> None:
    image = record(IMAGE, "image", {"name": "mock/gateway:1"}, Mode.LIVE)
    assert [rule.name for rule in RULES if not rule.unseen(image)] == ["image_by_digest_on_live"]
    api = record(NETWORK, "api", {"internal": True}, Mode.LIVE)
    assert [rule.name for rule in RULES if not rule.unseen(api)] == ["api_internal", "bridges"]
    assert api_internal.violations(api) == []


def test_only_what_has_no_network_is_no_gateway_whatever_its_labels_say() -> None:
    owner = [{"label": "ibgw.role", "value": "settings-owner"}]
    assert applies(no_capabilities, CONTAINER, {"labels": owner})
    assert applies(no_capabilities, CONTAINER, {"labels": owner, "networkMode": UNKNOWN})
    assert not applies(no_capabilities, CONTAINER, {"labels": owner, "networkMode": "none"})
    assert applies(no_new_privileges, CONTAINER, {"labels": owner, "networkMode": "none"})


def test_whoever_is_on_egress_by_name_or_by_reference_and_is_no_gateway_is_a_stranger() -> None:
    network = {"name": "ibgw-paper-egress", "labels": [{"label": "ibgw.role", "value": "egress"}]}
    gateway = {"labels": [{"label": "ibgw.role", "value": "gateway"}]}
    attached = [
        Attached("main", gateway, frozenset({URN})),
        Attached("by-reference", {}, frozenset({URN})),
        Attached("by-name", {}, frozenset({"ibgw-paper-egress"})),
        Attached("elsewhere", {}, frozenset({"other"})),
    ]
    assert egress("egress", network, URN, attached).egress_strangers == ("by-name", "by-reference")
    assert egress("api", {"name": "ibgw-paper-egress"}, URN, attached).egress_strangers is None


def test_a_limit_that_the_stacks_host_may_lack_is_no_violation() -> None:
    accepts = accepted(["memoryLimit", "swapLimit"])
    none = record(CONTAINER, "main", {"memory": 0, "memorySwap": -1}, Mode.LIVE, accepts)
    assert memory_limited.violations(none) == []
    swapping = {"memory": 1536, "memorySwap": -1}
    assert memory_limited.violations(record(CONTAINER, "main", swapping, Mode.LIVE, accepted(["swapLimit"]))) == []
    assert memory_limited.violations(record(CONTAINER, "main", swapping, Mode.LIVE, accepted(["nativeImages"])))
    assert memory_limited.violations(record(CONTAINER, "main", {"memory": 0}, Mode.LIVE, accepted(["swapLimit"])))


@pytest.mark.parametrize("configured", [None, [], "memoryLimit", ["anything", 7, None], {"memoryLimit": True}])
def test_only_what_the_setting_can_say_is_accepted(configured: object) -> None:
    assert accepted(configured) == ()


def test_the_engine_is_stopped_by_every_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """An advisory policy would show a violation and go on."""
    packs: list[dict[str, Any]] = []
    monkeypatch.setattr(pulumi_policy, "PolicyPack", lambda name, **given: packs.append({"name": name, **given}))
    runpy.run_module("infra.policy", run_name="__main__")
    [pack] = packs
    assert pack["enforcement_level"] is pulumi_policy.EnforcementLevel.MANDATORY
    assert [policy.name for policy in pack["policies"]] == [rule.name for rule in RULES]
    assert {policy.enforcement_level for policy in pack["policies"]} <= {None, pulumi_policy.EnforcementLevel.MANDATORY}
