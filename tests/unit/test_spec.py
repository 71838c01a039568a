"""The scripts that run inside the gateway's container, by running them."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from infra.settings import load
from infra.spec import describe, probe_script
from tests.unit.test_settings import as_engine, changed, tracked


@contextmanager
def listener(answer: bytes | None) -> Iterator[int]:
    """A port that accepts and answers once with `answer`, or never."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                received = connection.recv(64)
                # API reference, EClient.connect: "API", a NUL, then the length and text of the version range
                assert received == b"API\0" + b"\0\0\0\x09" + b"v100..178"
                if answer is not None:
                    connection.sendall(answer)
                connection.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


def probe(port: int) -> int:
    return subprocess.run(["bash", "-c", probe_script(port)], capture_output=True, check=False, timeout=30).returncode


def test_the_probe_tells_an_api_from_an_open_port() -> None:
    with listener(b"\0\0\0\x0a" + b"178\0" + b"time\0\0") as port:
        assert probe(port) == 0
    with listener(None) as port:
        assert probe(port) != 0


def test_the_probe_fails_where_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert probe(port) != 0


def script(stack: str = "paper", **changes: object) -> str:
    settings = load(stack, changed(stack, changes) if changes else as_engine(tracked(stack)))
    return describe(settings, project="ibgw", stack=stack, image=None).gateways["main"].start_script


def test_the_start_script_allows_two_attempts() -> None:
    assert "readonly PORT=4002 CLIENT_ID=900 LIMIT=2\n" in script()
    assert "readonly PORT=4001 CLIENT_ID=900 LIMIT=2\n" in script("live")


def test_no_placeholder_is_left_in_the_start_script() -> None:
    text = script()
    for word in ("PORT", "CLIENT_ID", "LIMIT", "DEBUG", "RELOGIN", "VNC", "LOGS"):
        assert f"@{word}@" not in text


@pytest.mark.parametrize("stack", ["paper", "live"])
def test_the_start_script_is_valid_bash(stack: str) -> None:
    subprocess.run(["bash", "-n"], input=script(stack), text=True, check=True)


def test_nothing_of_the_secret_is_in_the_description() -> None:
    settings = load("paper", as_engine(tracked("paper")))
    text = repr(describe(settings, project="ibgw", stack="paper", image=None))
    assert "ibgw/paper/main" in text  # the secret's name is no secret
    assert "SecretString" not in text
