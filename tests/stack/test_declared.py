"""Every registration that the program sends to the engine, its options included, is the one in `declared.json`.

A deployed stack is left alone by another version of ibgw exactly while types, names, parents, inputs and options stay.
What is meant to change is written down anew with `python -m tests.stack.test_declared`, and reviewed.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from pulumi.runtime.mocks import MockMonitor

from tests.stack.conftest import Program
from tests.unit.test_settings import changed

DECLARED = Path(__file__).with_name("declared.json")
EVERYTHING = {
    "debug": {"enabled": True},
    "api": {"masterClientId": 7},
    "secondFactor": {"method": "push", "device": "IB Key"},
    "container": {"probeInterval": "45s", "stopGrace": "2m", "logMaxSize": "20m", "logMaxFiles": 3},
    "resources": {"memory": 2048},
}
SCENARIOS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "paper": ("paper", {}, {}),
    "everything": ("paper", {f"ibgw:gateways.main.{key}": value for key, value in EVERYTHING.items()}, {}),
    "watched": ("paper", {}, {}),
    "live": ("live", {}, {"preview": True}),
    "unread values": ("paper", {}, {"preview": True, "denied": ["getSecretVersion"]}),
}
PASSING = frozenset({"sourcePosition", "stackTrace", "version", "pluginChecksums", "packageRef", "settings", "hooks"})
"""Of a registration: where in the program it is, which version of a plug-in or of ibgw it is for, and what a gateway's
component tells (tests/stack/test_told.py)."""


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        plain = {key: _plain(part) for key, part in sorted(value.items()) if key not in PASSING}
        return {key: part for key, part in plain.items() if not key.startswith(("accept", "supports"))}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    # The script is the same for all gateways, and a new one replaces none.
    return "the supervisor" if isinstance(value, str) and "flock" in value else value


def registrations(scenario: str, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    stack, changes, options = SCENARIOS[scenario]
    found: list[dict[str, Any]] = []
    register: Any = MockMonitor.RegisterResource

    def recording(self: Any, request: Any) -> Any:
        found.append(_plain(MessageToDict(request)))
        # In the order in which the program happens to get to know what they depend on.
        found[-1].get("dependencies", []).sort()
        for one in found[-1].get("propertyDependencies", {}).values():
            one.get("urns", []).sort()
        return register(self, request)

    monkeypatch.setattr(MockMonitor, "RegisterResource", recording)
    Program(monkeypatch, watched=scenario == "watched").run(stack, changed(stack, changes), **options)
    return sorted(found, key=lambda one: (one["type"], one["name"]))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_all_registrations_are_those_written_down(scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert registrations(scenario, monkeypatch) == json.loads(DECLARED.read_text())[scenario]


if __name__ == "__main__":
    written: dict[str, Any] = {}
    for name in SCENARIOS:
        with pytest.MonkeyPatch.context() as patch:
            written[name] = registrations(name, patch)
    # A registration a line, so that a difference shows which one it is in.
    lines = (f'"{name}": [\n' + ",\n".join(map(json.dumps, found)) + "\n]" for name, found in written.items())
    DECLARED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
