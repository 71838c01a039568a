"""What the account's program is told, and what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployment.description import Mode
from deployment.errors import ExitCode, IbgwError
from infra.account.settings import load, secrets_of

ROOT = Path(__file__).resolve().parents[2]
TRADER = "arn:aws:iam::111122223333:user/trader"
CONFIG = {
    "aws:region": "us-east-1",
    "ibgw-account:paper": json.dumps([TRADER]),
    "ibgw-account:live": json.dumps([TRADER]),
}


def test_the_people_and_the_repository() -> None:
    found = load({**CONFIG, "ibgw-account:repository": "example/gateways"})
    assert (found.people(Mode.PAPER), found.people(Mode.LIVE)) == ((TRADER,), (TRADER,))
    assert found.repository == "example/gateways"
    assert load(CONFIG).repository is None


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("live", "[]", "ibgw-account:live"),
        ("live", '["*"]', "ibgw-account:live.0: found '*'"),
        ("live", '["arn:aws:iam::111122223333:root"]', "ibgw-account:live.0"),
        ("live", '["arn:aws:iam::111122223333:user/*"]', "ibgw-account:live.0"),
        ("live", "[broken", "ibgw-account:live: found '[broken'"),
        ("repository", "gateways", "ibgw-account:repository"),
        ("repository", "example/*", "ibgw-account:repository"),
        ("repositories", "example/gateways", "ibgw-account:repositories: unknown key; did you mean repository?"),
        ("ports", "x", "ibgw-account:ports: unknown key; known here: "),
    ],
)
def test_a_wrong_key_is_named(key: str, value: str, said: str) -> None:
    with pytest.raises(IbgwError) as raised:
        load({**CONFIG, f"ibgw-account:{key}": value})
    assert said in str(raised.value)
    assert raised.value.exit_code is ExitCode.REFUSED


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("Pulumi.paper.yaml", "Pulumi.live.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def change(file: Path, changes: dict[str, Any]) -> None:
    document = yaml.safe_load(file.read_text())
    document["config"].update(changes)
    file.write_text(yaml.safe_dump(document))


def test_the_secrets_of_all_stack_files(project: Path) -> None:
    shutil.copy(project / "Pulumi.paper.yaml", project / "Pulumi.paper-two.yaml")
    gateways = yaml.safe_load((project / "Pulumi.paper.yaml").read_text())["config"]["ibgw:gateways"]
    second = {**gateways["main"], "credentials": {"secretId": "ibgw/paper/second"}}
    change(project / "Pulumi.paper-two.yaml", {"ibgw:gateways": {"main": gateways["main"], "second": second}})
    told = {"enabled": True, "notify": ["ibgw/live/mail"], "heartbeat": "ibgw/live/heartbeat"}
    change(project / "Pulumi.live.yaml", {"ibgw:monitoring": told})
    assert secrets_of(project, "us-east-1") == {
        Mode.PAPER: ["ibgw/paper/main", "ibgw/paper/second"],
        # Without those of who is told, a stack that is watched could not be deployed as its role.
        Mode.LIVE: ["ibgw/live/heartbeat", "ibgw/live/mail", "ibgw/live/main"],
    }


def test_no_stack_file_no_secret(tmp_path: Path) -> None:
    assert secrets_of(tmp_path, "us-east-1") == {Mode.PAPER: [], Mode.LIVE: []}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"aws:region": "eu-west-1"},
            "Pulumi.live.yaml: aws:region is 'eu-west-1', and that of the account 'us-east-1'",
        ),
        ({"ibgw:mode": "other"}, "the configuration of stack 'live' was refused:\n  - ibgw:mode: found 'other'"),
        ({"ibgw:unknown": "x"}, "ibgw:unknown: unknown key"),
    ],
)
def test_a_stack_file_that_does_not_fit_is_named(project: Path, changes: dict[str, Any], said: str) -> None:
    change(project / "Pulumi.live.yaml", changes)
    with pytest.raises(IbgwError, match=said):
        secrets_of(project, "us-east-1")


def test_a_secret_by_its_arn_is_refused(project: Path) -> None:
    file = project / "Pulumi.live.yaml"
    file.write_text(
        file.read_text().replace("ibgw/live/main", "arn:aws:secretsmanager:us-east-1:111122223333:secret:a-123456")
    )
    with pytest.raises(IbgwError, match=r"Pulumi.live.yaml: ibgw:gateways.main.credentials.secretId is an ARN") as said:
        secrets_of(project, "us-east-1")
    command = "Secret a arn:aws:secretsmanager:us-east-1:111122223333:secret:a-123456 --generate-code=false"
    assert "Write a, and take the secret over" in str(said.value)
    assert command in str(said.value)


@pytest.mark.parametrize(
    "text", ["", "config: 3", "a: b", "[", "config: {", "config: {a: 2026-13-45}", "config: " + "[" * 5000]
)
def test_a_file_that_is_no_stack_s_is_named(project: Path, text: str) -> None:
    (project / "Pulumi.paper.yaml").write_text(text)
    with pytest.raises(IbgwError, match=r"Pulumi.paper.yaml: no stack's file"):
        secrets_of(project, "us-east-1")
