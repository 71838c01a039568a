from datetime import timedelta
from typing import Annotated

import typer

from operations.commands.shared import GatewayNames, ShowAccounts, StackName, described_stack, docker_of, duration


def logs(
    stack: StackName,
    gateway: GatewayNames = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with each line as it comes.")] = False,
    tail: Annotated[int, typer.Option("--tail", "-n", min=0, help="How many lines of each gateway.")] = 100,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DURATION", help="Nothing older than this, such as 2h.")
    ] = None,
    known: Annotated[bool, typer.Option("--known", help="Only the lines that say something of the login.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    show_accounts: ShowAccounts = False,
) -> None:
    """Show what gateways wrote: when (UTC), which gateway, what the line means for the login, the line.

    Credentials are masked, and account numbers unless --show-accounts.
    """
    age = None if since is None else timedelta(seconds=duration(since, "--since"))
    from operations.logs import read
    from operations.stack import choose_gateways

    deployment = described_stack(stack).deployment
    chosen = choose_gateways(deployment, gateway or [])
    width = max(len(named.name) for named in chosen)
    with docker_of(deployment) as docker:
        for line in read(docker, deployment, chosen, tail=tail, since=age, follow=follow, show_accounts=show_accounts):
            if line.state is not None or not known:
                typer.echo(line.json() if as_json else line.human(width))
