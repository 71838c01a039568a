from typing import Annotated

import typer

from deployment.errors import ExitCode
from operations.commands.shared import DuringMarket, GatewayNames, Json, StackName, TypedName, for_each_gateway

EXAMPLES = ("ibgw restart paper --gateway main", "ibgw restart paper --soft")
EXIT_CODES = (ExitCode.FAILED, ExitCode.TIMED_OUT, ExitCode.REFUSED, ExitCode.DECLINED)


def restart(
    stack: StackName,
    gateway: GatewayNames = None,
    soft: Annotated[
        bool, typer.Option("--soft", help="Let them restart themselves, which keeps the session: no login.")
    ] = False,
    yes: TypedName = None,
    during_market: DuringMarket = False,
    as_json: Json = False,
) -> None:
    """Stop gateways, with time to log out, and start them. Each logs in again, perhaps with a phone approval."""
    from operations import lifecycle
    from operations.live import Leave

    act = lifecycle.soft_restart if soft else lifecycle.restart
    for_each_gateway(act, stack, gateway, leave=Leave(yes, during_market), as_json=as_json)
