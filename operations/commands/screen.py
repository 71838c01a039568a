from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployment.errors import ExitCode, IbgwError
from operations.commands.shared import (
    GatewayName,
    Json,
    ShowAccounts,
    StackLookedAt,
    TypedName,
    answer,
    described_stack,
    docker_of,
    looked_at,
    print_answer,
    say,
    waiting,
)

if TYPE_CHECKING:
    from deployment.description import Deployment, Gateway

EXAMPLES = (
    "ibgw screen paper",
    "ibgw screen live --gateway main --to screen.png",
    "ibgw screen paper --open",
    "ibgw screen live --control --yes-live live",
)
EXIT_CODES = (ExitCode.FAILED, ExitCode.TIMED_OUT, ExitCode.REFUSED, ExitCode.DECLINED)


def screen(
    stack: StackLookedAt = None,
    gateway: GatewayName = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="FILE", help="Where to write the picture.", show_default=".ibgw/screens/STACK.GATEWAY.png"
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it to a VNC viewer instead: view only.")] = False,
    control: Annotated[
        bool, typer.Option("--control", help="The same, with your hands on it. The stack's name is asked for.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", "-p", min=0, max=65535, help="The local port for the viewer; 0: any that is free.")
    ] = 5900,
    show_accounts: ShowAccounts = False,
    yes: TypedName = None,
    as_json: Json = False,
) -> None:
    """Show a gateway's windows by title, and write a picture.

    On any gateway, with nothing configured: over Docker alone, without a port. Only you may read the picture. What may
    be the login form is black in it; so is what may show an account number, unless --show-accounts.

    --open lets one viewer of your own user in, on this machine's loopback, for an hour at most. It shows all that is
    there. With --control it takes keys and clicks for ten minutes; then the gateway is verified, and what can be read
    of its API's settings is held against the configuration. Who opened a screen is recorded in .ibgw/reports.
    """
    from deployment.paths import picture_file, project_folder
    from operations.formats import terminal_width
    from operations.screen import take
    from operations.stack import choose_gateway

    viewed = open_ or control
    if viewed and (as_json or to is not None or show_accounts):
        raise IbgwError(
            "--open, --control: expected without --json, --to and --show-accounts, which are for a picture.",
            exit_code=ExitCode.BAD_USAGE,
        )
    if control and stack is None:
        raise IbgwError(
            "--control acts, and takes no stack by default: name it, as in `ibgw screen paper --control`.",
            exit_code=ExitCode.BAD_USAGE,
        )
    deployment = described_stack(looked_at(stack)).deployment
    chosen = choose_gateway(deployment, gateway)
    if viewed:
        raise typer.Exit(_open(deployment, chosen, port, yes, control=control))
    file = to or picture_file(project_folder(), deployment.stack, chosen.name)
    with docker_of(deployment) as docker, waiting(f"looking at {deployment.stack}/{chosen.name}"):
        seen = take(docker, deployment, chosen, file, show_accounts=show_accounts)
    if as_json:
        print_answer(seen)
    else:
        answer(seen.human(terminal_width()))


def _open(deployment: "Deployment", gateway: "Gateway", port: int, typed: str | None, *, control: bool) -> int:
    from deployment.paths import project_folder, screen_record
    from operations.formats import RENDERERS, coloured
    from operations.live import by_name
    from operations.screen_control import check, opened
    from operations.screen_viewer import OPERATING
    from operations.verification import run

    if control:
        by_name(
            f"Whoever holds the viewer operates {deployment.stack}/{gateway.name} by hand, for {OPERATING // 60} "
            f"minutes at most{', with real money' if gateway.mode == 'live' else ''}.",
            deployment.stack,
            typed,
        )
    with docker_of(deployment) as docker:
        record = screen_record(project_folder(), deployment.stack)
        titles = opened(docker, deployment, gateway, record, port=port, control=control, say=say)
        if not control:
            return ExitCode.OK
        with waiting(f"verifying {deployment.stack}/{gateway.name}"):
            report = run(
                deployment,
                [gateway.name],
                wait=None,
                watch=0,
                checks=None,
                strict=False,
                show_accounts=False,
                progress=say,
            )
            settings, as_configured = check(docker, deployment, gateway, titles)
    typer.echo(RENDERERS["human"](report), color=coloured())
    answer(settings)
    return report.exit_code or (ExitCode.OK if as_configured else ExitCode.FAILED)
