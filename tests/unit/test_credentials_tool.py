"""`ibgw credentials put`, `check` and `show` against the sandbox's Secrets Manager; and that nothing that they say, log
or raise shows a value."""

import json
import logging
import os
import pty
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from deployment.description import Mode
from deployment.errors import ExitCode, IbgwError
from infra.secret_document import parse
from operations import cli
from operations.credentials import checking, typed
from operations.credentials.secrets_manager import SecretsManager
from operations.stack import Stack
from tests.leaks import leaks
from tests.unit.secrets_manager import Server, emptied, served

NAME = "ibgw/paper/main"
USER = "somebody77"
PASSWORD = "hunter2Hunter"  # noqa: S105 - made up
ANOTHER = "other5Other"


def document(password: str = PASSWORD, user: str = USER, mode: str = "paper") -> str:
    return json.dumps({"user_id": user, "password": password, "trading_mode": mode})


def gateways(**credentials: str) -> dict[str, Any]:
    return {"main": {"credentials": {"secretId": NAME, **credentials}, "session": {"autoRestart": "23:59"}}}


def configuration(**changes: Any) -> str:
    values = {
        "aws:region": "us-east-1",
        "ibgw:mode": "paper",
        "ibgw:dockerHost": "unix:///var/run/docker.sock",
        "ibgw:image": "ghcr.io/gnzsnz/ib-gateway:10.45.1j",
        "ibgw:gateways": gateways(),
        **changes,
    }
    return json.dumps(
        {key: {"value": value if isinstance(value, str) else json.dumps(value)} for key, value in values.items()}
    )


@pytest.fixture(scope="module")
def everything() -> Iterator[Server]:
    with served() as server:
        yield server


@pytest.fixture
def server(everything: Server) -> Iterator[Server]:
    """With no secret in it."""
    with emptied(everything):
        yield everything


