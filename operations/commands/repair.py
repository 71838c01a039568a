from typing import TYPE_CHECKING, Annotated

import typer

from deployment.errors import ExitCode
from operations.commands.shared import DuringMarket, Json, StackName, TypedNameBesideYes, answer, print_answer, say

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = ("ibgw repair paper",)
EXIT_CODES = (ExitCode.FAILED, ExitCode.REFUSED, ExitCode.DECLINED)


def repair(
    stack: StackName,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do it without asking; on live not what ends a session.")
    ] = False,
    yes_live: TypedNameBesideYes = None,
    during_market: DuringMarket = False,
    as_json: Json = False,
) -> None:
    """Put a stack right after an interrupted `pulumi up`. Shows what it will do, and asks.

    Removes a stale lock, pending operations, and containers and networks that no state knows; volumes stay.
    Where the state was lost, it takes in what runs as declared: without a login, and without touching it.
    """
    from deployment.paths import project_folder
    from operations.live import CANCELS_NONE, Leave, by_name, check_hours, is_live
    from operations.promotion.journal import Journal
    from operations.prompt import confirm
    from operations.repair.command import repair as run
    from operations.repair.plan import Verb
    from operations.stack import Stack

    def ends(running: "Sequence[str]") -> None:
        if is_live(stack):
            check_hours(stack, Leave(during_market=during_market), "this ends sessions")
            say(f"What is open under {', '.join(running)} cannot be read. {CANCELS_NONE}")
            by_name(f"This ends the sessions of {', '.join(running)}.", stack, yes_live)

    outcome = run(Stack(stack), yes=yes, say=say, ask=confirm, ends=ends)
    if as_json:
        print_answer(outcome.answer)
        return
    for note in outcome.notes:
        answer(f"Note: {note}.")
    under_way = Journal.of(project_folder(), stack).read()
    if any(action.verb is Verb.ADOPT for action in outcome.done):
        onward = f"pulumi up --stack {stack}"
    else:
        onward = under_way.next_command if under_way is not None else Stack(stack).onward
    answer(
        f"Stack {stack!r} is put right. Bring it up with `{onward}`."
        if outcome.done
        else f"Nothing to repair in stack {stack!r}."
    )
