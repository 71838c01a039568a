from typing import TYPE_CHECKING

from deployment.errors import ExitCode
from operations.commands.shared import (
    AT_A_TIME,
    GatewayNames,
    Json,
    MaxFailures,
    Parallel,
    StackName,
    for_each_gateway,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from deployment.description import Deployment, Gateway
    from healthcheck.docker_host import DockerHost

EXAMPLES = (
    "ibgw start paper",
    "ibgw start paper --gateway main",
    "ibgw start paper --gateway 'follower-*' --parallel 8",
)
EXIT_CODES = (ExitCode.FAILED, ExitCode.TIMED_OUT, ExitCode.REFUSED)


def start(
    stack: StackName,
    gateway: GatewayNames = None,
    parallel: Parallel = AT_A_TIME,
    max_failures: MaxFailures = 0,
    as_json: Json = False,
) -> None:
    """Start stopped gateways. Each logs in again, on live perhaps with a phone approval.

    Of several the first is alone, then come so many at a time, each batch when the one before is logged in. Those that
    are logged in already are skipped, so that the same command goes on with what is left.
    """
    from operations import lifecycle
    from operations.batches import Rules, logged_in

    def done(_: "DockerHost", deployment: "Deployment", chosen: "Sequence[Gateway]") -> "Collection[str]":
        return logged_in(deployment, [one.name for one in chosen])

    rules = Rules(parallel=parallel, max_failures=max_failures)
    for_each_gateway(lifecycle.start, stack, gateway, rules, done=done, as_json=as_json)
