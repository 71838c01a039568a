from operations.commands.shared import GatewayNames, StackName, for_each_gateway


def start(stack: StackName, gateway: GatewayNames = None) -> None:
    """Start stopped gateways. Each logs in again, on live perhaps with a phone approval."""
    from operations import lifecycle

    for_each_gateway(lifecycle.start, stack, gateway)
