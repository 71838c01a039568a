import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from deployment.errors import ExitCode, IbgwError
from operations.commands.shared import (
    AT_A_TIME,
    DuringMarket,
    GatewayNames,
    Json,
    Parallel,
    StackName,
    TypedName,
    duration,
    for_each_gateway,
)

if TYPE_CHECKING:
    from deployment.description import Deployment, Gateway
    from healthcheck.docker_host import DockerHost
    from operations.lifecycle import Outcome

EXAMPLES = ("ibgw stop paper", "ibgw stop paper --gateway main --for 2h", "ibgw stop live --yes-live live")
EXIT_CODES = (ExitCode.REFUSED, ExitCode.DECLINED)


def stop(
    stack: StackName,
    gateway: GatewayNames = None,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="Only for so long, such as 2h; then they log in.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="HH:MM", help="Only until this time of day, in each gateway's own time zone."),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every gateway of the stack, as without --gateway.")] = False,
    parallel: Parallel = AT_A_TIME,
    now: Annotated[bool, typer.Option("--now", help="All at the same time, however many.")] = False,
    yes: TypedName = None,
    during_market: DuringMarket = False,
    as_json: Json = False,
) -> None:
    """Stop gateways, with time to log out. They stay stopped until `ibgw start`. A stop cancels no order.

    Of several so many at a time; one that fails keeps no other from being stopped.

    With --for or --until they only log out for a while, whatever restarts, updates or reboots them meanwhile. Their
    login afterwards gives way to a session that a person has open then.
    """
    from operations import lifecycle
    from operations.batches import Rules
    from operations.live import Leave

    leave = Leave(yes, during_market)
    # What only ends sessions goes on whatever happens to one of them.
    rules = Rules(parallel=sys.maxsize if now else parallel, max_failures=None, canary=False, logs_in=False)
    if all_ and gateway:
        raise IbgwError("stop: --all and --gateway exclude each other: choose one.", exit_code=ExitCode.BAD_USAGE)
    if for_ is not None and until is not None:
        raise IbgwError("stop: --for and --until exclude each other: choose one.", exit_code=ExitCode.BAD_USAGE)
    if for_ is None and until is None:
        for_each_gateway(lifecycle.stop, stack, gateway, rules, leave=leave, as_json=as_json)
        return
    length = None if for_ is None else pause_length(for_)

    def pause(
        docker: "DockerHost", deployment: "Deployment", chosen: "Gateway", say: Callable[[str], None]
    ) -> "Outcome":
        end = lifecycle.pause_end(chosen, length=length, until=until)
        return lifecycle.pause(docker, deployment, chosen, say, until=end)

    for_each_gateway(pause, stack, gateway, rules, leave=leave, as_json=as_json)


def pause_length(text: str) -> timedelta:
    """Raises IbgwError (bad usage)."""
    seconds = duration(text, "--for")
    if not 60 <= seconds <= 7 * 86_400:
        raise IbgwError(f"--for {text}: expected 1m to 168h.", exit_code=ExitCode.BAD_USAGE)
    return timedelta(seconds=seconds)
