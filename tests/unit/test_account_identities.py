"""Who may do what: the documents of `deployment.iam`, evaluated as AWS does."""

from typing import Any

import pytest

from deployment import iam
from deployment.description import Mode
from deployment.iam import Identity
from tests.iam_evaluator import Request, allowed, trusted

ACCOUNT = iam.Account("111122223333", "us-east-1")
SECRETS = {Mode.PAPER: ["ibgw/paper/main"], Mode.LIVE: ["ibgw/live/main"]}
REPOSITORY = "example/gateways"
TRADER = "arn:aws:iam::111122223333:user/trader"
OTHER = "arn:aws:iam::111122223333:user/other"
MFA = {"aws:MultiFactorAuthPresent": "true"}

# What to do with what of each mode. Of the objects, those that pulumi 3.256 makes for a stack in S3.
ACTIONS = {
    "read the secret": ("secretsmanager:GetSecretValue", "secret"),
    "read the secret in a batch": ("secretsmanager:BatchGetSecretValue", "secret"),
    "list its versions": ("secretsmanager:ListSecretVersionIds", "secret"),
    "put a version": ("secretsmanager:PutSecretValue", "secret"),
    "make a version current": ("secretsmanager:UpdateSecretVersionStage", "secret"),
    "see who else may": ("secretsmanager:GetResourcePolicy", "secret"),
    "delete the secret": ("secretsmanager:DeleteSecret", "secret"),
    "open its policy": ("secretsmanager:PutResourcePolicy", "secret"),
    "read the state": ("s3:GetObject", "stacks/ibgw/{stack}.json"),
    "write the state": ("s3:PutObject", "stacks/ibgw/{stack}.json"),
    "lock the state": ("s3:PutObject", "locks/organization/ibgw/{stack}/1.json"),
    "unlock the state": ("s3:DeleteObject", "locks/organization/ibgw/{stack}/1.json"),
    "back the state up": ("s3:PutObject", "backups/ibgw/{stack}/{stack}.1.json"),
    "write the history": ("s3:PutObject", "history/ibgw/{stack}/{stack}-1.history.json"),
    "delete a version of the state": ("s3:DeleteObjectVersion", "stacks/ibgw/{stack}.json"),
    "decrypt": ("kms:Decrypt", "key"),
    "encrypt": ("kms:Encrypt", "key"),
    "make a data key": ("kms:GenerateDataKey", "key"),
    "delete the key": ("kms:ScheduleKeyDeletion", "key"),
    "give the key away": ("kms:CreateGrant", "key"),
}
NEVER = {"delete the secret", "open its policy", "delete a version of the state", "delete the key", "give the key away"}
NOT_ONE_BY_ONE = {"read the secret in a batch"}
DEPLOYING = set(ACTIONS) - NEVER - NOT_ONE_BY_ONE
PLANNING = {"list its versions", "read the state", "decrypt"}

MAY: dict[Identity, dict[Mode, set[str]]] = {
    Identity.PAPER: {Mode.PAPER: DEPLOYING, Mode.LIVE: set()},
    Identity.LIVE: {Mode.PAPER: PLANNING, Mode.LIVE: DEPLOYING},
    Identity.PLAN_PAPER: {Mode.PAPER: PLANNING, Mode.LIVE: set()},
    Identity.PLAN_LIVE: {Mode.PAPER: set(), Mode.LIVE: PLANNING},
    Identity.PROMOTION: {Mode.PAPER: PLANNING, Mode.LIVE: PLANNING},
}


def asked(identity: Identity, what: str, stack: str, context: dict[str, Any]) -> bool:
    mode = Mode(stack.split("-")[0])
    action, kind = ACTIONS[what]
    resource = {
        "secret": f"arn:aws:secretsmanager:us-east-1:111122223333:secret:ibgw/{mode.value}/main-a1B2c3",
        "key": "arn:aws:kms:us-east-1:111122223333:key/0000",
    }.get(kind) or f"{ACCOUNT.bucket_arn}/.pulumi/{kind.format(stack=stack)}"
    owned = {"kms:ResourceAliases": [iam.key_alias(mode)]} if kind == "key" else {}
    resource_policy = iam.key_policy(mode, ACCOUNT) if kind == "key" else iam.bucket_policy(ACCOUNT)
    request = Request(action, resource, ACCOUNT.role(identity), {"aws:SecureTransport": "true", **owned, **context})
    return allowed(request, [iam.policy(identity, ACCOUNT, SECRETS)], resource_policy)


def may(identity: Identity, stack: str, context: dict[str, Any]) -> set[str]:
    return {what for what in ACTIONS if asked(identity, what, stack, context)}


@pytest.mark.parametrize("stack", ["paper", "paper-two", "live", "live-two"])
@pytest.mark.parametrize("identity", Identity)
def test_who_may_do_what(identity: Identity, stack: str) -> None:
    """Each identity, with MFA: what the table says and nothing more."""
    assert may(identity, stack, MFA) == MAY[identity][Mode(stack.split("-")[0])]


@pytest.mark.parametrize("stack", ["paper", "live"])
@pytest.mark.parametrize("context", [{}, {"aws:MultiFactorAuthPresent": "false"}])
def test_live_s_identity_without_mfa_may_nothing(stack: str, context: dict[str, str]) -> None:
    assert may(Identity.LIVE, stack, context) == set()


