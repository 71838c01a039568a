from pathlib import Path
from typing import Annotated

import typer

from operations.commands.shared import (
    Json,
    StackLookedAt,
    described_stack,
    docker_of,
    looked_at,
    print_answer,
    say,
)

EXAMPLES = ("ibgw field-report paper", "ibgw field-report paper --json | less")

TOLD = """\
In it: the versions of ibgw, Python, Pulumi and Docker, the image's digest, and of each gateway, which is a number,
when it logged in, restarted and stopped, how often and for which reason, in fixed words. Not in it: names of users,
stacks, gateways and hosts, addresses, accounts, secrets, or a line of a log.
Read it first. To send it: a new issue in this project's repository, by the form 'Seen in the field'."""


def field_report(
    stack: StackLookedAt = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to.", show_default=".ibgw/reports/STACK.field.json"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write what a deployment went through, for others to read.

    A file of JSON that you can send, which only you can read until then: versions, and when each gateway logged in,
    restarted and stopped, and why. Nothing of an account, and no name of a user, a stack or a host. docs/field.md says
    what such reports are for.
    """
    from deployment.paths import find_project, project_folder, reports
    from operations.field_report import collect, last_report

    stack = looked_at(stack)
    deployment = described_stack(stack).deployment
    project = find_project()
    with docker_of(deployment) as docker:
        found = collect(
            docker, deployment, last_report(reports(project) / f"{stack}.json") if project is not None else None
        )
    if as_json:
        print_answer(found)
        return
    path = output or reports(project_folder()) / f"{stack}.field.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    path.chmod(0o600)
    path.write_text(f"{found.as_json()}\n", encoding="utf-8")
    say(f"Wrote {path}.\n{TOLD}")
