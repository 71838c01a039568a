"""What several commands share: options, how words are read and how answers are printed."""

import inspect
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployment.errors import ExitCode, IbgwError

if TYPE_CHECKING:
    from deployment.description import Deployment, Gateway
    from healthcheck.docker_host import DockerHost
    from healthcheck.report import Model
    from operations.batches import Rules
    from operations.described import Described
    from operations.lifecycle import Act, Acted, Say
    from operations.live import Leave

    Acting = tuple[list[Acted], Say]


def stacks_here() -> list[str]:
    from operations.known_here import stacks

    return stacks()


def gateways_here(context: typer.Context) -> list[str]:
    """Of the stack that the command line names so far, or of the default one."""
    from operations.known_here import gateways

    stack = _named_here(context)
    return gateways(stack) if stack else []


def _named_here(context: typer.Context) -> str | None:
    """The stack that the command line names so far, else the default one."""
    from operations.known_here import default_stack

    default = default_stack()
    # Behind `-g` without a value click does not get as far as the arguments, and leaves them.
    named = context.params.get("stack") or next(iter(context.args), None)
    return named or (default and default.stack)


def releases_here() -> list[str]:
    from operations.known_here import releases

    return releases()


def clients_here(context: typer.Context) -> list[str]:
    """The containers that may join a network of the stack's gateways, as deployed or configured."""
    from operations.known_here import clients

    stack = _named_here(context)
    return clients(stack) if stack else []


def checks_here(typed: str) -> list[str]:
    """Behind a comma one more, of those that do not stand before it."""
    from healthcheck.observation import CheckName

    before = typed.split(",")[:-1]
    return [",".join((*before, name)) for name in CheckName if name not in before]


def zones_here() -> list[str]:
    from importlib.resources import files

    return ["local", *files("tzdata").joinpath("zones").read_text(encoding="ascii").split()]


def _stack(text: str) -> Any:
    return typer.Option("--stack", "-s", metavar="NAME", help=text, show_default=False, autocompletion=stacks_here)


StackName = Annotated[str, _stack("The stack, such as paper or live.")]
"""Of a command that acts: it is always named."""

StackLookedAt = Annotated[
    str | None, _stack("The stack. By default PULUMI_STACK, or what `pulumi stack select` chose.")
]
"""Of a command that looks, which has `looked_at` choose where none is named."""

NewStackName = Annotated[str | None, _stack("The new stack, such as paper or live.")]
LiveStackName = Annotated[str, _stack("The live stack. By default: live.")]


def _gateway(text: str, metavar: str = "NAME") -> Any:
    return typer.Option("--gateway", "-g", metavar=metavar, help=text, autocompletion=gateways_here)


