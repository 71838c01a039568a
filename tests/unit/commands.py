"""Commands that a text proposes: what stands in its backquotes, and whether each can be run as it stands."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import typer
import typer.main

from operations.cli import build_app

GROUP = typer.main.get_command(build_app())

STACK = r"(paper|live)(-[a-z0-9-]+)?"
URN = rf"urn:pulumi:{STACK}::ibgw::[A-Za-z$:/]+::[a-z-]+"
NAME = r"[a-z0-9][a-z0-9_.-]*"

# Docker's, Pulumi's and AWS's, each word for word.
OTHERS: dict[str, tuple[str, ...]] = {
    "docker": (
        rf"(--host (unix|ssh)://\S+ )?(unpause|rm|rm --force|stats --no-stream) {NAME}",
        rf"(--host (unix|ssh)://\S+ )?network inspect {NAME}",
        rf"(--host (unix|ssh)://\S+ )?network disconnect {NAME} {NAME}",
        rf"(--host (unix|ssh)://\S+ )?ps --filter volume={NAME}",
    ),
    "pulumi": (
        rf"up( --refresh)? --stack {STACK}( --(replace|target-replace) {URN})?",
        rf"refresh --stack {STACK} --target {URN}",
        rf"stack init {STACK}",
        rf"config set ibgw:[a-zA-Z]+ \S+ --stack {STACK}",
    ),
    "aws": (
        r"secretsmanager (restore-secret|describe-secret) --secret-id [a-z0-9/-]+",
        r"(sso login|sts get-caller-identity)",
    ),
    "df": (r"-h",),
    "timedatectl": (r"",),
    "iptables": (r"-S",),
    "systemctl": (r"restart docker",),
}


def commands(text: str) -> list[str]:
    """In the order in which they stand."""
    assert text.count("`") % 2 == 0, text
    return re.findall(r"`([^`]*)`", text)


def outside(text: str) -> str:
    return re.sub(r"`[^`]*`", "", text)


def check(command: str) -> None:
    """Fails unless the real command line takes it, or it is one of the few of others."""
    program, *words = shlex.split(command)
    if program == "ibgw":
        found: Any = GROUP
        while hasattr(found, "commands"):
            name, *words = words
            found = found.commands[name]
        # Parses as a run would, and runs nothing.
        found.make_context(name, words)
        return
    assert any(re.fullmatch(form, " ".join(words)) for form in OTHERS[program]), command


def check_text(text: str) -> Iterator[str]:
    """Each command of a text, checked; that none stands outside of backquotes, and no placeholder anywhere."""
    for command in commands(text):
        check(command)
        assert not re.search(r"\b[A-Z]{3,}\b|[{}<>]", command), command
        yield command
    rest = outside(text)
    assert not re.search(r"\b(ibgw|pulumi|docker|aws) [a-z-]+ -", rest), rest
    assert not re.search(r"[{}]", rest), rest
