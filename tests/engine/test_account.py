"""The account's program by the real engine, on an AWS that enforces what it deployed: and the stacks' state in it."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from deployment import iam
from sandbox.environment import ROOT, Sandbox, Stack
from tests.enforced_aws import ACCOUNT, ADMINISTRATOR, REGION, Aws, enforced_aws
from tests.engine.conftest import RUNTIME, Completed, Pulumi
from tests.leaks import leaks

BY_HAND = "ibgw/paper/main"
MADE = "ibgw/live/main"
VALUE = '{"by": "hand"}'
BUCKET = iam.Account(ACCOUNT, REGION).bucket
UP = ["up", "--yes", "--skip-preview"]
TRADER = f"arn:aws:iam::{ACCOUNT}:user/trader"


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with enforced_aws() as made:
        yield made


@pytest.fixture(scope="module")
def account(aws: Aws, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory, pulumi: Pulumi) -> Stack:
    """Deployed, with one secret that somebody has made by hand before."""
    root = tmp_path_factory.mktemp("account")
    folder = root / "infra" / "account"
    folder.mkdir(parents=True)
    for name in ("Pulumi.paper.yaml", "Pulumi.live.yaml"):
        shutil.copy(ROOT / name, root)
    tracked = yaml.safe_load((ROOT / "infra" / "account" / "Pulumi.yaml").read_text())
    project = {**tracked, "runtime": RUNTIME, "main": str(ROOT / "infra" / "account")}
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump(project))
    config = {
        "aws:region": REGION,
        "ibgw-account:paper": [TRADER],
        "ibgw-account:live": [TRADER],
        "ibgw-account:repository": "example/gateways",
    }
    (folder / "Pulumi.account.yaml").write_text(yaml.safe_dump({"config": config}))
    made = Stack("account", folder, _env(sandbox, aws, folder, (root / "state").as_uri()), config)
    (root / "state").mkdir()
    arn = aws.client("secretsmanager").create_secret(Name=BY_HAND, SecretString=VALUE)["ARN"]
    pulumi(["stack", "init"], stack=made)
    adopt = ["import", "aws:secretsmanager/secret:Secret", BY_HAND, arn, "--yes", "--generate-code=false"]
    pulumi(adopt, stack=made)
    pulumi(UP, stack=made)
    return made


def _env(sandbox: Sandbox, aws: Aws, folder: Path, backend: str) -> dict[str, str]:
    """Without the policy pack, which is about gateways."""
    ours = {name: value for name, value in sandbox.env().items() if name != "PULUMI_OPTION_POLICY_PACK"}
    return {**ours, **aws.env(), "PULUMI_OPTION_CWD": str(folder), "PULUMI_BACKEND_URL": backend}


def test_the_next_preview_is_empty(account: Stack, pulumi: Pulumi) -> None:
    pulumi(["preview", "--expect-no-changes"], stack=account)


def test_what_is_there(account: Stack, aws: Aws, pulumi: Pulumi) -> None:
    s3, secrets, kms = aws.client("s3"), aws.client("secretsmanager"), aws.client("kms")
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    assert set(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values()) == {True}
    [rule] = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    keys = {alias["AliasName"]: alias["TargetKeyId"] for alias in kms.list_aliases()["Aliases"] if "ibgw" in str(alias)}
    assert keys.keys() == {"alias/ibgw-paper", "alias/ibgw-live"}
    assert len(set(keys.values())) == 2
    for name, alias in ((BY_HAND, "alias/ibgw-paper"), (MADE, "alias/ibgw-live")):
        assert secrets.describe_secret(SecretId=name)["KmsKeyId"].endswith(keys[alias])
    # Adopted as it was, and the new one without a value.
    assert secrets.get_secret_value(SecretId=BY_HAND)["SecretString"] == VALUE
    assert not secrets.list_secret_version_ids(SecretId=MADE)["Versions"]
    assert leaks(pulumi(["stack", "export"], stack=account).stdout, VALUE) == []


@pytest.mark.exhaustive
def test_what_cannot_be_had_back_is_protected(account: Stack, aws: Aws, pulumi: Pulumi) -> None:
    done = pulumi(["destroy", "--yes"], stack=account, check=False)
    assert done.returncode != 0
    assert "protected" in done.stdout + done.stderr
    kept = {found["type"] for found in resources(account, pulumi) if found.get("protect")}
    assert {str(kind).split("/")[0] for kind in kept} == {"aws:kms", "aws:s3", "aws:secretsmanager", "aws:iam"}
    assert not [found for found in resources(account, pulumi) if found.get("protect") and not found["retainOnDelete"]]
    aws.client("s3").head_bucket(Bucket=BUCKET)


def resources(stack: Stack, pulumi: Pulumi) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(pulumi(["stack", "export"], stack=stack).stdout)["deployment"][
        "resources"
    ]
    return found


@pytest.mark.exhaustive
def test_a_gateway_more_is_a_secret_more_and_nothing_else_is_touched(account: Stack, aws: Aws, pulumi: Pulumi) -> None:
    before = {str(found["urn"]): found["id"] for found in resources(account, pulumi) if "id" in found}
    file = account.folder.parents[1] / "Pulumi.paper.yaml"
    document = yaml.safe_load(file.read_text())
    gateways = document["config"]["ibgw:gateways"]
    gateways["second"] = {**gateways["main"], "credentials": {"secretId": "ibgw/paper/second"}}
    file.write_text(yaml.safe_dump(document))
    pulumi(UP, stack=account)
    after = {str(found["urn"]): found["id"] for found in resources(account, pulumi) if "id" in found}
    assert before.items() < after.items()
    assert [urn.rpartition("::")[2] for urn in after.keys() - before.keys()] == ["ibgw/paper/second"]
    policy = aws.client("iam").get_role_policy(RoleName="ibgw-paper", PolicyName="ibgw-paper")["PolicyDocument"]
    assert "secret:ibgw/paper/second-??????" in json.dumps(policy)


@pytest.mark.exhaustive
def test_its_own_state_moves_into_its_bucket(account: Stack, pulumi: Pulumi, tmp_path: Path) -> None:
    exported = str(tmp_path / "account.json")
    pulumi(["stack", "export", "--file", exported], stack=account)
    backend = pulumi(["stack", "output", "backend"], stack=account).stdout.strip()
    moved = replace(account, env={**account.env, "PULUMI_BACKEND_URL": backend})
    pulumi(["stack", "init"], stack=moved)
    pulumi(["stack", "import", "--file", exported], stack=moved)
    pulumi(["preview", "--expect-no-changes"], stack=moved)
    pulumi(["stack", "rm", "--yes", "--force", "--preserve-config"], stack=moved)


# The stacks' own state, in the bucket and under the key, by the roles that are for it.

PROGRAM = "import pulumi\npulumi.export('secret', pulumi.Output.secret('never shown'))\n"


@pytest.fixture
def stack(account: Stack, aws: Aws, sandbox: Sandbox, tmp_path: Path) -> Stack:
    """The stack paper of a program of its own, with the state in the account's bucket."""
    (tmp_path / "Pulumi.yaml").write_text(yaml.safe_dump({"name": "ibgw", "runtime": RUNTIME}))
    (tmp_path / "__main__.py").write_text(PROGRAM)
    env = _env(sandbox, aws, tmp_path, f"s3://{BUCKET}?region={REGION}")
    return Stack("paper", tmp_path, env, {})


