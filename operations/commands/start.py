from deployment.errors import ExitCode
from operations.commands.shared import GatewayNames, Json, StackName, for_each_gateway

EXAMPLES = ("ibgw start paper", "ibgw start paper --gateway main")
EXIT_CODES = (ExitCode.FAILED, ExitCode.TIMED_OUT, ExitCode.REFUSED)


def start(stack: StackName, gateway: GatewayNames = None, as_json: Json = False) -> None:
    """Start stopped gateways. Each logs in again, on live perhaps with a phone approval."""
    from operations import lifecycle

    for_each_gateway(lifecycle.start, stack, gateway, as_json=as_json)
