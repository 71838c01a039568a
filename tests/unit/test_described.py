"""What a stack is when the cloud refuses to say: the kept description, held against the Docker host."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from deployment.description import Deployment
from deployment.docker_address import LOCAL
from deployment.errors import IbgwError
from deployment.kept import keep
from deployment.paths import kept_file
from deployment.tables import Kind
from healthcheck import docker_host, runner
from operations import cli, described, verification
from operations.described import described as describe
from operations.stack import Stack, StateUnreadableError
from tests.unit.fake_docker import FakeDocker
from tests.unit.operations_contract import contract_document, outputs_json
from tests.unit.operations_pulumi import FakePulumi, install
from tests.unit.promotion_reports import report

# What the CLI says where a file's, S3's and the service's backend is away, and where the key of the secrets is refused.
REFUSALS = {
    "file": "error: unable to open bucket file:///gone: open /gone: no such file or directory",
    "s3": "error: read \".pulumi/meta.yaml\": blob (code=Unknown): operation error S3: GetObject, https response error "
    "StatusCode: 403, AccessDenied",
    "unreachable": "error: could not query endpoint: dial tcp 127.0.0.1:9: connect: connection refused",
    "kms": "error: secrets (code=PermissionDenied): operation error KMS: Decrypt, AccessDeniedException",
    "passphrase": "error: constructing secrets manager of type \"passphrase\": unable to find either "
    "`PULUMI_CONFIG_PASSPHRASE` or `PULUMI_CONFIG_PASSPHRASE_FILE`",
    "login": "error: PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI sessions",
}  # fmt: skip
LABELS = {
    "ibgw.managed-by": "pulumi", "ibgw.prefix": "ibgw", "ibgw.project": "ibgw", "ibgw.stack": "paper",
    "ibgw.role": "gateway", "ibgw.mode": "paper",
}  # fmt: skip


class Host(FakeDocker):
    def add(self, gateway: str, container_id: str, *, name: str | None = None, **labels: str) -> None:
        named = name or f"ibgw-paper-{gateway}"
        state = {"Status": "running", "Running": True, "StartedAt": "2026-11-22T18:00:00Z"}
        self.objects[Kind.CONTAINER][named] = {
            "Id": container_id,
            "Names": [f"/{named}"],
            "Labels": LABELS | {"ibgw.gateway": gateway} | labels,
            "State": state,
            "Config": {"StopTimeout": 75, "Cmd": []},
            "RestartCount": 0,
        }


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePulumi:
    return install(tmp_path / "pulumi", monkeypatch, sys.executable)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    made.add("main", "a" * 64)
    for module in (docker_host,):
        monkeypatch.setattr(module, "DockerHost", lambda _: made)
    return made


@pytest.fixture(params=[*REFUSALS.values()], ids=[*REFUSALS])
def refused(request: pytest.FixtureRequest, pulumi: FakePulumi) -> FakePulumi:
    """The stack paper, whose description was kept, and a cloud that refuses."""
    return refuse(pulumi, request.param)


def refuse(pulumi: FakePulumi, says: str = REFUSALS["file"]) -> FakePulumi:
    keep(Deployment.model_validate(contract_document()), pulumi.home)
    pulumi.answers({"": (255, "", says + "\n")})
    return pulumi


def test_whatever_refuses_the_kept_description_serves_and_that_is_said(refused: FakePulumi, host: Host) -> None:
    found = describe("paper")
    assert found.deployment == Deployment.model_validate(contract_document())
    note = found.note or ""
    assert "It said: error: " in note or "Nobody is logged in to a Pulumi backend" in note
    assert "paper.json" in note
    assert "all its gateways are there under their ids" in note
    assert "Not known: " in note


def test_nobody_waits_for_a_backend_that_says_nothing(
    pulumi: FakePulumi, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(pulumi)
    (pulumi.home / "pulumi").write_text("#!/bin/sh\nsleep 600\n")
    monkeypatch.setattr(described, "SECONDS", 0.5)
    assert "gave no answer within 0.5 s" in (describe("paper").note or "")


def test_what_the_backend_answers_is_kept_for_its_owner_alone(pulumi: FakePulumi) -> None:
    pulumi.answers({"stack output": (0, outputs_json("main", "other"), "")})
    assert describe("paper").note is None
    file = kept_file(pulumi.home, "paper")
    assert json.loads(file.read_text())["gateways"].keys() == {"main", "other"}
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [path.name for path in file.parent.iterdir()] == ["paper.json"]


def test_a_folder_that_cannot_be_written_is_said_and_no_reason_to_end(pulumi: FakePulumi) -> None:
    pulumi.answers({"stack output": (0, outputs_json(), "")})
    (pulumi.home / ".ibgw").write_text("in the way")
    found = describe("paper")
    assert found.deployment.stack == "paper"
    assert "cannot be written" in (found.note or "")


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("error: no stack named 'paper' found", "There is no stack"),
        ("error: the stack is currently locked by 1", "locked"),
    ],
)
def test_what_the_backend_says_of_the_stack_itself_counts(
    pulumi: FakePulumi, host: Host, says: str, expected: str
) -> None:
    refuse(pulumi)
    pulumi.answers({"stack output": (255, "", f"{says}\n"), "stack ls": (0, "[]", "")})
    with pytest.raises(IbgwError, match=expected) as found:
        describe("paper")
    assert not isinstance(found.value, StateUnreadableError)


def test_without_a_kept_description_both_are_said(pulumi: FakePulumi) -> None:
    pulumi.answers({"": (255, "", REFUSALS["kms"])})
    with pytest.raises(IbgwError, match=r"(?s)KMS.*Nor is a description of paper kept here"):
        describe("paper")


@pytest.mark.parametrize(("url", "client"), [(LOCAL, "docker"), ("ssh://me@box", "docker --host ssh://me@box")])
def test_nor_then_docker_s_own_commands_are_named_for_what_runs(
    pulumi: FakePulumi, host: Host, url: str, client: str
) -> None:
    """By the stack's file, which no backend has."""
    pulumi.answers({"": (255, "", REFUSALS["kms"])})
    (pulumi.home / "Pulumi.paper.yaml").write_text(json.dumps({"config": {"ibgw:dockerHost": url}}))
    host.add("second", "c" * 64)
    with pytest.raises(IbgwError) as found:
        describe("paper")
    assert f"`{client} stop ibgw-paper-main ibgw-paper-second`" in str(found.value)
    host.objects[Kind.CONTAINER].clear()
    with pytest.raises(IbgwError, match="No gateway on"):
        describe("paper")
    (pulumi.home / "Pulumi.paper.yaml").write_text("config: {}")
    with pytest.raises(IbgwError, match=r"docker ps --filter label=ibgw.stack=paper.*tells no ibgw:dockerHost"):
        describe("paper")


