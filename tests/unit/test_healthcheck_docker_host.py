"""Opening a Docker host, against a stand-in that answers like one on a socket of its own."""

import http.server
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import IbgwError
from healthcheck.docker_host import open_docker


class Answering(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        text = b'{"ApiVersion": "1.41"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def address_string(self) -> str:
        return "socket"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class StandIn(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    connections = 0

    def process_request(self, request: object, client_address: object) -> None:
        self.connections += 1
        super().process_request(request, client_address)  # type: ignore[arg-type]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[StandIn]:
    with StandIn(str(tmp_path / "d.sock"), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_what_is_asked_in_turn_goes_over_one_connection(engine: StandIn) -> None:
    client = open_docker(f"unix://{engine.server_address!s}")
    opened = engine.connections
    for number in range(60):
        assert client.api.inspect_container(str(number))["ApiVersion"] == "1.41"
    client.close()
    assert engine.connections == opened


def test_docker_over_plain_tcp_is_not_opened() -> None:
    with pytest.raises(IbgwError, match=r"tcp://127\.0\.0\.1:1: expected unix:///path or ssh://") as refusal:
        open_docker("tcp://127.0.0.1:1")
    assert refusal.value.exit_code == 5
