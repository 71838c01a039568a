from typing import Annotated, NoReturn

import typer

from deployment.errors import ExitCode, IbgwError
from operations.commands.shared import (
    DuringMarket,
    Json,
    TypedName,
    confirmation,
    duration,
    print_answer,
    releases_here,
    say,
    stacks_here,
)

EXAMPLES = ("ibgw promote --from paper --to live", "ibgw promote --continue")
EXIT_CODES = (ExitCode.TIMED_OUT, ExitCode.REFUSED, ExitCode.DECLINED, ExitCode.ROLLED_BACK, ExitCode.NEEDS_A_PERSON)


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
    as_json: Json = False,
) -> None:
    """Take what runs verified on paper to live.

    Verifies it for a while, writes the release, shows the plan, asks, deploys, verifies, and keeps it or goes back. A
    live that waits for its second factor, or for IBKR, goes on with --continue.
    """
    if sum((resume, prepare, release is not None)) > 1:
        raise IbgwError(
            "--continue, --prepare and --release exclude each other: choose one.", exit_code=ExitCode.BAD_USAGE
        )
    seconds = duration(soak, "--soak")
    from deployment.paths import project_folder
    from operations.promotion import command
    from operations.promotion.journal import Journal

    def end(code: ExitCode) -> NoReturn:
        if as_json:
            print_answer(Journal.of(project_folder(), target).answer(target, code))
        raise typer.Exit(code)

    if resume:
        end(command.resume_promotion(target, say=say))
    options = command.Options(
        source=source,
        target=target,
        soak=seconds,
        release=release,
        prepare=prepare,
        require_market_data=require_market_data,
        during_market=during_market,
    )
    end(command.promote(options, say=say, confirm=confirmation(yes)))
