from pathlib import Path
from typing import Annotated

import typer

from deployment.errors import ExitCode
from operations.commands.shared import (
    GatewayName,
    Json,
    ShowAccounts,
    StackLookedAt,
    described_stack,
    docker_of,
    looked_at,
    print_answer,
    waiting,
)

EXAMPLES = ("ibgw screen paper", "ibgw screen live --gateway main --to screen.png")
EXIT_CODES = (ExitCode.REFUSED,)


def screen(
    stack: StackLookedAt = None,
    gateway: GatewayName = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="FILE", help="Where to write the picture.", show_default=".ibgw/screens/STACK.GATEWAY.png"
        ),
    ] = None,
    show_accounts: ShowAccounts = False,
    as_json: Json = False,
) -> None:
    """Show a gateway's windows by title, and write a picture.

    On any gateway, with nothing configured: over Docker alone, without a port. Only you may read the picture. What may
    be the login form is black in it; so is what may show an account number, unless --show-accounts.
    """
    from deployment.paths import picture_file, project_folder
    from operations.formats import terminal_width
    from operations.screen import take
    from operations.stack import choose_gateway

    deployment = described_stack(looked_at(stack)).deployment
    chosen = choose_gateway(deployment, gateway)
    file = to or picture_file(project_folder(), deployment.stack, chosen.name)
    with docker_of(deployment) as docker, waiting(f"looking at {deployment.stack}/{chosen.name}"):
        answer = take(docker, deployment, chosen, file, show_accounts=show_accounts)
    if as_json:
        print_answer(answer)
        return
    typer.echo(answer.human(terminal_width()))
