"""A Docker host that cannot keep what every gateway must have: said before anything is declared, or accepted."""

from typing import Any

import pulumi
import pytest

from deployment.abilities import Lacking
from deployment.description import Deployment
from deployment.rules import RULES
from infra import rules
from tests.stack.conftest import Program
from tests.stack.test_program import container, plain, refused
from tests.unit.test_settings import tracked

NO_MEMORY = {"MemoryLimit": False, "SwapLimit": False}
NO_SWAP = {"MemoryLimit": True, "SwapLimit": False}
ABLE = {"MemoryLimit": True, "SwapLimit": True, "Architecture": "x86_64"}


def accepting(*lacking: str) -> dict[str, Any]:
    return tracked("paper") | {"ibgw:acceptHost": list(lacking)}


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda text, *_, **__: told.append(text))
    return told


@pytest.mark.parametrize("preview", [True, False])
@pytest.mark.parametrize(
    ("info", "said"),
    [
        (NO_MEMORY, "cgroup_enable=memory swapaccount=1"),
        (NO_SWAP, "ibgw:acceptHost: [swapLimit]"),
        ({"Architecture": "aarch64"}, "set ibgw:platform to linux/arm64"),
        ({"OSType": "windows"}, "switch it to Linux containers"),
    ],
)
def test_what_the_host_lacks_declares_nothing(program: Program, info: dict[str, Any], said: str, preview: bool) -> None:
    program.info = info
    assert said in refused(program, preview=preview)


def test_accepting_one_lack_is_not_accepting_another(program: Program) -> None:
    program.info = NO_MEMORY
    assert "acceptHost: [memoryLimit]" in refused(program, config=accepting("swapLimit"))


@pytest.mark.parametrize(
    ("info", "accept", "memory", "swap"),
    [
        (NO_MEMORY, ["memoryLimit"], 0, -1),
        (NO_MEMORY, ["memoryLimit", "swapLimit"], 0, -1),
        (NO_SWAP, ["swapLimit"], 1536, -1),
        # A limit that the host can keep is kept.
        (ABLE, ["memoryLimit", "swapLimit"], 1536, 1536),
        (NO_SWAP, ["memoryLimit", "swapLimit"], 1536, -1),
    ],
)
def test_what_is_accepted_is_declared_as_docker_will_have_it(
    program: Program, warned: list[str], info: dict[str, Any], accept: list[str], memory: int, swap: int
) -> None:
    """So that no preview, drift or verification finds a difference, and none of it costs a login."""
    program.info = info
    deployed = program.run(config=accepting(*accept))
    declared = container(deployed.engine)
    assert (declared["memory"], declared["memorySwap"]) == (memory, swap)
    [judged] = rules.records(deployed.verified[0])
    assert [rule.name for rule in RULES if rule.violations(judged)] == []
    deployment = Deployment.model_validate(deployed.outputs["contract"])
    lacking = {name for name in accept if info[name[0].upper() + name[1:]] is False}
    assert {*deployment.accepted} == lacking - ({"swapLimit"} if memory == 0 else set())
    in_place = deployment.gateways["main"].in_place
    assert in_place is not None
    assert (in_place.memory, in_place.memory_swap) == (memory, max(swap, 0))
    # Each is told: what is accepted, and what is accepted in vain.
    assert {text.split()[2].rstrip(":,") for text in warned if text.startswith("ibgw:acceptHost")} == {*accept}


def test_a_host_that_lacks_nothing_leaves_the_contract_as_older_versions_read_it(program: Program) -> None:
    program.info = ABLE
    deployed = program.run()
    assert "accepted" not in deployed.outputs["contract"]
    assert Deployment.model_validate(deployed.outputs["contract"]).accepted == ()


def test_what_can_be_accepted_is_a_closed_list(program: Program) -> None:
    text = refused(program, config=accepting("everything"))
    assert "ibgw:acceptHost" in text
    assert all(lacking in text for lacking in Lacking)


def test_the_gateways_component_tells_the_policy_pack_what_was_accepted(program: Program) -> None:
    program.info = NO_SWAP
    deployed = program.run(config=accepting("swapLimit"))
    assert plain(deployed.engine.declared("Gateway", "main").inputs)["accepted"] == ["swapLimit"]
    program.info = ABLE
    assert "accepted" not in program.run().engine.declared("Gateway", "main").inputs