GatewayName = Annotated[str | None, _gateway("Which gateway; needed if there are several.")]
GatewayNames = Annotated[
    list[str] | None, _gateway("Only those of this name; * and ? stand for any. May be repeated.", "PATTERN")
]
GatewaysNeeded = Annotated[
    list[str] | None, _gateway("Those of this name, as for other commands; needed if there are several.", "PATTERN")
]
Parallel = Annotated[
    int,
    typer.Option("--parallel", metavar="N", min=1, help="Gateways at a time; one whose login is approved is alone."),
]
MaxFailures = Annotated[int, typer.Option("--max-failures", metavar="N", min=0, help="Go on after so many that fail.")]
AT_A_TIME = 4
"""Of `--parallel`: as many as ibgw logs in to an ssh host at a time (healthcheck.docker_connections), well below sshd's
own bound (MaxStartups 10:30:100). IBKR says nowhere how many logins from one address it bears."""
ShowAccounts = Annotated[
    bool, typer.Option("--show-accounts", help="Show account numbers in full instead of DU***567.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
FormerJson = Annotated[bool, typer.Option("--json-0.2", help="Print the JSON that version 0.2 printed.")]
SameAsFormatJson = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
YES_LIVE = "--yes-live"
TYPED = "On live: do not ask; the stack's name, as one would type it."
TypedName = Annotated[str | None, typer.Option(YES_LIVE, "--yes", metavar="NAME", help=TYPED)]
TypedNameBesideYes = Annotated[str | None, typer.Option(YES_LIVE, metavar="NAME", help=TYPED)]
"""Where `--yes` is a switch."""

DuringMarket = Annotated[bool, typer.Option("--during-market", help="On live: also within its ibgw:tradingHours.")]


STACK_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
"""Each part of one, which may be ORGANIZATION/PROJECT/STACK (Pulumi's tokens.ParseStackName)."""
SHOWN = 40


def takes_stack(command: Callable[..., None]) -> Callable[..., None]:
    """The command, whose stack may also stand without its option: `ibgw verify paper`.

    It raises IbgwError (bad usage) where the stack is named twice, or nowhere and needs to be.
    """
    signature = inspect.signature(command, eval_str=True)
    option = signature.parameters.get("stack")
    if option is None:
        return command

    @wraps(command)
    def run(named: str | None, stack: str | None, **words: object) -> None:
        if named is not None and stack not in (None, named):
            raise IbgwError(f"Two stacks: {named} and --stack {stack}. Name one.", exit_code=ExitCode.BAD_USAGE)
        chosen = stack if named is None else named
        if chosen is not None and not all(map(STACK_NAME.fullmatch, chosen.split("/"))):
            found = repr(chosen if len(chosen) <= SHOWN else f"{chosen[:SHOWN]}...")
            raise IbgwError(f"{found} is no stack's name. Name one: {_choice()}.", exit_code=ExitCode.BAD_USAGE)
        if chosen is None and option.default is option.empty:
            raise IbgwError(
                f"Name the stack: {_choice()}. A command that acts takes none by default.",
                exit_code=ExitCode.BAD_USAGE,
            )
        command(stack=option.default if chosen is None else chosen, **words)

    either = option.replace(default=None)
    argument = option.replace(name="named", default=None, annotation=Annotated[str | None, _ARGUMENT])
    others = [parameter for parameter in signature.parameters.values() if parameter is not option]
    run.__signature__ = signature.replace(parameters=[argument, either, *others])  # type: ignore[attr-defined]
    run.__annotations__ |= {"named": argument.annotation}
    return run


_ARGUMENT = typer.Argument(metavar="STACK", hidden=True, autocompletion=stacks_here)


def _choice() -> str:
    return " or ".join(stacks_here()) or "none has a file here yet, and `ibgw init` writes one"


def looked_at(stack: str | None) -> str:
    """The stack that was named, or the default one, which is told. Raises IbgwError (bad usage) where there is none."""
    if stack is not None:
        return stack
    from operations.known_here import PULUMI_STACK, default_stack

    default = default_stack()
    if default is None:
        raise IbgwError(
            f"Name a stack: {_choice()}. Without one it is {PULUMI_STACK}'s, or what `pulumi stack select` chose.",
            exit_code=ExitCode.BAD_USAGE,
        )
    say(f"ibgw: stack {default.stack} ({default.by})")
    return default.stack


def say(text: str) -> None:
    """Progress and questions go to standard error; standard output holds the answer alone."""
    answer(text, err=True)


def answer(text: str, *, err: bool = False) -> None:
    """A text of several lines, in which what others wrote can command nothing."""
    from healthcheck.text import clean_lines

    typer.echo(clean_lines(text), err=err)


def print_answer(answer: "Model") -> None:
    typer.echo(answer.as_json())


def print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))


PATIENCE = 1.0
"""Seconds that a person waits without being told for what."""


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Where it takes longer than PATIENCE, a terminal shows what is waited for and for how long."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    ended = threading.Event()
    counter = threading.Thread(target=_count, args=(what, ended), daemon=True)
    counter.start()
    try:
        yield
    finally:
        ended.set()
        counter.join()


