"""What several commands share: options, how words are read and how answers are printed."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from deployment.errors import ExitCode, IbgwError

if TYPE_CHECKING:
    from deployment.description import Deployment
    from healthcheck.docker_host import DockerHost
    from operations.described import Described
    from operations.lifecycle import Act
    from operations.live import Leave

STACK = typer.Option("--stack", "-s", metavar="NAME", help="The stack, such as paper or live.")
StackName = Annotated[str, STACK]
OptionalStackName = Annotated[str | None, STACK]
LiveStackName = Annotated[str, typer.Option("--stack", "-s", metavar="NAME", help="The live stack.")]
GatewayName = Annotated[
    str | None, typer.Option("--gateway", "-g", metavar="NAME", help="Which gateway; needed if there are several.")
]
GatewayNames = Annotated[
    list[str] | None, typer.Option("--gateway", "-g", metavar="NAME", help="Only this gateway; may be repeated.")
]
ShowAccounts = Annotated[
    bool, typer.Option("--show-accounts", help="Show account numbers in full instead of DU***567.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
SameAsFormatJson = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
YES_LIVE = "--yes-live"
TYPED = "On live: do not ask; the stack's name, as one would type it."
TypedName = Annotated[str | None, typer.Option(YES_LIVE, "--yes", metavar="NAME", help=TYPED)]
TypedNameBesideYes = Annotated[str | None, typer.Option(YES_LIVE, metavar="NAME", help=TYPED)]
"""Where `--yes` is a switch."""

DuringMarket = Annotated[bool, typer.Option("--during-market", help="On live: also within its ibgw:tradingHours.")]


def say(text: str) -> None:
    """Progress and questions go to standard error; standard output holds the answer alone."""
    answer(text, err=True)


def answer(text: str, *, err: bool = False) -> None:
    """A text of several lines, in which what others wrote can command nothing."""
    from healthcheck.text import clean_lines

    typer.echo(clean_lines(text), err=err)


def print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))


@contextmanager
def reading(option: str) -> Iterator[None]:
    """Raises IbgwError (bad usage) for a ValueError."""
    try:
        yield
    except ValueError as error:
        raise IbgwError(f"{option}: {error}.", exit_code=ExitCode.BAD_USAGE) from None


def duration(text: str, option: str) -> float:
    """Seconds. Raises IbgwError (bad usage)."""
    from deployment.durations import parse_duration

    with reading(option):
        return parse_duration(text).total_seconds()


def docker_of(deployment: "Deployment") -> "DockerHost":
    from healthcheck.docker_host import DockerHost

    return DockerHost(deployment.docker_host)


def described_stack(stack: str) -> "Described":
    """What the stack is; where the cloud does not tell, by what the Docker host knows, and that is said."""
    from operations.described import described

    of_stack = described(stack)
    if of_stack.note is not None:
        say(f"ibgw: {of_stack.note}")
    return of_stack


def for_each_gateway(
    act: "Act", stack: str, names: list[str] | None, *, leave: "Leave | None" = None, at_once: bool = False
) -> None:
    """One of lifecycle's acts for the named gateways, or all. `leave`: for one that ends sessions. `at_once`: for all
    at the same time, whatever becomes of one of them."""
    from operations.lifecycle import together
    from operations.live import consent
    from operations.stack import choose_gateways

    deployment = described_stack(stack).deployment
    chosen = choose_gateways(deployment, names or [])
    with docker_of(deployment) as docker:
        if leave is not None:
            consent(docker, deployment, chosen, leave, say)
        if at_once:
            together(act, docker, deployment, chosen, answer)
            return
        for gateway in chosen:
            act(docker, deployment, gateway, answer)


def confirmation(typed: str | None) -> Callable[[str, str], None]:
    """Shows what is open under a live stack, and asks for its name to be typed, or takes the one that was given."""
    from operations.live import by_name, tell_open_of
    from operations.stack import Stack

    def confirm(question: str, name: str) -> None:
        tell_open_of(Stack(name), say)
        by_name(question, name, typed)

    return confirm
