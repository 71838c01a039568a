"""The provider's configuration, the kinds of resources of an account, and three functions: `getSecretVersion` and
`getSecretVersions` of secretsmanager, and `getCallerIdentity`.

Names of arguments and results are pulumi-aws 7.51's; the words of the errors are those of its upstream
(terraform-provider-aws, internal/service/secretsmanager/secret_version_data_source.go and
secret_versions_data_source.go). No value of a secret enters an error.
"""

import base64
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sandbox.plugins.aws import iam, kms, s3, secret
from sandbox.plugins.aws.kinds import Client, Kind
from sandbox.plugins.provider import Checked, Difference, PluginError, Refusal, State
from sandbox.plugins.values import Properties

GET_SECRET_VERSION = "aws:secretsmanager/getSecretVersion:getSecretVersion"  # noqa: S105 - a function's name
GET_SECRET_VERSIONS = "aws:secretsmanager/getSecretVersions:getSecretVersions"  # noqa: S105 - a function's name
GET_CALLER_IDENTITY = "aws:index/getCallerIdentity:getCallerIdentity"
KINDS: dict[str, Kind] = {
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": iam.OPEN_ID_CONNECT_PROVIDER,
    "aws:iam/role:Role": iam.ROLE,
    "aws:iam/rolePolicy:RolePolicy": iam.ROLE_POLICY,
    "aws:kms/alias:Alias": kms.ALIAS,
    "aws:kms/key:Key": kms.KEY,
    "aws:s3/bucket:Bucket": s3.BUCKET,
    "aws:s3/bucketPolicy:BucketPolicy": s3.POLICY,
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": s3.PUBLIC_ACCESS,
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": s3.ENCRYPTION,
    "aws:s3/bucketVersioning:BucketVersioning": s3.VERSIONING,
    "aws:secretsmanager/secret:Secret": secret.SECRET,
}

# Inputs of the provider that mean something here. The SDK sets the skip* flags by itself, without being asked.
_CONFIGURATION = {"region", "profile"}
_SET_BY_SDK = {
    "skipCredentialsValidation",
    "skipRegionValidation",
    "skipMetadataApiCheck",
    "version",
    "pluginDownloadURL",
}
_ARGUMENTS = {
    GET_SECRET_VERSION: {"secretId", "versionId", "versionStage", "region"},
    GET_SECRET_VERSIONS: {"secretId", "includeDeprecated", "region"},
    GET_CALLER_IDENTITY: set(),
}

# AWSCURRENT is what Secrets Manager answers with when nothing else is asked for (API reference, GetSecretValue).
_DEFAULT_STAGE = "AWSCURRENT"


