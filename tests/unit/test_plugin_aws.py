"""The aws stand-in against a Secrets Manager on loopback, and its errors."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.moto_api._internal.models import moto_api_backend
from moto.server import ThreadedMotoServer

from sandbox.plugins.aws.provider import GET_CALLER_IDENTITY, GET_SECRET_VERSION, GET_SECRET_VERSIONS, Aws
from sandbox.plugins.provider import Change, PluginError, State
from sandbox.plugins.values import UNKNOWN
from tests.leaks import leaks

VALUE = "never shown"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Aws:
    moto_api_backend.reset()  # what the test before has made
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    found = Aws()
    found.configure({"region": "eu-west-1"})
    return found


def test_a_secrets_current_version(aws: Aws) -> None:
    made = boto3.client("secretsmanager", region_name="eu-west-1").create_secret(Name="a/b", SecretString=VALUE)
    found = aws.invoke(GET_SECRET_VERSION, {"secretId": "a/b"})
    assert found.pop("createdDate").endswith("Z")
    assert found == {
        "arn": made["ARN"],
        "id": "a/b|AWSCURRENT",
        "region": "eu-west-1",
        "secretArn": made["ARN"],
        "secretBinary": "",
        "secretId": "a/b",
        "secretString": VALUE,
        "versionId": made["VersionId"],
        "versionStage": None,
        "versionStages": ["AWSCURRENT"],
    }


def test_a_pinned_version_and_a_binary_value(aws: Aws) -> None:
    client = boto3.client("secretsmanager", region_name="eu-west-1")
    first = client.create_secret(Name="pinned", SecretString="old")
    client.put_secret_value(SecretId="pinned", SecretBinary=b"\x00\xff")
    pinned = aws.invoke(GET_SECRET_VERSION, {"secretId": "pinned", "versionId": first["VersionId"]})
    assert (pinned["secretString"], pinned["versionId"]) == ("old", first["VersionId"])
    assert pinned["id"] == f"pinned|{first['VersionId']}"
    current = aws.invoke(GET_SECRET_VERSION, {"secretId": "pinned", "versionStage": "AWSCURRENT"})
    assert (current["secretString"], current["secretBinary"]) == ("", "AP8=")


def test_a_missing_secret_in_the_official_words(aws: Aws) -> None:
    with pytest.raises(PluginError) as raised:
        aws.invoke(GET_SECRET_VERSION, {"secretId": "gone"})
    assert str(raised.value).startswith(
        "reading Secrets Manager Secret Version (gone|AWSCURRENT): couldn't find resource: "
        "operation error Secrets Manager: GetSecretValue, https response error StatusCode: "
    )
    assert "ResourceNotFoundException: Secrets Manager can't find the specified secret." in str(raised.value)


def test_the_versions_of_a_secret_without_any_value(aws: Aws) -> None:
    client = boto3.client("secretsmanager", region_name="eu-west-1")
    first = client.create_secret(Name="listed", SecretString=VALUE)
    second = client.put_secret_value(SecretId="listed", SecretString=VALUE)
    found = aws.invoke(GET_SECRET_VERSIONS, {"secretId": "listed", "includeDeprecated": True})
    assert leaks(str(found), VALUE) == []
    versions = found.pop("versions")
    # Names of the results: GetSecretVersionsResult and GetSecretVersionsVersionResult of pulumi_aws 7.51.1.
    assert found.pop("arn") == found.pop("secretArn")  # moto gives the name for it
    assert found == {
        "id": "listed",
        "includeDeprecated": True,
        "name": "listed",
        "region": "eu-west-1",
        "secretId": "listed",
        "secretName": "listed",
    }
    assert {version["versionId"]: version["versionStages"] for version in versions} == {
        first["VersionId"]: ["AWSPREVIOUS"],
        second["VersionId"]: ["AWSCURRENT"],
    }
    for version in versions:
        assert version.keys() == {"createdTime", "lastAccessedDate", "versionId", "versionStages"}
        assert version["createdTime"].endswith("Z")


def test_all_pages_of_a_secrets_versions(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    class Paging:
        class meta:
            region_name = "eu-west-1"

        def list_secret_version_ids(self, **asked: str) -> dict[str, Any]:
            page = {"ARN": "arn", "Name": "a", "Versions": [{"VersionId": "1", "CreatedDate": datetime.now(UTC)}]}
            return page if "NextToken" in asked else page | {"NextToken": "more"}

    monkeypatch.setattr(aws, "_client", lambda *asked: Paging())
    found = aws.invoke(GET_SECRET_VERSIONS, {"secretId": "a"})
    assert [(one["versionId"], one["lastAccessedDate"], one["versionStages"]) for one in found["versions"]] == [
        ("1", None, []),
        ("1", None, []),
    ]


@pytest.mark.parametrize(
    ("function", "operation", "code", "reading"),
    [
        (
            GET_SECRET_VERSION,
            "GetSecretValue",
            "AccessDeniedException",
            "reading Secrets Manager Secret Version (a|AWSCURRENT): ",
        ),
        # moto breaks down over a missing secret's versions, so that its answer is made up here.
        (
            GET_SECRET_VERSIONS,
            "ListSecretVersionIds",
            "ResourceNotFoundException",
            'reading AWS Secrets Manager Secret Versions Data Source ("a"): ',
        ),
    ],
)
def test_a_refusal_in_the_official_words(
    function: str, operation: str, code: str, reading: str, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        def __getattr__(self, name: str) -> Any:
            return self.refuse

        def refuse(self, **asked: Any) -> None:
            answer: Any = {
                "Error": {"Code": code, "Message": "why"},
                "ResponseMetadata": {"HTTPStatusCode": 400, "RequestId": "r-1"},
                "SecretString": VALUE,
            }
            raise ClientError(answer, operation)

    monkeypatch.setattr(aws, "_client", lambda *asked: Refusing())
    with pytest.raises(PluginError) as raised:
        aws.invoke(function, {"secretId": "a"})
    assert str(raised.value) == (
        f"{reading}operation error Secrets Manager: {operation}, https response error StatusCode: 400, "
        f"RequestID: r-1, {code}: why"
    )


def test_no_region_is_said(aws: Aws) -> None:
    aws.configure({})
    with pytest.raises(PluginError, match="You must specify a region"):
        aws.invoke(GET_SECRET_VERSION, {"secretId": "a"})


def test_the_region_of_the_environment(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    boto3.client("secretsmanager", region_name="eu-north-1").create_secret(Name="north", SecretString="n")
    aws.configure({})
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert aws.invoke(GET_SECRET_VERSION, {"secretId": "north"})["region"] == "eu-north-1"


def test_everything_else_is_refused_by_name(aws: Aws) -> None:
    with pytest.raises(PluginError, match="no function 'aws:index/getRegion:getRegion'"):
        aws.invoke("aws:index/getRegion:getRegion", {})
    with pytest.raises(PluginError, match="does not know the argument 'name'"):
        aws.invoke(GET_SECRET_VERSION, {"secretId": "a", "name": "b"})
    with pytest.raises(PluginError, match="does not know the argument 'versionId' of getSecretVersions"):
        aws.invoke(GET_SECRET_VERSIONS, {"secretId": "a", "versionId": "b"})
    with pytest.raises(PluginError, match="no resource 'aws:sqs/queue:Queue'"):
        aws.check("aws:sqs/queue:Queue", "b", {}, {}, b"")
    refused = aws.check_configuration({"region": "eu-west-1", "version": "7.51.1", "endpoints": "[]"}).refusals
    assert [refusal.property for refusal in refused] == ["endpoints"]


# The kinds of resources: inputs, and a change of one of them.
KEY, ALIAS, SECRET = "aws:kms/key:Key", "aws:kms/alias:Alias", "aws:secretsmanager/secret:Secret"
BUCKET, POLICY = "aws:s3/bucket:Bucket", "aws:s3/bucketPolicy:BucketPolicy"
ROLE, ROLE_POLICY = "aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy"
DOCUMENT = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
OTHER = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}
TRUST = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "sts:AssumeRole"}
TRUSTED = {"name": "r", "assumeRolePolicy": json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})}
NAMED = {"bucket": "states"}
VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"
ENCRYPTED = {"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}
KINDS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (KEY, {"description": "a", "policy": json.dumps(DOCUMENT)}, {"policy": json.dumps(OTHER)}),
    (KEY, {"deletionWindowInDays": 7}, {"enableKeyRotation": True}),
    (SECRET, {"name": "a/b", "recoveryWindowInDays": 7}, {"description": "b"}),
    (BUCKET, NAMED, {}),
    (
        VERSIONING,
        {**NAMED, "versioningConfiguration": {"status": "Suspended"}},
        {"versioningConfiguration": {"status": "Enabled"}},
    ),
    (
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        {**NAMED, "rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms"}}]},
        {"rules": [ENCRYPTED]},
    ),
    (
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        {**NAMED, "blockPublicAcls": True},
        {"blockPublicPolicy": True},
    ),
    (POLICY, {**NAMED, "policy": json.dumps(DOCUMENT)}, {"policy": json.dumps(OTHER)}),
    (ROLE, TRUSTED, {"description": "b", "maxSessionDuration": 7200}),
    (ROLE_POLICY, {"role": "r", "name": "p", "policy": json.dumps(DOCUMENT)}, {"policy": json.dumps(OTHER)}),
    (
        "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
        {"url": "https://token.example.com", "clientIdLists": ["a"]},
        {},
    ),
]


@pytest.mark.parametrize(("token", "inputs", "change"), KINDS)
def test_a_resource_from_its_creation_to_its_end(
    aws: Aws, token: str, inputs: dict[str, Any], change: dict[str, Any]
) -> None:
    if "bucket" in inputs and token != BUCKET:
        aws.create(BUCKET, NAMED, preview=False)
    if token == ROLE_POLICY:
        aws.create(ROLE, TRUSTED, preview=False)
    assert not aws.check(token, "n", {}, inputs, b"").refusals
    made = aws.create(token, inputs, preview=False)
    assert not aws.diff(token, made, inputs, inputs).changes
    read = aws.read(token, made)
    assert read is not None
    assert not aws.diff(token, read, inputs, inputs).changes

    new = {**inputs, **change}
    difference = aws.diff(token, made, inputs, new)
    assert set(difference.changes) == set(change) == set(difference.by_program)
    assert not any(kind.replaces for kind in difference.changes.values())
    changed = State(made.id, aws.update(token, made, new, preview=False)) if change else made
    assert not aws.diff(token, changed, new, new).changes
    # Whoever changed it elsewhere: drift, and no doing of the program.
    drift = aws.diff(token, made, new, new)
    assert set(drift.changes) == set(change)
    assert not drift.by_program

    adopted = aws.adopt(token, made.id)
    assert adopted is not None
    assert new.keys() - {"deletionWindowInDays", "recoveryWindowInDays"} <= adopted[0].keys()
    aws.delete(token, changed)
    if token != VERSIONING:  # a bucket always has one, suspended now
        assert aws.read(token, changed) is None
        assert aws.adopt(token, made.id) is None


def test_an_alias_leads_to_its_key(aws: Aws) -> None:
    first, second = (aws.create(KEY, {}, preview=False).id for _ in range(2))
    made = aws.create(ALIAS, {"name": "alias/a", "targetKeyId": first}, preview=False)
    moved = aws.update(ALIAS, made, {"name": "alias/a", "targetKeyId": second}, preview=False)
    assert moved["targetKeyId"] == second
    assert aws.diff(ALIAS, made, {}, {"name": "alias/b", "targetKeyId": first}).changes == {
        "name": Change.UPDATE_REPLACE
    }
    aws.delete(ALIAS, made)
    assert aws.read(ALIAS, made) is None


def test_an_audience_is_not_changed_here(aws: Aws) -> None:
    token, inputs = KINDS[-1][:2]
    made = aws.create(token, inputs, preview=False)
    with pytest.raises(PluginError, match="moto has no call for it"):
        aws.update(token, made, {**inputs, "clientIdLists": ["b"]}, preview=False)


def test_a_planned_resource_has_unknown_outputs(aws: Aws) -> None:
    assert aws.create(SECRET, {"name": "a"}, preview=True) == State("", {"arn": UNKNOWN, "name": "a"})


def test_an_input_that_is_not_known_or_missing_is_refused_by_name(aws: Aws) -> None:
    refused = aws.check(SECRET, "a", {}, {"policy": "{}"}, b"").refusals
    assert [refusal.property for refusal in refused] == ["policy", "name"]


def test_a_failed_creation_says_what_aws_said(aws: Aws) -> None:
    aws.create(SECRET, {"name": "a"}, preview=False)
    with pytest.raises(PluginError, match=r"^creating aws:secretsmanager/secret:Secret: operation error Secrets "):
        aws.create(SECRET, {"name": "a"}, preview=False)


def test_who_asks(aws: Aws) -> None:
    assert aws.invoke(GET_CALLER_IDENTITY, {})["accountId"] == "123456789012"
