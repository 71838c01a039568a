"""Who may do what in an AWS account: the policy documents of all identities. Pure; the one source of them.

The account's program deploys them (`infra/account`), `docs/identities.md` prints them. Names of actions, resources and
condition keys: AWS's Service Authorization Reference for S3, KMS, Secrets Manager and STS.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from deployment.description import Mode

Statement = dict[str, Any]
Document = dict[str, Any]

READ_VALUE = (
    "secretsmanager:GetSecretValue",
    "secretsmanager:DescribeSecret",
    "secretsmanager:ListSecretVersionIds",
    "secretsmanager:GetResourcePolicy",
)
CHANGE_VALUE = ("secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage")
LIST_VERSIONS = "secretsmanager:ListSecretVersionIds"
NEVER_WHEN_PLANNING = ("secretsmanager:GetSecretValue", "secretsmanager:BatchGetSecretValue")
USE_KEY = ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey")
"""Encrypt: the engine, for a new stack's own key. GenerateDataKey: Secrets Manager, for a new version."""
DECRYPT = "kms:Decrypt"
ADMINISTER_KEY = (
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:Describe*",
    "kms:Disable*",
    "kms:Enable*",
    "kms:Get*",
    "kms:List*",
    "kms:PutKeyPolicy",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:Update*",
)
GITHUB = "token.actions.githubusercontent.com"
GITHUB_AUDIENCE = "sts.amazonaws.com"
_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
_MFA = {"aws:MultiFactorAuthPresent": "true"}
_PROJECT = "ibgw"


class Identity(StrEnum):
    """A role, by its name."""

    PAPER = "ibgw-paper"
    LIVE = "ibgw-live"
    PLAN_PAPER = "ibgw-plan-paper"
    PLAN_LIVE = "ibgw-plan-live"
    PROMOTION = "ibgw-promotion"


PURPOSES = {
    Identity.PAPER: "who deploys paper and puts its credentials",
    Identity.LIVE: "who promotes, deploys live and puts its credentials: a person, with MFA in every statement",
    Identity.PLAN_PAPER: "CI's plans and drift reports of paper, for reviewed code",
    Identity.PLAN_LIVE: "CI's plans and drift reports of live, for reviewed code",
    Identity.PROMOTION: "CI's preparation of a release, for reviewed code",
}
PEOPLE = {Identity.PAPER: Mode.PAPER, Identity.LIVE: Mode.LIVE}
"""The roles that people take on, and what each deploys."""
ENVIRONMENTS = {
    Identity.PLAN_PAPER: "plan-paper",
    Identity.PLAN_LIVE: "plan-live",
    Identity.PROMOTION: "promotion",
}
"""The roles that GitHub's jobs take on, each in its environment alone."""
_PLANNED = {
    Identity.PLAN_PAPER: (Mode.PAPER,),
    Identity.PLAN_LIVE: (Mode.LIVE,),
    Identity.PROMOTION: (Mode.PAPER, Mode.LIVE),
}


@dataclass(frozen=True)
class Account:
    """An AWS account, in one region of it."""

    id: str
    region: str

    @property
    def partition(self) -> str:
        """botocore's table of partitions (endpoints.json), those that anybody can have an account in."""
        return next((name for start, name in _PARTITIONS.items() if self.region.startswith(start)), "aws")

    @property
    def bucket(self) -> str:
        """Where the stacks' states lie. Buckets of all accounts and regions share one namespace."""
        return f"ibgw-state-{self.id}-{self.region}"

    @property
    def bucket_arn(self) -> str:
        return f"arn:{self.partition}:s3:::{self.bucket}"

    @property
    def root(self) -> str:
        """The account itself: whoever its own policies allow something."""
        return f"arn:{self.partition}:iam::{self.id}:root"

    @property
    def github(self) -> str:
        return f"arn:{self.partition}:iam::{self.id}:oidc-provider/{GITHUB}"

    def role(self, identity: Identity) -> str:
        return f"arn:{self.partition}:iam::{self.id}:role/{identity}"

    def secret(self, secret_id: str) -> str:
        """A secret's ARN ends with six characters of Secrets Manager's own (its user guide, "Secret ARN")."""
        return f"arn:{self.partition}:secretsmanager:{self.region}:{self.id}:secret:{secret_id}-??????"

    @property
    def keys(self) -> str:
        return f"arn:{self.partition}:kms:{self.region}:{self.id}:key/*"


Secrets = Mapping[Mode, Collection[str]]
"""The names of the secrets that the stacks of a mode read."""


def key_alias(mode: Mode) -> str:
    """Of the key that encrypts a mode's secrets, and the credentials in its stacks' states."""
    return f"alias/ibgw-{mode.value}"


def policy(identity: Identity, account: Account, secrets: Secrets) -> Document:
    """What an identity may do, and nothing else."""
    if identity is Identity.PAPER:
        return _document(_deploying(account, Mode.PAPER, secrets))
    if identity is Identity.LIVE:
        # A promotion reads what runs on paper: its state, never the value of its secret.
        statements = (*_deploying(account, Mode.LIVE, secrets), *_planning(account, Mode.PAPER, secrets))
        return _document(_with_mfa(statement) for statement in statements)
    planned = [statement for mode in _PLANNED[identity] for statement in _planning(account, mode, secrets)]
    return _document((*planned, {"Effect": "Deny", "Action": list(NEVER_WHEN_PLANNING), "Resource": "*"}))


