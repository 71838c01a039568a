"""Questions to the operator: on standard error, answered on standard input."""

import sys
from collections.abc import Callable

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


def ask(
    question: str,
    option: str,
    default: str | None = None,
    *,
    given: str | None = None,
    check: Callable[[str], object] = str,
) -> str:
    """What was `given` with the option, else a line that is typed, else the default. `check` raises ValueError for what
    cannot be; a person is then asked again.

    Raises IbgwError (BAD_USAGE), naming the option, where there is none, or none that can be.
    """
    while True:
        typed = given or _answer(f"{question} [{default}] " if default else f"{question} ") or default
        if typed is None:
            raise IbgwError(f"{option} is missing, and nothing was typed.", exit_code=ExitCode.BAD_USAGE)
        try:
            check(typed)
        except ValueError as error:
            if given or not sys.stdin.isatty():
                raise IbgwError(f"{option}: {error}.", exit_code=ExitCode.BAD_USAGE) from None
            typer.echo(clean_lines(f"{error}."), err=True)
        else:
            return typed


def _answer(question: str) -> str:
    typer.echo(clean_lines(question), err=True, nl=False)
    sys.stderr.flush()
    try:
        line = sys.stdin.readline()
    except KeyboardInterrupt:
        typer.echo("\nNothing was changed.", err=True)
        raise
    if not line.endswith("\n"):
        typer.echo(err=True)
    return line.strip()
