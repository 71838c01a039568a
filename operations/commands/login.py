from typing import TYPE_CHECKING, Annotated

import typer

from deployment.errors import ExitCode, IbgwError
from operations.commands.shared import (
    AT_A_TIME,
    DuringMarket,
    GatewaysNeeded,
    Json,
    MaxFailures,
    Parallel,
    StackName,
    TypedName,
    for_each_gateway,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from deployment.description import Deployment, Gateway
    from healthcheck.docker_host import DockerHost

EXAMPLES = ("ibgw login paper --gateway main --again",)
EXIT_CODES = (ExitCode.FAILED, ExitCode.TIMED_OUT, ExitCode.REFUSED, ExitCode.DECLINED)


def login(
    stack: StackName,
    gateway: GatewaysNeeded = None,
    parallel: Parallel = AT_A_TIME,
    max_failures: MaxFailures = 0,
    again: Annotated[
        bool, typer.Option("--again", help="Grant one more attempt, although two failed. Needed: it may cost a lock.")
    ] = False,
    yes: TypedName = None,
    during_market: DuringMarket = False,
    as_json: Json = False,
) -> None:
    """Grant gateways one more login after failed attempts.

    For each that the start guard holds back after two with one version of its secret. Check the credentials first, by
    logging in at IBKR's site: too many wrong attempts lock the account. Of several those that are not held back are
    skipped; the first is alone, then come so many at a time, each batch when the one before is logged in.
    """
    from operations import lifecycle
    from operations.batches import Rules
    from operations.live import Leave

    if not again:
        raise IbgwError(
            "login: nothing was done. Gateways log in by themselves; to grant one more attempt to a secret that failed "
            "twice, add --again.",
            exit_code=ExitCode.BAD_USAGE,
        )

    def done(docker: "DockerHost", deployment: "Deployment", chosen: "Sequence[Gateway]") -> "Collection[str]":
        return {one.name for one in chosen if not lifecycle.held_back(docker, deployment, one)}

    rules = Rules(parallel=parallel, max_failures=max_failures)
    leave = Leave(yes, during_market)
    for_each_gateway(lifecycle.login_again, stack, gateway, rules, leave=leave, done=done, named=True, as_json=as_json)
