"""The contract and the configuration, read through the Pulumi CLI, and the CLI's complaints in our words."""

import io
import json
import sys
from pathlib import Path

import pytest

from deployment.errors import IbgwError
from operations.stack import (
    Configured,
    Stack,
    StackLockedError,
    choose_gateway,
    choose_gateways,
    parse_contract,
    read_contract,
)
from tests.leaks import leaks
from tests.unit.commands import check_text
from tests.unit.operations_contract import contract_document, contract_json, outputs_json
from tests.unit.operations_pulumi import FakePulumi, install


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePulumi:
    return install(tmp_path / "pulumi", monkeypatch, sys.executable)


def test_contract_is_read_from_the_stacks_output(pulumi: FakePulumi) -> None:
    pulumi.answers({"stack output --json --stack paper": (0, outputs_json(), "")})
    assert Stack("paper").deployment().gateways["main"].api.port == 4004
    [(words, stdin)] = pulumi.calls
    assert "--non-interactive" in words
    assert "--show-secrets" not in words
    assert stdin == ""


def test_contract_is_read_from_a_file_without_pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "contract.json").write_text(contract_json())
    assert read_contract(tmp_path / "contract.json").stack == "paper"


def test_contract_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(contract_json()))
    assert read_contract(Path("-")).stack == "paper"


def test_missing_contract_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(IbgwError, match=r"nowhere\.json: cannot be read") as refusal:
        read_contract(tmp_path / "nowhere.json")
    assert refusal.value.exit_code == 5


def test_wrong_contract_is_explained_by_key_and_not_by_value() -> None:
    document = contract_document()
    document["gateways"]["main"]["container"]["id"] = "do-not-show-me"
    document["surprise"] = "nor-me"
    with pytest.raises(IbgwError) as refusal:
        parse_contract(json.dumps(document), "the contract in x")
    message = str(refusal.value)
    assert "gateways.main.container.id" in message
    assert "surprise" in message
    assert "do-not-show-me" not in message
    assert "nor-me" not in message
    assert refusal.value.exit_code == 5


def test_a_stack_without_the_output_was_never_deployed(pulumi: FakePulumi) -> None:
    pulumi.answers({"stack output --json": (0, '{"other": 1}', "")})
    assert not Stack("paper").deployed()
    with pytest.raises(IbgwError, match=r"no output 'contract' yet.*pulumi up --stack paper") as refusal:
        Stack("paper").deployment()
    assert refusal.value.exit_code == 5


@pytest.mark.parametrize(
    ("stack", "command"),
    [
        ("paper", "pulumi up --stack paper"),
        ("paper-two", "pulumi up --stack paper-two"),
        # Live runs only what was promoted.
        ("live", "ibgw promote --to live"),
        ("live-two", "ibgw promote --to live-two"),
    ],
)
def test_what_was_never_deployed_is_deployed_by_what_can_deploy_it(
    pulumi: FakePulumi, stack: str, command: str
) -> None:
    pulumi.answers({"stack output --json": (0, "{}", "")})
    with pytest.raises(IbgwError) as refusal:
        Stack(stack).deployment()
    assert [*check_text(str(refusal.value))] == [command]


STACKS = json.dumps([{"name": "paper"}, {"name": "org/ibgw/live"}, {"name": "live-two"}])


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("papr", "paper"),
        ("Paper", "paper"),
        ("paper1", "paper"),
        ("lvie", "live"),
        ("live2", "live"),
        ("livetwo", "live-two"),
    ],
)
def test_a_stack_that_is_not_there_names_the_one_that_was_meant(pulumi: FakePulumi, name: str, meant: str) -> None:
    pulumi.answers(
        {"stack ls --json": (0, STACKS, ""), "stack output": (1, "", f"error: no stack named '{name}' found\n")}
    )
    with pytest.raises(IbgwError) as refusal:
        Stack(name).deployment()
    said = str(refusal.value)
    assert f"There is no stack {name!r} in this backend. Did you mean {meant!r}? Then say --stack {meant}." == said
    assert [*check_text(said)] == [], "nothing of another name is deployed"


def test_a_stack_that_is_like_none_is_not_deployed_either(pulumi: FakePulumi) -> None:
    pulumi.answers({"stack ls --json": (0, STACKS, ""), "stack output": (1, "", "error: no stack named 'x' found\n")})
    with pytest.raises(IbgwError, match="There are: live, live-two, paper") as refusal:
        Stack("staging").deployment()
    assert [*check_text(str(refusal.value))] == []


