"""Questions: only the expected answer goes on, and the question never lands in the output for programs."""

import io
import sys

import pytest

from deployment.errors import IbgwError
from operations.prompt import confirm, confirm_by_name


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


@pytest.mark.parametrize("text", ["y\n", "yes\n", "Y\n", " YES \n"])
def test_yes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str) -> None:
    answer(monkeypatch, text)
    confirm("Do this?")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Do this? [y/N]" in shown.err


@pytest.mark.parametrize("text", ["", "\n", "n\n", "yep\n"])
def test_anything_else_declines(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    answer(monkeypatch, text)
    with pytest.raises(IbgwError) as refusal:
        confirm("Do this?")
    assert refusal.value.exit_code == 8


def test_the_name_must_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "live\n")
    confirm_by_name("Live.", "live")


@pytest.mark.parametrize("text", ["", "y\n", "Live\n", "paper\n"])
def test_another_name_declines(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    answer(monkeypatch, text)
    with pytest.raises(IbgwError) as refusal:
        confirm_by_name("Live.", "live")
    assert refusal.value.exit_code == 8
