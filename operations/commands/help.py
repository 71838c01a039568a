from typing import Annotated

import typer

EXAMPLES = ("ibgw help verify",)


def help(command: Annotated[list[str] | None, typer.Argument(metavar="COMMAND", show_default=False)] = None) -> None:
    """Show the help of ibgw, or of one command."""
    from operations.cli import run

    raise typer.Exit(run([*(command or []), "--help"]))
