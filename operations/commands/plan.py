from enum import StrEnum
from typing import Annotated

import typer

from deployment.errors import ExitCode
from operations.commands.shared import SameAsFormatJson, StackName, say


class Format(StrEnum):
    """Of a plan, which operations.plan renders."""

    HUMAN = "human"
    JSON = "json"
    MARKDOWN = "markdown"


class Gate(StrEnum):
    """What `--fail-on` stops at (operations.plan.FailOn)."""

    RELOGIN = "relogin"
    REPLACE = "replace"
    ANY = "any"


def plan(
    stack: StackName,
    output: Annotated[
        Format, typer.Option("--format", help="For people, for programs, or for a pull request's comment.")
    ] = Format.HUMAN,
    as_json: SameAsFormatJson = False,
    fail_on: Annotated[
        Gate | None,
        typer.Option(
            "--fail-on",
            help="Exit with 9 if a running gateway logs in again (relogin), if one is replaced or removed (replace), "
            "or if anything changes (any).",
        ),
    ] = None,
) -> None:
    """Show what `pulumi up` would do to each gateway: who logs in again, for how long it is away, and why.

    Changes nothing. Verdicts: none, in_place, relogin, relogin_second_factor, create, remove.
    """
    from operations.plan import RENDERERS, FailOn, read, warnings
    from operations.stack import Stack

    preview = Stack(stack).preview()
    planned = read(stack, preview)
    for text in warnings(preview):
        say(text)
    typer.echo(RENDERERS[Format.JSON if as_json else output](planned))
    if fail_on is not None and planned.hits(FailOn(fail_on)):
        raise typer.Exit(ExitCode.GATE_HIT)
