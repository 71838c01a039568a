from typing import Annotated

import typer

from deployment.errors import ExitCode, IbgwError
from operations.commands.shared import DuringMarket, TypedName, confirmation, duration, releases_here, say, stacks_here


def promote(
    source: Annotated[
        str, typer.Option("--from", metavar="NAME", help="The paper stack.", autocompletion=stacks_here)
    ] = "paper",
    target: Annotated[
        str, typer.Option("--to", metavar="NAME", help="The live stack.", autocompletion=stacks_here)
    ] = "live",
    soak: Annotated[
        str, typer.Option(metavar="DURATION", help="For how long paper must stay verified: at least three times.")
    ] = "30m",
    release: Annotated[
        str | None,
        typer.Option(
            "--release", metavar="ID", help="Deploy this one, which was prepared.", autocompletion=releases_here
        ),
    ] = None,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Verify paper and write the release; deploy nothing.")
    ] = False,
    resume: Annotated[bool, typer.Option("--continue", help="Go on with a promotion that is under way.")] = False,
    require_market_data: Annotated[
        bool, typer.Option("--require-market-data", help="Insist on a live quote on paper.")
    ] = False,
    during_market: DuringMarket = False,
    yes: TypedName = None,
) -> None:
    """Take what runs verified on paper to live: verify it for a while, write the release, show the plan, ask, deploy,
    verify, keep it, or go back.

    Exit code: 0 live runs it, verified; 6 live waits for a second factor or for IBKR (then --continue); 7 refused,
    nothing was changed; 8 you said no; 10 it failed, and live runs the release before, verified; 11 it failed, and
    live needs a person.
    """
    if sum((resume, prepare, release is not None)) > 1:
        raise IbgwError(
            "--continue, --prepare and --release exclude each other: choose one.", exit_code=ExitCode.BAD_USAGE
        )
    seconds = duration(soak, "--soak")
    from operations.promotion import command

    if resume:
        raise typer.Exit(command.resume_promotion(target, say=say))
    options = command.Options(
        source=source,
        target=target,
        soak=seconds,
        release=release,
        prepare=prepare,
        require_market_data=require_market_data,
        during_market=during_market,
    )
    raise typer.Exit(command.promote(options, say=say, confirm=confirmation(yes)))