def test_a_stack_s_state_is_its_identities_own(stack: Stack, aws: Aws, pulumi: Pulumi) -> None:
    def by(who: str, *words: str, name: str = "paper") -> Completed:
        return pulumi(words, stack=replace(stack, name=name), env=aws.env(who), check=False)

    def done(who: str, *words: str, name: str = "paper") -> str:
        ended = by(who, *words, name=name)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def denied(action: str, who: str, *words: str, name: str = "paper") -> None:
        before = len(aws.denied)
        ended = by(who, *words, name=name)
        assert ended.returncode != 0
        assert (who, action) in aws.denied[before:]

    def init(mode: str) -> tuple[str, ...]:
        return ("stack", "init", "--secrets-provider", f"awskms://alias/ibgw-{mode}?region={REGION}")

    # The administrator moves the account's own state there first, which writes the bucket's format.
    done(ADMINISTRATOR, "stack", "init", "--secrets-provider", "passphrase", name="administration")
    (stack.folder / "Pulumi.administration.yaml").unlink()

    done("ibgw-paper", *init("paper"))
    done("ibgw-paper", *UP)
    assert "never shown" in done("ibgw-paper", "stack", "output", "--show-secrets")
    state = aws.client("s3").get_object(Bucket=BUCKET, Key=".pulumi/stacks/ibgw/paper.json")["Body"].read().decode()
    assert "awskms://alias/ibgw-paper" in state
    assert "never shown" not in state
    assert aws.denied == []

    # A plan takes no lock and writes nothing.
    done("ibgw-plan-paper", "preview")
    assert aws.denied == []
    denied("s3:PutObject", "ibgw-plan-paper", *UP)
    denied("s3:GetObject", "ibgw-plan-live", "preview")
    denied("s3:GetObject", "ibgw-live", "preview")
    denied("kms:Encrypt", "ibgw-paper", *init("live"), name="live")