@pytest.mark.parametrize("text", ["", "{", "{}", json.dumps(contract_document(mode="live"))])
def test_a_kept_file_that_is_something_else_is_not_used(pulumi: FakePulumi, host: Host, text: str) -> None:
    refuse(pulumi)
    kept_file(pulumi.home, "paper").write_text(text)
    with pytest.raises(IbgwError, match=r"paper\.json"):
        describe("paper")


# --- held against the Docker host ---------------------------------------------------------------------------------


def test_a_container_that_was_made_anew_is_noticed_and_is_the_one_that_is_acted_on(
    pulumi: FakePulumi, host: Host
) -> None:
    refuse(pulumi)
    host.add("main", "e" * 64)
    found = describe("paper")
    assert found.deployment.gateways["main"].container.id == "e" * 64
    assert "main: its container was made anew since" in (found.note or "")


@pytest.mark.parametrize(
    "labels",
    [{"ibgw.stack": "paper-2"}, {"ibgw.prefix": "other"}, {"ibgw.role": "verifier"}, {"ibgw.project": "other"}],
)
def test_a_container_of_the_name_that_is_not_the_stacks_is_not_taken(
    pulumi: FakePulumi, host: Host, labels: dict[str, str]
) -> None:
    refuse(pulumi)
    host.add("main", "e" * 64, **labels)
    found = describe("paper")
    assert found.deployment.gateways["main"].container.id == "a" * 64
    assert "main: no container of this stack has its name" in (found.note or "")


