"""The sandbox's Secrets Manager: who is denied what."""

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from sandbox.secrets_server import Permissions

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

VALUE = "never shown"


@pytest.fixture(scope="module")
def client_as() -> "Iterator[Callable[[str], SecretsManagerClient]]":
    app = Permissions(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield lambda key: boto3.client(
        "secretsmanager",
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key="any",  # noqa: S106 - the server looks at none
    )
    server.shutdown()
    thread.join()
    server.server_close()


def test_who_may_only_list_sees_versions_and_no_value(client_as: "Callable[[str], SecretsManagerClient]") -> None:
    full, listing = client_as("sandbox"), client_as("sandbox-list-only")
    made = full.create_secret(Name="a", SecretString=VALUE)
    assert full.get_secret_value(SecretId="a")["SecretString"] == VALUE
    [version] = listing.list_secret_version_ids(SecretId="a")["Versions"]
    assert (version["VersionId"], version["VersionStages"]) == (made["VersionId"], ["AWSCURRENT"])
    with pytest.raises(ClientError) as denied:
        listing.get_secret_value(SecretId="a")
    assert denied.value.response["Error"]["Code"] == "AccessDeniedException"
    assert "not authorized to perform: secretsmanager:GetSecretValue" in denied.value.response["Error"]["Message"]
    assert denied.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(ClientError, match="AccessDeniedException"):
        listing.put_secret_value(SecretId="a", SecretString="other")
    assert full.get_secret_value(SecretId="a")["SecretString"] == VALUE
