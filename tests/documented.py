"""The commands that the README and the documents show, as they stand there."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

WALKED = ("README.md", "docs/plan.md", "docs/drift.md", "docs/sandbox.md")
"""Run on a sandbox in this order, by tests/engine/test_documented.py. The last one ends with its removal."""

ELSEWHERE = {
    "docs/account.md": "needs an account at AWS; tests/engine/test_first_stack.py walks it on one that is simulated",
    "docs/accounts.md": "on the host of a gateway that somebody else has deployed",
    "docs/benchmarks.md": "measures, for a long time",
    "docs/ci.md": "needs accounts at AWS and GitHub",
    "docs/clients.md": "needs Docker's compose plug-in; tests/engine/test_clients.py runs its bot",
    "docs/credentials.md": "asks for a password at a terminal; tests/unit/test_credentials_tool.py puts one",
    "docs/disaster.md": "loses what the next command needs; tests/engine/test_disaster.py loses it and runs each block",
    "docs/promotion.md": "needs commits of its own; tests/engine/test_promotion.py promotes and rolls back",
}
"""Not run, and why."""

REAL = "## Your first real stack"
"""A section of the README that needs an account at AWS too: tests/engine/test_first_stack.py walks it."""

ACCOUNT = ("aws", "gh", "git")
"""A block with one of these commands needs an account, or a repository of one's own, and is not run."""


@dataclass(frozen=True)
class Command:
    text: str
    printed: str

    @property
    def words(self) -> list[list[str]]:
        """Its simple commands, without what is redirected and where to."""
        lexer = shlex.shlex(self.text, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        found: list[list[str]] = [[]]
        skip = False
        for word in lexer:
            if set(word) <= set(";&|"):
                found.append([])
            elif set(word) <= set("<>"):
                skip = True
            elif skip:
                skip = False
            else:
                found[-1].append(word)
        return [words for words in found if words]


def documents() -> list[str]:
    return ["README.md", "CONTRIBUTING.md", *sorted(str(at.relative_to(ROOT)) for at in (ROOT / "docs").glob("*.md"))]


def blocks(document: str, section: str = "") -> Iterator[list[Command]]:
    """Each block of commands, those after `$ ` with what they print. `section`: its title, for those of it alone."""
    text = (ROOT / document).read_text(encoding="utf-8")
    if section:
        text = text.split(f"\n{section}\n")[1].split("\n## ")[0]
    for body in re.findall(r"^ *```console\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        found: list[Command] = []
        for line in body.replace("\\\n", " ").splitlines():
            if line.strip().startswith("$ "):
                found.append(Command(line.strip().removeprefix("$ "), ""))
            elif found:
                found[-1] = replace(found[-1], printed=f"{found[-1].printed}{line}\n")
        yield found


def shown(document: str) -> list[list[str]]:
    """The simple commands of a document, in its blocks and in its text."""
    commands = [command for block in blocks(document) for command in block]
    commands += [Command(text, "") for text in inline(document)]
    return [words for command in commands for words in command.words]


def inline(document: str) -> list[str]:
    """Commands in backquotes within the text: those with an argument."""
    text = re.sub(r"```.*?```", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL)
    return [" ".join(found.split()) for found in re.findall(r"`((?:ibgw|pulumi|make) [^`]+)`", text)]
