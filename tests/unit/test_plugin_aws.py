"""The aws stand-in against a Secrets Manager on loopback, and its errors."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from sandbox.plugins.aws.provider import GET_SECRET_VERSION, GET_SECRET_VERSIONS, Aws
from sandbox.plugins.provider import PluginError

VALUE = "never shown"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    found = Aws()
    found.configure({"region": "eu-west-1"})
    yield found
    server.stop()


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
    assert VALUE not in str(found)
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

    monkeypatch.setattr(aws, "_client", lambda region: Paging())
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

    monkeypatch.setattr(aws, "_client", lambda region: Refusing())
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
    with pytest.raises(PluginError, match="no resource 'aws:s3/bucket:Bucket'"):
        aws.check("aws:s3/bucket:Bucket", "b", {}, {}, b"")
    refused = aws.check_configuration({"region": "eu-west-1", "version": "7.51.1", "endpoints": "[]"}).refusals
    assert [refusal.property for refusal in refused] == ["endpoints"]
