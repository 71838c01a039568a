"""A new version of a gateway's secret, as somebody puts it into Secrets Manager."""

from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.environment import Stack


@contextmanager
def rotated(stack: Stack) -> Iterator[dict[str, str]]:
    """A version with the same value for the gateway `main`: its id, and that of the one before, which is back
    afterwards."""
    import boto3

    client = boto3.client(
        "secretsmanager",
        endpoint_url=stack.env["AWS_ENDPOINT_URL"],
        region_name=stack.env["AWS_REGION"],
        aws_access_key_id=stack.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=stack.env["AWS_SECRET_ACCESS_KEY"],
    )
    name = stack.config["config"]["ibgw:gateways"]["main"]["credentials"]["secretId"]
    before = client.get_secret_value(SecretId=name)
    after = client.put_secret_value(SecretId=name, SecretString=before["SecretString"])
    try:
        yield {"before": before["VersionId"], "after": after["VersionId"]}
    finally:
        # moto moves a staging label and goes on answering with the version that had it.
        client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        client.create_secret(Name=name, SecretString=before["SecretString"], ClientRequestToken=before["VersionId"])
