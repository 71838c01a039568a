"""Plans out of real previews: verdicts, reasons, gates and formats; and that every setting's effect is known."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from deployment.parts import ContainerSpec
from deployment.properties import Update, declared, facts_of_inputs
from deployment.tables import CONTAINER
from infra import settings, spec
from operations import cli
from operations.commands import plan as command
from operations.plan.model import Change, GatewayPlan, Plan, PlanVerdict
from operations.plan.reading import THIS_VERSION, read
from operations.plan.rendering import RENDERERS, effects_table, human, markdown
from operations.plan.settings import changed_settings, completed, effect_of, every_setting, turns_codes_on_or_off
from tests.unit.operations_pulumi import FakePulumi, install
from tests.unit.test_settings import changed

MAIN = "ibgw:gateways.main"
PREVIEWS = Path(__file__).parent / "previews"
"""What `pulumi preview --json --show-sames` printed on the sandbox, without what a plan does not read."""


def recorded(name: str) -> Plan:
    return read("paper-plan", (PREVIEWS / f"{name}.json").read_text())


def main_of(found: Plan) -> GatewayPlan:
    return next(one for one in found.gateways if one.gateway == "main")


# Preview, verdict, reasons.
VERDICTS = [
    ("no_change", "none", []),
    ("check_level", "none", [("checks.marketData.level", "nothing")]),
    ("memory", "in_place", [("resources.memory", "in_place")]),
    ("time_zone", "relogin", [("session.timeZone", "replaces")]),
    ("probe_interval", "relogin", [("container.probeInterval", "replaces")]),
    ("debug", "relogin", [("debug.enabled", "replaces")]),
    ("secret_rotated", "relogin", [("credentials: a new version of the secret", "replaces")]),
    ("image", "relogin", [("image", "replaces")]),
    ("subnet_pool", "relogin", [("ibgw:network.subnetPool", "replaces")]),
    ("push", "relogin_second_factor", [("secondFactor.device", "replaces"), ("secondFactor.method", "nothing")]),
    ("create", "create", []),
    ("removed", "none", []),
]


@pytest.mark.parametrize(("name", "verdict", "reasons"), VERDICTS)
def test_a_real_preview_gives_its_verdict_and_reasons(name: str, verdict: str, reasons: list[tuple[str, str]]) -> None:
    found = main_of(recorded(name))
    assert found.verdict == verdict
    assert [(reason.setting, reason.effect) for reason in found.reasons] == reasons


def test_no_change_is_one_line_in_every_format_for_people() -> None:
    found = recorded("no_change")
    assert human(found) == "paper-plan: no change"
    assert markdown(found) == "**paper-plan**: no change"
    assert json.loads(found.as_json())["changes"] is False


def test_a_gateway_that_comes_and_one_that_goes() -> None:
    comes = {one.gateway: one.verdict for one in recorded("second_gateway").gateways}
    assert comes == {"main": PlanVerdict.RELOGIN, "second": PlanVerdict.CREATE}
    goes = {one.gateway: one for one in recorded("removed").gateways}
    assert goes["second"].verdict is PlanVerdict.REMOVE
    assert goes["second"].downtime == "up to 1m30s to log out, and it does not come back"
    assert goes["second"].secret_version is None
    assert goes["main"].verdict is PlanVerdict.NONE
    others = ["delete second-api", "delete second-settings-owner", "leave second-settings"]
    assert list(map(str, recorded("removed").others)) == others
    assert json.loads(recorded("removed").as_json())["others"] == others


def test_a_replacement_says_for_how_long_and_whether_the_phone_will_ask() -> None:
    plain, push = main_of(recorded("time_zone")), main_of(recorded("push"))
    assert (plain.downtime, plain.asks_second_factor) == ("up to 1m30s to log out, then the login", False)
    assert push.downtime == "up to 1m30s to log out, then the login and its approval on the phone"
    assert push.asks_second_factor
    assert main_of(recorded("memory")).downtime is None


def test_image_and_secret_version_are_told_from_and_to() -> None:
    image = main_of(recorded("image")).image
    assert image is not None
    assert (image.before or "").startswith("127.0.0.1:5000/ibgw-t-plan-gateway@sha256:")
    assert image.after == "127.0.0.1:5000/ibgw-t-plan-gateway:10.46.1a"
    rotated = main_of(recorded("secret_rotated"))
    assert rotated.image is None
    assert rotated.secret_version is not None
    assert rotated.secret_version.before != rotated.secret_version.after
    assert main_of(recorded("time_zone")).secret_version is None


@pytest.mark.parametrize(
    ("name", "relogin", "replace_", "any_"),
    [
        ("no_change", False, False, False),
        ("check_level", False, False, True),
        ("memory", False, False, True),
        ("time_zone", True, True, True),
        ("push", True, True, True),
        ("create", False, False, True),
        ("removed", False, True, True),
    ],
)
def test_gates(name: str, relogin: bool, replace_: bool, any_: bool) -> None:
    found = recorded(name)
    assert [command.hits(found, gate) for gate in command.Gate] == [relogin, replace_, any_]


def test_formats_for_people_say_who_why_and_for_how_long() -> None:
    found = recorded("time_zone")
    assert human(found).splitlines() == [
        "paper-plan/main    RELOGIN                is replaced and logs in again",
        "  because of session.timeZone (replaces the container)",
        "  away: up to 1m30s to log out, then the login",
        "paper-plan/second  NONE                   stays as it is",
    ]
    assert markdown(found).splitlines()[-2] == (
        "| main | `relogin` | is replaced and logs in again<br>because of session.timeZone (replaces the container)"
        "<br>away: up to 1m30s to log out, then the login |"
    )
    assert json.loads(found.as_json())["gateways"][0]["verdict"] == "relogin"


def test_a_stack_of_an_older_version_of_this_program_gives_a_plan_without_guesses() -> None:
    """Its components have no inputs in the state, so that nothing tells which of the container's files changed."""
    preview = json.loads((PREVIEWS / "secret_rotated.json").read_text())
    for step in preview["steps"]:
        if step["urn"].endswith("::ibgw:gateway:Gateway::main"):
            step["oldState"] = {}
    found = main_of(read("paper-plan", json.dumps(preview)))
    assert (found.verdict, found.secret_version) == (PlanVerdict.RELOGIN, None)
    assert [reason.setting for reason in found.reasons] == ["a file in the container"]


