"""The broker's scenarios and its control port."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.broker import scenarios, server
from sandbox.broker.control import BrokerControl, ControlError
from sandbox.broker.server import Broker
from sandbox.broker.users import User
from tests.unit.simulated_gateway import simulated_gateway


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
        ("normal", "farm-broken:history", [2105]),
        ("farm-broken:history", "normal", [2106]),
        ("normal", "farm-broken:definition", [2157]),
        ("farm-broken:definition", "farm-broken", [2103, 2158]),
    ],
)
def test_what_connected_clients_are_told(before: str, after: str, codes: list[int]) -> None:
    told = server.transition(scenarios.conditions(before), scenarios.conditions(after))
    assert [notice.code for notice in told] == codes


@pytest.mark.parametrize(
    ("scenario", "codes"),
    [
        ("normal", [2104, 2106, 2158]),
        ("farm-broken", [2103, 2106, 2158]),
        ("farm-broken:history", [2104, 2105, 2158]),
        ("farm-broken:definition", [2104, 2106, 2157]),
        ("connectivity-lost", [2110]),
        ("api-half-open", []),
    ],
)
def test_what_new_clients_are_told(scenario: str, codes: list[int]) -> None:
    assert [notice.code for notice in server.greeting(scenarios.conditions(scenario))] == codes


def test_scenario_of_one_user_and_of_all() -> None:
    with simulated_gateway(logged_in=False) as place:
        place.control.scenario("slow", "pusher")
        assert _scenarios(place.control) == {"trader": "normal", "pusher": "slow"}
        place.control.scenario("farm-broken")
        assert _scenarios(place.control) == {"trader": "farm-broken", "pusher": "farm-broken"}
        place.control.clear("trader")
        assert _scenarios(place.control) == {"trader": "normal", "pusher": "farm-broken"}


def _scenarios(control: BrokerControl) -> dict[str, str]:
    return {user: status["scenario"] for user, status in control.status()["users"].items()}


def test_unknown_names_are_refused_by_name() -> None:
    with simulated_gateway(logged_in=False) as place:
        with pytest.raises(ControlError, match="unknown scenario 'nonsense'; expected one of normal, "):
            place.control.scenario("nonsense")
        with pytest.raises(ControlError, match="unknown user id"):
            place.control.scenario("slow", "nobody")


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("slow", "delay", 2.0),
        ("slow:0.25", "delay", 0.25),
        ("crash-at-start:4", "crash", 4),
        ("crash-at-start:88", "crash", 88),
        ("memory-growth:512", "memory_growth", 512.0),
        ("session-stranded:60", "stranded", 60.0),
        ("farm-broken:definition", "broken_farms", {"definition"}),
    ],
)
def test_a_value_after_the_colon(text: str, field: str, value: object) -> None:
    assert getattr(scenarios.conditions(text), field) == value


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("slow:fast", "the scenario slow takes seconds from 0 to 3600 after its colon, found 'fast'"),
        ("slow:nan", "the scenario slow takes seconds from 0 to 3600 after its colon, found 'nan'"),
        ("slow:", "the scenario slow takes seconds from 0 to 3600 after its colon, found ''"),
        ("slow:-1", "the scenario slow takes seconds from 0 to 3600 after its colon, found '-1'"),
        ("crash-at-start:9", "takes an exit code from 1 to 8 or from 76 to 88 after its colon, found '9'"),
        ("memory-growth:0", "takes MiB a second from 1 to 1024 after its colon, found '0'"),
        ("farm-broken:all", "takes market, history or definition after its colon, found 'all'"),
        ("read-only:1", "the scenario read-only takes no value, found '1'"),
    ],
)
def test_wrong_values_are_refused_with_what_was_expected(text: str, refusal: str) -> None:
    with simulated_gateway(logged_in=False) as place:
        with pytest.raises(ControlError, match=re.escape(refusal)):
            place.control.scenario(text)
        assert _scenarios(place.control) == {"trader": "normal", "pusher": "normal"}


@pytest.mark.parametrize(
    ("line", "crash"),
    # As they stand in config.ini, a Java properties file: \\u0074 is a t.
    [(b"IbLoginId=trader", 4), (b"IbLoginId=\\u0074rader ", 4), (b"IbLoginId=nobody", 0), (b"IbLoginId=", 0), (b"", 0)],
)
def test_a_gateway_that_starts_is_told_what_goes_wrong(line: bytes, crash: int) -> None:
    with simulated_gateway(logged_in=False) as place, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gateway:
        place.control.scenario("crash-at-start:4", "trader")
        gateway.settimeout(5)
        gateway.connect(("127.0.0.1", place.broker_port))
        gateway.send(b"IbLoginId=\\uZZZZ")  # not answered, and in nobody's way
        gateway.send(line)
        assert json.loads(gateway.recv(4096))["crash"] == crash
        status = place.control.status()
    assert status["users"]["trader"]["attempts"] == 0
    assert status["unknown_user_attempts"] == 0


def test_status_of_a_logged_in_user() -> None:
    with simulated_gateway() as place:
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
        "stranded_sessions": 0,
        "second_factor_prompts": 0,
        "codes": 0,
        "codes_refused": 0,
        "least_code_life": 30.0,
        "sessions": ["paper"],
        "stranded": [],
        "second_factor_waiting": False,
    }


def test_a_known_users_new_password_is_read_and_the_state_stays() -> None:
    one, changed = User("u", "old", (), ("DU1",)), User("u", "new", (), ("DU1",))
    broker = Broker({"u": one}, reload=lambda: {"u": changed})
    broker.states["u"].counters.logins = 3
    assert broker.reload_users() == 0
    assert broker.states["u"].user is changed
    assert broker.states["u"].counters.logins == 3


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
