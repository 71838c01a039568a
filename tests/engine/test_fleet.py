"""Four gateways out of one file: acted on in batches, with a canary, and one added and one removed.

The tests go through one story, in the order in which they stand.
"""

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from sandbox.broker.control import BrokerControl
from tests.engine.conftest import Tools
from tests.engine.stacks import StackUnderTest

STACK = "paper-fleet"
NAMES = ("f1", "f2", "f3", "f4")
NEW = "f5"


class Fleet(StackUnderTest):
    def declare(self, *names: str) -> None:
        """Only these, in a file of their own; what they have in common stands in the stack's."""
        document: dict[str, Any] = yaml.safe_load((self.stack.folder / f"Pulumi.{STACK}.yaml").read_text())
        every = self.stack.config["config"]["ibgw:gateways"]
        own = {name: {key: every[name][key] for key in ("credentials", "account")} for name in names}
        common = {key: value for key, value in every[NEW].items() if key not in ("credentials", "account")}
        document["config"].pop("ibgw:gateways", None)
        document["config"] |= {"ibgw:gatewayDefaults": common, "ibgw:gatewaysFile": "gateways.yaml"}
        (self.stack.folder / f"Pulumi.{STACK}.yaml").write_text(yaml.safe_dump(document))
        (self.stack.folder / "gateways.yaml").write_text(yaml.safe_dump(own))

    def logins(self) -> list[int]:
        return [self.counted(name)["logins"] for name in NAMES]

    def running(self) -> list[bool]:
        return [self.container(name)["State"]["Running"] for name in NAMES]


@pytest.fixture(scope="module")
def fleet(tools: Tools) -> Iterator[Fleet]:
    stack = tools.project(STACK, gateways={"main": None, **{name: {} for name in (*NAMES, NEW)}})
    made = Fleet(tools, stack)
    made.declare(*NAMES)
    made.up()
    yield made
    made.leave()


def test_a_canary_that_does_not_log_in_is_the_only_one_that_is_started(fleet: Fleet, broker: BrokerControl) -> None:
    fleet.ibgw(f"stop {STACK}")
    assert fleet.running() == [False] * 4
    before = fleet.logins()
    broker.scenario("locked-out", fleet.user("f1"))
    said = fleet.ibgw(f"start {STACK} --gateway 'f*'", 3).stdout
    assert "f1: failed. Stopped, with 3 left as they were; the same command goes on with them." in said
    assert (fleet.running()[1:], fleet.logins()) == ([False] * 3, before)
    broker.clear(fleet.user("f1"))


def test_the_same_command_goes_on(fleet: Fleet) -> None:
    fleet.ibgw(f"restart {STACK} --gateway f1")
    fleet.ibgw(f"verify {STACK} --gateway f1")
    before = fleet.logins()
    assert "f1: done already, skipped." in fleet.ibgw(f"start {STACK}").stdout
    assert fleet.running() == [True] * 4
    assert fleet.logins() == [before[0], *(logins + 1 for logins in before[1:])]
    # All are as they shall be.
    assert "f1, f2, f3, f4: done already, skipped." in fleet.ibgw(f"start {STACK} --gateway 'f[1-4]'").stdout


def test_a_restart_that_was_killed_restarts_none_twice(fleet: Fleet) -> None:
    before = fleet.logins()
    killed = [sys.executable, "-m", "tests.engine.killed_command", "batch", "1", "after", "restart", STACK]
    done = fleet.tools.run(killed, stack=fleet.stack, check=False)
    assert (done.returncode, fleet.logins()) == (-9, [before[0] + 1, *before[1:]])
    said = fleet.ibgw(f"restart {STACK} --parallel 3").stdout
    assert "f1: done already, skipped." in said
    assert fleet.logins() == [logins + 1 for logins in before]


def test_one_that_comes_and_one_that_goes_touch_no_other(fleet: Fleet) -> None:
    before, logins = fleet.ids(*NAMES[:3]), fleet.logins()[:3]
    fleet.declare(*NAMES[:3], NEW)
    fleet.up()
    assert (fleet.ids(*NAMES[:3]), [fleet.counted(name)["logins"] for name in NAMES[:3]]) == (before, logins)
    assert fleet.counted(NEW)["logins"] == 1
    said = fleet.ibgw(f"status {STACK} --gateway f4", 2).stderr
    assert "--gateway f4: stack 'paper-fleet' has no such gateway, only f1, f2, f3, f5." in said
