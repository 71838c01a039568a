from enum import StrEnum
from typing import Annotated

import typer

from operations.client import GUIDE, VARIABLES, client_environment
from operations.commands.shared import GatewayName, Json, StackLookedAt, described_stack, looked_at, print_json

EXAMPLES = ("ibgw env paper > gateway.env", 'eval "$(ibgw env paper --gateway main)"')

_WIDTH = max(map(len, VARIABLES)) + 2
_TABLE = "\n".join(f"{name:{_WIDTH}}{meaning}" for name, meaning in VARIABLES.items())
HELP = (
    "Print what a client needs, as KEY=value lines.\n\nFor a shell or a compose env file: "
    f"docs/examples has a bot and a compose file that use them.\n\n\b\n{_TABLE}"
)
"""With every variable that it prints, for which a docstring is too short."""


class Names(StrEnum):
    IBGW = "ibgw"
    GUIDE = "guide"


def env(
    stack: StackLookedAt = None,
    gateway: GatewayName = None,
    names: Annotated[
        Names, typer.Option("--names", help=f"These, or those of guides for docker-compose: {', '.join(GUIDE)}.")
    ] = Names.IBGW,
    as_json: Json = False,
) -> None:
    from operations.stack import choose_gateway

    deployment = described_stack(looked_at(stack)).deployment
    variables = client_environment(deployment, choose_gateway(deployment, gateway))
    if names is Names.GUIDE:
        variables = {name: variables[ours] for name, ours in GUIDE.items()}
    if as_json:
        print_json(variables)
    else:
        typer.echo("\n".join(f"{name}={value}" for name, value in variables.items()))