def test_every_statement_of_live_demands_mfa() -> None:
    identity = Identity.LIVE
    trust = iam.trust(identity, ACCOUNT, people=[TRADER], repository=REPOSITORY)
    for statement in (*iam.policy(identity, ACCOUNT, SECRETS)["Statement"], *trust["Statement"]):
        assert statement["Effect"] == "Allow"
        assert statement["Condition"]["Bool"] == MFA, statement


@pytest.mark.parametrize("what", ["read the state", "write the state"])
def test_nothing_of_the_bucket_without_tls(what: str) -> None:
    assert not asked(Identity.PAPER, what, "paper", {"aws:SecureTransport": "false"})


@pytest.mark.parametrize("identity", Identity)
@pytest.mark.parametrize(
    "resource",
    [
        f"{ACCOUNT.bucket_arn}/.pulumi/meta.yaml",
        f"{ACCOUNT.bucket_arn}/.pulumi/stacks/ibgw-account/account.json",
        f"{ACCOUNT.bucket_arn}/.pulumi/stacks/other/paper.json",
    ],
)
def test_of_what_is_no_stack_s_the_format_alone_is_read(identity: Identity, resource: str) -> None:
    def may(action: str) -> bool:
        context = {**MFA, "aws:SecureTransport": "true"}
        request = Request(action, resource, ACCOUNT.role(identity), context)
        return allowed(request, [iam.policy(identity, ACCOUNT, SECRETS)])

    assert may("s3:GetObject") is resource.endswith("meta.yaml")
    assert not may("s3:PutObject")
    assert not may("s3:DeleteObject")


@pytest.mark.parametrize("identity", Identity)
def test_a_secret_that_no_stack_reads_is_nobody_s(identity: Identity) -> None:
    for name in ("ibgw/paper/main-two-a1B2c3", "ibgw/live/mains-a1B2c3", "other-a1B2c3"):
        arn = f"arn:aws:secretsmanager:us-east-1:111122223333:secret:{name}"
        request = Request("secretsmanager:GetSecretValue", arn, ACCOUNT.role(identity), MFA)
        assert not allowed(request, [iam.policy(identity, ACCOUNT, SECRETS)])


@pytest.mark.parametrize("mode", Mode)
def test_an_administrator_keeps_a_key_and_does_not_use_it(mode: Mode) -> None:
    everything = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}

    def may(action: str) -> bool:
        return allowed(Request(action, "key", OTHER, MFA), [everything], iam.key_policy(mode, ACCOUNT))

    assert may("kms:PutKeyPolicy")
    assert may("kms:ScheduleKeyDeletion")
    assert may("kms:DescribeKey")
    assert not [
        action for action in ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:CreateGrant") if may(action)
    ]


@pytest.mark.parametrize("identity", iam.PEOPLE)
def test_who_takes_on_a_person_s_role(identity: Identity) -> None:
    trust = iam.trust(identity, ACCOUNT, people=[TRADER], repository=REPOSITORY)

    def may(who: str, context: dict[str, Any]) -> bool:
        return trusted(Request("sts:AssumeRole", ACCOUNT.role(identity), who, context), trust)

    assert may(TRADER, MFA)
    assert may(TRADER, {}) is (identity is Identity.PAPER)
    assert not may(OTHER, MFA)


@pytest.mark.parametrize("identity", iam.ENVIRONMENTS)
def test_ci_takes_a_role_on_in_its_environment_of_this_repository_only(identity: Identity) -> None:
    trust = iam.trust(identity, ACCOUNT, people=[TRADER], repository=REPOSITORY)

    def may(sub: str, aud: str = "sts.amazonaws.com") -> bool:
        claims = {f"{iam.GITHUB}:sub": sub, f"{iam.GITHUB}:aud": aud}
        return trusted(Request("sts:AssumeRoleWithWebIdentity", "", ACCOUNT.github, claims), trust)

    own = f"repo:{REPOSITORY}:environment:{iam.ENVIRONMENTS[identity]}"
    assert may(own)
    others = [f"repo:{REPOSITORY}:environment:{name}" for name in (*iam.ENVIRONMENTS.values(), "production")]
    for sub in (
        *(other for other in others if other != own),
        own.replace("example", "someone"),
        f"{own}-two",
        f"repo:{REPOSITORY}:ref:refs/heads/main",
        f"repo:{REPOSITORY}:pull_request",
    ):
        assert not may(sub), sub
    assert not may(own, aud="other")
    assert not trusted(Request("sts:AssumeRole", "", TRADER, MFA), trust)


def test_no_statement_about_no_resource() -> None:
    """IAM refuses one: an account whose live stack has no file yet."""
    for identity in Identity:
        for statement in iam.policy(identity, ACCOUNT, {Mode.PAPER: ["a"], Mode.LIVE: []})["Statement"]:
            assert statement["Resource"]


@pytest.mark.parametrize(
    ("region", "partition"), [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_an_account_s_partition_follows_from_its_region(region: str, partition: str) -> None:
    import boto3

    assert iam.Account("1", region).partition == partition == boto3.Session().get_partition_for_region(region)
