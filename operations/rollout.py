"""`ibgw rollout`: what waits to be deployed is taken to running gateways in batches, each verified before the next.

Each step is an update of the targets that belong to its gateways. Nothing of a rollout is written down: what is left to
do is what the plan tells, so that one that was interrupted is run again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import computed_field

from deployment.description import COMMAND_PORT
from deployment.errors import ExitCode, IbgwError
from deployment.names import Names
from deployment.tables import Kind
from healthcheck.docker_host import DockerHost, Inspected, docker_errors
from healthcheck.gateway_container import stop_grace
from healthcheck.report import Report
from infra.verification import ONLY
from operations.answers import Answer
from operations.batches import Result, Rules, result_of, run
from operations.plan.model import REPLACED, GatewayPlan, Plan, PlanVerdict
from operations.plan.reading import by_owner, read
from operations.plan.rendering import WORDS
from operations.stack import Stack, matching
from operations.verification import update

Say = Callable[[str], None]

STRANDED = "its session stays open at IBKR until it is ended there or times out"


@dataclass(frozen=True)
class Outcome:
    """`plan`: what was to be done. `why`: the reasons of the checks that failed."""

    gateway: str
    plan: PlanVerdict
    result: Result
    why: tuple[str, ...] = ()

    def human(self) -> str:
        why = f" ({', '.join(self.why)})" if self.why else ""
        return f"{self.gateway}: {self.result.replace('_', ' ')}{why}"


class Rollout(Answer):
    """In the order in which the gateways were due."""

    stack: str
    gateways: tuple[Outcome, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def exit_code(self) -> ExitCode:
        results = {outcome.result for outcome in self.gateways}
        if Result.WAITING in results:
            return ExitCode.TIMED_OUT
        return ExitCode.FAILED if results - {Result.VERIFIED} else ExitCode.OK


def rollout(
    stack: Stack,
    patterns: Sequence[str],
    rules: Rules,
    *,
    say: Say,
    before: Callable[[], None] = lambda: None,
    project: Path | None = None,
) -> Rollout:
    """Brings the gateways whose name matches to what the configuration and this version declare, in batches
    (operations.batches.run). `project`: where Pulumi finds the program, if not here.

    Raises IbgwError where no gateway matches (bad usage), where not all can be done in batches (REFUSED), and where an
    update ended before its verification.
    """
    preview = stack.preview()
    plan = read(stack.name, preview)
    by_name = {planned.gateway: planned for planned in plan.gateways}
    names = matching(patterns, by_name, f"no gateway of stack {stack.name!r} matches")
    chosen = [by_name[name] for name in names]
    owned = by_owner(preview)
    _check_apart(plan, chosen, owned[None], rules.parallel)
    # What nobody uses any more is for `pulumi up` to remove.
    shared = [urn for urn, operation in owned[None].items() if operation != "delete"]
    for planned in chosen:
        if planned.verdict is PlanVerdict.REMOVE:
            say(f"{planned.gateway}: left the configuration; `pulumi up --stack {stack.name}` removes it.")
    # First what is not there, since an update that leaves it out has no output. Then what an earlier rollout
    # has done is verified before anything else is begun: it may have been interrupted meanwhile.
    new = [planned.gateway for planned in chosen if planned.verdict is PlanVerdict.CREATE]
    done = [planned.gateway for planned in chosen if planned.verdict is PlanVerdict.NONE]
    due = [planned for planned in chosen if planned.verdict in (*REPLACED, PlanVerdict.IN_PLACE)]
    asking = {planned.gateway for planned in due if planned.asks_second_factor}
    batches = [new, done, *rules.batches([planned.gateway for planned in due], asking)]
    steps = [step for step in batches if step]
    outcomes: list[Outcome] = []

    def act(step: Sequence[str]) -> dict[str, Result]:
        where = f"{steps.index(list(step)) + 1}/{len(steps)}"
        what = "as declared, to be verified" if list(step) == done else WORDS[by_name[step[0]].verdict]
        say(f"{where} {', '.join(step)}: {what}")
        for name in step:
            if by_name[name].verdict in REPLACED:
                _log_out_old(stack, name, say)
        report = _update(stack, step, [*shared, *(urn for name in step for urn in owned[name])], project)
        came = [Outcome(name, by_name[name].verdict, *result_of(report, name)) for name in step]
        outcomes.extend(came)
        for outcome in came:
            say(f"{where} {outcome.human()}")
        return {outcome.gateway: outcome.result for outcome in came}

    results = run(steps, act, max_failures=rules.max_failures, say=say, before=before)
    left = [name for name, result in results.items() if result is Result.NOT_REACHED]
    outcomes += [Outcome(name, by_name[name].verdict, Result.NOT_REACHED) for name in left]
    return Rollout(stack=stack.name, gateways=tuple(outcomes))


def _check_apart(plan: Plan, chosen: Sequence[GatewayPlan], shared: Mapping[str, str], parallel: int) -> None:
    """Raises IbgwError (REFUSED) where something changes under all gateways at once, where a gateway is not there
    and stays so, since an update that leaves one out that the program declares has no output and verifies nothing, and
    where more are not there than log in at a time."""
    new = [planned for planned in plan.gateways if planned.verdict is PlanVerdict.CREATE]
    under_all = [
        urn.rpartition("::")[2]
        for urn, operation in shared.items()
        if operation != "same" and "::docker:" in urn and "Image::" not in urn
    ]
    if under_all:
        why = f"{', '.join(under_all)}: changes for all gateways at once"
    elif len(new) > _at_once(new, parallel) or not all(planned in chosen for planned in new):
        absent = ", ".join(planned.gateway for planned in new)
        at_most = "one" if _at_once(new, parallel) == 1 else f"{parallel}"
        why = f"{absent}: not there, and at most {at_most} may be new, and among those chosen"
    else:
        return
    raise IbgwError(
        f"Nothing was changed. {why}. Deploy that by itself first: pulumi up --stack {plan.stack}",
        exit_code=ExitCode.REFUSED,
    )


def _at_once(new: Sequence[GatewayPlan], parallel: int) -> int:
    return 1 if any(planned.asks_second_factor for planned in new) else parallel


def _update(stack: Stack, names: Sequence[str], urns: Sequence[str], project: Path | None) -> Report:
    """The update of these resources, and its verification of these gateways."""
    only = replace(stack, environment={**stack.environment, ONLY: ",".join(names)})
    succeeded, report = update(only, targets=urns, project=project)
    if report is None or (succeeded != (report.exit_code == ExitCode.OK)):
        raise IbgwError(
            f"The update of {', '.join(names)} in stack {stack.name!r} broke off; what it said is above. Put that "
            f"right (`ibgw repair --stack {stack.name}` after one that was killed) and run the same command again."
        )
    return report


# --- gateways of 0.1.0 --------------------------------------------------------------------------------------------

OLD_COMMAND = ["/home/ibgateway/scripts/run.sh"]
"""The image's own (its Dockerfile's CMD). Told to stop, it ends the display first, and the program dies of that."""

STOP = f"exec 3<>/dev/tcp/127.0.0.1/{COMMAND_PORT} && echo STOP >&3 && timeout 10 grep -m 1 ^OK <&3"
"""For bash. IBC (StopTask) answers before it closes the program's main window; where nobody has logged in it ends."""


