from typing import Annotated

import typer


def commands_here() -> list[str]:
    from importlib.metadata import entry_points

    from operations.cli import COMMANDS, GROUP

    return [*(name.replace("_", "-") for name in COMMANDS), *(entry.name for entry in entry_points(group=GROUP))]


EXAMPLES = ("ibgw help verify",)


def help(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", show_default=False, autocompletion=commands_here)
    ] = None,
) -> None:
    """Show the help of ibgw, or of one command."""
    from operations.cli import run

    raise typer.Exit(run([*(command or []), "--help"]))
