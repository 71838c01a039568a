"""`ibgw rollout`: what waits to be deployed is taken to running gateways one after the other, each verified before the
next.

Each step is an update of the targets that belong to one gateway. Nothing of a rollout is written down: what is left to
do is what the plan tells, so that one that was interrupted is run again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase

from pydantic import computed_field

from deployment.description import COMMAND_PORT
from deployment.errors import ExitCode, IbgwError
from deployment.names import Names
from deployment.tables import Kind
from healthcheck.docker_host import DockerHost, Inspected, docker_errors
from healthcheck.gateway_container import stop_grace
from healthcheck.report import Report, red
from healthcheck.verdict import GatewayVerdict
from infra.verification import ONLY
from operations.answers import Answer
from operations.plan.model import REPLACED, GatewayPlan, Plan, PlanVerdict
from operations.plan.reading import by_owner, read
from operations.plan.rendering import WORDS
from operations.promotion.outcome import unapproved
from operations.stack import Stack, nearest
from operations.verification import update

Say = Callable[[str], None]

VERIFIED = (GatewayVerdict.VERIFIED, GatewayVerdict.VERIFIED_WITH_WARNINGS)
STRANDED = "its session stays open at IBKR until it is ended there or times out"


class Result(StrEnum):
    """What a rollout came to for one gateway."""

    VERIFIED = "verified"
    FAILED = "failed"
    WAITING = "waiting"
    """For its second factor. Nothing is begun meanwhile: two requests on one phone cannot be told apart."""
    NOT_REACHED = "not_reached"
    """As it was before."""


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


def rollout(stack: Stack, pattern: str, *, max_failures: int, say: Say) -> Rollout:
    """Brings the gateways whose name matches `pattern` (as fnmatch has it) to what the configuration and this version
    declare. It ends after the gateway that is one failure too many, and after one whose second factor is pending.

    Raises IbgwError where no gateway matches (bad usage), where not all can be done one after the other (REFUSED), and
    where an update ended before its verification.
    """
    preview = stack.preview()
    plan = read(stack.name, preview)
    chosen = [planned for planned in plan.gateways if fnmatchcase(planned.gateway, pattern)]
    if not chosen:
        meant = nearest(pattern, (planned.gateway for planned in plan.gateways))
        raise IbgwError(
            f"--gateway {pattern}: no gateway of stack {stack.name!r} matches, "
            f"only {', '.join(planned.gateway for planned in plan.gateways)}."
            f"{f' Did you mean {meant!r}?' if meant else ''}",
            exit_code=ExitCode.BAD_USAGE,
        )
    owned = by_owner(preview)
    _check_apart(plan, chosen, owned[None])
    # What nobody uses any more is for `pulumi up` to remove.
    shared = [urn for urn, operation in owned[None].items() if operation != "delete"]
    for planned in chosen:
        if planned.verdict is PlanVerdict.REMOVE:
            say(f"{planned.gateway}: left the configuration; `pulumi up --stack {stack.name}` removes it.")
    # First the one that is not there, since an update that leaves it out has no output. Then what an earlier rollout
    # has done is verified before anything else is begun: it may have been interrupted meanwhile.
    new = [planned for planned in chosen if planned.verdict is PlanVerdict.CREATE]
    done = [planned for planned in chosen if planned.verdict is PlanVerdict.NONE]
    due = [planned for planned in chosen if planned.verdict in (*REPLACED, PlanVerdict.IN_PLACE)]
    steps = [step for step in (new, done, *([planned] for planned in due)) if step]
    outcomes: list[Outcome] = []
    for number, step in enumerate(steps, start=1):
        names = [planned.gateway for planned in step]
        where = f"{number}/{len(steps)} {', '.join(names)}"
        say(f"{where}: {'as declared, to be verified' if step is done else WORDS[step[0].verdict]}")
        for planned in step:
            if planned.verdict in REPLACED:
                _log_out_old(stack, planned.gateway, say)
        report = _update(stack, names, [*shared, *(urn for name in names for urn in owned[name])])
        outcomes += [_outcome(planned, report) for planned in step]
        for outcome in outcomes[-len(step) :]:
            say(f"{number}/{len(steps)} {outcome.human()}")
        waiting = [outcome.gateway for outcome in outcomes if outcome.result is Result.WAITING]
        failed = [outcome.gateway for outcome in outcomes if outcome.result is Result.FAILED]
        if waiting or len(failed) > max_failures:
            rest = [planned for later in steps[number:] for planned in later]
            outcomes += [Outcome(planned.gateway, planned.verdict, Result.NOT_REACHED) for planned in rest]
            told = f"{', '.join(waiting)}: waits for an approval" if waiting else f"{', '.join(failed)}: failed"
            say(f"{told}. Stopped, with {len(rest)} left as they were; the same command goes on with them.")
            break
    return Rollout(stack=stack.name, gateways=tuple(outcomes))


def _check_apart(plan: Plan, chosen: Sequence[GatewayPlan], shared: Mapping[str, str]) -> None:
    """Raises IbgwError (REFUSED) where something changes under all gateways at once, and where a gateway is not there
    and stays so: an update that leaves one out that the program declares has no output, and verifies nothing."""
    new = [planned for planned in plan.gateways if planned.verdict is PlanVerdict.CREATE]
    under_all = [
        urn.rpartition("::")[2]
        for urn, operation in shared.items()
        if operation != "same" and "::docker:" in urn and "Image::" not in urn
    ]
    if under_all:
        why = f"{', '.join(under_all)}: changes for all gateways at once"
    elif len(new) > 1 or not all(planned in chosen for planned in new):
        absent = ", ".join(planned.gateway for planned in new)
        why = f"{absent}: not there, and only one may be new, and among those chosen"
    else:
        return
    raise IbgwError(
        f"Nothing was changed. {why}. Deploy that by itself first: pulumi up --stack {plan.stack}",
        exit_code=ExitCode.REFUSED,
    )


def _update(stack: Stack, names: Sequence[str], urns: Sequence[str]) -> Report:
    """The update of these resources, and its verification of these gateways."""
    succeeded, report = update(replace(stack, environment={**stack.environment, ONLY: ",".join(names)}), targets=urns)
    if report is None or (succeeded != (report.exit_code == ExitCode.OK)):
        raise IbgwError(
            f"The update of {', '.join(names)} in stack {stack.name!r} broke off; what it said is above. Put that "
            f"right (`ibgw repair --stack {stack.name}` after one that was killed) and run the same command again."
        )
    return report


def _outcome(planned: GatewayPlan, report: Report) -> Outcome:
    [seen] = [gateway_report for gateway_report in report.gateways if gateway_report.gateway == planned.gateway]
    why = tuple(dict.fromkeys(check.reason.value for check in red(seen.checks) if check.reason is not None))
    if planned.gateway in unapproved(report):
        result = Result.WAITING
    else:
        result = Result.VERIFIED if seen.verdict in VERIFIED else Result.FAILED
    return Outcome(planned.gateway, planned.verdict, result, why)


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
