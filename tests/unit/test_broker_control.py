"""The broker's scenarios and its control port."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.broker import scenarios, server
from sandbox.broker.control import BrokerControl, ControlError
from tests.unit.gateway_sim_world import world

# Every state that one of the five checks, or the login, can be turned red with.
NEEDED = {
    "normal",
    "wrong-password",
    "login-failed-restart",
    "locked-out",
    "login-server-down",
    "push-pending",
    "push-denied",
    "push-unanswered",
    "competing-session",
    "api-wedged",
    "api-half-open",
    "account-list-empty",
    "account-kind-swapped",
    "summary-empty",
    "summary-insane",
    "no-entitlement",
    "delayed-only",
    "competing-live-session",
    "market-closed",
    "farm-broken",
    "order-rejected",
    "order-no-margin",
    "read-only",
    "connectivity-lost",
    "connectivity-restored",
    "connectivity-restored-data-lost",
    "slow",
    "nightly-restart",
}


def test_scenarios_have_one_line_each() -> None:
    assert set(scenarios.SCENARIOS) >= NEEDED
    assert all(line and "\n" not in line for line in scenarios.SCENARIOS.values())


@pytest.mark.parametrize(
    ("before", "after", "codes"),
    [
        ("normal", "connectivity-lost", [1100]),
        ("connectivity-lost", "normal", [1102]),
        ("connectivity-lost", "connectivity-restored-data-lost", [1101]),
        ("connectivity-lost", "connectivity-lost", []),
        ("normal", "farm-broken", [2103]),
        ("farm-broken", "no-entitlement", [2104]),
        ("farm-broken", "connectivity-lost", [1100, 2104]),
        ("normal", "no-entitlement", []),
    ],
)
def test_what_connected_clients_are_told(before: str, after: str, codes: list[int]) -> None:
    told = server.transition(scenarios.CONDITIONS[before], scenarios.CONDITIONS[after])
    assert [notice.code for notice in told] == codes


@pytest.mark.parametrize(
    ("scenario", "codes"),
    [
        ("normal", [2104, 2106, 2158]),
        ("farm-broken", [2103, 2106, 2158]),
        ("connectivity-lost", [2110]),
        ("api-half-open", []),
    ],
)
def test_what_new_clients_are_told(scenario: str, codes: list[int]) -> None:
    assert [notice.code for notice in server.greeting(scenarios.CONDITIONS[scenario])] == codes


def test_scenario_of_one_user_and_of_all() -> None:
    with world(gateway=False) as place:
        place.control.scenario("slow", "pusher")
        assert _scenarios(place.control) == {"trader": "normal", "pusher": "slow"}
        place.control.scenario("farm-broken")
        assert _scenarios(place.control) == {"trader": "farm-broken", "pusher": "farm-broken"}
        place.control.clear("trader")
        assert _scenarios(place.control) == {"trader": "normal", "pusher": "farm-broken"}


def _scenarios(control: BrokerControl) -> dict[str, str]:
    return {user: status["scenario"] for user, status in control.status()["users"].items()}


def test_unknown_names_are_refused_by_name() -> None:
    with world(gateway=False) as place:
        with pytest.raises(ControlError, match="unknown scenario 'nonsense'; expected one of normal, "):
            place.control.scenario("nonsense")
        with pytest.raises(ControlError, match="unknown user id"):
            place.control.scenario("slow", "nobody")


def test_status_of_a_logged_in_user() -> None:
    with world() as place:
        status = place.control.status()
    assert status["unknown_user_attempts"] == 0
    assert status["users"]["trader"] == {
        "scenario": "normal",
        "locked_for": 0.0,
        "attempts": 1,
        "logins": 1,
        "soft_logins": 0,
        "failed_attempts": 0,
        "logouts": 0,
        "orders": 0,
        "what_ifs": 0,
        "second_factor_prompts": 0,
        "sessions": ["paper"],
        "second_factor_waiting": False,
    }


def test_process_serves_and_stops_cleanly(tmp_path: Path) -> None:
    entry = {"user_id": "u", "password": "p", "live_accounts": [], "paper_accounts": ["DU1"], "second_factor": "none"}
    path = tmp_path / "users.json"
    path.write_text(json.dumps({"users": [entry]}))
    command = [sys.executable, "-m", "sandbox.broker", "--listen", "127.0.0.1", "--users", str(path)]
    process = subprocess.Popen(
        [*command, "--port", "0", "--control-port", "0"], stderr=subprocess.PIPE, text=True, cwd=os.getcwd()
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        control = BrokerControl("127.0.0.1", int(line.rsplit(" ", 1)[1]))
        assert control.status()["users"]["u"]["sessions"] == []
        path.write_text(json.dumps({"users": [entry, {**entry, "user_id": "v"}]}))
        control.scenario("slow", "u")
        assert control.reload_users() == 1
        assert {user: state["scenario"] for user, state in control.status()["users"].items()} == {
            "u": "slow",
            "v": "normal",
        }
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        with pytest.raises(ConnectionRefusedError):
            control.status()
    finally:
        process.kill()
        process.communicate()
