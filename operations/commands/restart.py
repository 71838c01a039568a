from typing import Annotated

import typer

from deployment.errors import ExitCode
from operations.commands.shared import (
    AT_A_TIME,
    DuringMarket,
    GatewayNames,
    Json,
    MaxFailures,
    Parallel,
    StackName,
    TypedName,
    for_each_gateway,
)

EXAMPLES = ("ibgw restart paper --gateway main", "ibgw restart paper --soft", "ibgw restart paper -g 'follower-*'")
EXIT_CODES = (ExitCode.FAILED, ExitCode.TIMED_OUT, ExitCode.REFUSED, ExitCode.DECLINED)


def restart(
    stack: StackName,
    gateway: GatewayNames = None,
    parallel: Parallel = AT_A_TIME,
    max_failures: MaxFailures = 0,
    soft: Annotated[
        bool, typer.Option("--soft", help="Let them restart themselves, which keeps the session: no login.")
    ] = False,
    yes: TypedName = None,
    during_market: DuringMarket = False,
    as_json: Json = False,
) -> None:
    """Stop gateways, with time to log out, and start them. Each logs in again, perhaps with a phone approval.

    Of several the first is alone, then come so many at a time, each batch when the one before is logged in. Within an
    hour the same command goes on where it was interrupted, or stopped after a failure.
    """
    from operations import lifecycle
    from operations.batches import Rules
    from operations.live import Leave

    act = lifecycle.soft_restart if soft else lifecycle.restart
    rules = Rules(parallel=parallel, max_failures=max_failures, logs_in=not soft)
    leave = Leave(yes, during_market)
    for_each_gateway(act, stack, gateway, rules, leave=leave, goes_on=True, as_json=as_json)