def trust(identity: Identity, account: Account, *, people: Collection[str], repository: str) -> Document:
    """Who may take an identity on: `people` (ARNs), or jobs in one environment of `repository` (OWNER/NAME)."""
    if identity in PEOPLE:
        person = {"Effect": "Allow", "Principal": {"AWS": sorted(people)}, "Action": "sts:AssumeRole"}
        return _document([_with_mfa(person) if identity is Identity.LIVE else person])
    claims = {
        f"{GITHUB}:aud": GITHUB_AUDIENCE,
        f"{GITHUB}:sub": f"repo:{repository}:environment:{ENVIRONMENTS[identity]}",
    }
    return _document(
        [
            {
                "Effect": "Allow",
                "Principal": {"Federated": account.github},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {"StringEquals": claims},
            }
        ]
    )


def key_policy(mode: Mode, account: Account) -> Document:
    """Who may use a mode's key: its own identities, by their own policies too. An administrator keeps it only."""
    deployer = next(identity for identity, deployed in PEOPLE.items() if deployed is mode)
    readers = [identity for identity, modes in _PLANNED.items() if mode in modes]
    use = _key_use(account, [deployer], USE_KEY)
    statements = [
        {"Effect": "Allow", "Principal": {"AWS": account.root}, "Action": list(ADMINISTER_KEY), "Resource": "*"},
        _with_mfa(use) if mode is Mode.LIVE else use,
        _key_use(account, readers, [DECRYPT]),
    ]
    if mode is Mode.PAPER:
        statements.append(_with_mfa(_key_use(account, [Identity.LIVE], [DECRYPT])))
    return _document(statements)


def bucket_policy(account: Account) -> Document:
    """Nothing without TLS, whoever asks."""
    return _document(
        [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [account.bucket_arn, f"{account.bucket_arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ]
    )


def _document(statements: Iterable[Statement]) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _with_mfa(statement: Statement) -> Statement:
    return {**statement, "Condition": {**statement.get("Condition", {}), "Bool": _MFA}}


def _deploying(account: Account, mode: Mode, secrets: Secrets) -> list[Statement]:
    return [
        *_about_secrets(account, secrets[mode], [*READ_VALUE, *CHANGE_VALUE]),
        _list_bucket(account),
        _allow("s3:GetObject", _objects(account, ".pulumi/meta.yaml")),
        _allow(
            ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            [*_state(account, mode), *_of_stacks(account, mode, "backups"), *_of_stacks(account, mode, _LOCKS)],
        ),
        _key(account, mode, USE_KEY),
    ]


def _planning(account: Account, mode: Mode, secrets: Secrets) -> list[Statement]:
    """Without locks: neither a plan nor a drift report takes one."""
    return [
        *_about_secrets(account, secrets[mode], LIST_VERSIONS),
        _list_bucket(account),
        _allow("s3:GetObject", [*_objects(account, ".pulumi/meta.yaml"), *_state(account, mode)]),
        _key(account, mode, DECRYPT),
    ]


def _about_secrets(account: Account, secrets: Collection[str], actions: str | list[str]) -> list[Statement]:
    """IAM takes no statement about no resource."""
    return [_allow(actions, [account.secret(secret) for secret in sorted(secrets)])] if secrets else []


def _list_bucket(account: Account) -> Statement:
    """The names of all objects, which hold no more than names of stacks: the engine asks for those of all."""
    return _allow("s3:ListBucket", account.bucket_arn)


# pulumi's pkg/backend/diy: store.go and lock.go say where what of a stack lies. A stack is named MODE or MODE-NAME.
_LOCKS = f"locks/organization/{_PROJECT}"


def _objects(account: Account, *paths: str) -> list[str]:
    return [f"{account.bucket_arn}/{path}" for path in paths]


def _of_stacks(account: Account, mode: Mode, kind: str) -> list[str]:
    folder = kind if kind == _LOCKS else f"{kind}/{_PROJECT}"
    return _objects(account, *(f".pulumi/{folder}/{mode.value}{rest}" for rest in ("/*", "-*")))


def _state(account: Account, mode: Mode) -> list[str]:
    stacks = f".pulumi/stacks/{_PROJECT}/{mode.value}"
    return [*_objects(account, f"{stacks}.*", f"{stacks}-*"), *_of_stacks(account, mode, "history")]


def _key(account: Account, mode: Mode, actions: str | Iterable[str]) -> Statement:
    named = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": key_alias(mode)}}
    return {**_allow(actions, account.keys), "Condition": named}


def _key_use(account: Account, identities: Iterable[Identity], actions: Iterable[str]) -> Statement:
    return {
        "Effect": "Allow",
        "Principal": {"AWS": account.root},
        "Action": list(actions),
        "Resource": "*",
        "Condition": {"ArnEquals": {"aws:PrincipalArn": [account.role(identity) for identity in identities]}},
    }


def _allow(actions: str | Iterable[str], resources: str | list[str]) -> Statement:
    named = actions if isinstance(actions, str) else list(actions)
    return {"Effect": "Allow", "Action": named, "Resource": resources}
