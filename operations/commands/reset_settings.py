from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployment.errors import ExitCode
from operations.commands.shared import (
    DuringMarket,
    GatewayName,
    Json,
    StackName,
    TypedNameBesideYes,
    acting,
    described_stack,
    docker_of,
    say,
)

if TYPE_CHECKING:
    from deployment.description import Deployment, Gateway
    from healthcheck.docker_host import DockerHost
    from operations.lifecycle import Say

EXAMPLES = ("ibgw reset-settings paper --gateway main", "ibgw reset-settings paper --restore .ibgw/backups/FILE")
EXIT_CODES = (ExitCode.REFUSED, ExitCode.DECLINED)


def reset_settings(
    stack: StackName,
    gateway: GatewayName = None,
    restore: Annotated[
        Path | None, typer.Option("--restore", metavar="FILE", help="Put this backup back instead of emptying.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking; not on live.")] = False,
    yes_live: TypedNameBesideYes = None,
    during_market: DuringMarket = False,
    as_json: Json = False,
) -> None:
    """Empty a gateway's settings volume, after a backup.

    It goes to .ibgw/backups. The gateway logs in anew. Says what is lost and asks first. The start guard's counts stay.
    """
    from deployment.description import Mode
    from deployment.paths import backups, project_folder
    from operations import settings_reset
    from operations.lifecycle import Outcome, noted
    from operations.live import Leave, consent
    from operations.prompt import confirm
    from operations.stack import choose_gateway

    deployment = described_stack(stack).deployment
    chosen = choose_gateway(deployment, gateway)
    made: list[Path] = []

    with docker_of(deployment) as docker:

        def ask(question: str) -> None:
            consent(docker, deployment, [chosen], Leave(yes_live, during_market), say, question=question)
            if deployment.mode is not Mode.LIVE and not yes:
                confirm(question)

        def act(docker: "DockerHost", deployment: "Deployment", chosen: "Gateway", tell: "Say") -> Outcome:
            if restore is not None:
                settings_reset.restore(docker, deployment, chosen, restore, say=tell)
                return Outcome.SETTINGS_RESTORED
            kept = backups(project_folder())
            made.append(settings_reset.reset(docker, deployment, chosen, ask=ask, say=tell, backups=kept))
            return Outcome.SETTINGS_RESET

        if restore is not None:
            ask(f"{chosen.container.name} is stopped, gets the settings of {restore}, and logs in anew. Go on?")
        with acting(stack, as_json, backup=lambda: str(made[0]) if made else None) as (acted, tell):
            noted(act, acted)(docker, deployment, chosen, tell)
