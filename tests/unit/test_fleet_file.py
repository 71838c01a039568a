"""Many gateways in one file: what holds for all, what one has of its own, and where a fault stands."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployment.description import Mode
from deployment.errors import ExitCode, IbgwError
from infra.account.settings import secrets_of
from infra.settings import Settings, load
from infra.settings_reference import gateways_schema, schema
from operations import known_here
from operations.promotion.checkout import GATEWAYS_FILE
from sandbox import project
from tests.unit.test_settings import REMOVED, changed

FILE = "gateways.paper.yaml"
DEFAULTS = {"session": {"autoRestart": "23:59"}, "resources": {"javaHeap": 1024, "memory": 2048}}
OURS = {GATEWAYS_FILE: FILE, "ibgw:gatewayDefaults": DEFAULTS, "ibgw:gateways": REMOVED}


def one(name: str, more: str = "") -> str:
    return f"{name}: {{credentials: {{secretId: ibgw/paper/{name}}}{more}}}\n"


def loaded(folder: Path, text: str, changes: dict[str, Any] | None = None) -> Settings:
    (folder / FILE).write_text(text, encoding="utf-8")
    return load("paper", changed("paper", OURS | (changes or {})), folder)


def refused(folder: Path, text: str, changes: dict[str, Any] | None = None) -> str:
    with pytest.raises(IbgwError) as refusal:
        loaded(folder, text, changes)
    assert refusal.value.exit_code is ExitCode.REFUSED
    return str(refusal.value)


def test_a_hundred_gateways_are_a_hundred_lines(tmp_path: Path) -> None:
    lines = [one(f"follower-{n:03}", f", account: {{expected: [DU{n:07}]}}") for n in range(100)]
    found = loaded(tmp_path, "".join(lines)).gateways
    assert len(found) == 100
    assert found["follower-042"].account.expected == ("DU0000042",)
    assert {gateway.resources.memory for gateway in found.values()} == {2048}


def test_what_is_nearer_to_a_gateway_wins_mappings_are_merged_and_lists_replaced(tmp_path: Path) -> None:
    defaults = DEFAULTS | {"container": {"labels": ["a=1", "b=2"], "logMaxFiles": 7}, "api": {"readOnly": True}}
    own = {"b": {"resources": {"memory": 4096}}, "c": {"credentials": {"secretId": "ibgw/paper/c"}}}
    text = one("a", ", container: {labels: [c=3]}") + one("b", ", resources: {javaHeap: 512}, api: {readOnly: false}")
    found = loaded(tmp_path, text, {"ibgw:gatewayDefaults": defaults, "ibgw:gateways": own}).gateways
    assert list(found) == ["a", "b", "c"]
    assert (found["a"].container.labels, found["a"].container.log_max_files) == (("c=3",), 7)
    assert (found["b"].resources.java_heap, found["b"].resources.memory) == (512, 4096)
    assert [gateway.api.read_only for gateway in found.values()] == [True, False, True]


def test_a_null_takes_a_default_away_and_a_name_alone_has_them_all(tmp_path: Path) -> None:
    found = loaded(tmp_path, one("a", ', session: {autoRestart: null, autoLogoff: "22:00"}')).gateways["a"]
    assert (found.session.auto_restart, found.session.auto_logoff) == (None, "22:00")
    only = DEFAULTS | {"credentials": {"secretId": "ibgw/paper/b"}}
    assert loaded(tmp_path, "b:\n", {"ibgw:gatewayDefaults": only}).gateways["b"].session.auto_restart == "23:59"
    assert "ibgw:gateways: found keys and values; expected at least one" in refused(tmp_path, "")


def test_words_and_times_are_as_the_engine_reads_them(tmp_path: Path) -> None:
    text = one("a", ", session: {autoRestart: 23:30, heal: false}, secondFactor: {method: push, device: no}")
    found = loaded(tmp_path, text).gateways["a"]
    assert (found.session.auto_restart, found.session.heal, found.second_factor.device) == ("23:30", False, "no")


def test_without_them_nothing_changes(tmp_path: Path) -> None:
    config = changed("paper", {})
    assert load("paper", config, tmp_path) == load("paper", config)
    with pytest.raises(IbgwError, match="ibgw:gateways: missing; set it"):
        load("paper", changed("paper", {"ibgw:gateways": REMOVED, "ibgw:gatewayDefaults": DEFAULTS}), tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (one("a") + one("b", ", resources: {memory: x}"), f"ibgw:gateways.b.resources.memory ({FILE}, line 2): found"),
        (one("a", ", sesion: {}"), f"ibgw:gateways.a.sesion ({FILE}, line 1): unknown key; did you mean session?"),
        ("a:\n  account: {}\n", f"ibgw:gateways.a.credentials ({FILE}, line 1): missing"),
        (
            "a:\n  credentials:\n    secretId: x\n  session:\n    autoLogoff: 22:00\n",
            f"ibgw:gateways.a.session ({FILE}, line 4, over ibgw:gatewayDefaults): set exactly one of",
        ),
        (one("a") + one("b").replace("/b", "/a"), f"gateways.b.credentials.secretId ({FILE}, line 2): gateway 'a'"),
        (one("a") + one("a"), f"ibgw:gatewaysFile: {FILE}, line 2: the key a is there twice"),
        ("a: {credentials\n b: [", f"ibgw:gatewaysFile: {FILE}, line 2"),
        ("a: &x {debug: {}}\nb: *x\n", f"ibgw:gatewaysFile: {FILE}, line 2: an anchor is used"),
        ("[a]: 1\n", f"ibgw:gatewaysFile: {FILE}, line 1: a list or a mapping stands for a key"),
        ("- a\n", f"ibgw:gatewaysFile: {FILE} holds no mapping; expected the gateways' names"),
        (one("a", f", resources: {{memory: {'9' * 5000}}}"), f"{FILE}, line 1: a number of thousands of digits"),
        (one("a", f", api: {'[' * 500}{']' * 500}"), "nested too deeply"),
        (one("a", ', secondFactor: {device: "a\\u200bb"}'), f"({FILE}, line 1): holds the character U+200B"),
        (one("A"), f"ibgw:gateways.A ({FILE}, line 1): found 'A'; expected a name of lower-case letters"),
        ("\x07", f"ibgw:gatewaysFile: {FILE} holds characters that YAML has not"),
    ],
)  # fmt: skip
def test_a_fault_names_the_file_and_the_line(tmp_path: Path, text: str, words: str) -> None:
    assert words in refused(tmp_path, text)


def test_a_fault_of_what_holds_for_all_is_named_there_and_once(tmp_path: Path) -> None:
    defaults = {"ibgw:gatewayDefaults": DEFAULTS | {"debug": {"enabled": "yes"}, "debugg": {}}}
    said = refused(tmp_path, one("a") + one("b") + one("c"), defaults).splitlines()[1:]
    assert said[0].startswith("  - ibgw:gatewayDefaults.debug.enabled: found 'yes'; expected true or false")
    assert said[1].startswith("  - ibgw:gatewayDefaults.debugg: unknown key; did you mean debug?")
    assert len(said) == 2


def test_a_fault_in_the_stack_s_own_file_is_named_as_ever(tmp_path: Path) -> None:
    own = {"ibgw:gateways": {"a": {"resources": {"memory": "many"}}}}
    assert "\n  - ibgw:gateways.a.resources.memory: found 'many'" in refused(tmp_path, one("a"), own)
    both = {"ibgw:gateways": {"a": {"session": {"autoLogoff": "22:00"}}}}
    assert "ibgw:gateways.a.session (over ibgw:gatewayDefaults): set exactly one" in refused(tmp_path, one("a"), both)
    assert "ibgw:gatewayDefaults: expected a gateway's settings" in refused(tmp_path, "", {"ibgw:gatewayDefaults": "x"})


@pytest.mark.parametrize(
    "name", ["../other.yaml", "/etc/passwd", "Pulumi.live.yaml", "gateways.json", ".yaml", "a/b.yaml"]
)
def test_the_file_lies_beside_the_stack_s_and_is_none_of_them(tmp_path: Path, name: str) -> None:
    said = refused(tmp_path, "", {GATEWAYS_FILE: name})
    assert f"ibgw:gatewaysFile: {name!r} is not the name of a YAML file beside Pulumi.yaml" in said


def test_a_file_that_is_not_there_is_told_with_its_place(tmp_path: Path) -> None:
    said = refused(tmp_path, "", {GATEWAYS_FILE: "none.yaml"})
    assert said == f"ibgw:gatewaysFile: none.yaml is not there; expected it in {tmp_path}, beside Pulumi.yaml"


def test_what_of_a_secret_is_mistyped_is_not_shown(tmp_path: Path) -> None:
    said = refused(tmp_path, "a: {credentials: hunter2, session: hunter3}\n")
    assert "hunter" not in said
    assert "hunter" not in refused(tmp_path, "a: {credentials: 'hunter2\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one stack, whose gateways are in a file."""
    (tmp_path / "Pulumi.yaml").write_text("name: ibgw\nmain: infra/\n")
    (tmp_path / FILE).write_text(one("a") + one("b", ", clients: [{container: bot}]"))
    config = {key: json.loads(text) if text[0] in "[{" else text for key, text in changed("paper", OURS).items()}
    (tmp_path / "Pulumi.paper.yaml").write_text(yaml.safe_dump({"config": config}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_account_makes_a_secret_for_each_of_them(folder: Path) -> None:
    assert secrets_of(folder, "us-east-1")[Mode.PAPER] == ["ibgw/paper/a", "ibgw/paper/b"]


def test_completion_knows_them(folder: Path) -> None:
    assert known_here.gateways("paper") == ["a", "b"]
    assert known_here.clients("paper") == ["bot"]
    (folder / FILE).unlink()
    assert known_here.gateways("paper") == []


def test_the_sandbox_has_them_in_one_file(folder: Path) -> None:
    tracked = project.read(folder / "Pulumi.paper.yaml")
    document = project.in_one(tracked, folder)
    assert not {GATEWAYS_FILE, "ibgw:gatewayDefaults"} & set(document["config"])
    config = {key: value if isinstance(value, str) else json.dumps(value) for key, value in document["config"].items()}
    assert load("paper", config).gateways == loaded(folder, (folder / FILE).read_text()).gateways
    assert [login.secret_id for login in project.logins(document)] == ["ibgw/paper/a", "ibgw/paper/b"]
    assert project.in_one(document, folder) is document


def test_editors_know_the_file_and_the_defaults() -> None:
    of_stack = schema()["properties"]["config"]
    assert of_stack["properties"]["ibgw:gatewayDefaults"]["$ref"] == "#/$defs/Gateway"
    assert {"required": ["ibgw:gatewaysFile"]} in of_stack["anyOf"]
    of_file = gateways_schema()
    assert of_file["patternProperties"] == of_stack["properties"]["ibgw:gateways"]["patternProperties"]
    # What it lacks may be told for all.
    assert "required" not in of_file["$defs"]["Gateway"]
