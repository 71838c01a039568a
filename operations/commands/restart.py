from typing import Annotated

import typer

from operations.commands.shared import GatewayNames, StackName, for_each_gateway


def restart(
    stack: StackName,
    gateway: GatewayNames = None,
    soft: Annotated[
        bool, typer.Option("--soft", help="Let them restart themselves, which keeps the session: no login.")
    ] = False,
) -> None:
    """Stop gateways, with time to log out, and start them. Each logs in again, perhaps with a phone approval."""
    from operations import lifecycle

    for_each_gateway(lifecycle.soft_restart if soft else lifecycle.restart, stack, gateway)
