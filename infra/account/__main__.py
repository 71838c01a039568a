"""The program of `pulumi up` in this folder: keys, the states' bucket, secrets without values, roles."""

import atexit
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws

from deployment import iam
from deployment.description import Mode
from deployment.errors import IbgwError
from deployment.iam import Account, Identity
from infra import failure
from infra.account.settings import REGION, AccountSettings, load, secrets_of

RECOVERY_DAYS = 30
"""The longest that KMS and Secrets Manager wait before they delete."""

KEPT = pulumi.ResourceOptions(protect=True, retain_on_delete=True)
"""For what cannot be had back: the engine refuses to delete it, and lets go of it where it has been told to."""


def program() -> None:
    config = {**pulumi.runtime.config.get_config_env(), **pulumi.runtime.config.CONFIG.get()}
    try:
        settings = load(config)
        region = config.get(REGION) or ""
        if not region:
            raise IbgwError(
                f"{REGION} is not set; set the region of the secrets: `pulumi config set {REGION} us-east-1`"
            )
        # This project lies in infra/account of the gateways' project, whose stack files lie at its root.
        secrets = secrets_of(Path(pulumi.get_root_directory()).parents[1], region)
    except IbgwError as error:
        raise failure.failed(str(error)) from None
    caller = aws.get_caller_identity()
    account = Account(caller.account_id, region)
    for mode in Mode:
        _declare_secrets(mode, secrets[mode], _declare_key(mode, account))
    _declare_bucket(account)
    _declare_roles(account, settings, secrets)
    pulumi.export("backend", f"s3://{account.bucket}?region={region}")
    for mode in Mode:
        pulumi.export(f"secretsProvider-{mode.value}", f"awskms://{iam.key_alias(mode)}?region={region}")


def _declare_key(mode: Mode, account: Account) -> aws.kms.Key:
    key = aws.kms.Key(
        mode.value,
        description=f"ibgw: secrets of {mode.value}, and credentials in its stacks' states",
        policy=_text(iam.key_policy(mode, account)),
        enable_key_rotation=True,
        deletion_window_in_days=RECOVERY_DAYS,
        opts=KEPT,
    )
    aws.kms.Alias(mode.value, name=iam.key_alias(mode), target_key_id=key.key_id, opts=KEPT)
    return key


def _declare_secrets(mode: Mode, names: Sequence[str], key: aws.kms.Key) -> None:
    """Without values, which never pass through Pulumi. A resource has its secret's name, for `pulumi import`."""
    for name in names:
        aws.secretsmanager.Secret(
            name,
            name=name,
            description=f"ibgw: read by the stacks of {mode.value}",
            kms_key_id=key.arn,
            recovery_window_in_days=RECOVERY_DAYS,
            opts=KEPT,
        )


def _declare_bucket(account: Account) -> None:
    """S3's own encryption: one bucket holds states of both modes, whose credentials their own keys encrypt."""
    bucket = aws.s3.Bucket("state", bucket=account.bucket, opts=KEPT).bucket
    aws.s3.BucketVersioning("state", bucket=bucket, versioning_configuration={"status": "Enabled"}, opts=KEPT)
    aws.s3.BucketServerSideEncryptionConfiguration(
        "state",
        bucket=bucket,
        rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}],
        opts=KEPT,
    )
    aws.s3.BucketPublicAccessBlock(
        "state",
        bucket=bucket,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
        opts=KEPT,
    )
    aws.s3.BucketPolicy("state", bucket=bucket, policy=_text(iam.bucket_policy(account)), opts=KEPT)


def _declare_roles(account: Account, settings: AccountSettings, secrets: iam.Secrets) -> None:
    roles = list(iam.PEOPLE)
    trusted: list[pulumi.Resource] = []
    if settings.repository is not None:
        roles += iam.ENVIRONMENTS
        # An account has one for all repositories; deleted, it would be gone for all of them.
        trusted = [
            aws.iam.OpenIdConnectProvider(
                "github", url=f"https://{iam.GITHUB}", client_id_lists=[iam.GITHUB_AUDIENCE], opts=KEPT
            )
        ]
    for identity in roles:
        _declare_role(identity, account, settings, secrets, trusted)
        pulumi.export(f"role-{identity.removeprefix('ibgw-')}", account.role(identity))


def _declare_role(
    identity: Identity,
    account: Account,
    settings: AccountSettings,
    secrets: iam.Secrets,
    trusted: list[pulumi.Resource],
) -> None:
    people = settings.people(iam.PEOPLE[identity]) if identity in iam.PEOPLE else ()
    role = aws.iam.Role(
        identity.value,
        name=identity.value,
        description=f"ibgw: {iam.PURPOSES[identity]}",
        assume_role_policy=_text(iam.trust(identity, account, people=people, repository=settings.repository or "")),
        opts=pulumi.ResourceOptions(depends_on=trusted),
    )
    document = _text(iam.policy(identity, account, secrets))
    aws.iam.RolePolicy(identity.value, role=role.name, name=identity.value, policy=document)


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document)


if __name__ == "__main__":
    atexit.register(failure.leave)
    program()
