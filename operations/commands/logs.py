from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from deployment.errors import ExitCode, IbgwError
from operations.commands.shared import (
    GatewayNames,
    ShowAccounts,
    StackLookedAt,
    described_stack,
    docker_of,
    duration,
    looked_at,
    reading,
    say,
    zones_here,
)

EXIT_CODES = (ExitCode.REFUSED,)
EXAMPLES = ("ibgw logs paper --follow", "ibgw logs paper --known --since 2h")


def logs(
    stack: StackLookedAt = None,
    gateway: GatewayNames = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with each line as it comes.")] = False,
    tail: Annotated[int, typer.Option("--tail", "-n", min=0, help="How many lines of each gateway.")] = 100,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DURATION", help="Nothing older than this, such as 2h.")
    ] = None,
    known: Annotated[bool, typer.Option("--known", help="Only the lines that say something of the login.")] = False,
    zone: Annotated[
        str | None,
        typer.Option(
            "--zone",
            metavar="ZONE",
            help="Such as UTC, Europe/Berlin, or local.",
            show_default="the gateway's",
            autocompletion=zones_here,
        ),
    ] = None,
    files: Annotated[
        bool, typer.Option("--files", help="The gateway's own log files, where debug.enabled keeps them, instead.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    show_accounts: ShowAccounts = False,
) -> None:
    """Show what gateways wrote, and what it means.

    When, which gateway, what the line means for the login, the line.
    Credentials are masked, and account numbers unless --show-accounts. All times are in one zone, the gateway's, or UTC
    where gateways differ. Lines of the settings' autosave that follow each other are shown as one. With --json each
    line is there, its time in UTC.

    Files may also hold addresses and session ids of IBKR's.
    """
    age = None if since is None else timedelta(seconds=duration(since, "--since"))
    from infra.values import time_zone
    from operations.log_files import read as read_files
    from operations.logs import Line, read
    from operations.stack import choose_gateways

    if files and follow:
        raise IbgwError(
            "--files --follow: expected one of them; files are read as they are.", exit_code=ExitCode.BAD_USAGE
        )
    if zone not in (None, "local"):
        with reading("--zone"):
            time_zone(zone)
    deployment = described_stack(looked_at(stack)).deployment
    chosen = choose_gateways(deployment, gateway or [])
    width = max(len(named.name) for named in chosen)
    if zone is None:
        zones = {named.schedule.time_zone for named in chosen}
        zone = zones.pop() if len(zones) == 1 else "UTC"
        if not as_json:
            say(f"Times of {zone}; --zone takes another.")
    clock = None if zone == "local" else ZoneInfo(zone)
    options: Any = {"tail": tail, "since": age, "known": known, "show_accounts": show_accounts}
    with docker_of(deployment) as docker:
        lines: Iterable[Line]
        notes: list[str] = []
        if files:
            lines, notes = read_files(docker, deployment, chosen, **options)
        else:
            lines = read(docker, deployment, chosen, follow=follow, fold=not as_json, **options)
        for line in lines:
            typer.echo(line.json() if as_json else line.human(width, clock))
        for note in notes:
            say(note)