@pytest.mark.parametrize("answer", [(1, "", "error: no backend"), (0, "no JSON", ""), (0, "[]", "")])
def test_a_stack_that_is_configured_and_not_made_yet_is_made_first(
    pulumi: FakePulumi, answer: tuple[int, str, str]
) -> None:
    for stack in ("paper", "live"):
        (pulumi.home / f"Pulumi.{stack}.yaml").touch()
    for stack, command in (("paper", "pulumi up --stack paper"), ("live", "ibgw promote --to live")):
        pulumi.answers({"stack ls": answer, "stack output": (1, "", f"error: no stack named '{stack}' found\n")})
        with pytest.raises(IbgwError) as refusal:
            Stack(stack).deployment()
        assert [*check_text(str(refusal.value))] == [f"pulumi stack init {stack}", command]


# The CLI's own words; tests/engine/test_cli_failures.py has the CLI say them.
@pytest.mark.parametrize(
    ("complaint", "expected", "code"),
    [
        ("error: no stack named 'paper' found", "There is no stack 'paper'", 5),
        ("error: the stack is currently locked by 1 lock(s). Either wait", "ibgw repair --stack paper", 7),
        ("error: [409] Conflict: Another update is currently in progress.", "ibgw repair --stack paper", 7),
        ("warning: noise\nerror: something new", "It said: error: something new", 5),
        (
            "error: PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI",
            "`pulumi login s3://BUCKET`",
            5,
        ),
        (
            "error: 1 error occurred:\n\t* Unable to inspect volume: broken\n",
            "It said: error: 1 error occurred: * Unable to inspect volume: broken",
            5,
        ),
    ],
)
def test_pulumis_complaints_say_what_to_do(pulumi: FakePulumi, complaint: str, expected: str, code: int) -> None:
    pulumi.answers({"stack output": (1, "", complaint + "\n")})
    with pytest.raises(IbgwError) as refusal:
        Stack("paper").deployment()
    assert expected in str(refusal.value)
    assert refusal.value.exit_code == code


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("config:\n\tibgw:mode: paper\n", "line 2 is indented with a tab"),
        ('config:\n  ibgw:mode: "paper\n  other: s3cret\n', "a quote that opens in line 2 is never closed"),
        ("config:\n  ibgw:mode: 'a' b\n", "line 2: .* a quote, colon or bracket is missing"),
        ("config:\n  ibgw:gateways: {main: {}\n", r"a \{ that opens in line 2 is never closed"),
        ("config:\n  ibgw:gateways: [s3cret\n  x: y\n", r"a \[ that opens in line 2 is never closed"),
        ("config: " + "[" * 5000, "it is nested too deeply"),
        ("config:\n  x: *s3cret\n", "line 2: found undefined alias a text"),
    ],
)
def test_a_stacks_file_that_is_not_yaml_is_told_with_its_name_and_the_reason(
    pulumi: FakePulumi, text: str, reason: str
) -> None:
    (pulumi.home / "Pulumi.paper.yaml").write_text(text)
    pulumi.answers({"stack output": (255, "", "error: getting stack configuration: invalid YAML file\n")})
    with pytest.raises(IbgwError, match=rf"Pulumi\.paper\.yaml is not YAML: {reason}") as refusal:
        Stack("paper").deployment()
    assert leaks(str(refusal.value), "s3cret") == []


def test_a_failure_outside_of_a_project_says_so(
    pulumi: FakePulumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulumi.answers({"stack output": (1, "", "error: whatever the CLI says then\n")})
    monkeypatch.delenv("PULUMI_OPTION_CWD")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IbgwError, match=r"folder that holds Pulumi\.yaml"):
        Stack("paper").deployment()


NOTHING_BUT = json.dumps(
    {
        "diagnostics": [
            {"message": "warning: noise\n", "severity": "warning"},
            {"message": "error: refused\n", "severity": "info#err"},
        ]
    }
)


def test_a_failed_preview_gives_its_errors_whatever_else_is_said(pulumi: FakePulumi) -> None:
    pulumi.answers({"preview": (1, NOTHING_BUT, "warning: using pulumi-language-python from $PATH\n")})
    with pytest.raises(IbgwError, match=r"preview of stack 'paper' failed.* It said: error: refused\n"):
        Stack("paper").preview()


def test_a_preview_that_fails_without_uv_says_so(pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch) -> None:
    pulumi.answers({"preview": (1, NOTHING_BUT, "")})
    (pulumi.home / "uv").unlink()
    monkeypatch.setenv("PATH", str(pulumi.home))
    with pytest.raises(IbgwError, match="no `uv` on PATH in this shell"):
        Stack("paper").preview()


def test_missing_pulumi_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(IbgwError, match="no `pulumi` on PATH") as refusal:
        Stack("paper").deployment()
    assert refusal.value.exit_code == 5


