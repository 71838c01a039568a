"""`python -m sandbox.secrets_server --port PORT`: the process behind `sandbox.secrets_manager`.

It is moto's server, which asks nobody for permission, and one identity that is denied what CI's is.
"""

import argparse
import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    port = parser.parse_args().port

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import run_simple

    server = Permissions(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", port, server, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main()
