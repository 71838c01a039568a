"""What an exception of Python's or of a library's says, in words."""

import ast
import re
import socket
import threading
from pathlib import Path
from typing import Annotated, Literal

import pytest
import requests
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from deployment.errors import faults_in_words, kind, words

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


def ours(text: str) -> str:
    raise ValueError(f"{text!r} is no day")


class Told(BaseModel):
    """What pydantic finds wrong, of each kind that it tells in words of its own."""

    model_config = ConfigDict(extra="forbid", strict=True)

    count: Annotated[int, Field(gt=0)]
    word: Literal["a", "b"]
    ours: Annotated[str, AfterValidator(ours)]
    missing: str


def test_what_pydantic_found_wrong_is_told_without_its_own_phrases() -> None:
    with pytest.raises(ValidationError) as caught:
        Told.model_validate_json('{"count": 0, "word": "c", "ours": "x", "more": 1}')
    assert faults_in_words(caught.value.errors()) == (
        "count: expected a number greater than 0; word: expected 'a' or 'b'; "
        "ours: 'x' is no day; missing: missing; more: unknown key"
    )


def test_only_one_place_shows_what_pydantic_says() -> None:
    """Everywhere else its own words would come with its prefixes, and with what it was given."""
    quoting = re.compile(r"""\bfault\[["']msg["']\]|\{error\}.*ValidationError|\.errors\(\)\[0\]\[""")
    found = {
        str(path.relative_to(ROOT))
        for package in ("client", "deployment", "healthcheck", "infra", "operations", "sandbox")
        for path in (ROOT / package).rglob("*.py")
        if quoting.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"deployment/errors.py"}
