"""The sandbox's Secrets Manager, and a new version of a gateway's secret as somebody puts it there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3

from sandbox.environment import Stack

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


def secrets_manager(env: Mapping[str, str]) -> "SecretsManagerClient":
    """As a program finds it in this environment of a sandbox."""
    return boto3.client(
        "secretsmanager",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        region_name=env["AWS_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )


@contextmanager
def rotated(stack: Stack) -> Iterator[dict[str, str]]:
    """A version with the same value for the gateway `main`: its id, and that of the one before, which is back
    afterwards."""
    client = secrets_manager(stack.env)
    name = stack.config["config"]["ibgw:gateways"]["main"]["credentials"]["secretId"]
    before = client.get_secret_value(SecretId=name)
    after = client.put_secret_value(SecretId=name, SecretString=before["SecretString"])
    try:
        yield {"before": before["VersionId"], "after": after["VersionId"]}
    finally:
        # moto moves a staging label and goes on answering with the version that had it.
        client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        client.create_secret(Name=name, SecretString=before["SecretString"], ClientRequestToken=before["VersionId"])
