"""A `pulumi` on PATH that answers from a table and writes down how it was called."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = """#!{python}
import json, sys
from pathlib import Path
home = Path({home!r})
words = sys.argv[1:]
with (home / "calls").open("a") as log:
    log.write(json.dumps([words, sys.stdin.read()]) + "\\n")
for expected, (code, out, err) in json.loads((home / "answers").read_text()).items():
    if " ".join(words).startswith(expected):
        sys.stdout.write(out)
        sys.stderr.write(err)
        sys.exit(code)
sys.exit("no answer for " + " ".join(words))
"""


@dataclass(frozen=True)
class FakePulumi:
    home: Path

    def answers(self, table: dict[str, tuple[int, str, str]]) -> None:
        """By the first words of a command: exit code, standard output, standard error. The first match counts."""
        (self.home / "answers").write_text(json.dumps(table))

    @property
    def calls(self) -> list[tuple[list[str], str]]:
        """Arguments and standard input of each call."""
        log = self.home / "calls"
        return (
            [(words, stdin) for words, stdin in map(json.loads, log.read_text().splitlines())] if log.exists() else []
        )


def install(home: Path, monkeypatch: pytest.MonkeyPatch, python: str) -> FakePulumi:
    """Puts the fake in front of PATH, with a `uv` that is only there, and a project of its own, so that nothing is kept
    in this checkout of what it tells."""
    home.mkdir()
    (home / "Pulumi.yaml").write_text("name: ibgw\n")
    monkeypatch.setenv("PULUMI_OPTION_CWD", str(home))
    monkeypatch.setenv("PULUMI_HOME", str(home))
    monkeypatch.delenv("PULUMI_STACK", raising=False)
    program = home / "pulumi"
    program.write_text(SCRIPT.format(python=python, home=str(home)))
    for executable in (program, home / "uv"):
        executable.touch()
        executable.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}{os.pathsep}{os.environ['PATH']}")
    return FakePulumi(home)
