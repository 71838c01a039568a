"""`python -m sandbox.secrets_server --port PORT`: the process behind `sandbox.secrets_manager`.

It is moto's server, which asks nobody for permission, and one identity that is denied what CI's is. Where moto keeps
stages and dates otherwise than Secrets Manager, it is put right here.
"""

import argparse
import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LISTING_KEY = "sandbox-list-only"
"""The access key id of an identity that is allowed secretsmanager:ListSecretVersionIds and nothing else."""
_ALLOWED = "ListSecretVersionIds"


class Permissions:
    """In front of the server: answers for it where the identity of LISTING_KEY asks for anything but a list."""

    def __init__(self, server: "WSGIApplication") -> None:
        self._server = server

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        # AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, ... (API reference, Signature Version 4)
        signer = re.search("Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        if signer is None or signer[1] != LISTING_KEY or action == _ALLOWED:
            return self._server(environ, start_response)
        permission = f"secretsmanager:{action}"
        message = (
            f"User: arn:aws:iam::123456789012:user/{LISTING_KEY} is not authorized to perform: {permission} because no "
            f"identity-based policy allows the {permission} action"
        )
        body = json.dumps({"__type": "AccessDeniedException", "Message": message}).encode()
        headers = [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))]
        start_response("400 Bad Request", headers)
        return [body]


def correct_stages() -> None:
    """Has the current version be the one with the stage AWSCURRENT, also after UpdateSecretVersionStage, and a stage
    that another version has not be given away unless that one is named (API reference, UpdateSecretVersionStage)."""
    from moto.secretsmanager.exceptions import InvalidParameterException
    from moto.secretsmanager.models import SecretsManagerBackend

    update = SecretsManagerBackend.update_secret_version_stage

    def corrected(
        backend: Any, secret_id: str, version_stage: str, remove_from_version_id: str, move_to_version_id: str
    ) -> tuple[str, str]:
        versions = backend.secrets[secret_id].versions if secret_id in backend.secrets else {}
        holders = [name for name, version in versions.items() if version_stage in version["version_stages"]]
        if move_to_version_id and holders and remove_from_version_id not in holders:
            raise InvalidParameterException(
                f"The parameter RemoveFromVersionId can't be empty. Staging label {version_stage} is currently "
                f"attached to version {holders[0]}, so you must explicitly reference that version in "
                "RemoveFromVersionId."
            )
        answer = update(backend, secret_id, version_stage, remove_from_version_id, move_to_version_id)
        if version_stage == "AWSCURRENT" and move_to_version_id:
            backend.secrets[secret_id].set_default_version_id(move_to_version_id)
        return answer

    setattr(SecretsManagerBackend, update.__name__, corrected)


def correct_dates() -> None:
    """Has a listed version be as old as it is; moto gives the moment of the request."""
    from moto.secretsmanager.models import SecretsManagerBackend

    list_ids = SecretsManagerBackend.list_secret_version_ids

    def corrected(backend: Any, secret_id: str) -> str:
        answer = json.loads(list_ids(backend, secret_id))
        for version in answer["Versions"]:
            version["CreatedDate"] = backend.secrets[secret_id].versions[version["VersionId"]]["createdate"]
        return json.dumps(answer)

    setattr(SecretsManagerBackend, list_ids.__name__, corrected)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    port = parser.parse_args().port

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import run_simple

    correct_stages()
    correct_dates()
    server = Permissions(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", port, server, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main()
