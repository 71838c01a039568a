from typing import Annotated

import typer

from deployment.errors import ExitCode
from operations.commands.shared import GatewayName, Json, StackName, TypedName, described_stack, print_answer, say

EXAMPLES = ("ibgw forward paper", "ibgw forward paper --gateway main --port 4002", "ibgw forward paper --monitoring")
EXIT_CODES = (ExitCode.REFUSED, ExitCode.DECLINED)


def forward(
    stack: StackName,
    gateway: GatewayName = None,
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", min=1, max=65535, help="The local port.", show_default="4002 on paper, 4001 live"),
    ] = None,
    monitoring: Annotated[
        bool, typer.Option("--monitoring", help="What tells Prometheus of the stack, where it is on, on port 9464.")
    ] = False,
    service: Annotated[
        bool, typer.Option("--service", help="Write a systemd user unit that does so and comes back, and end.")
    ] = False,
    yes_live: TypedName = None,
    as_json: Json = False,
) -> None:
    """Open a local port that leads to a gateway, until Ctrl-C.

    It is on this machine's loopback; nothing is published. Whoever can open a connection to 127.0.0.1 on this machine
    can use the gateway meanwhile. --json is for --service, which ends.
    """
    from deployment.description import MONITORING_PORT, Mode
    from deployment.errors import ExitCode, IbgwError
    from deployment.paths import project_folder
    from operations.forward import forward as run
    from operations.forward import forward_monitoring
    from operations.forward_service import ServiceAnswer, enabling, how_to_enable, unit, unit_file
    from operations.live import by_name
    from operations.stack import choose_gateway

    if as_json and not service:
        raise IbgwError(
            "--json: expected with --service; without it the command goes on.", exit_code=ExitCode.BAD_USAGE
        )
    if monitoring and (service or gateway is not None):
        raise IbgwError(
            "--monitoring: expected without --service and --gateway; it is of the stack, and for a look at it.",
            exit_code=ExitCode.BAD_USAGE,
        )
    deployment = described_stack(stack).deployment
    if monitoring:
        # Nobody can trade through it.
        forward_monitoring(deployment, port or MONITORING_PORT, say)
        return
    chosen = choose_gateway(deployment, gateway)
    if deployment.mode is Mode.LIVE:
        by_name(
            f"Stack {deployment.stack!r} is live: while this runs, anyone on this machine can trade with real money.",
            deployment.stack,
            yes_live,
        )
    port = port or chosen.api.inner_port
    if not service:
        run(deployment, chosen, port, say)
        return
    path = unit_file(chosen)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(unit(stack, chosen, port, project_folder()), encoding="utf-8")
    if as_json:
        print_answer(ServiceAnswer(file=str(path), enable=enabling(path)))
        return
    say(how_to_enable(path))
