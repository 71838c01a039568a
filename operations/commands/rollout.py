import typer

from deployment.errors import ExitCode
from operations.commands.shared import (
    AT_A_TIME,
    DuringMarket,
    GatewayNames,
    Json,
    MaxFailures,
    Parallel,
    StackName,
    TypedName,
    answer,
    docker_of,
    print_answer,
    say,
)

EXAMPLES = ("ibgw rollout paper", "ibgw rollout paper --gateway 'us-*' --max-failures 1")
EXIT_CODES = (ExitCode.FAILED, ExitCode.TIMED_OUT, ExitCode.REFUSED, ExitCode.DECLINED)


def rollout(
    stack: StackName,
    gateway: GatewayNames = None,
    parallel: Parallel = AT_A_TIME,
    max_failures: MaxFailures = 0,
    yes: TypedName = None,
    during_market: DuringMarket = False,
    as_json: Json = False,
) -> None:
    """Update running gateways in batches, a canary first.

    Each batch is verified before the next.

    Takes what waits to be deployed to them. The first is the canary, alone; then come so many at a time. What is as
    declared already is verified only, and before it.

    Stops after more failures than allowed, and while a second factor is pending; the same command goes on.
    """
    from fnmatch import fnmatchcase

    from operations.batches import Rules
    from operations.live import Leave, consent, is_live, still_allowed
    from operations.rollout import rollout as run
    from operations.stack import Stack

    leave = Leave(yes, during_market)
    deployment = Stack(stack).deployment() if is_live(stack) and Stack(stack).deployed() else None
    if deployment is not None:
        # One that is new is not deployed yet: that a pattern matches nothing is the plan's to tell.
        deployed = deployment.gateways.items()
        named = [one for name, one in deployed if any(fnmatchcase(name, pattern) for pattern in gateway or ["*"])]
        with docker_of(deployment) as docker:
            consent(docker, deployment, named, leave, say)

    def before() -> None:
        if deployment is not None:
            still_allowed(deployment, leave)

    rules = Rules(parallel=parallel, max_failures=max_failures)
    outcome = run(Stack(stack), gateway or [], rules, say=say, before=before)
    if as_json:
        print_answer(outcome)
    else:
        answer("\n".join(gateway_outcome.human() for gateway_outcome in outcome.gateways))
    raise typer.Exit(outcome.exit_code)
