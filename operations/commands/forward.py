from typing import Annotated

import typer

from operations.commands.shared import GatewayName, StackName, described_stack, say


def forward(
    stack: StackName,
    gateway: GatewayName = None,
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", min=1, max=65535, help="The local port.", show_default="4002 on paper, 4001 live"),
    ] = None,
    vnc: Annotated[
        bool, typer.Option("--vnc", help="The gateway's screen, where it is on, instead of its API.")
    ] = False,
) -> None:
    """Open a port on this machine's loopback that leads to a gateway, until Ctrl-C. Nothing is published.

    Whoever can open a connection to 127.0.0.1 on this machine can use the gateway meanwhile.
    """
    from deployment.description import VNC_PORT, Mode
    from operations.forward import forward as run
    from operations.prompt import confirm_by_name
    from operations.stack import choose_gateway

    deployment = described_stack(stack).deployment
    chosen = choose_gateway(deployment, gateway)
    if deployment.mode is Mode.LIVE:
        confirm_by_name(
            f"Stack {deployment.stack!r} is live: while this runs, anyone on this machine can trade with real money.",
            deployment.stack,
        )
    run(deployment, chosen, port or (VNC_PORT if vnc else chosen.api.inner_port), say, vnc=vnc)
