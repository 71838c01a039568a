from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployment.errors import ExitCode, IbgwError
from operations.commands.shared import (
    Json,
    StackLookedAt,
    answer,
    described_stack,
    docker_of,
    duration,
    looked_at,
    print_answer,
    say,
    waiting,
)

if TYPE_CHECKING:
    from operations.report.facts import StackFacts

EXAMPLES = ("ibgw report paper", "ibgw report --all --since 336h --html report.html", "ibgw report paper --json")
EXIT_CODES = (ExitCode.REFUSED,)


def report(
    stack: StackLookedAt = None,
    all_: Annotated[bool, typer.Option("--all", "-A", help="All stacks that have a file in the project.")] = False,
    since: Annotated[
        str, typer.Option("--since", metavar="DURATION", help="Of how long, such as 168h for a week.")
    ] = "24h",
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write it as a page with plots, too, which needs nothing else."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how the gateways of a stack fared over time.

    Availability, incidents, logins, latencies.

    From what the stack's watcher saw, where ibgw:monitoring is on; it keeps 35 days. "could trade" is the share of the
    trading hours (ibgw:tradingHours) in which a trader could; "outside windows" that of all hours without a planned
    restart, IBKR's reset, offline hours or a pause. What nobody watched counts neither for nor against. Holidays are
    not known. Times are in UTC. With --all a stack that nothing watches counts for nothing.
    """
    from operations.known_here import stacks
    from operations.report.facts import ReportAnswer
    from operations.report.text import text

    if all_ and stack is not None:
        raise IbgwError(f"--all and {stack} exclude each other: choose one.", exit_code=ExitCode.BAD_USAGE)
    seconds = duration(since, "--since")
    if all_:
        tried = [_tried(name, seconds) for name in stacks()]
        found, codes = [one for one, _ in tried], [code for _, code in tried]
    else:
        found, codes = [_look(looked_at(stack), seconds)], []
    exit_code = max(codes, default=ExitCode.OK)
    if html is not None:
        from operations.report.page import page

        html.write_text(page(found), encoding="utf-8")
        say(f"Wrote {html}.")
    if as_json:
        print_answer(ReportAnswer(exit_code=exit_code, stacks=tuple(found)))
    else:
        answer(text(found))
    raise typer.Exit(exit_code)


def _look(stack: str, seconds: float) -> "StackFacts":
    from operations.report.reading import look

    deployment = described_stack(stack).deployment
    with waiting(f"asking the watcher of {stack}"), docker_of(deployment) as docker:
        return look(docker, deployment, seconds)


def _tried(stack: str, seconds: float) -> "tuple[StackFacts, ExitCode]":
    """One of several: what cannot be known of it is told, and keeps nobody from the others."""
    from operations.report.facts import StackFacts
    from operations.stack import NotDeployedError

    try:
        return _look(stack, seconds), ExitCode.OK
    except IbgwError as error:
        nothing = isinstance(error, NotDeployedError) or error.exit_code is ExitCode.REFUSED
        return StackFacts(stack=stack, error=str(error)), ExitCode.OK if nothing else error.exit_code
