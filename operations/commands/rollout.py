from typing import Annotated

import typer

from deployment.errors import ExitCode
from operations.commands.shared import (
    DuringMarket,
    Json,
    StackName,
    TypedName,
    answer,
    docker_of,
    gateways_here,
    print_answer,
    say,
)

EXAMPLES = ("ibgw rollout paper", "ibgw rollout paper --gateway 'us-*' --max-failures 1")
EXIT_CODES = (ExitCode.FAILED, ExitCode.TIMED_OUT, ExitCode.REFUSED, ExitCode.DECLINED)


def rollout(
    stack: StackName,
    gateway: Annotated[
        str,
        typer.Option(
            "--gateway",
            "-g",
            metavar="PATTERN",
            help="Only those of this name; * and ? stand for any.",
            autocompletion=gateways_here,
        ),
    ] = "*",
    max_failures: Annotated[
        int, typer.Option("--max-failures", metavar="N", min=0, help="Go on after so many that are not verified.")
    ] = 0,
    yes: TypedName = None,
    during_market: DuringMarket = False,
    as_json: Json = False,
) -> None:
    """Update running gateways, one verified after the other.

    Takes what waits to be deployed to them. The first is the canary; what is as declared already is verified only, and
    before it.

    Stops after more failures than allowed, and while a second factor is pending; the same command goes on.
    """
    from fnmatch import fnmatchcase

    from operations.live import Leave, consent, is_live
    from operations.rollout import rollout as run
    from operations.stack import Stack

    if is_live(stack) and Stack(stack).deployed():
        deployment = Stack(stack).deployment()
        chosen = [candidate for name, candidate in deployment.gateways.items() if fnmatchcase(name, gateway)]
        with docker_of(deployment) as docker:
            consent(docker, deployment, chosen, Leave(yes, during_market), say)
    outcome = run(Stack(stack), gateway, max_failures=max_failures, say=say)
    if as_json:
        print_answer(outcome)
    else:
        answer("\n".join(gateway_outcome.human() for gateway_outcome in outcome.gateways))
    raise typer.Exit(outcome.exit_code)
