"""A Secrets Manager as the sandbox has it, in this process, which writes down what it was asked."""

import io
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Request

from sandbox.secrets_server import Permissions, correct_dates, correct_stages

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from mypy_boto3_secretsmanager import SecretsManagerClient


@dataclass
class Trail:
    """Each request as CloudTrail keeps it: the action and its parameters, without the value. `refusals`: the next
    answers to an action, in place of the server's."""

    server: "WSGIApplication"
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refusals: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        request = Request(environ)
        body = request.get_data()
        environ["wsgi.input"] = io.BytesIO(body)
        parameters = json.loads(body or b"{}")
        parameters.pop("SecretString", None)
        heads = {name: value for name, value in request.headers.items() if name != "Authorization"}
        self.events.append((action, {**parameters, "": heads, "path": request.full_path}))
        if action not in self.refusals:
            return self.server(environ, start_response)
        code, message = self.refusals[action]
        start_response("400 Bad Request", [("Content-Type", "application/x-amz-json-1.1")])
        return [json.dumps({"__type": code, "Message": message}).encode()]

    @property
    def actions(self) -> list[str]:
        return [action for action, _ in self.events]


@dataclass
class Server:
    url: str
    trail: Trail

    def client(self, region: str = "us-east-1") -> "SecretsManagerClient":
        return boto3.client(
            "secretsmanager",
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id="any",
            aws_secret_access_key="any",  # noqa: S106 - the server looks at none
        )


@contextmanager
def emptied(server: Server) -> Iterator[Server]:
    """As what this process asks by default; whatever secrets come into it are gone afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_MAX_ATTEMPTS": "1",
        }.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        server.trail.refusals.clear()
        server.trail.events.clear()
        yield server
    server.trail.refusals.clear()
    client = server.client()
    for secret in client.list_secrets(IncludePlannedDeletion=True)["SecretList"]:
        client.delete_secret(SecretId=secret["Name"], ForceDeleteWithoutRecovery=True)


@contextmanager
def served() -> Iterator[Server]:
    # moto has one account a process, in which the file of tests before has left its secrets.
    moto_api_backend.reset()
    correct_stages()
    correct_dates()
    trail = Trail(Permissions(DomainDispatcherApplication(create_backend_app)))
    server = make_server("127.0.0.1", 0, trail, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_port}", trail)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
