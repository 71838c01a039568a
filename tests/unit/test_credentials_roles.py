"""`ibgw credentials` under each role of an account, which are held to the documents of `deployment.iam`."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deployment import iam
from deployment.description import Mode
from deployment.errors import ExitCode
from operations import cli
from operations.credentials.secrets_manager import CURRENT, PENDING, SecretsManager
from operations.stack import Stack
from tests.enforced_aws import ACCOUNT, REGION, Aws, enforced_aws
from tests.leaks import leaks
from tests.unit.test_settings import tracked

NAMES = {mode: f"ibgw/{mode.value}/main" for mode in Mode}
OWN = iam.Account(ACCOUNT, REGION)
USER, PASSWORD, NEW = "somebody77", "hunter2Hunter", "other5Other"
WHO = ("ibgw-paper", "ibgw-live", "ibgw-live+mfa", "ibgw-plan-paper", "ibgw-plan-live", "ibgw-promotion")
DEPLOYS = {("ibgw-paper", Mode.PAPER), ("ibgw-live+mfa", Mode.LIVE)}
Run = Callable[..., tuple[int, str, str]]


def document(mode: Mode, password: str = PASSWORD) -> str:
    return json.dumps({"user_id": USER, "password": password, "trading_mode": mode.value})


@pytest.fixture(scope="module")
def account() -> Iterator[Aws]:
    """As infra/account makes it; a secret of each mode has a value."""
    with enforced_aws() as aws:
        kms, roles, secrets = aws.client("kms"), aws.client("iam"), aws.client("secretsmanager")
        for mode, name in NAMES.items():
            key = kms.create_key(Policy=json.dumps(iam.key_policy(mode, OWN)))["KeyMetadata"]["KeyId"]
            kms.create_alias(AliasName=iam.key_alias(mode), TargetKeyId=key)
            secrets.create_secret(Name=name, KmsKeyId=key, SecretString=document(mode))
        for identity in iam.Identity:
            trust = json.dumps(iam.trust(identity, OWN, people=["arn:aws:iam::1:user/a"], repository="a/b"))
            roles.create_role(RoleName=identity, AssumeRolePolicyDocument=trust)
            policy = iam.policy(identity, OWN, {mode: [name] for mode, name in NAMES.items()})
            roles.put_role_policy(RoleName=identity, PolicyName=identity, PolicyDocument=json.dumps(policy))
        yield aws


@pytest.fixture
def ibgw(account: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any) -> Run:
    """`ibgw("ibgw-paper", Mode.PAPER, "check")`: exit code, standard output and standard error."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    def configuration(stack: Stack, *words: str, **_options: Any) -> str:
        if words[0] != "config":
            return "{}"
        config = {**tracked(stack.name), "aws:region": REGION}
        return json.dumps(
            {key: {"value": found if isinstance(found, str) else json.dumps(found)} for key, found in config.items()}
        )

    def run(who: str, mode: Mode, *words: str, given: str = "") -> tuple[int, str, str]:
        for name, value in account.env(who).items():
            monkeypatch.setenv(name, value)
        if given:
            file = tmp_path / "given"
            file.write_text(given)
            with file.open("rb") as opened:
                code = cli.run(["credentials", *words, mode.value, "--fd", str(opened.fileno())])
        else:
            code = cli.run(["credentials", *words, mode.value])
        said = capsys.readouterr()
        assert leaks(said.out + said.err, PASSWORD, NEW, USER) == []
        return code, said.out, said.err

    monkeypatch.setattr(Stack, "_pulumi", configuration)
    return run


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("who", WHO)
def test_who_puts_checks_and_shows(account: Aws, ibgw: Run, who: str, mode: Mode) -> None:
    before = len(account.denied)
    put = ibgw(who, mode, "put", given=document(mode))
    dry = ibgw(who, mode, "put", "--dry-run", given=document(mode))
    check, show = ibgw(who, mode, "check"), ibgw(who, mode, "show")
    codes = [ended[0] for ended in (put, dry, check, show)]
    if (who, mode) in DEPLOYS:
        assert codes == [0, 0, 0, 0]
        assert account.denied[before:] == []
    else:
        assert codes == [ExitCode.REFUSED, ExitCode.REFUSED, ExitCode.FAILED, ExitCode.REFUSED]
        assert set(account.denied[before:]) == {(who, "secretsmanager:DescribeSecret")}
        for said in (put[2], dry[2], check[1], show[2]):
            assert NAMES[mode] in said
            assert "allow secretsmanager:DescribeSecret on it" in said


@pytest.mark.parametrize(("who", "mode"), sorted(DEPLOYS))
def test_who_rotates(account: Aws, monkeypatch: pytest.MonkeyPatch, who: str, mode: Mode) -> None:
    """What `rotate` asks of Secrets Manager, there and back."""
    from pydantic import SecretStr

    for name, value in {**account.env(who), "AWS_SECRET_ACCESS_KEY": "any"}.items():
        monkeypatch.setenv(name, value)
    before, name, token = len(account.denied), NAMES[mode], f"{mode.value:0<36}"
    secrets = SecretsManager(REGION)
    current = secrets.describe(name).staged(CURRENT)
    assert current is not None
    secrets.add(name, SecretStr(document(mode, NEW)), token, PENDING)
    secrets.move(name, CURRENT, to=token, away_from=current.id)
    secrets.move(name, PENDING, to=None, away_from=token)
    secrets.move(name, CURRENT, to=current.id, away_from=token)
    assert secrets.value(name, current.id).get_secret_value() == document(mode)
    assert account.denied[before:] == []


def test_a_secret_that_is_gone_is_made_by_the_account(account: Aws, ibgw: Run) -> None:
    client = account.client("secretsmanager")
    key = client.describe_secret(SecretId=NAMES[Mode.PAPER])["KmsKeyId"]
    client.delete_secret(SecretId=NAMES[Mode.PAPER], ForceDeleteWithoutRecovery=True)
    try:
        code, _, err = ibgw("ibgw-paper", Mode.PAPER, "put", given=document(Mode.PAPER))
        assert code == ExitCode.REFUSED
        assert "have an administrator deploy it" in err
    finally:
        client.create_secret(Name=NAMES[Mode.PAPER], KmsKeyId=key, SecretString=document(Mode.PAPER))


def test_a_key_that_does_not_serve_the_role_is_told_apart(account: Aws, ibgw: Run) -> None:
    kms, mode = account.client("kms"), Mode.PAPER
    key = kms.describe_key(KeyId=iam.key_alias(mode))["KeyMetadata"]["KeyId"]
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(iam.key_policy(Mode.LIVE, OWN)))
    try:
        code, out, _ = ibgw("ibgw-paper", mode, "check")
        assert code == ExitCode.FAILED
        assert f"allow kms:Decrypt on arn:aws:kms:{REGION}:{ACCOUNT}:key/{key} for it, in the key's own policy" in out
        code, _, err = ibgw("ibgw-paper", mode, "put", given=document(mode))
        assert code == ExitCode.REFUSED
        assert f"allow kms:GenerateDataKey and kms:Decrypt on arn:aws:kms:{REGION}:{ACCOUNT}:key/{key}" in err
    finally:
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(iam.key_policy(mode, OWN)))