@pytest.fixture
def pulumi(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the engine's command line answers, by the first word of a command."""
    answers = {"config": configuration(), "stack": "{}"}
    monkeypatch.setattr(Stack, "_pulumi", lambda _stack, *words, **_options: answers[words[0]])
    return answers


@pytest.fixture
def ibgw(
    server: Server, pulumi: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Runs `ibgw credentials ...` with this on a descriptor: exit code, standard output and standard error."""

    def run(*words: str, given: str | bytes | None = None) -> tuple[int, str, str]:
        if given is not None:
            file = tmp_path / "given"
            file.write_bytes(given if isinstance(given, bytes) else given.encode())
            descriptor = os.open(file, os.O_RDONLY)
            words = (*words, "--fd", str(descriptor))
        code = cli.run(["credentials", *words])
        if given is not None:
            os.close(descriptor)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_put_makes_the_secret_and_then_adds_versions(server: Server, ibgw: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = ibgw("put", "--stack", "paper", "--json", given=document())
    made = json.loads(out)
    assert (code, made["action"]) == (0, "create")
    client = server.client()
    assert client.get_secret_value(SecretId=NAME)["VersionId"] == made["version"]
    code, out, _ = ibgw("put", "--stack", "paper", "--json", given=document(ANOTHER))
    added = json.loads(out)
    assert (code, added["action"]) == (0, "add")
    current = client.get_secret_value(SecretId=NAME)
    assert current["VersionId"] == added["version"]
    assert parse(NAME, current["SecretString"], Mode.PAPER) == (USER, ANOTHER)


def test_a_dry_run_writes_nothing(server: Server, ibgw: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = ibgw("put", "--stack", "paper", "--dry-run", given=document())
    assert code == 0
    assert "is to be made" in out
    assert server.client().list_secrets()["SecretList"] == []


@pytest.mark.parametrize("line", ["put paper", "check paper --json", "rotate paper --gateway main"])
def test_a_password_given_as_an_argument_is_not_repeated(ibgw: Callable[..., tuple[int, str, str]], line: str) -> None:
    code, out, err = ibgw(*line.split(), PASSWORD)
    assert code == ExitCode.BAD_USAGE
    assert "takes no such argument" in err
    assert leaks(out + err, PASSWORD) == []


def test_put_keeps_out_of_a_rotation(server: Server, ibgw: Callable[..., tuple[int, str, str]]) -> None:
    client = server.client()
    client.create_secret(Name=NAME, SecretString=document())
    client.put_secret_value(SecretId=NAME, SecretString=document(ANOTHER), VersionStages=["AWSPENDING"])
    code, _, err = ibgw("put", "--stack", "paper", given=document("third3Third"))
    assert code == ExitCode.REFUSED
    assert "A rotation" in err
    assert "PutSecretValue" not in server.trail.actions[2:]
    _, findings = checked(ibgw)
    assert "under way" in findings["rotation"][1]


REFUSED = [
    pytest.param(document(mode="live"), "trading_mode is 'live'", id="mode"),
    pytest.param(document(password="<password>"), "password is a placeholder", id="placeholder"),  # noqa: S106
    pytest.param(document(password=f"{PASSWORD} "), "begins or ends with a blank", id="blank"),
    pytest.param(f"{USER}:{PASSWORD}", "not JSON", id="not-json"),
    pytest.param(document().encode("utf-8-sig"), "byte-order mark", id="byte-order-mark"),
    pytest.param(document().encode("utf-16"), "byte-order mark, of UTF-16", id="utf-16"),
    pytest.param(PASSWORD.encode() + b"\xff", "is not UTF-8", id="bytes"),
]


@pytest.mark.parametrize(("given", "found"), REFUSED)
def test_what_the_program_refuses_is_not_written(
    server: Server, ibgw: Callable[..., tuple[int, str, str]], given: str | bytes, found: str
) -> None:
    code, out, err = ibgw("put", "--stack", "paper", given=given)
    assert code == ExitCode.REFUSED
    assert found in err
    assert leaks(out + err, PASSWORD, USER) == []
    assert server.trail.actions == []


@pytest.mark.parametrize(
    ("given", "found"), [(b"", "is empty"), (b"x" * 70_000, "more than a secret can"), (None, "cannot be read")]
)
def test_nothing_to_read_is_bad_usage(
    ibgw: Callable[..., tuple[int, str, str]], given: bytes | None, found: str
) -> None:
    code, _, err = ibgw("put", "--stack", "paper", *([] if given is not None else ["--fd", "999"]), given=given)
    assert code == ExitCode.BAD_USAGE
    assert found in err


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"aws:region": "eu-west-1"}, None),
        (
            {"ibgw:gateways": gateways(secretId="arn:aws:secretsmanager:eu-west-1:123456789012:secret:x-abcdef")},
            "lies in the region eu-west-1, and us-east-1 is asked",
        ),
        ({"ibgw:gateways": gateways(versionId="0" * 36)}, "take the setting out first"),
    ],
)
def test_where_the_stack_says_it_is(
    server: Server, pulumi: dict[str, str], ibgw: Callable[..., tuple[int, str, str]], changes: Any, found: str | None
) -> None:
    server.client().create_secret(Name=NAME, SecretString=document())
    pulumi["config"] = configuration(**changes)
    code, _, err = ibgw("put", "--stack", "paper", given=document(ANOTHER))
    if found is None:
        assert code == 0
        assert server.client("eu-west-1").get_secret_value(SecretId=NAME)["SecretString"]
        server.client("eu-west-1").delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
    else:
        assert code == ExitCode.REFUSED
        assert found in err
    assert PASSWORD in server.client().get_secret_value(SecretId=NAME)["SecretString"]


DENIED = "User: arn:aws:iam::123456789012:user/me is not authorized to perform: {} on resource: {}"
AWS = [
    ("DescribeSecret", "AccessDeniedException", DENIED.format("secretsmanager:DescribeSecret", NAME),
     "allow secretsmanager:DescribeSecret on it"),
    ("PutSecretValue", "AccessDeniedException", DENIED.format("secretsmanager:PutSecretValue", NAME),
     "allow secretsmanager:PutSecretValue on it"),
    ("PutSecretValue", "AccessDeniedException", DENIED.format("kms:GenerateDataKey", "arn:aws:kms:us-east-1:1:key/2"),
     "allow kms:GenerateDataKey and kms:Decrypt on arn:aws:kms:us-east-1:1:key/2"),
    ("PutSecretValue", "EncryptionFailure", "Secrets Manager can't encrypt the protected secret text", "kms:"),
    ("PutSecretValue", "ThrottlingException", "Rate exceeded", "try again in a minute"),
    ("DescribeSecret", "ExpiredTokenException", "The security token included in the request is expired",
     "the AWS session has expired"),
    ("DescribeSecret", "UnrecognizedClientException", "The security token included in the request is invalid.",
     "does not know the access key"),
    ("PutSecretValue", "KMSInvalidStateException", "the key is disabled", "enable the secret's key"),
    ("PutSecretValue", "InvalidRequestException", "You can't perform this operation on the secret because it was "
     "marked for deletion.", "restore-secret"),
    ("PutSecretValue", "SomethingNewException", f"{PASSWORD} is not good", "did not answer as expected"),
]  # fmt: skip


@pytest.mark.parametrize(("action", "code", "message", "found"), AWS)
def test_what_aws_refuses_is_said_with_what_to_do(
    server: Server, ibgw: Callable[..., tuple[int, str, str]], action: str, code: str, message: str, found: str
) -> None:
    server.client().create_secret(Name=NAME, SecretString=document(ANOTHER))
    server.trail.refusals[action] = (code, message)
    ended, out, err = ibgw("put", "--stack", "paper", given=document())
    assert ended == ExitCode.REFUSED
    assert found in err
    assert NAME in err
    assert leaks(out + err, PASSWORD, ANOTHER, USER) == []


def test_without_credentials_or_a_profile(
    ibgw: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    code, _, err = ibgw("put", "--stack", "paper", given=document())
    assert code == ExitCode.REFUSED
    assert "no AWS credentials were found" in err
    monkeypatch.setenv("AWS_PROFILE", "typo")
    code, _, err = ibgw("put", "--stack", "paper", given=document())
    assert code == ExitCode.REFUSED
    assert err.startswith("ibgw: Secrets Manager could not be asked; ")
    assert "names a profile that this machine does not have" in err


def test_check_says_all_is_well_and_show_shows_no_value(
    server: Server, ibgw: Callable[..., tuple[int, str, str]]
) -> None:
    version = server.client().create_secret(Name=NAME, SecretString=document())["VersionId"]
    code, out, err = ibgw("check", "--stack", "paper", "--json")
    [found] = json.loads(out)["secrets"]
    assert code == 0
    assert found["ok"] is True
    assert found["versions"][0]["id"] == version
    assert {finding["topic"]: finding["ok"] for finding in found["findings"]} == {
        "readable": True,
        "well-formed": True,
        "deployed": None,
        "age": True,
        "readers": True,
    }
    server.trail.events.clear()
    code, shown, errors = ibgw("show", "--stack", "paper")
    assert code == 0
    assert version in shown
    assert "GetSecretValue" not in server.trail.actions
    assert leaks(out + err + shown + errors, PASSWORD, USER) == []


def checked(ibgw: Callable[..., tuple[int, str, str]], *words: str) -> tuple[int, dict[str, tuple[bool | None, str]]]:
    code, out, err = ibgw("check", "--stack", "paper", "--json", *words)
    assert leaks(out + err, PASSWORD, USER) == []
    return code, {
        finding["topic"]: (finding["ok"], finding["text"])
        for one in json.loads(out)["secrets"]
        for finding in one["findings"]
    }


def test_check_finds_what_an_update_would_refuse(server: Server, ibgw: Callable[..., tuple[int, str, str]]) -> None:
    client = server.client()
    code, findings = checked(ibgw)
    assert code == ExitCode.FAILED
    assert "there is no such secret" in findings["there"][1]
    client.create_secret(Name=NAME, SecretString=f"{USER} {PASSWORD}")
    code, findings = checked(ibgw)
    assert code == ExitCode.FAILED
    assert findings["well-formed"][0] is False
    client.put_secret_value(SecretId=NAME, SecretBinary=document().encode())
    code, findings = checked(ibgw)
    assert code == ExitCode.FAILED
    assert "its value is binary" in findings["readable"][1]
    server.trail.refusals["GetSecretValue"] = (
        "AccessDeniedException",
        DENIED.format("kms:Decrypt", "arn:aws:kms:us-east-1:1:key/2"),
    )
    code, findings = checked(ibgw)
    assert code == ExitCode.FAILED
    assert "allow kms:Decrypt on arn:aws:kms:us-east-1:1:key/2" in findings["readable"][1]


@pytest.mark.parametrize(
    ("principal", "action", "condition", "good", "found"),
    [
        ("*", "secretsmanager:*", None, False, "everybody (*)"),
        ({"AWS": "*"}, "secretsmanager:Get*", {"Bool": {}}, True, "everybody under conditions"),
        ({"AWS": ["arn:aws:iam::1:root", "arn:aws:iam::2:root"]}, ["secretsmanager:GetSecretValue"], None, True,
         "arn:aws:iam::1:root, arn:aws:iam::2:root"),
        ({"AWS": "arn:aws:iam::1:root"}, "secretsmanager:DescribeSecret", None, True, "nobody"),
        ({"AWS": ["arn:aws:iam::1:root", "*"]}, "*", None, False, "everybody (*)"),
    ],
)  # fmt: skip
def test_who_else_may_read_it(
    server: Server,
    ibgw: Callable[..., tuple[int, str, str]],
    principal: Any,
    action: Any,
    condition: Any,
    good: bool,
    found: str,
) -> None:
    client = server.client()
    client.create_secret(Name=NAME, SecretString=document())
    statement = {"Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*"}
    policy = {"Statement": [statement | ({"Condition": condition} if condition else {})]}
    client.put_resource_policy(SecretId=NAME, ResourcePolicy=json.dumps(policy))
    code, findings = checked(ibgw)
    assert findings["readers"][0] is good
    assert findings["readers"][1].endswith(found)
    assert (code == 0) is good


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (
            {"NotAction": "secretsmanager:DeleteSecret", "Principal": {"AWS": "arn:aws:iam::1:root"}},
            "arn:aws:iam::1:root",
        ),
        ({"NotAction": ["secretsmanager:Get*"], "Principal": "*"}, "nobody"),
        ({"Action": "secretsmanager:*", "NotPrincipal": {"AWS": "arn:aws:iam::1:root"}}, "everybody (*)"),
        ({"Action": "secretsmanager:*", "Principal": {"AWS": "*"}, "Effect": "Deny"}, "nobody"),
    ],
)
def test_what_a_policy_says_the_other_way_round_is_read_too(statement: dict[str, Any], found: str) -> None:
    said = sorted(checking._principals({"Statement": {"Effect": "Allow", "Resource": "*"} | statement}))
    assert (", ".join(said) or "nobody") == found


def test_a_version_is_as_old_as_it_is(server: Server) -> None:
    """moto lists each as made now."""
    from moto.secretsmanager.models import secretsmanager_backends

    client = server.client()
    made = client.create_secret(Name=NAME, SecretString=document())["VersionId"]
    [secret] = [
        secrets[NAME]
        for account in secretsmanager_backends.values()
        for secrets in (backend.secrets for backend in account.values())
        if NAME in secrets
    ]
    secret.versions[made]["createdate"] -= 3 * 86400
    [version] = client.list_secret_version_ids(SecretId=NAME)["Versions"]
    assert (datetime.now(UTC) - version["CreatedDate"]).days == 3


def test_an_old_version_is_due_and_a_lambda_s_rotation_is_wrong(
    server: Server, ibgw: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.client().create_secret(Name=NAME, SecretString=document())
    real = SecretsManager.describe

    def aged(secrets: SecretsManager, secret_id: str) -> Any:
        from dataclasses import replace

        known = real(secrets, secret_id)
        old = tuple(replace(version, created=datetime.now(UTC) - timedelta(days=31)) for version in known.versions)
        return replace(known, versions=old, lambda_rotation=True)

    monkeypatch.setattr(SecretsManager, "describe", aged)
    code, findings = checked(ibgw, "--max-age", "30")
    assert findings["age"][0] is None
    assert "31 days; rotation is due" in findings["age"][1]
    assert findings["rotation"][0] is False
    assert code == ExitCode.FAILED


# --- no leak ------------------------------------------------------------------------------------------------------


def test_nothing_is_logged_and_no_exception_carries_a_value(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With everything that logs at its loudest, as a program around ours might set it."""
    caplog.set_level(logging.DEBUG)
    value = SecretStr(document())
    secrets = SecretsManager("us-east-1")
    secrets.create(NAME, value, "0" * 36)
    assert secrets.value(NAME).get_secret_value() == value.get_secret_value()
    server.trail.refusals["PutSecretValue"] = ("ValidationException", f"refused: {document()}")
    with pytest.raises(IbgwError) as refused:
        secrets.add(NAME, SecretStr(document(ANOTHER)), "1" * 36, "AWSCURRENT")
    assert refused.value.__context__ is None
    said = "".join(traceback.format_exception(refused.value)) + repr(refused.value) + repr(value) + str(value)
    assert leaks(said + caplog.text, PASSWORD, ANOTHER, USER) == []
    assert leaks(json.dumps(server.trail.events), PASSWORD, ANOTHER, USER) == []


TYPING = """
import sys
from deployment.description import Mode, SecondFactor
from operations.credentials import putting, typed
from operations.credentials.place import Place
value = typed.document("s", Mode.PAPER, None)
print("TOOK", len(value.get_secret_value()))
"""


def test_a_terminal_shows_nothing_of_what_is_typed() -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-c", TYPING])
    shown = b""
    for question, answer in ((b"user id:", USER), (b"password:", PASSWORD), (b"again:", PASSWORD)):
        while question not in shown:
            shown += os.read(terminal, 1024)
        os.write(terminal, f"{answer}\n".encode())
        shown = b"" if leaks(shown.decode(), USER, PASSWORD) == [] else pytest.fail(shown.decode())
    try:
        while piece := os.read(terminal, 1024):
            shown += piece
    except OSError:
        pass  # the other end is closed
    os.waitpid(process, 0)
    assert f"TOOK {len(document())}" in shown.decode()
    assert leaks(shown.decode(), USER, PASSWORD) == []


@pytest.mark.parametrize("second", [ANOTHER, None])
def test_two_passwords_that_differ_or_none_are_refused(monkeypatch: pytest.MonkeyPatch, second: str | None) -> None:
    answers = iter([USER, PASSWORD, second])

    def ask(_question: str) -> str:
        answer = next(answers)
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("getpass.getpass", ask)
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda _: True})())
    with pytest.raises(IbgwError, match=r"The two passwords differ|Nothing was typed") as refused:
        typed.document(NAME, Mode.PAPER, None)
    assert leaks(str(refused.value), PASSWORD, ANOTHER) == []


def test_standard_input_is_read_where_it_is_no_terminal() -> None:
    done = subprocess.run([sys.executable, "-c", TYPING], input=document(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"TOOK {len(document())}"
