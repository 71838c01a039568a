import typer

from deployment.errors import ExitCode
from operations.commands.shared import Json, StackName, answer, described_stack, docker_of, print_answer, takes_stack

alerts = typer.Typer(help="See whether alerts get to you.\n\nThe watcher's own, where ibgw:monitoring is on.")

EXAMPLES = ("ibgw alerts test paper",)
EXIT_CODES = (ExitCode.FAILED, ExitCode.REFUSED)


@alerts.callback()
def _group() -> None:
    """One command below it is a group still."""


@alerts.command(name="test")
@takes_stack
def try_channels(stack: StackName, as_json: Json = False) -> None:
    """Send a test message to each channel, and a heartbeat.

    From the stack's watcher, where its own messages come from. Fails where one was not delivered.
    """
    from operations.alerts import try_out

    deployment = described_stack(stack).deployment
    with docker_of(deployment) as docker:
        tried = try_out(docker, deployment)
    if as_json:
        print_answer(tried)
    else:
        answer(tried.text())
    if not all(one.delivered for one in tried.channels):
        raise typer.Exit(ExitCode.FAILED)