def upgraded(name: str, **told: Any) -> str:
    """A recorded preview as another version of ibgw gives it: `main`'s container differs in its command and its files,
    and `told` is laid over what its component has now."""
    preview = json.loads((PREVIEWS / f"{name}.json").read_text())
    for step in preview["steps"]:
        if step["urn"].endswith("::ibgw:gateway:Gateway::main"):
            step["op"] = "update"
            inputs = step["newState"]["inputs"]
            inputs.update({"version": "0.2.0", "settings": {**inputs["settings"], **told}})
        if step["urn"].endswith("Gateway$docker:index/container:Container::main"):
            step.update(op="replace", diffReasons=["command", "uploads"], replaceReasons=["uploads"])
    return json.dumps(preview)


def test_a_replacement_by_another_version_of_this_program_says_so_and_which() -> None:
    found = read("paper-plan", upgraded("no_change"))
    one = main_of(found)
    assert (one.verdict, [reason.setting for reason in one.reasons]) == (PlanVerdict.RELOGIN, [THIS_VERSION])
    assert (one.version, one.secret_version) == (Change(before=None, after="0.2.0"), None)
    told = [
        "  because of this version of ibgw (replaces the container)",
        "  ibgw: an earlier version -> 0.2.0",
        "  away: up to 1m30s to log out, then the login",
    ]
    assert human(found).splitlines()[1:4] == told
    assert json.loads(found.as_json())["gateways"][0]["version"] == {"before": None, "after": "0.2.0"}


def test_another_program_of_the_same_version_does_not_tell_it_from_and_to() -> None:
    preview = json.loads(upgraded("no_change"))
    for step in preview["steps"]:
        if step["urn"].endswith("::ibgw:gateway:Gateway::main"):
            step["oldState"]["inputs"]["version"] = "0.2.0"
    found = main_of(read("paper-plan", json.dumps(preview)))
    assert ([one.setting for one in found.reasons], found.version) == ([THIS_VERSION], None)


