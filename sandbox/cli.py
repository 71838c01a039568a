"""`ibgw sandbox ...`: the sandbox from the command line. Joins `ibgw` through an entry point; nothing imports it."""

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deployment.errors import ExitCode, IbgwError
from operations.formats import columns, folded, terminal_width
from sandbox import deploy as deployment
from sandbox import toolchain
from sandbox.broker.control import BrokerControl, ControlError
from sandbox.environment import FOLDER, ROOT, Sandbox
from sandbox.project import PROJECT_FILE
from sandbox.record import Record
from sandbox.secrets_manager import Content

app = typer.Typer(
    name="sandbox",
    help="All that a stack needs to run: broker, registry, Secrets Manager, gateway image. No account, no download.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _scenarios() -> list[str]:
    from sandbox.broker.scenarios import SCENARIOS

    return list(SCENARIOS)


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


def _sandbox() -> Sandbox:
    """The one that this shell works on (`ibgw sandbox env`), else the checkout's. Raises IbgwError."""
    folder = Path(os.environ.get(toolchain.VARIABLE) or FOLDER)
    if folder == FOLDER:
        return Sandbox(say=_say)
    record = folder / "record.json"
    if not folder.is_relative_to(ROOT) or not record.exists():
        raise IbgwError(
            f"{toolchain.VARIABLE} is {str(folder)!r}, which is no sandbox of {ROOT}; run: unset {toolchain.VARIABLE}",
            exit_code=ExitCode.REFUSED,
        )
    known = Record.model_validate_json(record.read_text())
    return Sandbox(folder, known.prefix, known.index, say=_say)


@contextmanager
def _asking(sandbox: Sandbox, refused: str = "") -> Iterator[BrokerControl]:
    """The broker. `refused` is added to what it says where it refuses."""
    try:
        yield sandbox.broker()
    except ControlError as error:
        raise IbgwError(f"{error}{refused}", exit_code=ExitCode.BAD_USAGE) from error
    except OSError as error:
        raise IbgwError(f"the broker at {sandbox.internet.broker} does not answer; run: make sandbox") from error


@app.callback()
def needs_a_checkout() -> None:
    with _explained():
        if not (ROOT / PROJECT_FILE).exists():
            raise IbgwError(
                f"the sandbox deploys a checkout of the project, and {ROOT} is no checkout: run `make sandbox` in one",
                exit_code=ExitCode.REFUSED,
            )


NEXT = """
enter it         eval "$(make -s sandbox-env)"
look             ibgw status --stack {stack}
break something  ibgw sandbox secret wrong-password && pulumi up --yes --stack {stack}
leave            make sandbox-down"""


@app.command()
def up(
    deploy: Annotated[str | None, typer.Option(metavar="STACK", help="Then deploy this stack and verify it.")] = None,
) -> None:
    """Bring up all that a stack needs, or find it up.

    Prints what it does and how long it may take."""
    with _explained():
        sandbox = _sandbox()
        sandbox.up()
        _say("the sandbox is up")
        if deploy is None:
            return
        failed = deployment.deploy(deploy, sandbox.env(), _say)
    _say(NEXT.format(stack=deploy))
    raise typer.Exit(failed)


@app.command()
def down() -> None:
    """Remove all that the sandbox made, and nothing else.

    What it started is stopped."""
    with _explained():
        _sandbox().down()
    _say("the sandbox is gone")


@app.command()
def env() -> None:
    """Print the environment for a shell.

    eval "$(make -s sandbox-env)" sets it."""
    with _explained():
        for name, value in _sandbox().env().items():
            typer.echo(f"export {name}={shlex.quote(value)}")


@app.command()
def windows() -> None:
    """Print the name of a gateway image that shows real windows.

    As ibgw:image of a paper stack: Swing windows on an X server, into which a code can be typed. It is made when it is
    first asked for, which takes a minute."""
    with _explained():
        typer.echo(_sandbox().windows_image())


@app.command()
def status() -> None:
    """Say which parts run. Exit code 5 when one does not."""
    with _explained():
        parts = _sandbox().status()
    for name, runs in parts.items():
        typer.echo(f"{name:16} {'up' if runs else 'down'}")
    if not all(parts.values()):
        raise typer.Exit(int(ExitCode.COULD_NOT_RUN))


@app.command()
def scenario(
    name: Annotated[str, typer.Argument(autocompletion=_scenarios)],
    gateway: GatewayOption = None,
    stack: StackOption = "paper",
) -> None:
    """Put the broker into a state; `normal` is the way back.

    By its name or `NAME:VALUE`; `ibgw sandbox scenarios` lists them."""
    with _explained():
        sandbox = _sandbox()
        user = None if gateway is None else sandbox.user_of(stack, gateway)
        with _asking(sandbox, "; ibgw sandbox scenarios lists them") as broker:
            broker.scenario(name, user_id=user)
    _say(f"{'all users' if gateway is None else f'{stack}/{gateway}'}: {name}")


COUNTED = ("attempts", "logins", "soft_logins", "logouts", "sessions", "stranded")


@app.command()
def users(as_json: Annotated[bool, typer.Option("--json", help="As JSON, by user id.")] = False) -> None:
    """Show what the broker has counted of each user.

    `stranded`: sessions that went without a logout."""
    with _explained(), _asking(_sandbox()) as broker:
        status = broker.status()["users"]
    known = {
        user_id: {**user, "sessions": len(user["sessions"]), "stranded": user["stranded_sessions"]}
        for user_id, user in status.items()
    }
    counted = {user_id: {name: row[name] for name in COUNTED} for user_id, row in known.items()}
    if as_json:
        typer.echo(json.dumps(counted, indent=2))
        return
    rows = [(user_id, *map(str, row.values())) for user_id, row in counted.items()]
    typer.echo(columns(("user", *COUNTED), rows, width=terminal_width()))


@app.command()
def scenarios() -> None:
    """List the states that the broker can be put into."""
    from sandbox.broker.scenarios import SCENARIOS

    width = max(map(len, SCENARIOS))
    lines = [f"{name:{width}}  {line}" for name, line in SCENARIOS.items()]
    typer.echo(folded("\n".join(lines), terminal_width()))


@app.command()
def secret(
    content: Annotated[Content, typer.Argument(help="What the version holds.")] = Content.NEW_PASSWORD,
    gateway: Annotated[str, typer.Option("--gateway", help="Whose secret.")] = "main",
    stack: StackOption = "paper",
) -> None:
    """Put a new version of a gateway's secret.

    Into Secrets Manager; `pulumi up` deploys it. A new password is the broker's too, and what the scenario did to the
    user is over."""
    with _explained():
        sandbox = _sandbox()
        with _asking(sandbox):
            put = sandbox.put_secret(stack, gateway, content)
    _say(f"{put.secret_id}: version {put.version_id} ({content})")


class Answer(StrEnum):
    APPROVE = "approve"
    DENY = "deny"
    CODE = "code"


@app.command()
def second_factor(answer: Answer, gateway: GatewayOption = None, stack: StackOption = "paper") -> None:
    """Approve or deny a second factor, or type its code.

    As a person would: the push on the phone, or the app's code at the gateway's screen."""
    from sandbox.broker.users import code_at

    with _explained():
        sandbox = _sandbox()
        user = None if gateway is None else sandbox.user_of(stack, gateway)
        with _asking(sandbox) as broker:
            match answer:
                case Answer.APPROVE:
                    answered = broker.approve(user)
                case Answer.DENY:
                    answered = broker.deny(user)
                case Answer.CODE:
                    now = broker.clock()["now"]
                    answered = sum(
                        broker.type_code(code_at(known.totp_secret, now), known.user_id)
                        for known in sandbox.credentials()
                        if user in (None, known.user_id) and known.totp_secret
                    )
    _say(f"{answer}: {answered} waiting login{'' if answered == 1 else 's'} answered")


@app.command()
def clock(
    at: Annotated[str | None, typer.Option(help="Set it: an ISO date and time, in UTC unless it names a zone.")] = None,
    speed: Annotated[float | None, typer.Option(help="Let it run at this multiple of real time.")] = None,
    real: Annotated[bool, typer.Option("--real", help="First put it back to real time.")] = False,
) -> None:
    """Show or change the time that the broker lives by.

    All its gateways live by it too."""
    with _explained():
        wanted = None if at is None else _seconds(at)
        with _asking(_sandbox()) as broker:
            shown = broker.clock(at=wanted, speed=speed, real=real)
    _say(f"{datetime.fromtimestamp(shown['now'], UTC).isoformat(timespec='seconds')}, speed {shown['speed']:g}")


def _seconds(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        expected = "expected an ISO date and time like 2026-11-22T05:59:00"
        raise IbgwError(f"--at is {text!r}; {expected}", exit_code=ExitCode.BAD_USAGE) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


if __name__ == "__main__":
    sys.exit(app())