def _count(what: str, ended: threading.Event) -> None:
    if ended.wait(PATIENCE):
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    # A line that is printed meanwhile goes above; one for a program stays where it belongs.
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    ) as progress:
        progress.add_task(what)
        ended.wait()


@contextmanager
def reading(option: str) -> Iterator[None]:
    """Raises IbgwError (bad usage) for a ValueError."""
    try:
        yield
    except ValueError as error:
        end = "" if str(error).endswith("?") else "."
        raise IbgwError(f"{option}: {error}{end}", exit_code=ExitCode.BAD_USAGE) from None


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

    with waiting(f"reading what {stack} is"):
        of_stack = described(stack)
    if of_stack.note is not None:
        say(f"ibgw: {of_stack.note}")
    return of_stack


def for_each_gateway(
    act: "Act",
    stack: str,
    patterns: list[str] | None,
    rules: "Rules",
    *,
    leave: "Leave | None" = None,
    done: "Callable[[DockerHost, Deployment, Sequence[Gateway]], Collection[str]]" = lambda *_: (),
    goes_on: bool = False,
    named: bool = False,
    as_json: bool = False,
) -> None:
    """One of lifecycle's acts for the chosen gateways, or all; several in batches. `leave`: for one that ends sessions.
    `done`: tells which of several are as they shall be. `goes_on`: an interrupted run is gone on with by what this
    machine remembers of it. `named`: they have to be named where there are several."""
    from deployment.paths import progress_file, project_folder
    from operations.batches import Progress, act_on
    from operations.lifecycle import noted
    from operations.live import consent, still_allowed
    from operations.stack import choose_gateway, choose_gateways

    deployment = described_stack(stack).deployment
    chosen = (
        (choose_gateway(deployment, None),) if named and not patterns else choose_gateways(deployment, patterns or [])
    )
    doing = act.__name__.replace("_", " ")
    with docker_of(deployment) as docker:
        if leave is not None:
            consent(docker, deployment, chosen, leave, say)
        with acting(stack, as_json) as (acted, tell):
            if len(chosen) == 1:
                with waiting(f"{doing} {stack}/{chosen[0].name}"):
                    noted(act, acted)(docker, deployment, chosen[0], tell)
                return
            with waiting(f"{doing} {stack}"):
                progress = Progress(progress_file(project_folder(), stack, act.__name__)) if goes_on else None
                act_on(
                    act,
                    docker,
                    deployment,
                    chosen,
                    rules,
                    acted,
                    tell,
                    done={*done(docker, deployment, chosen), *(progress.done() if progress else ())},
                    progress=progress,
                    before=lambda: still_allowed(deployment, leave) if leave is not None else None,
                )


@contextmanager
def acting(stack: str, as_json: bool, *, backup: "Callable[[], str | None]" = lambda: None) -> "Iterator[Acting]":
    """How acts are told: to a person as they go, or with `--json` in one answer at the end, also where one failed.

    Gives the list that takes what came of each, and what tells.
    """
    from operations.lifecycle import ActAnswer, Acted

    acted: list[Acted] = []
    tell = say if as_json else answer
    failure: IbgwError | None = None
    try:
        yield acted, tell
    except IbgwError as error:
        # Where nothing was tried yet it is told as every other failure.
        if not as_json or not acted:
            raise
        failure = error
        say(f"ibgw: {error}")
    if as_json:
        code = ExitCode.OK if failure is None else failure.exit_code
        why = None if failure is None else str(failure)
        print_answer(ActAnswer(stack=stack, exit_code=code, gateways=tuple(acted), error=why, backup=backup()))
        raise typer.Exit(code)


def confirmation(typed: str | None) -> Callable[[str, str], None]:
    """Shows what is open under a live stack, and asks for its name to be typed, or takes the one that was given."""
    from operations.live import by_name, tell_open_of
    from operations.stack import Stack

    def confirm(question: str, name: str) -> None:
        tell_open_of(Stack(name), say)
        by_name(question, name, typed)

    return confirm