def test_a_setting_that_only_one_version_knows_is_a_reason_once_somebody_sets_it() -> None:
    """Out of a state whose components lack what this version's have by default, and have what it no longer knows."""
    preview = json.loads(upgraded("no_change"))
    [component] = [step for step in preview["steps"] if step["urn"].endswith("::ibgw:gateway:Gateway::main")]
    old = component["oldState"]["inputs"]["settings"]
    del old["debug"], old["api"]["bypassWarnings"]
    old["gone"] = {"enabled": True}
    assert [one.setting for one in main_of(read("p", json.dumps(preview))).reasons] == [THIS_VERSION]
    component["newState"]["inputs"]["settings"]["debug"] = {"enabled": True}
    found = main_of(read("p", json.dumps(preview)))
    assert ([one.setting for one in found.reasons], found.version) == (["debug.enabled"], None)


def without(told: Any, setting: str) -> Any:
    key, _, inner = setting.partition(".")
    return {
        name: without(part, inner) if inner and name == key else part
        for name, part in told.items()
        if inner or name != key
    }


def every_default() -> dict[str, Any]:
    least = {"credentials": {"secretId": "x"}, "session": {"autoRestart": "23:59"}}
    told = settings.Gateway.model_validate(least).model_dump(mode="json", by_alias=True)
    more = {"clients": [{"container": "bot", "label": None}], "session": {**told["session"], "offline": OFFLINE}}
    return {**told, **more}


OFFLINE = {"from": "22:00", "until": "06:00"}


@pytest.mark.parametrize("setting", sorted({*every_setting(), "debug", "container"} - {"clients"}))
def test_a_key_that_a_version_adds_counts_with_its_default(setting: str) -> None:
    """Its value in the settings of this version, where nobody has set it."""
    told = every_default()
    expected = [] if setting not in NO_DEFAULT else [setting]
    assert changed_settings(completed(without(told, setting)), completed(told)) == expected


NO_DEFAULT = ("credentials.secretId", "session.autoRestart", "session.offline")
"""Set here, or required."""


def test_a_key_that_a_version_adds_or_drops_is_silent_inside_of_lists_and_of_what_may_be_absent() -> None:
    told, older = every_default(), every_default()
    older["clients"] = [{"container": "bot", "gone": True}]
    older["session"]["offline"] = {**OFFLINE, "gone": 1}
    older["gone"] = {"enabled": True}
    older["api"]["gone"] = 1
    assert changed_settings(completed(older), completed(told)) == []
    older["clients"][0]["container"] = "other"
    assert changed_settings(completed(older), completed(told)) == ["clients"]


def test_a_version_that_changes_nothing_in_the_container_is_no_change() -> None:
    preview = json.loads(upgraded("no_change"))
    preview["steps"] = [
        {**step, "op": "same"} if "$docker:index/container:Container::main" in step["urn"] else step
        for step in preview["steps"]
    ]
    for step in preview["steps"]:
        step.pop("diffReasons", None)
        step.pop("replaceReasons", None)
    assert human(read("paper-plan", json.dumps(preview))) == "paper-plan: no change"


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePulumi:
    return install(tmp_path / "bin", monkeypatch, sys.executable)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 0),
        (["--fail-on", "replace"], 0),
        (["--fail-on", "any"], 9),
    ],
)
def test_the_command_exits_with_9_where_its_gate_is_hit(
    words: list[str], code: int, pulumi: FakePulumi, capsys: pytest.CaptureFixture[str]
) -> None:
    pulumi.answers({"preview": (0, (PREVIEWS / "memory.json").read_text(), "")})
    assert cli.run(["plan", "--stack", "paper-plan", *words]) == code
    assert "because of resources.memory (in place)" in capsys.readouterr().out
    [(called, _)] = pulumi.calls
    assert called[:3] == ["preview", "--json", "--show-sames"]
    assert "--show-secrets" not in called