def _log_out_old(stack: Stack, gateway: str, say: Say) -> None:
    """Has a gateway that 0.1.0 deployed log out before it is replaced: told to stop, it would not."""
    configured = stack.configured()
    name = Names(configured.name_prefix, stack.name).gateway(gateway)
    with (
        DockerHost(configured.docker_host) as docker,
        docker_errors(f"Container {name} on {configured.docker_host}", "check the daemon, and run the same again"),
    ):
        container = docker.inspect(Kind.CONTAINER, name)
        if container and container["State"]["Running"] and container["Config"]["Cmd"] == OLD_COMMAND:
            said = "logged out" if log_out(docker, container) else f"does not log out when it is asked: {STRANDED}"
            say(f"{name}: {said}.")


def log_out(docker: DockerHost, inspected: Inspected) -> bool:
    """Has a running container's IBC close the program; whether it did, and the container has ended. Docker does not
    start it again meanwhile: that would be another login. Raises DockerError."""
    container = inspected["Id"]
    docker.set_restart_policy(container, {"Name": "no"})
    try:
        # Its exit code says nothing: the container may end first.
        if not docker.run(container, ["bash", "-c", STOP]).startswith("OK"):
            return False
        deadline = time.monotonic() + stop_grace(inspected)
        while docker.there(Kind.CONTAINER, container)["State"]["Running"]:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True
    finally:
        # Whoever does not replace it finds it as it was configured.
        docker.set_restart_policy(container, inspected["HostConfig"]["RestartPolicy"])
