"""What is shown on a terminal alone: colours, widths, and that something takes its time."""

import os
import pty
import re
import subprocess
import sys

import pytest

from operations.formats import coloured, columns, folded

HEADINGS = ("gateway", "state", "image")
ROWS = [("main", "logged in", "10.45.1j"), ("other", "relay_only", "10.45.1j")]


@pytest.mark.parametrize(
    ("environment", "terminal", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "", "NO_COLOR": ""}, True, True),
    ],
)
def test_colours(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], terminal: bool, expected: bool) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert coloured() is expected


def test_a_table_shows_what_there_is_room_for() -> None:
    whole = columns(HEADINGS, ROWS, dispensable=["image", "state"])
    assert whole.splitlines()[0] == "gateway  state       image"
    assert columns(HEADINGS, ROWS, width=29, dispensable=["image", "state"]) == whole
    narrow = columns(HEADINGS, ROWS, width=28, dispensable=["image", "state"]).splitlines()
    assert narrow[:3] == ["gateway  state", "main     logged in", "other    relay_only"]
    assert narrow[3:] == ["(a wider terminal, or --json, shows: image)"]
    assert columns(HEADINGS, [], width=80) == "gateway  state  image"


def test_long_lines_go_on_below() -> None:
    text = "name  " + "word " * 6 + "\n  ok age: " + "word " * 6 + "\n  arn:aws:secretsmanager:a-region"
    assert folded(text, None) == text
    assert folded(text, 20).splitlines() == [
        *("name  word word word", "      word word word"),
        *("  ok age: word word", "    word word word", "    word"),
        "  arn:aws:secretsmanager:a-region",
    ]


# Waits until the counter is there, where it is to come.
WAITS = """
import sys, time
import typer
from rich.file_proxy import FileProxy
from operations.commands import shared
shared.PATIENCE = {patience}
with shared.waiting("asking main"):
    while {counted} and not isinstance(sys.stderr, FileProxy):
        time.sleep(0.05)
    time.sleep(0.2)
    shared.say("said")
    typer.echo("answer")
"""


def shown(patience: float, *, counted: bool = False, term: str = "xterm") -> tuple[str, str]:
    """What a program finds on standard output, and what stands on the terminal that is standard error."""
    terminal, end = pty.openpty()
    program = [sys.executable, "-c", WAITS.format(patience=patience, counted=counted)]
    environment = {**os.environ, "TERM": term}
    done = subprocess.run(
        program, stdout=subprocess.PIPE, stderr=end, env=environment, text=True, check=True, timeout=60
    )
    text = os.read(terminal, 65536).decode()
    os.close(end)
    os.close(terminal)
    return done.stdout, text


def test_what_takes_long_is_counted_on_a_terminal() -> None:
    out, terminal = shown(0, counted=True)
    assert out == "answer\n"
    assert re.search(r"asking main.*0:00:0\d", terminal)
    assert "said\r\n" in terminal


@pytest.mark.parametrize(("patience", "term"), [(3600, "xterm"), (0, "dumb")])
def test_what_is_quick_or_on_a_dumb_terminal_is_not(patience: float, term: str) -> None:
    assert shown(patience, term=term) == ("answer\n", "said\r\n")


def test_no_counter_goes_into_a_pipe() -> None:
    program = [sys.executable, "-c", WAITS.format(patience=0, counted=False)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("answer\n", "said\n")
