"""The scanner for values that must not be seen: each form planted in each place."""

import base64
import gzip
import html
import json
import os
import subprocess
import sys
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.properties import escape
from tests.helpers import until
from tests.leaks import Scanner

VALUE = "Grü$e-7 é/+<&'\"x"

WRITTEN: dict[str, str] = {
    "plain": VALUE,
    "reversed": VALUE[::-1],
    "hex": VALUE.encode().hex(),
    "hex in capitals": VALUE.encode().hex().upper(),
    "URL": urllib.parse.quote(VALUE, safe=""),
    "URL in small letters": urllib.parse.quote(VALUE, safe="").lower(),
    "a form's field": urllib.parse.quote_plus(VALUE),
    "properties": escape(VALUE),
    "properties in JSON": json.dumps(escape(VALUE)),
    "properties in JSON in JSON": json.dumps(json.dumps(escape(VALUE))),
    "JSON": json.dumps(VALUE),
    "JSON with its letters": json.dumps(VALUE, ensure_ascii=False),
    "JSON as the engine writes it": json.dumps(VALUE).replace("<", "\\u003c").replace("&", "\\u0026"),
    "HTML": html.escape(VALUE),
    "a shell's word": "'" + VALUE.replace("'", "'\"'\"'") + "'",
    "repr": repr(VALUE),
    "base64": base64.b64encode(VALUE.encode()).decode(),
    "base64 in a JSON document": base64.b64encode(json.dumps({"pass": "x"}).encode()[:8] + VALUE.encode()).decode(),
    "base64 behind one": base64.b64encode(f"x{VALUE}zz".encode()).decode(),
    "base64 behind two": base64.b64encode(f"xy{VALUE}z".encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(f"xyz{VALUE}?".encode()).decode(),
    "base64 in lines": base64.encodebytes(b"-" * 40 + VALUE.encode()).decode(),
}


def in_text(folder: Path, text: str) -> None:
    Scanner(VALUE).check({"a text": f"before {text} after"})


def in_an_exception(folder: Path, text: str) -> None:
    Scanner(VALUE).check({"what was raised": repr(ValueError(text))})


def in_a_file(folder: Path, text: str) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_bytes(b"\xff" + text.encode() + b"\xff")
    Scanner(VALUE).check_files(folder)


def in_a_compressed_file(folder: Path, text: str) -> None:
    (folder / "file.gz").write_bytes(gzip.compress(text.encode()))
    Scanner(VALUE).check_files(folder)


def in_an_argument(folder: Path, text: str) -> None:
    _process([text], {})


def in_an_environment(folder: Path, text: str) -> None:
    _process([], {"SOMETHING": text})


def _process(words: list[str], variables: dict[str, str]) -> None:
    """That has ended when the watch ends."""
    command = [sys.executable, "-c", "print(flush=True); input()", *words]
    environment = {**os.environ, **variables}
    with (
        Scanner(VALUE).watching() as watch,
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        before = watch.looks
        until(lambda: watch.looks > before + 1)
        process.communicate(b"\n")


AT_REST = [in_text, in_an_exception, in_a_file, in_a_compressed_file]
EVERY = [
    *((place, form) for place in AT_REST for form in WRITTEN),
    *((place, form) for place in (in_an_argument, in_an_environment) for form in ("plain", "properties", "base64")),
]


@pytest.mark.parametrize(("place", "form"), EVERY)
def test_each_form_in_each_place(place: Callable[[Path, str], None], form: str, tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="must not be seen") as failed:
        place(tmp_path, WRITTEN[form])
    assert VALUE not in str(failed.value)
    assert WRITTEN[form] not in str(failed.value)


@pytest.mark.parametrize("form", ["URL", "hex", "properties"])
def test_a_file_s_name(form: str, tmp_path: Path) -> None:
    (tmp_path / WRITTEN[form]).touch()
    with pytest.raises(pytest.fail.Exception, match="a name in the folder"):
        Scanner(VALUE).check_files(tmp_path)


@pytest.mark.parametrize("text", ["", VALUE[:-1], VALUE[1:], base64.b64encode(VALUE[2:].encode()).decode(), "Gr"])
def test_what_is_not_the_value_is_not_found(text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    scanner = Scanner(VALUE)
    assert scanner.forms_in(text) == []
    assert scanner.check_files(tmp_path) == 1


def test_what_is_left_out_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "users").write_text(VALUE)
    assert Scanner(VALUE).check_files(tmp_path, besides=(tmp_path / "vault",)) == 0


def test_utf_16_and_each_of_several_values() -> None:
    scanner = Scanner("another-One5", VALUE)
    assert scanner.forms_in(f"x{VALUE}y".encode("utf-16-le")) == ["utf-16"]
    assert scanner.forms_in("another-One5") != []
    assert VALUE not in repr(scanner)
