from pathlib import Path
from typing import Annotated

import typer

from operations.commands.shared import GatewayName, StackName, docker_of


def reset_settings(
    stack: StackName,
    gateway: GatewayName = None,
    restore: Annotated[
        Path | None, typer.Option("--restore", metavar="FILE", help="Put this backup back instead of emptying.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking; on live the stack is typed.")] = False,
) -> None:
    """Empty a gateway's settings volume, after a backup to .ibgw/backups. The gateway logs in anew.

    Says what is lost and asks first. The start guard's counts stay.
    """
    from deployment.description import Mode
    from deployment.paths import backups, project_folder
    from operations import settings_reset
    from operations.prompt import confirm, confirm_by_name
    from operations.stack import Stack, choose_gateway

    deployment = Stack(stack).deployment()
    chosen = choose_gateway(deployment, gateway)

    def ask(question: str) -> None:
        if deployment.mode is Mode.LIVE:
            confirm_by_name(question, deployment.stack)
        elif not yes:
            confirm(question)

    with docker_of(deployment) as docker:
        if restore is not None:
            ask(f"{chosen.container.name} is stopped, gets the settings of {restore}, and logs in anew. Go on?")
            settings_reset.restore(docker, deployment, chosen, restore, say=typer.echo)
        else:
            kept = backups(project_folder())
            settings_reset.reset(docker, deployment, chosen, ask=ask, say=typer.echo, backups=kept)
