from typing import Annotated

import typer

from operations.commands.shared import LiveStackName, TypedName, confirmation, say


def rollback(
    target: LiveStackName = "live",
    release: Annotated[
        str | None,
        typer.Option("--to", metavar="ID", help="To this release.", show_default="the one that ran before"),
    ] = None,
    yes: TypedName = None,
) -> None:
    """Take live back to an earlier release, also out of a promotion that failed or hangs. One login.

    Exit code: 0 live runs it, verified; 6 and 11 as for promote; 7 refused, nothing was changed; 8 you said no.
    """
    from operations.promotion.command import rollback as run

    raise typer.Exit(run(target, release, say=say, confirm=confirmation(yes)))
