"""`aws:kms/key:Key` and `aws:kms/alias:Alias`."""

from sandbox.plugins.aws.kinds import Client, Kind, names
from sandbox.plugins.provider import State
from sandbox.plugins.values import Properties

_DELETION_DAYS = 30
"""What KMS waits where nothing else is said."""


def _create_key(client: Client, inputs: Properties) -> str:
    key = str(client.create_key(Description=inputs.get("description", ""))["KeyMetadata"]["KeyId"])
    _put_key(client, key, inputs)
    return key


def _put_key(client: Client, key: str, inputs: Properties) -> None:
    client.update_key_description(KeyId=key, Description=inputs.get("description", ""))
    if "policy" in inputs:
        client.put_key_policy(KeyId=key, PolicyName="default", Policy=inputs["policy"])
    rotate = client.enable_key_rotation if inputs.get("enableKeyRotation") else client.disable_key_rotation
    rotate(KeyId=key)


def _read_key(client: Client, key: str) -> Properties | None:
    from botocore.exceptions import ClientError

    try:
        found = client.describe_key(KeyId=key)["KeyMetadata"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NotFoundException":
            return None
        raise
    if found["KeyState"] == "PendingDeletion":
        return None
    return {
        "arn": found["Arn"],
        "keyId": key,
        "description": found["Description"],
        "isEnabled": found["Enabled"],
        "enableKeyRotation": client.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"],
        "policy": client.get_key_policy(KeyId=key, PolicyName="default")["Policy"],
    }


def _delete_key(client: Client, state: State) -> None:
    days = state.properties.get("deletionWindowInDays") or _DELETION_DAYS
    client.schedule_key_deletion(KeyId=state.id, PendingWindowInDays=days)


def _create_alias(client: Client, inputs: Properties) -> str:
    client.create_alias(AliasName=inputs["name"], TargetKeyId=inputs["targetKeyId"])
    return str(inputs["name"])


def _put_alias(client: Client, name: str, inputs: Properties) -> None:
    client.update_alias(AliasName=name, TargetKeyId=inputs["targetKeyId"])


def _read_alias(client: Client, name: str) -> Properties | None:
    for page in client.get_paginator("list_aliases").paginate():
        for found in page["Aliases"]:
            if found["AliasName"] == name:
                return {"name": name, "arn": found["AliasArn"], "targetKeyId": found["TargetKeyId"]}
    return None


def _delete_alias(client: Client, state: State) -> None:
    client.delete_alias(AliasName=state.id)


KEY = Kind(
    "kms",
    replacing=frozenset(),
    in_place=names("description policy enableKeyRotation deletionWindowInDays"),
    outputs=names("arn keyId isEnabled"),
    create=_create_key,
    put=_put_key,
    read=_read_key,
    delete=_delete_key,
)
ALIAS = Kind(
    "kms",
    replacing=names("name"),
    in_place=names("targetKeyId"),
    outputs=names("arn"),
    create=_create_alias,
    put=_put_alias,
    read=_read_alias,
    delete=_delete_alias,
)
