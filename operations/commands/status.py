import typer

from operations.commands.shared import Json, StackLookedAt, described_stack, docker_of, looked_at, print_json


def status(stack: StackLookedAt = None, as_json: Json = False) -> None:
    """Show all gateways of a stack at a glance: state, since when, account, latency, restarts, image, next and last
    planned restart.

    Asks each gateway now, by its API; the exit code is that of the answers, as for verify.
    """
    from datetime import UTC, datetime

    from healthcheck.runner import look
    from operations.status import CHECKS, rows, table

    described = described_stack(looked_at(stack))
    deployment = described.deployment
    report = look(deployment, wait=0, checks=CHECKS, progress=lambda _: None)
    now = datetime.now(UTC)
    with docker_of(deployment) as docker:
        shown = rows(docker, deployment, report, now)
    if as_json:
        print_json([row.json() | {"description": described.note} for row in shown])
    else:
        typer.echo(table(shown, now))
    raise typer.Exit(report.exit_code)
