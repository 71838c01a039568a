from typing import Annotated

import typer

from deployment.errors import ExitCode
from operations.commands.shared import (
    DuringMarket,
    Json,
    LiveStackName,
    TypedName,
    confirmation,
    print_answer,
    releases_here,
    say,
)

EXAMPLES = ("ibgw rollback live", "ibgw rollback live --to 20261124-1")
EXIT_CODES = (ExitCode.TIMED_OUT, ExitCode.REFUSED, ExitCode.DECLINED, ExitCode.NEEDS_A_PERSON)


def rollback(
    stack: LiveStackName = "live",
    release: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="ID",
            help="To this release.",
            show_default="the one that ran before",
            autocompletion=releases_here,
        ),
    ] = None,
    yes: TypedName = None,
    during_market: DuringMarket = False,
    as_json: Json = False,
) -> None:
    """Take live back to an earlier release.

    Also out of a promotion that failed or hangs. It costs one login.
    """
    from deployment.paths import project_folder
    from operations.live import Leave, check_hours
    from operations.promotion.command import rollback as run
    from operations.promotion.journal import Journal

    journal = Journal.of(project_folder(), stack)
    if journal.read() is None:
        # Out of a promotion that failed or hangs it is the way back, at any hour.
        check_hours(stack, Leave(during_market=during_market), "a rollback logs its gateways in again")
    code = run(stack, release, say=say, confirm=confirmation(yes))
    if as_json:
        print_answer(journal.answer(stack, code))
    raise typer.Exit(code)
