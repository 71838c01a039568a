"""The one scanner for values that must not be seen: in texts, files, and every process of the machine.

What it raises and what it returns names the place and the form, never the value.
"""

import base64
import gzip
import html
import json
import re
import shlex
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.properties import escape

PAUSE = 0.05
"""Seconds between two looks at all processes."""
_SHORTEST = 6
"""Characters of a form that are looked for: fewer stand by chance in what is encoded."""

_BREAKS = re.compile(rb"\\+[nrt]|[\\\s]+")


class Scanner:
    """For these values, in every form in which a program may write them. Its repr shows none."""

    def __init__(self, *values: str) -> None:
        assert all(values), "an empty value stands everywhere"
        self._plain = [value.encode() for value in values]
        self._needles = [(form, _folded(written)) for value in values for form, written in forms(value).items()]

    def forms_in(self, text: str | bytes) -> list[str]:
        """The forms in which any value stands there, each once."""
        raw = text.encode(errors="surrogateescape") if isinstance(text, str) else text
        if raw.startswith(b"\x1f\x8b"):
            raw = gzip.decompress(raw)
        found = {"plain" for value in self._plain if value in raw}
        folded = _folded(raw)
        found.update(form for form, needle in self._needles if len(needle) >= _SHORTEST and needle in folded)
        return sorted(found)

    def check(self, places: Mapping[str, str | bytes]) -> None:
        """Fails the test where one of these texts holds a value."""
        _fail([f"{place}: {form}" for place, text in places.items() for form in self.forms_in(text)])

    def check_files(self, *roots: Path, besides: tuple[Path, ...] = ()) -> int:
        """The files there, their names as well, but for those `besides`. Returns how many."""
        found, number = [], 0
        for file in (file for root in roots for file in root.rglob("*") if not set(besides) & {file, *file.parents}):
            found += [f"a name in the folder {file.parent}: {form}" for form in self.forms_in(file.name)]
            if file.is_file() and not file.is_symlink():
                number += 1
                found += [f"{file}: {form}" for form in self.forms_in(file.read_bytes())]
        _fail(found)
        return number

    def check_processes(self) -> None:
        """Arguments and environments of all processes now, those in containers on this machine included."""
        _fail(sorted(self._in_processes()))

    @contextmanager
    def watching(self) -> Iterator["Watch"]:
        """Looks at all processes again and again meanwhile; at the end it fails the test where one held a value."""
        watch = Watch()

        def look() -> None:
            while not watch.over.wait(PAUSE):
                watch.found |= self._in_processes()
                watch.looks += 1

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield watch
        finally:
            watch.over.set()
            thread.join()
        _fail(sorted(watch.found))

    def _in_processes(self) -> set[str]:
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                try:
                    said = (process / name).read_bytes()
                except OSError:
                    continue  # it has ended
                found |= {f"{name} of a process: {form}" for form in self.forms_in(said)}
        return found


class Watch:
    """`looks`: how often all processes were looked at."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.found: set[str] = set()
        self.looks = 0


def leaks(text: str | bytes, *values: str) -> list[str]:
    """The forms in which any of these values stands in a text."""
    return Scanner(*values).forms_in(text)


def forms(value: str) -> dict[str, bytes]:
    """How a value may be met: as it is, and as programs write it."""
    raw = value.encode()
    texts = {
        "plain": value,
        "reversed": value[::-1],
        "hex": raw.hex(),
        "url": urllib.parse.quote(value, safe=""),
        "form": urllib.parse.quote_plus(value),
        "properties": escape(value),
        "json": json.dumps(value)[1:-1],
        # encoding/json, the engine's: what a browser would take for markup too.
        "json of go": re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value)[1:-1]),
        "html": html.escape(value),
        "shell": shlex.quote(value).strip("'"),
        "repr": repr(value)[1:-1],
        **{f"base64 at {before}": _base64(raw, before) for before in range(3)},
    }
    written = {form: text.encode() for form, text in texts.items()}
    url_safe = bytes.maketrans(b"+/", b"-_")
    written |= {f"{form}, url-safe": text.translate(url_safe) for form, text in written.items() if "base64" in form}
    return {**written, "utf-16": value.encode("utf-16-le")}


def _base64(raw: bytes, before: int) -> str:
    """The characters that are the same whatever stands around it in a longer text, which has `before` bytes (of a whole
    three) before it."""
    encoded = base64.b64encode(bytes(before) + raw).decode()
    return encoded[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]


def _folded(raw: bytes) -> bytes:
    """Without what differs from one writer to the next: line breaks, case, and how often it was escaped."""
    return _BREAKS.sub(b"", raw).lower()


def _fail(found: list[str]) -> None:
    """Without a traceback, which would show the values."""
    if found:
        pytest.fail("values that must not be seen stand in:\n" + "\n".join(found), pytrace=False)
