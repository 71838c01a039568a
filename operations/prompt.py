"""Questions to the operator: on standard error, answered on standard input."""

import sys

import typer

from deployment.errors import ExitCode, IbgwError
from healthcheck.text import clean_lines


def confirm(question: str) -> None:
    """Goes on only after a yes. Raises IbgwError (declined) for anything else, an empty or closed input included."""
    if _answer(f"{question} [y/N] ").lower() not in {"y", "yes"}:
        raise IbgwError("Nothing was changed.", exit_code=ExitCode.DECLINED)


def confirm_by_name(question: str, name: str) -> None:
    """Goes on only if `name` is typed, letter for letter. Raises IbgwError (declined) for anything else."""
    if _answer(f"{question} Type {name} to go on: ") != name:
        raise IbgwError(f"{name!r} was not typed: nothing was done.", exit_code=ExitCode.DECLINED)


def ask(question: str, option: str, default: str | None = None) -> str:
    """A line that is typed, or the default. Raises IbgwError (BAD_USAGE), naming the option, if there is neither."""
    typed = _answer(f"{question} [{default}] " if default else f"{question} ") or default
    if typed is None:
        raise IbgwError(f"{option} is missing, and nothing was typed.", exit_code=ExitCode.BAD_USAGE)
    return typed


def _answer(question: str) -> str:
    typer.echo(clean_lines(question), err=True, nl=False)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line.endswith("\n"):
        typer.echo(err=True)
    return line.strip()
