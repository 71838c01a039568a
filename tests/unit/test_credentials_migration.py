"""`ibgw credentials migrate` and `policy`: where today's credentials are taken from, and what an identity may."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployment import iam
from deployment.description import Mode
from deployment.errors import ExitCode
from infra.secret_document import parse
from tests.leaks import leaks
from tests.unit.secrets_manager import Server
from tests.unit.test_credentials_tool import ANOTHER, NAME, PASSWORD, USER, everything, ibgw, pulumi, server

__all__ = ["everything", "ibgw", "pulumi", "server"]

Run = Callable[..., tuple[int, str, str]]


def taken(server: Server, ran: tuple[int, str, str]) -> tuple[str, str]:
    code, out, err = ran
    assert leaks(out + err, PASSWORD, USER) == []
    assert code == 0, err
    return parse(NAME, server.client().get_secret_value(SecretId=NAME)["SecretString"], Mode.PAPER)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env", f"TWS_USERID={USER}\nTWS_PASSWORD='{PASSWORD}' # mine\nTRADING_MODE=paper\n"),
        (".env", f"IB_USERNAME={USER}\nexport IB_PASSWORD={PASSWORD}\n"),
        (".env", f"TWS_USERID=live77\nTWS_PASSWORD={ANOTHER}\nTRADING_MODE=both\nTWS_USERID_PAPER={USER}\n"
         f"TWS_PASSWORD_PAPER={PASSWORD}\n"),
        ("old.json", json.dumps({"username": USER, "password": PASSWORD, "host": "db"})),
        ("old.json", "\ufeff" + json.dumps({"TWS_USERID": USER, "TWS_PASSWORD": PASSWORD})),
    ],
)  # fmt: skip
def test_from_a_file(server: Server, ibgw: Run, tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    assert taken(server, ibgw("migrate", "--stack", "paper", "--from", str(file))) == (USER, PASSWORD)


def test_from_the_guide_s_two_secrets_and_from_one_json(server: Server, ibgw: Run) -> None:
    client = server.client()
    client.create_secret(Name="ib-username", SecretString=f"{USER}\n")
    client.create_secret(Name="ib-password", SecretString=f"{PASSWORD}\n")
    client.create_secret(Name="one", SecretString=json.dumps({"user": USER, "password": ANOTHER}))
    words = ("migrate", "--stack", "paper", "--from-secret")
    code, out, _ = ibgw(*words, "ib-username", "--from-secret", "ib-password", "--dry-run", "--json")
    assert (code, json.loads(out)["version"]) == (0, None)
    assert taken(server, ibgw(*words, "ib-username", "--from-secret", "ib-password")) == (USER, PASSWORD)
    assert taken(server, ibgw(*words, "one")) == (USER, ANOTHER)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        (".env", f"TWS_USERID={USER}\n", "has none of password, TWS_PASSWORD"),
        (".env", f'TWS_USERID={USER}\nTWS_PASSWORD="a$$b{PASSWORD}"\n', "type it with `ibgw credentials put`"),
        (".env", f"TWS_USERID={USER}\nTWS_PASSWORD={PASSWORD}\nTRADING_MODE=live\n", "not of the mode 'paper'"),
        (".env", f"TWS_USERID_PAPER={USER}\nTWS_PASSWORD={PASSWORD}\n", "has none of TWS_PASSWORD_PAPER"),
        (".env", f"TWS_USERID={USER}\nTWS_PASSWORD=changeme\n", "password is a placeholder"),
        ("x.json", f"[{PASSWORD}", "holds no JSON object"),
    ],
)
def test_what_is_not_sure_is_refused(
    server: Server, ibgw: Run, tmp_path: Path, name: str, text: str, found: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    code, out, err = ibgw("migrate", "--stack", "paper", "--from", str(file))
    assert code == ExitCode.REFUSED
    assert found in err
    assert leaks(out + err, PASSWORD, USER) == []
    assert "CreateSecret" not in server.trail.actions


@pytest.mark.parametrize("words", [[], ["--from", ".env", "--from-secret", "a"], [*["--from-secret", "a"] * 3]])
def test_which_source_is_said(server: Server, ibgw: Run, words: list[str]) -> None:
    server.client().create_secret(Name="a", SecretString=USER)
    assert ibgw("migrate", "--stack", "paper", *words)[0] == ExitCode.BAD_USAGE


def test_the_policy_is_the_one_that_is_deployed(ibgw: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracked = Path(__file__).parents[2]
    for name in ("Pulumi.yaml", "Pulumi.paper.yaml", "Pulumi.live.yaml"):
        (tmp_path / name).write_bytes((tracked / name).read_bytes())
    monkeypatch.setenv("PULUMI_OPTION_CWD", str(tmp_path))
    secrets: Any = {Mode.PAPER: ["ibgw/paper/main"], Mode.LIVE: ["ibgw/live/main"]}
    account = iam.Account("111122223333", "us-east-1")
    for role in iam.Identity:
        code, out, _ = ibgw("policy", role, "--account", account.id, "--region", account.region)
        assert code == 0
        assert json.loads(out) == iam.policy(role, account, secrets)
    code, _, err = ibgw("policy", "ibgw-typo", "--account", account.id, "--region", account.region)
    assert code == ExitCode.BAD_USAGE
    assert "ibgw-plan-paper" in err
    for words in (("--account", "1", "--region", "us-east-1"), ("--account", account.id, "--region", "USA")):
        assert ibgw("policy", "ibgw-paper", *words)[0] == ExitCode.BAD_USAGE
