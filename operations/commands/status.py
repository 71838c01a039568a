from typing import TYPE_CHECKING, Annotated

import typer

from deployment.errors import ExitCode, IbgwError
from operations.commands.shared import (
    FormerJson,
    GatewayNames,
    Json,
    StackLookedAt,
    described_stack,
    docker_of,
    looked_at,
    print_answer,
    print_json,
    waiting,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployment.description import Deployment
    from operations.status import StackStatus

EXAMPLES = (
    "ibgw status paper",
    "ibgw status paper --gateway 'us-*'",
    "ibgw status --all --json",
    "ibgw status --all --watch",
)
EXIT_CODES = (ExitCode.FAILED, ExitCode.TIMED_OUT)


def status(
    stack: StackLookedAt = None,
    gateway: GatewayNames = None,
    all_: Annotated[bool, typer.Option("--all", "-A", help="All stacks that have a file in the project.")] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", "-w", help="Go on showing them, and what each waits for, until Ctrl-C."),
    ] = False,
    as_json: Json = False,
    former_json: FormerJson = False,
) -> None:
    """Show the gateways of a stack at a glance.

    State, since when, account, latency, restarts, image, next and last planned restart. Asks each gateway now, by its
    API, beside the stack's prober or from inside its container; one that does not answer well is asked by a verifier,
    which tells why. The exit code is that of the answers, as for verify. With --all a stack that was never deployed
    counts for nothing. With --watch it goes by what Docker and the gateways themselves know, at most a minute old, and
    tells line by line in a pipe.
    """
    from datetime import UTC, datetime

    from operations.formats import terminal_width
    from operations.known_here import stacks
    from operations.status import StatusAnswer, table

    if all_ and stack is not None:
        raise IbgwError(f"--all and {stack} exclude each other: choose one.", exit_code=ExitCode.BAD_USAGE)
    if watch and (as_json or former_json):
        raise IbgwError("--watch and --json exclude each other: choose one.", exit_code=ExitCode.BAD_USAGE)
    if all_ and gateway:
        raise IbgwError("--all and --gateway exclude each other: choose one.", exit_code=ExitCode.BAD_USAGE)
    if watch:
        _watch(stacks() if all_ else [looked_at(stack)], gateway or [])
        return
    answer = StatusAnswer.of([_tried(name) for name in stacks()] if all_ else [_look(looked_at(stack), gateway or [])])
    if former_json:
        print_json(answer.former_json())
    elif as_json:
        print_answer(answer)
    else:
        typer.echo(table(answer.stacks, datetime.now(UTC), terminal_width()))
    raise typer.Exit(answer.exit_code)


def _watch(names: "list[str]", patterns: "list[str]") -> None:
    from operations.watch import Watched, watch

    def describing(name: str) -> "Callable[[], Deployment]":
        return lambda: _chosen(described_stack(name).deployment, patterns)

    watch([Watched(name, describing(name)) for name in names])


def _chosen(deployment: "Deployment", patterns: "list[str]") -> "Deployment":
    """The deployment with these gateways alone."""
    from operations.stack import choose_gateways

    gateways = {one.name: one for one in choose_gateways(deployment, patterns)}
    return deployment.model_copy(update={"gateways": gateways})


def _look(stack: str, patterns: "list[str]") -> "StackStatus":
    from operations.status import looked

    described = described_stack(stack)
    deployment = _chosen(described.deployment, patterns)
    with waiting(f"asking the gateways of {stack}"), docker_of(deployment) as docker:
        return looked(docker, deployment).model_copy(update={"description": described.note})


def _tried(stack: str) -> "StackStatus":
    """One of several: what cannot be known of it is told, and keeps nobody from the others."""
    from operations.stack import NotDeployedError
    from operations.status import StackStatus

    try:
        return _look(stack, [])
    except NotDeployedError as error:
        return StackStatus(stack=stack, exit_code=ExitCode.OK, error=str(error))
    except IbgwError as error:
        return StackStatus(stack=stack, exit_code=error.exit_code, error=str(error))
