"""The README and the documents, read at a terminal: each of their commands as it stands there, one after the other."""

import itertools
import os
import re
import secrets
import shlex
import subprocess
from collections.abc import Callable

import pytest

from sandbox.environment import PREFIX, ROOT, Sandbox, free_index
from tests.documented import ACCOUNT, REAL, WALKED, Command, blocks, documents, shown
from tests.engine.conftest import SANDBOXES, Pulumi

SECONDS = 1800
DONE = "the exit code of it is"


def walked() -> list[Command]:
    real = [*blocks("README.md", REAL)]
    every = [block for document in WALKED for block in blocks(document) if block not in real]
    here = [block for block in every if not any(words[0] in ACCOUNT for command in block for words in command.words)]
    return [command for block in here for command in block]


def expected(command: Command) -> int:
    """As the document shows it: a verification that fails."""
    return 3 if re.search(r"^\S+/\S+  \w+  FAILED$", command.printed, re.MULTILINE) else 0


def test_each_command_of_the_engine_exists_with_its_options(pulumi: Pulumi) -> None:
    asked: dict[tuple[str, ...], set[str]] = {}
    for words in (words[1:] for document in documents() for words in shown(document) if words[0] == "pulumi"):
        command = tuple(itertools.takewhile(lambda word: not word.startswith("-"), words))
        asked.setdefault(command, set()).update(word.partition("=")[0] for word in words if word.startswith("--"))
    assert ("up",) in asked
    for command, options in asked.items():
        help_text = pulumi([*command, "--help"]).stdout
        # Of a command that there is not, the engine shows the help of what stands before it.
        assert "Available Commands:" not in help_text or command == ("stack",), command
        assert {option for option in options if option not in help_text} == set(), command


@pytest.mark.exhaustive
def test_each_command_of_the_documents_runs_as_it_stands_there(say: Callable[[str], None]) -> None:
    """In one shell, on a sandbox beside the run's own, whose name stands for the usual one."""
    prefix = f"ibgw-test-{secrets.token_hex(3)}"
    made = Sandbox(SANDBOXES / prefix, prefix, free_index(), say=say)
    commands = walked()
    ours = ("MAKE", "MFLAGS", "AWS_", "PULUMI_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    script = "".join(
        f'echo {shlex.quote(f"$ {command.text}")}\n{command.text.replace(PREFIX, prefix)}\necho "{DONE} $?"\n'
        for command in commands
    )
    try:
        made.up()
        done = subprocess.run(
            ["bash", "-c", script],
            env={**environment, "IBGW_SANDBOX": str(made.folder)},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
    finally:
        made.down()
    codes = [int(code) for code in re.findall(rf"^{DONE} (\d+)$", done.stdout, re.MULTILINE)]
    assert codes == [expected(command) for command in commands], done.stdout
    assert "accounts: DU" in done.stdout, "what the client's example prints"
    assert not made.folder.exists()
