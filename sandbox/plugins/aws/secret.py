"""`aws:secretsmanager/secret:Secret`: a secret without its value."""

from sandbox.plugins.aws.kinds import Client, Kind, names
from sandbox.plugins.provider import State
from sandbox.plugins.values import Properties

_RECOVERY_DAYS = 30


def _given(inputs: Properties) -> dict[str, str]:
    found = {"Description": inputs.get("description", ""), "KmsKeyId": inputs.get("kmsKeyId")}
    return {name: value for name, value in found.items() if value is not None}


def _create(client: Client, inputs: Properties) -> str:
    return str(client.create_secret(Name=inputs["name"], **_given(inputs))["ARN"])


def _put(client: Client, arn: str, inputs: Properties) -> None:
    client.update_secret(SecretId=arn, **_given(inputs))


def _read(client: Client, arn: str) -> Properties | None:
    from botocore.exceptions import ClientError

    try:
        found = client.describe_secret(SecretId=arn)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise
    if "DeletedDate" in found:
        return None
    return {
        "arn": found["ARN"],
        "name": found["Name"],
        "description": found.get("Description", ""),
        "kmsKeyId": found.get("KmsKeyId"),
    }


def _delete(client: Client, state: State) -> None:
    days = state.properties.get("recoveryWindowInDays") or _RECOVERY_DAYS
    client.delete_secret(SecretId=state.id, RecoveryWindowInDays=days)


SECRET = Kind(
    "secretsmanager",
    replacing=names("name"),
    in_place=names("description kmsKeyId recoveryWindowInDays"),
    outputs=names("arn"),
    create=_create,
    put=_put,
    read=_read,
    delete=_delete,
)
