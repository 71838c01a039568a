"""AWS Secrets Manager, with boto3. A value is wrapped where it is read; infra.aws_errors says what AWS refuses."""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr

from deployment.errors import ExitCode, IbgwError
from infra.aws_errors import explain
from infra.secret_document import binary, refused

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

Answer = TypeVar("Answer")

CURRENT = "AWSCURRENT"
PENDING = "AWSPENDING"

# botocore writes requests and answers into its debugging log, values included.
logging.getLogger("botocore").setLevel(logging.WARNING)


class MissingError(IbgwError):
    """There is no such secret, or no such version of it, in this region."""


class DeniedError(IbgwError):
    """Not for this identity."""


@dataclass(frozen=True)
class Version:
    id: str
    stages: tuple[str, ...]
    created: datetime


@dataclass(frozen=True)
class Metadata:
    """`key`: its KMS key, None for the account's own. `deleted`: when it will be gone, if it is marked for that.
    `lambda_rotation`: whether AWS is to rotate it by itself. `versions`: those with a stage, newest first."""

    arn: str
    region: str
    key: str | None
    deleted: datetime | None
    lambda_rotation: bool
    versions: tuple[Version, ...]

    def staged(self, stage: str) -> Version | None:
        return next((version for version in self.versions if stage in version.stages), None)


class SecretsManager:
    """Every method raises IbgwError (REFUSED) that names the secret and what to do: MissingError, DeniedError, or the
    plain one."""

    def __init__(self, region: str | None, profile: str | None = None) -> None:
        def connected() -> "SecretsManagerClient":
            session = boto3.Session(profile_name=profile, region_name=region or os.environ.get("AWS_REGION"))
            return session.client("secretsmanager", config=Config(connect_timeout=10, read_timeout=20))

        self._client = _asked("", "could not be asked", connected)
        self.region = self._client.meta.region_name

    def describe(self, secret_id: str) -> Metadata:
        def asked() -> Metadata:
            found = self._client.describe_secret(SecretId=secret_id)
            return Metadata(
                arn=found["ARN"],
                region=self.region,
                key=found.get("KmsKeyId"),
                deleted=found.get("DeletedDate"),
                lambda_rotation=found.get("RotationEnabled", False),
                versions=self._versions(secret_id),
            )

        return self._ask(secret_id, "could not be looked at", asked)

    def _versions(self, secret_id: str) -> tuple[Version, ...]:
        versions: list[Any] = []
        more: dict[str, Any] = {}
        while True:
            page = self._client.list_secret_version_ids(SecretId=secret_id, **more)
            versions += page["Versions"]
            if not page.get("NextToken"):
                break
            more = {"NextToken": page["NextToken"]}
        return tuple(
            Version(version["VersionId"], tuple(version.get("VersionStages", ())), version["CreatedDate"])
            for version in sorted(versions, key=lambda version: version["CreatedDate"], reverse=True)
        )

    def value(self, secret_id: str, version: str | None = None) -> SecretStr:
        """The current version's, or that version's."""

        def asked() -> SecretStr | None:
            chosen = {"VersionId": version} if version else {"VersionStage": CURRENT}
            found = self._client.get_secret_value(SecretId=secret_id, **chosen)
            return SecretStr(found["SecretString"]) if "SecretString" in found else None

        value = self._ask(secret_id, "could not be read", asked)
        if value is None:
            raise binary(secret_id)
        return value

    def resource_policy(self, secret_id: str) -> dict[str, Any] | None:
        """None where it has none."""
        policy = self._ask(
            secret_id,
            "its resource policy could not be read",
            lambda: self._client.get_resource_policy(SecretId=secret_id).get("ResourcePolicy"),
        )
        return json.loads(policy) if policy else None

    def create(self, secret_id: str, value: SecretStr, token: str) -> None:
        """Makes the secret, with the value as its current version, whose id is `token`."""
        self._ask(
            secret_id,
            "could not be made",
            lambda: self._client.create_secret(
                Name=secret_id, SecretString=value.get_secret_value(), ClientRequestToken=token
            ),
            writes=True,
        )

    def add(self, secret_id: str, value: SecretStr, token: str, stage: str) -> None:
        """Adds a version, whose id is `token`, with this stage, which leaves the one that had it. The same again does
        nothing."""
        self._ask(
            secret_id,
            "could not be written",
            lambda: self._client.put_secret_value(
                SecretId=secret_id,
                SecretString=value.get_secret_value(),
                ClientRequestToken=token,
                VersionStages=[stage],
            ),
            writes=True,
        )

    def move(self, secret_id: str, stage: str, *, to: str | None, away_from: str) -> None:
        """Takes a stage from one version, and gives it to another or to none."""
        ends = {"MoveToVersionId": to} if to else {}
        self._ask(
            secret_id,
            f"its stage {stage} could not be moved",
            lambda: self._client.update_secret_version_stage(
                SecretId=secret_id, VersionStage=stage, RemoveFromVersionId=away_from, **ends
            ),
        )

    def _ask(self, secret_id: str, fault: str, call: Callable[[], Answer], *, writes: bool = False) -> Answer:
        parts = secret_id.split(":")
        if secret_id.startswith("arn:") and parts[3] != self.region:
            raise refused(
                secret_id,
                f"lies in the region {parts[3]}, and {self.region} is asked",
                f"set aws:region in the stack's file to {parts[3]}",
            )
        return _asked(secret_id, f"{fault} in {self.region}", call, writes=writes)


def _asked(secret_id: str, fault: str, call: Callable[[], Answer], *, writes: bool = False) -> Answer:
    """The answer; or what boto3 raises, in our words. Nothing of its text is passed on: it may quote a value.
    `secret_id`: empty where none is asked for yet."""
    try:
        return call()
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        said = f"{code}: {error.response['Error'].get('Message', '')}"
    except BotoCoreError as error:
        code = type(error).__name__
        said = f"{code}: {error}"
    explained = explain(secret_id, said, writes=writes)
    kind = DeniedError if explained.denied else MissingError if "ResourceNotFound" in said else IbgwError
    todo = explained.todo or f"AWS did not answer as expected ({code}); check the AWS set-up and try again"
    if not secret_id:
        raise IbgwError(f"Secrets Manager {fault}; {todo}.", exit_code=ExitCode.REFUSED)
    # Here and not above, so that it does not carry boto3's exception along.
    raise refused(secret_id, fault, todo, kind)
