from typing import Annotated

import typer

from deployment.errors import ExitCode, IbgwError
from operations.commands.shared import (
    DuringMarket,
    GatewayName,
    Json,
    StackName,
    TypedName,
    acting,
    described_stack,
    docker_of,
    say,
)

EXAMPLES = ("ibgw login paper --gateway main --again",)
EXIT_CODES = (ExitCode.REFUSED, ExitCode.DECLINED)


def login(
    stack: StackName,
    gateway: GatewayName = None,
    again: Annotated[
        bool, typer.Option("--again", help="Grant one more attempt, although two failed. Needed: it may cost a lock.")
    ] = False,
    yes: TypedName = None,
    during_market: DuringMarket = False,
    as_json: Json = False,
) -> None:
    """Grant a gateway one more login after failed attempts.

    For one that the start guard holds back after two with one version of its secret. Check the credentials first, by
    logging in at IBKR's site: too many wrong attempts lock the account.
    """
    from operations import lifecycle
    from operations.live import Leave, consent
    from operations.stack import choose_gateway

    if not again:
        raise IbgwError(
            "login: nothing was done. Gateways log in by themselves; to grant one more attempt to a secret that failed "
            "twice, add --again.",
            exit_code=ExitCode.BAD_USAGE,
        )
    deployment = described_stack(stack).deployment
    chosen = choose_gateway(deployment, gateway)
    with docker_of(deployment) as docker:
        consent(docker, deployment, [chosen], Leave(yes, during_market), say)
        with acting(stack, as_json) as (note, tell):
            note(lifecycle.login_again)(docker, deployment, chosen, tell)
