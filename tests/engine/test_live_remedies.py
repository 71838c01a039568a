"""What a verification of a live stack tells to do, run as it stands: nothing else deploys there but `ibgw` itself."""

import json
import shlex
from collections.abc import Callable, Iterator

import pytest

from healthcheck.reasons import Reason
from tests.engine.conftest import Tools
from tests.engine.promotions import promotions
from tests.engine.stacks import StackUnderTest
from tests.unit.commands import commands

pytestmark = pytest.mark.exhaustive

STACK = "live-remedies"
ASKING = {"stop", "restart", "rollout", "repair", "login"}
"""These want the stack's name."""


@pytest.fixture(scope="module")
def live(tools: Tools) -> Iterator[StackUnderTest]:
    with promotions(tools, "remedies") as pair:
        pair.promote("", 0)
        yield pair.live


def removed(live: StackUnderTest) -> None:
    live.client.containers.get(f"{live.base}-main").remove(force=True)


def stopped_by_hand(live: StackUnderTest) -> None:
    live.client.containers.get(f"{live.base}-main").stop()


def paused_by_hand(live: StackUnderTest) -> None:
    live.client.containers.get(f"{live.base}-main").pause()


def other_restart_policy(live: StackUnderTest) -> None:
    live.tools.run(["docker", "update", "--restart", "no", f"{live.base}-main"], stack=live.stack)


def without_the_verifier(live: StackUnderTest) -> None:
    image = json.loads(live.pulumi("stack", "output", "contract", "--json").stdout)["verifier"]["image_id"]
    live.client.images.remove(image, force=True)


BROKEN: dict[Reason, Callable[[StackUnderTest], None]] = {
    Reason.NOT_APPLIED: other_restart_policy,
    Reason.VERIFIER_IMAGE_MISSING: without_the_verifier,
    Reason.FROZEN: paused_by_hand,
    Reason.STOPPED: stopped_by_hand,
    Reason.CONTAINER_MISSING: removed,
}


def run(live: StackUnderTest, command: str) -> None:
    words = shlex.split(command)
    if words[0] == "ibgw" and words[1] in ASKING:
        words += ["--yes-live", STACK, *(["--yes"] if words[1] == "repair" else [])]
    if words[0] == "pulumi":
        words += ["--yes"]
    # A verification of the steps between may be red still.
    done = live.tools.run(words, stack=live.stack, check=False)
    assert done.returncode == 0 or words[:2] == ["ibgw", "verify"], f"{command}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("reason", BROKEN)
def test_the_remedy_brings_a_live_gateway_back(live: StackUnderTest, reason: Reason) -> None:
    live.ibgw(f"verify --stack {STACK} --wait 60s")
    BROKEN[reason](live)
    [gateway] = json.loads(live.ibgw(f"verify --stack {STACK} --wait 0s --json", None).stdout)["gateways"]
    [remedy] = {tuple(check["steps"]) for check in gateway["checks"] if check["reason"] == reason}
    told = [command for step in remedy for command in commands(step)]
    assert told
    for command in told:
        run(live, command)
    live.ibgw(f"verify --stack {STACK} --wait 60s")
