"""A watched stack through what is done to it: nobody logs in who need not, and what watches is right afterwards."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from deployment.description import MONITORING_FOLDER
from tests.engine.conftest import Tools
from tests.engine.deployed import from_now, nothing_planned
from tests.engine.stacks import StackUnderTest
from tests.helpers import until

STACK = "paper-walked"
QUICK = {"container": {"probeInterval": "5s"}}
ONE: dict[str, Any] = {"main": {"session": nothing_planned(), **QUICK}}
TWO: dict[str, Any] = {**ONE, "second": {"session": nothing_planned(), **QUICK}}
MONITORING = {"interval": "5s"}


@dataclass(frozen=True)
class Walked(StackUnderTest):
    def declare(self, gateways: dict[str, Any] = ONE, **monitoring: str) -> None:
        self.tools.project(STACK, gateways=gateways, monitoring={**MONITORING, **monitoring})

    def watching(self) -> dict[str, str]:
        """The ids of what watches."""
        return {role: str(self.client.containers.get(f"{self.base}.{role}").id) for role in ("prober", "watcher")}

    def seen(self) -> dict[str, Any]:
        """By gateway, what the prober hands over."""
        prober = self.client.containers.get(f"{self.base}.prober")
        output = prober.exec_run(["cat", f"{MONITORING_FOLDER}/seen.json"]).output
        assert isinstance(output, bytes)
        return {one["gateway"]: one for one in json.loads(output)["gateways"]}

    def healthy(self, gateway: str) -> bool:
        return bool(self.container(gateway)["State"]["Health"]["Status"] == "healthy")

    def right(self, *gateways: str) -> None:
        """The prober finds them all well, a verification asks beside it, and the doctor has nothing to say of it."""
        for name in gateways:
            until(partial(self.healthy, name), f"{name} is healthy")
        until(
            lambda: {name for name, one in self.seen().items() if one["verdict"].startswith("verified")} == {*gateways},
            lambda: f"{self.seen()}",
        )
        report = json.loads(self.ibgw(f"verify --stack {STACK} --wait 60s --json").stdout)
        assert {one["gateway"]: one["vantage"]["prober"] for one in report["gateways"]} == dict.fromkeys(gateways, True)
        answer = json.loads(self.ibgw(f"status --stack {STACK} --json").stdout)
        assert answer["stacks"][0]["by_prober"] == sorted(gateways)
        host = json.loads(self.ibgw(f"doctor --stack {STACK} --json").stdout)["host"]
        assert {one["topic"]: one["ok"] for one in host}["monitoring"] is True

    def spent(self, since: dict[str, Any], gateway: str = "main") -> tuple[int, int]:
        """Attempts and logins, by the broker's counter."""
        now = self.counted(gateway)
        return now["attempts"] - since["attempts"], now["logins"] - since["logins"]

    def costs_nothing(self, act: Callable[[], Any]) -> None:
        before, container = self.counted(), self.container()
        act()
        assert self.spent(before) == (0, 0)
        assert self.container()["State"]["StartedAt"] == container["State"]["StartedAt"]

    def costs_a_login(self, act: Callable[[], Any]) -> None:
        before = self.counted()
        act()
        until(lambda: self.spent(before) == (1, 1), lambda: f"{self.spent(before)}")
        self.right("main")
        assert self.spent(before) == (1, 1)


@pytest.mark.exhaustive
def test_whatever_is_done_to_a_stack_is_seen_and_costs_no_more(tools: Tools) -> None:
    stack = Walked(tools, tools.project(STACK, gateways=ONE, monitoring=MONITORING))
    stack.up()
    try:
        walk(stack)
    finally:
        stack.destroy()
    names = {one.name for one in stack.client.containers.list(all=True)}
    assert not {f"{stack.base}.prober", f"{stack.base}.watcher"} & names


def walk(stack: Walked) -> None:
    stack.right("main")
    first = stack.watching()
    stack.costs_a_login(lambda: stack.ibgw(f"restart --stack {STACK}"))
    stack.ibgw(f"stop --stack {STACK}")
    until(lambda: stack.seen()["main"]["verdict"] == "failed", lambda: f"{stack.seen()}")
    stack.costs_a_login(lambda: stack.ibgw(f"start --stack {STACK}"))
    stack.costs_a_login(lambda: stack.ibgw(f"reset-settings --stack {STACK} --yes"))
    stack.costs_nothing(lambda: stack.ibgw(f"rollout --stack {STACK}"))
    stack.costs_nothing(lambda: stack.ibgw(f"drift --stack {STACK}"))
    assert stack.watching() == first

    stack.declare(interval="10s")
    stack.costs_nothing(stack.up)
    assert stack.watching()["watcher"] == first["watcher"]
    stack.right("main")

    stack.declare(TWO)
    stack.costs_nothing(stack.up)
    stack.right("main", "second")

    # By hand, and with the state.
    stack.client.containers.get(f"{stack.base}.prober").remove(force=True)
    assert "prober is gone" in stack.ibgw(f"doctor --stack {STACK}").stdout
    stack.costs_nothing(lambda: stack.ibgw(f"repair --stack {STACK} --yes"))
    stack.costs_nothing(stack.up)
    stack.right("main", "second")
    stack.pulumi("stack", "rm", "--force", "--yes", "--preserve-config")
    stack.pulumi("stack", "init")
    stack.costs_nothing(lambda: stack.ibgw(f"repair --stack {STACK} --yes"))
    stack.costs_nothing(stack.up)
    stack.right("main", "second")

    # A planned restart of one is a window of that one alone.
    planned = {**nothing_planned(), "autoRestart": from_now(minutes=3)}
    stack.declare({**TWO, "second": {"session": planned, **QUICK}})
    stack.costs_nothing(stack.up)
    until(lambda: stack.seen()["second"]["window"] == "planned_restart", lambda: f"{stack.seen()}", seconds=400)
    assert stack.seen()["main"]["window"] == "none"
    until(lambda: stack.counted("second")["soft_logins"], lambda: f"{stack.counted('second')}", seconds=400)
    stack.right("main", "second")
