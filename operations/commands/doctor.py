from typing import TYPE_CHECKING, Annotated

import typer

from deployment.errors import ExitCode
from operations.commands.shared import (
    FormerJson,
    GatewayNames,
    Json,
    StackLookedAt,
    clients_here,
    described_stack,
    docker_of,
    looked_at,
    print_answer,
    print_json,
    say,
    waiting,
)

if TYPE_CHECKING:
    from deployment.description import Deployment, Gateway

EXAMPLES = ("ibgw doctor paper", "ibgw doctor paper --gateway main", "ibgw doctor paper --from bot")
EXIT_CODES = (ExitCode.FAILED, ExitCode.TIMED_OUT)


def doctor(
    stack: StackLookedAt = None,
    gateway: GatewayNames = None,
    client: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CONTAINER",
            help="Try the way from this client's container instead.",
            autocompletion=clients_here,
        ),
    ] = None,
    as_json: Json = False,
    former_json: FormerJson = False,
) -> None:
    """Find out what is wrong, and what to run next.

    Verifies, then walks through what usually is wrong: what was found, and the one command to run next.

    Topics of a gateway: container, authentication, lockout, port, firewall, settings, second factor, schedule, time
    zone, debugging. Of the Docker host: clock, limits, memory, disk, forwarding, live restore, stop time, upgrades,
    boot, monitoring; a question mark is what Docker does not tell (docs/host.md).

    With --from, whether a client on the same host reaches the gateway: network, declared, name, port, handshake. Its
    network namespace is looked from; nothing is run in it.
    """
    from healthcheck.runner import look
    from operations.doctor import DoctorAnswer, Observation, collect, examine, next_step, render
    from operations.doctor_host import collect_host, examine_host
    from operations.formats import coloured, human
    from operations.stack import Stack, choose_gateways

    stack = looked_at(stack)
    described = described_stack(stack)
    deployment = described.deployment
    if client is not None:
        _from_client(deployment, choose_gateways(deployment, gateway or []), client, as_json)
        return
    names = [chosen.name for chosen in choose_gateways(deployment, gateway or [])]
    with waiting(f"looking at {stack}"), docker_of(deployment) as docker:
        report = look(deployment, gateways=names, wait=0, progress=say, recorded=Stack(stack).recorded_ids)
        findings = {seen.gateway: examine(collect(docker, deployment, seen)) for seen in report.gateways}
        of_host = examine_host(collect_host(docker, deployment))
    if described.note is not None:
        of_host = [
            Observation("description", False, described.note, f"`pulumi stack output --stack {stack}`"),
            *of_host,
        ]
    answer = DoctorAnswer(
        stack=stack,
        exit_code=report.exit_code,
        docker_host=deployment.docker_host,
        gateways={name: tuple(of_gateway) for name, of_gateway in findings.items()},
        host=tuple(of_host),
        next=next_step(stack, report, findings, of_host),
    )
    if former_json:
        print_json(answer.former_json())
    elif as_json:
        print_answer(answer)
    else:
        typer.echo(human(report), color=coloured())
        for name, of_gateway in findings.items():
            typer.echo(f"\n{render(f'{stack}/{name}', of_gateway)}")
        typer.echo(f"\n{render(deployment.docker_host, of_host)}")
        typer.echo(f"\nnext: {answer.next}")
    raise typer.Exit(report.exit_code)


def _from_client(deployment: "Deployment", gateways: "tuple[Gateway, ...]", client: str, as_json: bool) -> None:
    from operations.doctor import DoctorAnswer, render
    from operations.doctor_client import try_from

    with docker_of(deployment) as docker:
        findings = try_from(docker, deployment, gateways, client)
    amiss = [finding for of_one in findings.values() for finding in of_one if finding.ok is False]
    answer = DoctorAnswer(
        stack=deployment.stack,
        exit_code=ExitCode.FAILED if amiss else ExitCode.OK,
        docker_host=deployment.docker_host,
        gateways={name: tuple(of_one) for name, of_one in findings.items()},
        host=(),
        next=next((finding.next for finding in amiss if finding.next), "nothing to do"),
    )
    if as_json:
        print_answer(answer)
    else:
        typer.echo("\n\n".join(render(f"{client} -> {deployment.stack}/{name}", of) for name, of in findings.items()))
    raise typer.Exit(answer.exit_code)
