from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deployment.errors import ExitCode
from operations.commands.shared import (
    GatewayNames,
    SameAsFormatJson,
    ShowAccounts,
    StackLookedAt,
    checks_here,
    described_stack,
    duration,
    looked_at,
    reading,
    say,
    waiting,
)

EXAMPLES = ("ibgw verify paper", "ibgw verify paper --gateway main --checks reachable,connected --wait 0s")
EXIT_CODES = (ExitCode.FAILED, ExitCode.WARNINGS, ExitCode.TIMED_OUT)


class Format(StrEnum):
    """Of a report. What each looks like is in operations.formats, which takes long to import."""

    HUMAN = "human"
    JSON = "json"
    JUNIT = "junit"
    PROMETHEUS = "prometheus"


def verify(
    stack: StackLookedAt = None,
    gateway: GatewayNames = None,
    deployment: Annotated[
        Path | None,
        typer.Option("--contract", metavar="FILE", help="Read the contract from a file (- for stdin), without Pulumi."),
    ] = None,
    wait: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="How long to retry what may heal by itself, such as 90s; 0s: once. By default as long as that takes: "
            "10m for a start, 200s for a second factor.",
        ),
    ] = None,
    watch: Annotated[
        str, typer.Option(metavar="DURATION", help="Watch at least so long, such as 5m, who attaches to the API.")
    ] = "0s",
    checks: Annotated[
        list[str] | None,
        typer.Option(
            "--checks",
            metavar="NAMES",
            help="Only these and what they need, with commas or repeated.",
            autocompletion=checks_here,
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 4 instead of 0 if there are warnings.")] = False,
    output: Annotated[
        Format, typer.Option("--format", help="For people, for programs, for CI, or for node_exporter's textfiles.")
    ] = Format.HUMAN,
    as_json: SameAsFormatJson = False,
    show_accounts: ShowAccounts = False,
) -> None:
    """Prove that a trader could trade.

    By these checks in this order: reachable, connected, authenticated, account_access, market_data, order_capability,
    isolation, hygiene.

    The report is also written to .ibgw/reports/NAME.json beside Pulumi.yaml.
    """
    seconds = duration(wait, "--wait") if wait is not None else None
    watched = duration(watch, "--watch")
    from healthcheck.check_sequence import named
    from operations import verification
    from operations.described import Described
    from operations.formats import RENDERERS, coloured
    from operations.stack import choose_gateways, read_contract

    with reading("--checks"):
        chosen_checks = named(checks or [])
    described = Described(read_contract(deployment)) if deployment else described_stack(looked_at(stack))
    target = described.deployment
    with waiting(f"verifying {target.stack}"):
        report = verification.run(
            target,
            [chosen.name for chosen in choose_gateways(target, gateway or [])],
            wait=seconds,
            watch=watched,
            checks=chosen_checks,
            strict=strict,
            show_accounts=show_accounts,
            progress=say,
            note=described.note,
        )
    typer.echo(RENDERERS[Format.JSON if as_json else output](report), color=coloured())
    raise typer.Exit(report.exit_code)
