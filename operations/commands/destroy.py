from typing import Annotated

import typer

from operations.commands.shared import StackName, say


def destroy(
    stack: StackName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking; on live the stack is typed.")] = False,
) -> None:
    """Destroy a stack: `pulumi destroy`, once nothing is in its way. The settings volumes stay.

    Names the containers that are attached to its networks, which would make it fail, and removes what verifications
    left.
    """
    from deployment.description import Mode
    from operations.destroy import destroy as run
    from operations.prompt import confirm, confirm_by_name
    from operations.stack import Stack

    def ask(question: str, mode: Mode) -> None:
        if mode is Mode.LIVE:
            confirm_by_name(question, stack)
        elif not yes:
            confirm(f"{question} Go on?")

    run(Stack(stack), ask=ask, say=say)
    typer.echo(f"Stack {stack!r} is destroyed. `pulumi up --stack {stack}` deploys it again, with the same settings.")
