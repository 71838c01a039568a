"""An AWS that enforces policies: moto's server, and in front of it `tests.iam_evaluator` over what is deployed there.

An access key id says who asks: ADMINISTRATOR may everything; `ibgw-paper` is the role of that name, with its policies
as IAM has them; with `+mfa` behind it, it was taken on with MFA. A request that is no known action is refused.
"""

import base64
import json
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import boto3
from botocore.config import Config
from moto.iam.access_control import PermissionResult
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import FakeBucket
from werkzeug.serving import make_server
from werkzeug.wrappers import Request as Asked

from tests.iam_evaluator import Context, Request, allowed

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ACCOUNT = "123456789012"
REGION = "us-east-1"
ADMINISTRATOR = "administrator"
_MFA = "+mfa"
_SERVICES = {"secretsmanager": "secretsmanager", "TrentService": "kms"}
# What Secrets Manager asks of a secret's key in the name of who asks (its user guide, "Permissions for the KMS key").
_OF_A_VALUE = {"GetSecretValue": ("Decrypt",), "PutSecretValue": ("GenerateDataKey", "Decrypt")}
# Of an object, by method; a copy reads another one too (S3's user guide, "Required permissions for API operations").
_OBJECT = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "DELETE": "s3:DeleteObject"}


@dataclass(frozen=True)
class Aws:
    endpoint: str
    denied: list[tuple[str, str]]
    """Who was denied what, since the beginning."""

    def env(self, who: str = ADMINISTRATOR) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.endpoint,
            "AWS_ACCESS_KEY_ID": who,
            "AWS_REGION": REGION,
        }

    def client(self, service: str) -> Any:
        """The administrator's."""
        return _client(self.endpoint, service)


@cache
def _client(endpoint: str, service: str) -> Any:
    session: Any = boto3.Session(ADMINISTRATOR, "x", region_name=REGION)
    return session.client(service, endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"}))


@contextmanager
def enforced_aws() -> Iterator[Aws]:
    # moto has one account a process, in which the file of tests before has left its own.
    moto_api_backend.reset()
    # moto takes a statement's conditions for fulfilled, so that "nothing without TLS" would mean "nothing".
    with patch.object(FakeBucket, "get_permission", lambda *asked: PermissionResult.NEUTRAL):
        front = _Front(DomainDispatcherApplication(create_backend_app))
        server = make_server("127.0.0.1", 0, front, threaded=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        made = Aws(f"http://127.0.0.1:{server.port}", front.denied)
        front.aws = made
        yield made
        server.shutdown()
        thread.join()


class _Front:
    def __init__(self, server: "WSGIApplication") -> None:
        self._server = server
        self.denied: list[tuple[str, str]] = []
        self.aws: Aws

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        signer = re.search("Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        who = signer[1] if signer else ""
        if who == ADMINISTRATOR:
            return self._server(environ, start_response)
        asked = Asked(environ)
        environ["wsgi.input"] = BytesIO(asked.get_data(cache=True))
        refused = [request for request in self._requests(asked, who) if not self._may(request, who)]
        if not refused:
            return self._server(environ, start_response)
        self.denied.append((who, refused[0].action))
        return _denial(refused[0], start_response)

    def _may(self, request: Request, who: str) -> bool:
        iam, role = self.aws.client("iam"), who.removesuffix(_MFA)
        names = iam.list_role_policies(RoleName=role)["PolicyNames"]
        documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
        return allowed(request, documents, self._policy_of(request))

    def _policy_of(self, request: Request) -> dict[str, Any] | None:
        if request.action.startswith("kms:"):
            key = request.resource.rpartition("/")[2]
            found = self.aws.client("kms").get_key_policy(KeyId=key, PolicyName="default")["Policy"]
        elif request.action.startswith("s3:"):
            bucket = request.resource.rpartition(":")[2].partition("/")[0]
            found = self.aws.client("s3").get_bucket_policy(Bucket=bucket)["Policy"]
        else:
            return None
        document: dict[str, Any] = json.loads(found)
        return document

    def _requests(self, asked: Asked, who: str) -> Iterator[Request]:
        # The sandbox's loopback stands for TLS.
        context: Context = {"aws:SecureTransport": "true"}
        if who.endswith(_MFA):
            context = {**context, "aws:MultiFactorAuthPresent": "true"}
        principal = f"arn:aws:iam::{ACCOUNT}:role/{who.removesuffix(_MFA)}"
        service, _, operation = asked.headers.get("X-Amz-Target", "").partition(".")
        if service in _SERVICES:
            given = json.loads(asked.get_data())
            if service != "secretsmanager":
                yield self._of_key(f"kms:{operation}", given, principal, context)
                return
            resource, key = self._secret(given)
            yield Request(f"secretsmanager:{operation}", resource, principal, context)
            for action in _OF_A_VALUE.get(operation, ()) if key else ():
                yield self._of_key(f"kms:{action}", {"KeyId": key}, principal, context)
            return
        bucket, _, key = asked.path.strip("/").partition("/")
        place = f"arn:aws:s3:::{bucket}"
        if key:
            yield Request(_OBJECT[asked.method], f"{place}/{key}", principal, context)
            if source := asked.headers.get("X-Amz-Copy-Source"):
                yield Request("s3:GetObject", f"arn:aws:s3:::{source.lstrip('/')}", principal, context)
        elif asked.method == "GET" and "list-type" in asked.args:
            yield Request("s3:ListBucket", place, principal, context)
        else:
            yield Request(f"unknown:{asked.method}", place, principal, context)

    def _secret(self, given: dict[str, Any]) -> tuple[str, str | None]:
        """Its ARN and its key's id. Of one that is not there the name alone counts."""
        name = given.get("SecretId") or given["Name"]
        client = self.aws.client("secretsmanager")
        try:
            found = client.describe_secret(SecretId=name)
        except client.exceptions.ResourceNotFoundException:
            return f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-a1B2c3", None
        return found["ARN"], found.get("KmsKeyId")

    def _of_key(self, action: str, given: dict[str, Any], principal: str, context: Context) -> Request:
        """moto begins what it encrypts with the id of the key."""
        client = self.aws.client("kms")
        key = given.get("KeyId") or base64.b64decode(given["CiphertextBlob"])[:36].decode()
        arn = client.describe_key(KeyId=key)["KeyMetadata"]["Arn"]
        aliases = [found["AliasName"] for found in client.list_aliases(KeyId=arn)["Aliases"]]
        return Request(action, arn, principal, {**context, "kms:ResourceAliases": aliases})


def _denial(refused: Request, start_response: "StartResponse") -> list[bytes]:
    said = f"User: {refused.principal} is not authorized to perform: {refused.action} on resource: {refused.resource}"
    if refused.action.startswith(("s3:", "unknown:")):
        body = f"<Error><Code>AccessDenied</Code><Message>{said}</Message></Error>"
        start_response("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    else:
        body = json.dumps({"__type": "AccessDeniedException", "message": said})
        headers = [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))]
        start_response("400 Bad Request", headers)
    return [body.encode()]
