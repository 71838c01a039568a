from typing import Annotated

import typer

from operations.commands.shared import DuringMarket, LiveStackName, TypedName, confirmation, releases_here, say


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
) -> None:
    """Take live back to an earlier release, also out of a promotion that failed or hangs. One login.

    Exit code: 0 live runs it, verified; 6 and 11 as for promote; 7 refused, nothing was changed; 8 you said no.
    """
    from deployment.paths import project_folder
    from operations.live import Leave, check_hours
    from operations.promotion.command import rollback as run
    from operations.promotion.journal import Journal

    if Journal.of(project_folder(), stack).read() is None:
        # Out of a promotion that failed or hangs it is the way back, at any hour.
        check_hours(stack, Leave(during_market=during_market), "a rollback logs its gateways in again")
    raise typer.Exit(run(stack, release, say=say, confirm=confirmation(yes)))
