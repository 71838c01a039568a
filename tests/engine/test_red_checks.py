"""Each check over the API turned red alone by a state of the broker: the earlier ones stay green."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandbox.broker.control import BrokerControl
from sandbox.environment import Sandbox, Stack
from tests.engine.conftest import Completed, Pulumi

STACK = "paper-red"
OVER_API = ("reachable", "connected", "authenticated", "account_access", "market_data", "order_capability")


@pytest.fixture(scope="module")
def stack(project: Callable[..., Stack], pulumi: Pulumi, leave: Callable[[Stack], None]) -> Iterator[Stack]:
    """Both optional checks are required here, so that everything that is not a pass is red."""
    required = {"marketData": {"level": "required"}, "orderCapability": {"level": "required"}}
    made = project(STACK, gateways={"main": {"checks": required}})
    pulumi(["up", "--yes", "--skip-preview"], stack=made)
    yield made
    leave(made)


# One state a check: scenario -> the check that turns red and its reason. All others, without containers, are in
# tests/unit/test_verification_scenarios.py. The first and the last check show the way through the containers.
RED = [
    ("api-wedged", "connected", "wedged"),
    pytest.param("connectivity-lost", "authenticated", "connectivity_lost", marks=pytest.mark.exhaustive),
    pytest.param("summary-empty", "account_access", "no_account_summary", marks=pytest.mark.exhaustive),
    pytest.param("farm-broken", "market_data", "farm_broken", marks=pytest.mark.exhaustive),
    ("read-only", "order_capability", "read_only_unexpected"),
]


def verify(run: Callable[..., Completed], stack: Stack, *options: str) -> dict[str, Any]:
    done = run(["ibgw", "verify", "--stack", stack.name, "--wait", "0s", "--json", *options], stack=stack, check=False)
    assert done.returncode in (0, 3, 6), done.stderr
    report: dict[str, Any] = json.loads(done.stdout)["gateways"][0]
    return report


@pytest.mark.parametrize(("scenario", "check", "reason"), RED)
def test_one_check_turns_red_alone(
    scenario: str,
    check: str,
    reason: str,
    stack: Stack,
    sandbox: Sandbox,
    broker: BrokerControl,
    run: Callable[..., Completed],
) -> None:
    broker.scenario(scenario, sandbox.user_of(STACK, "main"))
    checks = {found["name"]: found for found in verify(run, stack)["checks"]}
    broker.clear(sandbox.user_of(STACK, "main"))
    # At an hour at which IBKR resets its servers, a lost connection is put down to that.
    found = checks[check]["data"].get("seen_through_api", checks[check]["reason"])
    assert (checks[check]["verdict"], found) == ("fail", reason)
    for earlier in OVER_API[: OVER_API.index(check)]:
        assert checks[earlier]["verdict"] == "pass", earlier
    assert checks[check]["remedy"]


def test_afterwards_everything_is_green_again(stack: Stack, run: Callable[..., Completed]) -> None:
    checks = {found["name"]: found["verdict"] for found in verify(run, stack)["checks"]}
    assert {checks[name] for name in OVER_API} == {"pass"}


def test_some_checks_alone_run_and_are_reported(stack: Stack, run: Callable[..., Completed]) -> None:
    report = verify(run, stack, "--checks", "account_access,hygiene")
    assert [found["name"] for found in report["checks"]] == ["account_access", "hygiene"]
    assert report["verdict"] in ("verified", "verified_with_warnings")


def test_verification_placed_no_order(stack: Stack, sandbox: Sandbox, broker: BrokerControl) -> None:
    user = broker.status()["users"][sandbox.user_of(STACK, "main")]
    assert user["orders"] == 0
    assert user["what_ifs"] > 0
    assert user["logins"] == 1
