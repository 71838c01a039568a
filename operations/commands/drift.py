import typer

from deployment.errors import ExitCode
from operations.commands.shared import Json, StackLookedAt, looked_at, waiting

EXAMPLES = ("ibgw drift paper",)
EXIT_CODES = (ExitCode.GATE_HIT,)


def drift(stack: StackLookedAt = None, as_json: Json = False) -> None:
    """Tell what was changed on the host since the last update.

    By whomever. Changes nothing itself.
    Names what differs and shows no value that could be secret.
    """
    from operations.drift.reading import look
    from operations.drift.rendering import human
    from operations.stack import Stack

    stack = looked_at(stack)
    with waiting(f"comparing {stack} with its host"):
        seen = look(Stack(stack))
    typer.echo(seen.as_json() if as_json else human(seen))
    if seen.differences:
        raise typer.Exit(ExitCode.GATE_HIT)
