from typing import Annotated

import typer

from deployment.errors import ExitCode
from operations.commands.shared import DuringMarket, Json, StackName, TypedNameBesideYes, print_answer, say

EXAMPLES = ("ibgw destroy paper",)
EXIT_CODES = (ExitCode.FAILED, ExitCode.REFUSED, ExitCode.DECLINED)


def destroy(
    stack: StackName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking; not on live.")] = False,
    yes_live: TypedNameBesideYes = None,
    during_market: DuringMarket = False,
    as_json: Json = False,
) -> None:
    """Destroy a stack. The settings volumes stay.

    Runs `pulumi destroy` once nothing is in its way: names the containers that are attached to its networks, which
    would make it fail, and removes what verifications left.
    """
    from operations.destroy import DestroyAnswer
    from operations.destroy import destroy as run
    from operations.live import Leave, by_name, check_hours, is_live, tell_open_of
    from operations.prompt import confirm
    from operations.stack import Stack

    chosen = Stack(stack)

    def ask(question: str) -> None:
        if is_live(stack):
            tell_open_of(chosen, say)
            by_name(question, stack, yes_live)
        elif not yes:
            confirm(f"{question} Go on?")

    if is_live(stack):
        check_hours(stack, Leave(yes_live, during_market), "this ends sessions")
    run(chosen, ask=ask, say=say)
    again = chosen.first_deployment
    if as_json:
        print_answer(DestroyAnswer(stack=stack, exit_code=ExitCode.OK, next=again))
        return
    typer.echo(f"Stack {stack!r} is destroyed. `{again}` deploys it again, with the same settings.")
