from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from deployment.errors import ExitCode
from operations.commands.shared import SameAsFormatJson, StackLookedAt, looked_at, say, waiting

if TYPE_CHECKING:
    from operations.plan.model import Plan

EXAMPLES = ("ibgw plan paper", "ibgw plan paper --fail-on relogin --format markdown")
EXIT_CODES = (ExitCode.GATE_HIT,)


class Format(StrEnum):
    """Of a plan, which operations.plan renders."""

    HUMAN = "human"
    JSON = "json"
    MARKDOWN = "markdown"


class Gate(StrEnum):
    """What `--fail-on` stops at."""

    RELOGIN = "relogin"
    REPLACE = "replace"
    ANY = "any"


def plan(
    stack: StackLookedAt = None,
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
    """Show what `pulumi up` would do to each gateway.

    Who logs in again, for how long it is away, and why. Changes nothing. Verdicts: none, in_place, relogin,
    relogin_second_factor, create, remove.
    """
    from operations.plan.reading import read, warnings
    from operations.plan.rendering import RENDERERS
    from operations.stack import Stack

    stack = looked_at(stack)
    with waiting(f"previewing an update of {stack}"):
        preview = Stack(stack).preview()
    planned = read(stack, preview)
    for text in warnings(preview):
        say(text)
    typer.echo(RENDERERS[Format.JSON if as_json else output](planned))
    if fail_on is not None and hits(planned, fail_on):
        raise typer.Exit(ExitCode.GATE_HIT)


def hits(planned: "Plan", gate: Gate) -> bool:
    """Whether the gate is hit: a new login of a running gateway, any container that goes or is replaced, or any change
    at all."""
    from operations.plan.model import REPLACED, PlanVerdict

    verdicts = {gateway.verdict for gateway in planned.gateways}
    match gate:
        case Gate.RELOGIN:
            return bool(verdicts & set(REPLACED))
        case Gate.REPLACE:
            return bool(verdicts & {*REPLACED, PlanVerdict.REMOVE})
        case Gate.ANY:
            return planned.changes