def test_the_command_passes_the_preview_s_warnings_on_beside_the_plan(
    pulumi: FakePulumi, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the CLI 3.256 prints `pulumi.log.warn`: among the diagnostics, as info."""
    said = [
        {"message": "warning: not read: the values\n\n", "severity": "info#err"},
        {"message": "Loading policy packs", "severity": "info"},
    ]
    preview = {**json.loads((PREVIEWS / "no_change.json").read_text()), "diagnostics": said}
    pulumi.answers({"preview": (0, json.dumps(preview), "")})
    assert cli.run(["plan", "--stack", "paper-plan"]) == 0
    told = capsys.readouterr()
    assert told.out == "paper-plan: no change\n"
    assert told.err == "warning: not read: the values\n"


def test_the_command_line_knows_every_format() -> None:
    """It has names of its own, so that `ibgw --help` does not import what makes plans."""
    assert {known.value for known in command.Format} == set(RENDERERS)


def test_a_preview_that_was_refused_is_told_in_its_own_words(
    pulumi: FakePulumi, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the CLI 3.256 prints it: nothing on standard error, and the reason in pieces among the diagnostics."""
    said = [
        {"message": "warning: something else", "severity": "warning"},
        {"message": "error: the configuration of stack 'paper' was refused:\n\n", "severity": "info#err"},
        {"message": "  - ibgw:image: found 1\n\n", "severity": "info#err"},
    ]
    pulumi.answers({"preview": (255, json.dumps({"diagnostics": said}), "")})
    assert cli.run(["plan", "--stack", "paper"]) == 5
    told = capsys.readouterr().err
    assert "error: the configuration of stack 'paper' was refused:" in told
    assert "  - ibgw:image: found 1" in told
    assert "something else" not in told


# Every setting of a gateway: other settings that it needs first, what it is changed to, and what that must lead to.
# The effects are literals: what Docker can change in place (memory), what only the verification and clients read, and
# all the rest, which the container is created with.
OPTION = {
    f"checks.marketData.contract.{key}": value
    for key, value in {"secType": "OPT", "expiry": "202612", "strike": 600, "right": "C"}.items()
}
TOTP = {"method": "totp", "secretId": "ibgw/paper/seed"}
SETTINGS: dict[str, tuple[dict[str, Any], Any, str]] = {
    "credentials.secretId": ({}, "ibgw/paper/other", "replaces"),
    "credentials.versionId": ({}, "11111111-2222-3333-4444-555555555555", "nothing"),
    "account.expected": ({}, ["DU1234567"], "nothing"),
    "api.readOnly": ({}, True, "replaces"),
    "api.acceptIncoming": ({}, "accept", "replaces"),
    "api.allowBlindTrading": ({}, True, "replaces"),
    "api.bypassWarnings": ({}, True, "replaces"),
    "api.masterClientId": ({}, 7, "replaces"),
    "apiSubnet": ({}, "10.213.15.240/28", "replaces"),
    "session.existingSession": ({}, "secondary", "replaces"),
    "session.timeZone": ({}, "America/Chicago", "replaces"),
    "session.autoRestart": ({}, "23:00", "replaces"),
    "session.autoLogoff": ({"session.autoRestart": None, "session.autoLogoff": "21:00"}, "22:00", "replaces"),
    "session.coldRestart": ({}, "08:00", "replaces"),
    "session.offline": ({}, {"from": "22:00", "until": "06:00"}, "replaces"),
    "session.heal": ({}, False, "replaces"),
    "session.saveSettings": ({}, "1h", "replaces"),
    "secondFactor.method": ({}, "push", "nothing"),
    "secondFactor.device": ({"secondFactor.method": "push"}, "IB Key", "replaces"),
    "secondFactor.secretId": ({"secondFactor": TOTP}, "another", "nothing"),
    "secondFactor.anyClock": ({"secondFactor": TOTP}, True, "nothing"),
    "secondFactor.onTimeout": ({}, "restart", "replaces"),
    "secondFactor.relogin": ({"secondFactor.method": "push"}, True, "replaces"),
    "secondFactor.exitInterval": ({}, "90s", "replaces"),
    "resources.javaHeap": ({}, 800, "replaces"),
    "resources.memory": ({}, 2048, "in_place"),
    "container.probeInterval": ({}, "45s", "replaces"),
    "container.stopGrace": ({}, "60s", "replaces"),
    "container.logMaxSize": ({}, "20m", "replaces"),
    "container.logMaxFiles": ({}, 3, "replaces"),
    "container.labels": ({}, ["team=quant"], "replaces"),
    "debug.enabled": ({}, True, "replaces"),
    "checks.accountAccess.level": ({}, "off", "nothing"),
    "checks.marketData.level": ({}, "off", "nothing"),
    "checks.marketData.contract.symbol": ({}, "QQQ", "nothing"),
    "checks.marketData.contract.secType": ({}, "CFD", "nothing"),
    "checks.marketData.contract.exchange": ({}, "ARCA", "nothing"),
    "checks.marketData.contract.currency": ({}, "EUR", "nothing"),
    "checks.marketData.contract.conId": ({}, 756733, "nothing"),
    "checks.marketData.contract.localSymbol": ({}, "SPY", "nothing"),
    "checks.marketData.contract.primaryExchange": ({}, "ARCA", "nothing"),
    "checks.marketData.contract.tradingClass": ({}, "SPY", "nothing"),
    "checks.marketData.contract.expiry": (OPTION, "20261218", "nothing"),
    "checks.marketData.contract.strike": (OPTION, 610, "nothing"),
    "checks.marketData.contract.right": (OPTION, "P", "nothing"),
    "checks.marketData.contract.multiplier": (OPTION, "10", "nothing"),
    "checks.orderCapability.level": ({}, "off", "nothing"),
    "clients": ({}, [{"container": "bot"}], "nothing"),
}


def test_every_setting_of_a_gateway_has_a_row() -> None:
    assert set(SETTINGS) == set(every_setting())


def gateway_of(changes: dict[str, Any]) -> tuple[spec.GatewaySpec, dict[str, Any]]:
    loaded = settings.load("paper", changed("paper", {f"{MAIN}.{key}": value for key, value in changes.items()}))
    found = spec.describe(loaded, project="ibgw", stack="paper", image=loaded.image).gateways["main"]
    return found, found.settings.model_dump(mode="json", by_alias=True)


def differing(before: ContainerSpec, after: ContainerSpec) -> set[Update]:
    """What an update does with what differs between the two. A changed probe replaces, since it must not be recorded
    only."""
    old, new = (facts_of_inputs(CONTAINER, declared(CONTAINER, part)) for part in (before, after))
    rows = [row for row in CONTAINER if old[row.name] != new[row.name]]
    return {Update.REPLACES if row.update is Update.RECORDS and row.inspect else row.update for row in rows}


def test_codes_that_are_turned_on_or_off_replace() -> None:
    """Alone among the methods: a gateway has its display on a volume then."""
    (without, old), (with_codes, new) = gateway_of({}), gateway_of({"secondFactor": TOTP})
    assert Update.REPLACES in differing(without.container, with_codes.container)
    assert turns_codes_on_or_off(old, new)
    assert turns_codes_on_or_off(new, old)
    assert not turns_codes_on_or_off(new, new)
    assert not turns_codes_on_or_off({}, old)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_effect_of_a_setting_is_what_the_specification_makes_of_it(setting: str) -> None:
    first, value, effect = SETTINGS[setting]
    before, old = gateway_of(first)
    after, new = gateway_of({**first, setting: value})
    assert changed_settings(old, new) == [setting]
    assert effect_of(setting) == effect
    changed_in = differing(before.container, after.container)
    if before.networks != after.networks:
        changed_in.add(Update.REPLACES)
    assert (
        changed_in
        == {
            "nothing": set(),
            "in_place": {Update.IN_PLACE},
            # What goes along with it is for the provider alone: the grace at a removal.
            "replaces": {Update.REPLACES} | (changed_in & {Update.RECORDS}),
        }[effect]
    )


def test_the_document_has_the_table_of_all_effects() -> None:
    document = (Path(__file__).parents[2] / "docs" / "plan.md").read_text()
    assert effects_table() in document
