"""`ibgw sandbox ...`: the sandbox from the command line. Joins `ibgw` through an entry point; nothing imports it."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from contract.errors import ExitCode, IbgwError
from sandbox.broker.control import ControlError
from sandbox.environment import Sandbox

app = typer.Typer(
    name="sandbox",
    help="A whole world to run stacks in: broker, registry, Secrets Manager, gateway image. No account, no download.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

GatewayOption = Annotated[str | None, typer.Option("--gateway", help="Only this gateway's user, not all.")]
StackOption = Annotated[str, typer.Option("--stack", help="The stack that the gateway belongs to.")]


def _say(text: str) -> None:
    typer.echo(text)


@contextmanager
def _explained() -> Iterator[None]:
    """An expected failure ends the command with its message and its exit code."""
    try:
        yield
    except IbgwError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(int(error.exit_code)) from error


@app.command()
def up() -> None:
    """Bring everything up that a stack needs, or find it up. Prints what it does and how long it may take."""
    with _explained():
        Sandbox(say=_say).up()
    _say("the sandbox is up")


@app.command()
def down() -> None:
    """Remove everything that the sandbox made and stop everything that it started, and nothing else."""
    with _explained():
        Sandbox(say=_say).down()
    _say("the sandbox is gone")


@app.command()
def env() -> None:
    """Print the environment for a shell: eval "$(make -s sandbox-env)"."""
    with _explained():
        for name, value in Sandbox(say=_say).env().items():
            typer.echo(f"export {name}={shlex.quote(value)}")


@app.command()
def status() -> None:
    """Say which parts run. Exit code 5 when one does not."""
    parts = Sandbox(say=_say).status()
    for name, runs in parts.items():
        typer.echo(f"{name:16} {'up' if runs else 'down'}")
    if not all(parts.values()):
        raise typer.Exit(int(ExitCode.COULD_NOT_RUN))


@app.command()
def scenario(name: str, gateway: GatewayOption = None, stack: StackOption = "paper") -> None:
    """Put the broker into a state, by its name; `normal` is the way back."""
    with _explained():
        sandbox = Sandbox(say=_say)
        user = None if gateway is None else sandbox.user_of(stack, gateway)
        try:
            sandbox.broker().scenario(name, user_id=user)
        except ControlError as error:
            raise IbgwError(f"{error}; ibgw sandbox scenarios lists them", exit_code=ExitCode.BAD_USAGE) from error
        except OSError as error:
            raise IbgwError(f"the broker at {sandbox.internet.broker} does not answer; run: make sandbox") from error
    _say(f"{'all users' if gateway is None else f'{stack}/{gateway}'}: {name}")


@app.command()
def scenarios() -> None:
    """List the states that the broker can be put into."""
    from sandbox.broker.scenarios import SCENARIOS

    for name, line in SCENARIOS.items():
        typer.echo(f"{name:28} {line}")


if __name__ == "__main__":
    sys.exit(app())