def test_docker_host_and_prefix_come_from_the_configuration(pulumi: FakePulumi) -> None:
    settings = {
        "ibgw:dockerHost": {"value": "ssh://me@host", "secret": False},
        "ibgw:namePrefix": {"value": "mine", "secret": False},
        "ibgw:other": {"secret": True},
    }
    pulumi.answers({"config --json --stack paper": (0, json.dumps(settings), "")})
    assert Stack("paper").configured() == Configured(docker_host="ssh://me@host", name_prefix="mine")


def test_a_stack_without_a_prefix_has_the_default_one(pulumi: FakePulumi) -> None:
    pulumi.answers({"config --json": (0, '{"ibgw:dockerHost": {"value": "ssh://me@host"}}', "")})
    # docs/reference.md: the default of ibgw:namePrefix.
    assert Stack("paper").configured() == Configured(docker_host="ssh://me@host", name_prefix="ibgw")


def test_missing_setting_is_named_with_its_remedy(pulumi: FakePulumi) -> None:
    pulumi.answers({"config --json": (0, '{"ibgw:namePrefix": {"value": "mine"}}', "")})
    with pytest.raises(IbgwError, match=r"ibgw:dockerHost is missing.*pulumi config set ibgw:dockerHost") as refusal:
        Stack("paper").configured()
    assert refusal.value.exit_code == 7
    [command] = check_text(str(refusal.value))
    assert command == "pulumi config set ibgw:dockerHost unix:///var/run/docker.sock --stack paper"


def test_pending_operations_are_cleared_by_importing_the_unchanged_export(pulumi: FakePulumi) -> None:
    pulumi.answers({"stack export": (0, "the state", ""), "stack import": (0, "Import complete.", "")})
    Stack("paper").clear_pending()
    assert [(words[:2], stdin) for words, stdin in pulumi.calls] == [
        (["stack", "export"], ""),
        (["stack", "import"], "the state"),
    ]
    assert all("--show-secrets" not in words for words, _ in pulumi.calls)


def test_a_locked_stack_is_its_own_error(pulumi: FakePulumi) -> None:
    pulumi.answers(
        {"stack export": (0, "{}", ""), "stack import": (1, "", "error: the stack is currently locked by 1")}
    )
    with pytest.raises(StackLockedError):
        Stack("paper").clear_pending()


def test_forgetting_refreshes_the_named_objects_and_nothing_else(pulumi: FakePulumi) -> None:
    pulumi.answers({"refresh": (0, "", "")})
    Stack("paper").refresh(["urn:a", "urn:b"])
    [(words, _)] = pulumi.calls
    assert words[0] == "refresh"
    assert [words[at + 1] for at, word in enumerate(words) if word == "--target"] == ["urn:a", "urn:b"]


def test_choosing_gateways() -> None:
    deployment = parse_contract(contract_json("main", "other"), "x")
    assert [gateway.name for gateway in choose_gateways(deployment, [])] == ["main", "other"]
    assert [gateway.name for gateway in choose_gateways(deployment, ["other"])] == ["other"]
    assert choose_gateway(deployment, "other").name == "other"
    assert choose_gateway(parse_contract(contract_json(), "x"), None).name == "main"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("typo", r"no such gateway, only main, other\.$"),
        ("mian", r"only main, other\. Did you mean 'main'\?$"),
        ("Other1", r"Did you mean 'other'\?$"),
        (None, "several gateways"),
    ],
)
def test_an_open_or_wrong_choice_of_gateway_is_bad_usage(name: str | None, message: str) -> None:
    deployment = parse_contract(contract_json("main", "other"), "x")
    with pytest.raises(IbgwError, match=message) as refusal:
        choose_gateway(deployment, name)
    assert refusal.value.exit_code == 2


def test_an_update_of_targets_gets_them_and_the_stack_s_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pulumi"
    program.write_text(f'#!/bin/sh\necho "$IBGW_TRIED $*" >> {tmp_path}/calls\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "stderr", (tmp_path / "stderr").open("w"))
    stack = Stack("paper", environment={"IBGW_TRIED": "yes"})
    assert stack.up(["urn:a", "urn:b"])
    stack.export_state()
    first, second = (tmp_path / "calls").read_text().splitlines()
    assert first.startswith("yes up --yes ")
    assert "--target urn:a --target urn:b" in first
    assert second.startswith("yes stack export")


def test_a_preview_of_a_refresh_works_where_confirmations_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine refuses `--preview-only` with that."""
    program = tmp_path / "pulumi"
    program.write_text('#!/bin/sh\n[ "$PULUMI_SKIP_CONFIRMATIONS" = true ] && exit 1\necho "{}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("PULUMI_SKIP_CONFIRMATIONS", "true")
    assert Stack("paper").refresh_preview() == "{}\n"