def test_labels_alone_make_nothing_a_gateway(pulumi: FakePulumi, host: Host) -> None:
    refuse(pulumi)
    host.add("main", "e" * 64, name="a-stranger")
    found = describe("paper")
    assert found.deployment.gateways["main"].container.id == "a" * 64
    assert "all its gateways are there" in (found.note or "")


def test_a_gateway_that_came_since_is_named(pulumi: FakePulumi, host: Host) -> None:
    refuse(pulumi)
    host.add("second", "d" * 64)
    note = describe("paper").note or ""
    assert "second: runs on the host and is not described" in note


# --- the commands -------------------------------------------------------------------------------------------------

WORK: dict[str, Sequence[str]] = {
    "status": ["status"],
    "stop": ["stop"],
    "start": ["start"],
    "restart": ["restart"],
    "logs": ["logs"],
    "doctor": ["doctor"],
    "verify": ["verify", "--wait", "0s"],
    "env": ["env"],
}


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def verify(*_: Any, **__: Any) -> Any:
        return report(stack="paper")

    for module, name in ((runner, "look"), (runner, "verify"), (verification, "verify")):
        monkeypatch.setattr(module, name, verify)
    return verify


@pytest.mark.parametrize("words", WORK.values(), ids=WORK)
def test_they_work_without_the_cloud_and_say_so(
    pulumi: FakePulumi, host: Host, looked: Any, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    refuse(pulumi)
    host.objects[Kind.CONTAINER]["ibgw-paper-main"]["Id"] = "a" * 64
    assert cli.run([*words, "--stack", "paper"]) == 0
    assert "Going by the description of" in capsys.readouterr().err


def test_json_says_so_too(pulumi: FakePulumi, host: Host, looked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    refuse(pulumi)
    told = []
    for words in (["status", "--json"], ["doctor", "--json"], ["verify", "--wait", "0s", "--json"]):
        cli.run([*words, "--stack", "paper"])
        told.append(json.loads(capsys.readouterr().out))
    status, findings, verified = told
    of_host = findings["host"][0]
    assert of_host["topic"] == "description"
    for note in (status["stacks"][0]["description"], of_host["found"], verified["note"]):
        assert "Going by the description of" in note


NEVER: dict[str, Sequence[str]] = {
    "plan": ["plan", "--stack", "paper"],
    "rollout": ["rollout", "--stack", "paper"],
    "rollout of live": ["rollout", "--stack", "live"],
    "drift": ["drift", "--stack", "paper"],
    "promote": ["promote", "--from", "paper", "--to", "live", "--during-market"],
    "rollback": ["rollback", "--stack", "live", "--during-market"],
    "releases": ["releases", "--stack", "live"],
    "repair": ["repair", "--stack", "paper", "--yes"],
}


@pytest.mark.parametrize("words", NEVER.values(), ids=NEVER)
def test_what_changes_what_is_deployed_never_goes_by_it(
    pulumi: FakePulumi, host: Host, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(pulumi)
    keep(Deployment.model_validate(contract_document(mode="live")), pulumi.home)
    assert cli.run(words) in (5, 7)
    assert "Going by the description" not in capsys.readouterr().err
    assert host.done == []


def test_an_update_reads_the_state_alone(pulumi: FakePulumi) -> None:
    refuse(pulumi)
    with pytest.raises(StateUnreadableError):
        Stack("paper").deployment()


def test_the_description_s_time_is_when_it_was_last_seen_to_be_right(pulumi: FakePulumi) -> None:
    deployment = Deployment.model_validate(contract_document())
    keep(deployment, pulumi.home)
    before = kept_file(pulumi.home, "paper").stat().st_mtime_ns
    time.sleep(0.01)
    keep(deployment, pulumi.home)
    assert kept_file(pulumi.home, "paper").stat().st_mtime_ns > before
