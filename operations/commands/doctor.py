import typer

from operations.commands.shared import GatewayNames, Json, StackName, docker_of, print_json, say


def doctor(stack: StackName, gateway: GatewayNames = None, as_json: Json = False) -> None:
    """Verify, then walk through what usually is wrong: what was found, and the one command to run next.

    Topics: container, authentication, lockout, port, firewall, settings, second factor, schedule, time zone.
    """
    from healthcheck.runner import look
    from operations.doctor import collect, examine, render
    from operations.formats import human
    from operations.stack import Stack, choose_gateways

    deployment = Stack(stack).deployment()
    names = [chosen.name for chosen in choose_gateways(deployment, gateway or [])]
    report = look(deployment, gateways=names, wait=0, progress=say)
    with docker_of(deployment) as docker:
        findings = {seen.gateway: examine(collect(docker, deployment, seen)) for seen in report.gateways}
    if as_json:
        print_json({name: [finding.json() for finding in of_gateway] for name, of_gateway in findings.items()})
    else:
        typer.echo(human(report))
        for name, of_gateway in findings.items():
            typer.echo(f"\n{render(f'{stack}/{name}', of_gateway)}")
    raise typer.Exit(report.exit_code)
