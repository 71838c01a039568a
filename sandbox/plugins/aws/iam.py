"""`aws:iam/role:Role`, `aws:iam/rolePolicy:RolePolicy` and `aws:iam/openIdConnectProvider:OpenIdConnectProvider`."""

import json
from collections.abc import Callable

from sandbox.plugins.aws.kinds import Client, Kind, names
from sandbox.plugins.provider import PluginError, State
from sandbox.plugins.values import Properties

_SESSION_SECONDS = 3600


def _found(ask: Callable[[], Properties]) -> Properties | None:
    from botocore.exceptions import ClientError

    try:
        return ask()
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchEntity":
            return None
        raise


def _create_role(client: Client, inputs: Properties) -> str:
    client.create_role(RoleName=inputs["name"], AssumeRolePolicyDocument=inputs["assumeRolePolicy"])
    _put_role(client, inputs["name"], inputs)
    return str(inputs["name"])


def _put_role(client: Client, name: str, inputs: Properties) -> None:
    client.update_assume_role_policy(RoleName=name, PolicyDocument=inputs["assumeRolePolicy"])
    seconds = inputs.get("maxSessionDuration", _SESSION_SECONDS)
    client.update_role(RoleName=name, Description=inputs.get("description", ""), MaxSessionDuration=seconds)


def _read_role(client: Client, name: str) -> Properties | None:
    def ask() -> Properties:
        found = client.get_role(RoleName=name)["Role"]
        return {
            "name": name,
            "arn": found["Arn"],
            "description": found.get("Description", ""),
            "maxSessionDuration": found.get("MaxSessionDuration", _SESSION_SECONDS),
            "assumeRolePolicy": json.dumps(found["AssumeRolePolicyDocument"]),
        }

    return _found(ask)


def _delete_role(client: Client, state: State) -> None:
    client.delete_role(RoleName=state.id)


def _create_role_policy(client: Client, inputs: Properties) -> str:
    name = f"{inputs['role']}:{inputs['name']}"
    _put_role_policy(client, name, inputs)
    return name


def _put_role_policy(client: Client, name: str, inputs: Properties) -> None:
    client.put_role_policy(RoleName=inputs["role"], PolicyName=inputs["name"], PolicyDocument=inputs["policy"])


def _read_role_policy(client: Client, id: str) -> Properties | None:
    role, _, name = id.partition(":")

    def ask() -> Properties:
        found = client.get_role_policy(RoleName=role, PolicyName=name)
        return {"role": role, "name": name, "policy": json.dumps(found["PolicyDocument"])}

    return _found(ask)


def _delete_role_policy(client: Client, state: State) -> None:
    role, _, name = state.id.partition(":")
    client.delete_role_policy(RoleName=role, PolicyName=name)


def _create_provider(client: Client, inputs: Properties) -> str:
    found = client.create_open_id_connect_provider(Url=inputs["url"], ClientIDList=inputs["clientIdLists"])
    return str(found["OpenIDConnectProviderArn"])


def _put_provider(client: Client, arn: str, inputs: Properties) -> None:
    raise PluginError("the aws stand-in changes no audience of an OpenIdConnectProvider: moto has no call for it")


def _read_provider(client: Client, arn: str) -> Properties | None:
    def ask() -> Properties:
        found = client.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
        # IAM gives the URL without its scheme.
        return {"arn": arn, "url": f"https://{found['Url']}", "clientIdLists": found["ClientIDList"]}

    return _found(ask)


def _delete_provider(client: Client, state: State) -> None:
    client.delete_open_id_connect_provider(OpenIDConnectProviderArn=state.id)


ROLE = Kind(
    "iam",
    replacing=names("name"),
    in_place=names("assumeRolePolicy description maxSessionDuration"),
    outputs=names("arn"),
    create=_create_role,
    put=_put_role,
    read=_read_role,
    delete=_delete_role,
)
ROLE_POLICY = Kind(
    "iam",
    replacing=names("role name"),
    in_place=names("policy"),
    outputs=frozenset(),
    create=_create_role_policy,
    put=_put_role_policy,
    read=_read_role_policy,
    delete=_delete_role_policy,
)
OPEN_ID_CONNECT_PROVIDER = Kind(
    "iam",
    replacing=names("url"),
    in_place=names("clientIdLists"),
    outputs=names("arn"),
    create=_create_provider,
    put=_put_provider,
    read=_read_provider,
    delete=_delete_provider,
)