class Aws:
    """See the module. boto3 (0.8 s to import) is loaded beside the engine's first calls."""

    name = "aws"
    version = "7.51.1"

    def __init__(self) -> None:
        self._region: str | None = None
        self._profile: str | None = None
        self._clients: dict[tuple[str, str | None], Client] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._import, daemon=True).start()

    @staticmethod
    def _import() -> None:
        import boto3  # noqa: F401

    def check_configuration(self, inputs: Properties) -> Checked:
        unknown = sorted(set(inputs) - _CONFIGURATION - _SET_BY_SDK)
        return Checked(
            inputs,
            tuple(Refusal(name, f"the aws stand-in does not know the provider setting '{name}'") for name in unknown),
        )

    def configure(self, inputs: Properties) -> None:
        self._region = inputs.get("region")
        self._profile = inputs.get("profile")

    def invoke(self, token: str, arguments: Properties) -> Properties:
        if token not in _ARGUMENTS:
            raise PluginError(f"the aws stand-in has no function '{token}': it answers {', '.join(_ARGUMENTS)} only")
        if unknown := sorted(set(arguments) - _ARGUMENTS[token]):
            name = token.rpartition(":")[2]
            raise PluginError(f"the aws stand-in does not know the argument '{unknown[0]}' of {name}")
        if token == GET_CALLER_IDENTITY:
            return self._get_caller_identity()
        if token == GET_SECRET_VERSIONS:
            return self._get_secret_versions(arguments)
        return self._get_secret_version(arguments)

    def _get_secret_version(self, arguments: Properties) -> Properties:
        secret_id = arguments["secretId"]
        asked = {"SecretId": secret_id}
        if version_id := arguments.get("versionId"):
            asked["VersionId"] = version_id
        if version_stage := arguments.get("versionStage"):
            asked["VersionStage"] = version_stage
        version = version_id or version_stage or _DEFAULT_STAGE
        what = f"reading Secrets Manager Secret Version ({secret_id}|{version})"
        with _explained(what, "GetSecretValue"):
            client = self._client("secretsmanager", arguments.get("region"))
            found = client.get_secret_value(**asked)
        binary = found.get("SecretBinary")
        return {
            "arn": found["ARN"],
            "createdDate": found["CreatedDate"].strftime("%Y-%m-%dT%H:%M:%SZ"),
            "id": f"{secret_id}|{version}",
            "region": client.meta.region_name,
            "secretArn": found["ARN"],
            "secretBinary": base64.b64encode(binary).decode() if binary else "",
            "secretId": secret_id,
            "secretString": found.get("SecretString", ""),
            "versionId": found["VersionId"],
            "versionStage": version_stage,
            "versionStages": found.get("VersionStages", []),
        }

    def _get_secret_versions(self, arguments: Properties) -> Properties:
        """All pages of what the API lists without being asked for more: the official function takes `includeDeprecated`
        and, up to now, passes it to nobody."""
        secret_id = arguments["secretId"]
        what = f'reading AWS Secrets Manager Secret Versions Data Source ("{secret_id}")'
        with _explained(what, "ListSecretVersionIds"):
            client = self._client("secretsmanager", arguments.get("region"))
            page = client.list_secret_version_ids(SecretId=secret_id)
            versions = list(page["Versions"])
            while more := page.get("NextToken"):
                page = client.list_secret_version_ids(SecretId=secret_id, NextToken=more)
                versions += page["Versions"]
        return {
            "arn": page["ARN"],
            "id": secret_id,
            "includeDeprecated": arguments.get("includeDeprecated"),
            "name": page["Name"],
            "region": client.meta.region_name,
            "secretArn": page["ARN"],
            "secretId": secret_id,
            "secretName": page["Name"],
            "versions": [_version(found) for found in versions],
        }

    def _get_caller_identity(self) -> Properties:
        with _explained("reading STS Caller Identity", "GetCallerIdentity", "STS"):
            found = self._client("sts").get_caller_identity()
        account = found["Account"]
        return {"accountId": account, "arn": found["Arn"], "id": account, "userId": found["UserId"]}

    def _client(self, service: str, region: str | None = None) -> Client:
        """One client a service and region; boto3 reads the endpoint and the credentials from the environment."""
        import boto3
        from botocore.config import Config

        # The Go SDK's order; boto3 itself only knows AWS_DEFAULT_REGION and the profile's region.
        region = region or self._region or os.environ.get("AWS_REGION")
        with self._lock:
            if (service, region) not in self._clients:
                session: Any = boto3.Session(profile_name=self._profile, region_name=region)
                # A bucket in the path: what answers here has one name only.
                config = Config(max_pool_connections=50, s3={"addressing_style": "path"})
                self._clients[service, region] = session.client(service, config=config)
            return self._clients[service, region]

    def check(self, token: str, name: str, old: Properties, new: Properties, seed: bytes) -> Checked:
        return Checked(new, tuple(_kind(token).refusals(token, new)))

    def diff(self, token: str, state: State, old_inputs: Properties, new: Properties) -> Difference:
        return _kind(token).compare(state, old_inputs, new)

    def create(self, token: str, inputs: Properties, *, preview: bool) -> State:
        kind = _kind(token)
        if preview:
            return State("", kind.planned(inputs))
        with self._asking(token, "creating") as client:
            id = kind.create(client, inputs)
            return State(id, {**inputs, **(kind.read(client, id) or {})})

    def read(self, token: str, state: State) -> State | None:
        with self._asking(token, "reading") as client:
            found = _kind(token).read(client, state.id)
        return None if found is None else State(state.id, {**state.properties, **found})

    def adopt(self, token: str, id: str) -> tuple[Properties, State] | None:
        found = self.read(token, State(id, {}))
        return None if found is None else (_kind(token).imported(found), found)

    def update(self, token: str, state: State, new: Properties, *, preview: bool) -> Properties:
        kind = _kind(token)
        kept = {name: value for name, value in state.properties.items() if name not in kind.inputs}
        if preview:
            return {**kept, **new}
        with self._asking(token, "updating") as client:
            kind.put(client, state.id, new)
            return {**kept, **new, **(kind.read(client, state.id) or {})}

    def delete(self, token: str, state: State) -> None:
        with self._asking(token, "deleting") as client:
            _kind(token).delete(client, state)

    @contextmanager
    def _asking(self, token: str, doing: str) -> Iterator[Client]:
        with _explained(f"{doing} {token}", "", _SERVICES[_kind(token).service]):
            yield self._client(_kind(token).service)


_SERVICES = {"iam": "IAM", "kms": "KMS", "s3": "S3", "secretsmanager": "Secrets Manager"}
"""As the Go SDK calls them in its errors."""


def _kind(token: str) -> Kind:
    if token not in KINDS:
        raise PluginError(f"the aws stand-in has no resource '{token}': it knows {', '.join(KINDS)}")
    return KINDS[token]


def _version(found: Any) -> Properties:
    """The time of the last access is told to the day (API reference, SecretVersionsListEntry)."""
    accessed = found.get("LastAccessedDate")
    return {
        "createdTime": found["CreatedDate"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lastAccessedDate": accessed and accessed.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "versionId": found["VersionId"],
        "versionStages": found.get("VersionStages", []),
    }


@contextmanager
def _explained(what: str, operation: str, service: str = "Secrets Manager") -> Iterator[None]:
    """What boto3 raises, in the words of AWS's Go SDK, which the official provider shows."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise PluginError(f"{what}: {_client_error(error, operation or error.operation_name, service)}") from None
    except BotoCoreError as error:
        said = ", ".join(filter(None, (operation, str(error))))
        raise PluginError(f"{what}: operation error {service}: {said}") from None


def _client_error(error: Any, operation: str, service: str) -> str:
    found = error.response
    code, message = found["Error"].get("Code", ""), found["Error"].get("Message", "")
    metadata = found.get("ResponseMetadata", {})
    text = (
        f"operation error {service}: {operation}, https response error StatusCode: "
        f"{metadata.get('HTTPStatusCode', 0)}, RequestID: {metadata.get('RequestId', '')}, {code}: {message}"
    )
    looked_up = operation == "GetSecretValue" and code == "ResourceNotFoundException"
    return f"couldn't find resource: {text}" if looked_up else text
