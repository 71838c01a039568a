"""What an exception of Python's or of a library's says, in words."""

import ast
import socket
import threading
from pathlib import Path

import pytest
import requests

from deployment.errors import kind, words

ROOT = Path(__file__).resolve().parents[2]


def raised(url: str, timeout: float = 10) -> requests.RequestException:
    with pytest.raises(requests.RequestException) as caught:
        requests.get(url, timeout=timeout)
    return caught.value


@pytest.fixture
def server() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_a_connection_says_what_happened_to_it(server: socket.socket) -> None:
    url = f"http://127.0.0.1:{server.getsockname()[1]}/"
    assert words(raised(url, timeout=0.1)) == "timed out"

    def hang_up() -> None:
        server.accept()[0].close()
        server.accept()[0].close()

    hanging_up = threading.Thread(target=hang_up)
    hanging_up.start()
    assert words(raised(url)) in ("Connection reset by peer", "Remote end closed connection without response")
    hanging_up.join()
    server.close()
    assert words(raised(url)) == "Connection refused"


def test_what_python_says_is_put_in_words() -> None:
    with pytest.raises(OSError, match="Errno 2") as missing:
        Path("/nonexistent").read_text()
    assert words(missing.value) == "No such file or directory"
    assert words(KeyError("name")) == "there is no name"
    assert words(TimeoutError()) == kind(TimeoutError()) == "timeout error"
    assert words(ValueError("10 is too much")) == "10 is too much"
    assert words(OSError("HTTPConnectionPool(host='x', port=None): Read timed out.")) == "Read timed out."


ALLOWED = {"operations/credentials/secrets_manager.py"}
"""botocore's classes are AWS's codes."""


@pytest.mark.parametrize("package", ["deployment", "healthcheck", "infra", "operations", "client"])
def test_no_message_shows_an_exceptions_repr_or_class(package: str) -> None:
    shown = []
    for file in sorted((ROOT / package).rglob("*.py")):
        for handler in ast.walk(ast.parse(file.read_text())):
            if isinstance(handler, ast.ExceptHandler) and handler.name:
                shown += [str(file.relative_to(ROOT)) for node in ast.walk(handler) if shows(node, handler.name)]
    assert set(shown) <= ALLOWED


def shows(node: ast.AST, name: str) -> bool:
    match node:
        case ast.FormattedValue(value=ast.Name(id=shown), conversion=conversion):
            return shown == name and conversion == ord("r")
        case ast.Call(func=ast.Name(id="type" | "repr"), args=[ast.Name(id=shown)]):
            return shown == name
    return False
