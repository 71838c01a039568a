from enum import StrEnum
from typing import Annotated

import typer
import typer.completion

EXAMPLES = ('eval "$(ibgw completion bash)"', "ibgw completion fish | source")


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", show_default=False)],
) -> None:
    """Print what makes a shell complete ibgw's command lines.

    Also stacks, gateways and releases. It reads files of this machine and asks nobody.
    """
    from operations.cli import COMPLETE, know_shells

    know_shells()
    instruction = f"source_{shell}"
    raise typer.Exit(typer.completion.shell_complete(context.command, {}, "ibgw", COMPLETE, instruction))
