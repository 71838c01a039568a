"""What `ibgw --help` and each command's help show: in 80 columns, with examples and exit codes."""

import re

import pytest

from deployment.errors import MEANINGS, ExitCode
from operations import cli
from tests.unit.commands import GROUP, check

COMMANDS = sorted(GROUP.commands)  # type: ignore[attr-defined]
BELOW = [
    f"{name} {below}"
    for name in COMMANDS
    for below in getattr(GROUP.commands[name], "commands", {})  # type: ignore[attr-defined]
]


def shown(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.run([*words, "--help"]) == 0
    return capsys.readouterr().out


def test_each_summary_is_one_whole_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown([], monkeypatch, capsys).splitlines()
    assert max(map(len, lines)) <= 80
    summaries = lines[lines.index("Commands:") + 1 :][: len(COMMANDS) + 1]
    assert [line.split()[0] for line in sorted(summaries)] == sorted([*COMMANDS, "sandbox"])
    assert [line for line in summaries if not line.endswith(".")] == []
    assert [line for line in summaries if line.endswith("...")] == []


@pytest.mark.parametrize("group", ["credentials", "sandbox"])
def test_so_is_each_of_a_group_s_commands(
    group: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    below = shown([group], monkeypatch, capsys).partition("Commands:\n")[2].partition("\n\n")[0]
    assert below
    assert [line for line in below.splitlines() if line.endswith("...") or not line.endswith(".")] == []


@pytest.mark.parametrize("name", [*COMMANDS, *BELOW])
def test_each_help_fits_and_tells_examples_and_exit_codes(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(name.split(), monkeypatch, capsys)
    options, _, below = text.partition("\n  Examples:\n")
    examples, _, codes = below.partition("\n  Exit codes:\n")
    assert max(map(len, options.splitlines())) <= 80
    called = re.findall(rf"ibgw {name}[^>|)\"\n]*", examples)
    assert called
    for command in called:
        check(command)
    told = dict(re.findall(r"^ +(\d+)  (.*)$", codes, flags=re.MULTILINE))
    assert {"0", "2", "5"} <= set(told)
    assert told == {code: MEANINGS[ExitCode(int(code))] for code in told}


def test_all_exit_codes_are_in_the_help_of_ibgw(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown([], monkeypatch, capsys)
    assert [code for code in ExitCode if f"{code:>5}  {MEANINGS[code]}" not in text] == []
