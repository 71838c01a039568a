from typing import Annotated

import typer

from operations.commands.shared import Json, StackName, print_json, say


def repair(
    stack: StackName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Put a stack right after an interrupted `pulumi up`. Shows what it will do, and asks.

    Removes a stale lock, pending operations, and containers and networks that no state knows; volumes stay.
    """
    from deployment.paths import project_folder
    from operations.promotion.journal import Journal
    from operations.prompt import confirm
    from operations.repair.command import repair as run
    from operations.stack import Stack

    outcome = run(Stack(stack), yes=yes, say=say, ask=confirm)
    if as_json:
        print_json(outcome.as_json())
        return
    for note in outcome.notes:
        typer.echo(f"Note: {note}.")
    under_way = Journal.of(project_folder(), stack).read()
    onward = under_way.next_command if under_way is not None else Stack(stack).onward
    typer.echo(
        f"Stack {stack!r} is put right. Bring it up with `{onward}`."
        if outcome.done
        else f"Nothing to repair in stack {stack!r}."
    )
