from typing import Annotated

import typer

from deployment.errors import ExitCode
from operations.commands.shared import (
    GatewayName,
    GatewayNames,
    Json,
    StackName,
    answer,
    print_answer,
    reading,
    takes_stack,
)

credentials = typer.Typer(
    help="Put, check and show secrets. No command prints a value.\n\nThe gateways' own, in AWS Secrets Manager."
)

EXAMPLES = (
    "ibgw credentials put paper --gateway main",
    "ibgw credentials check paper",
    "ibgw credentials show paper --json",
)
EXIT_CODES = (ExitCode.FAILED, ExitCode.REFUSED, ExitCode.DECLINED)

_Fd = Annotated[
    int | None,
    typer.Option("--fd", metavar="N", min=0, help="Read the JSON document from this descriptor, not from a terminal."),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Check all of it, write nothing, and say what would be.")]


@credentials.command()
@takes_stack
def put(
    stack: StackName, gateway: GatewayName = None, fd: _Fd = None, dry_run: _DryRun = False, as_json: Json = False
) -> None:
    """Put a gateway's credentials into its secret: make it, or add a version. The next update deploys them.

    Asks on a terminal without showing what is typed. Otherwise the JSON document comes on standard input or --fd, as
    the program takes it; it is checked in the same way. Never from an argument or a variable.
    """
    from operations.credentials import putting, typed
    from operations.credentials.place import places
    from operations.credentials.secrets_manager import SecretsManager

    configured = places(stack)
    place = configured.one(gateway)
    value = typed.document(place.secret_id, place.mode, fd)
    done = putting.put(SecretsManager(configured.region, configured.profile), place, value, dry_run=dry_run)
    if as_json:
        print_answer(done.answer)
    else:
        answer(done.human())


@credentials.command()
@takes_stack
def check(
    stack: StackName,
    gateway: GatewayNames = None,
    maximum_age: Annotated[
        int, typer.Option("--max-age", metavar="DAYS", min=1, help="After so many days a rotation is due.")
    ] = 90,
    as_json: Json = False,
) -> None:
    """Say whether each gateway's secret is there, readable by this identity and well-formed, which version the stack
    runs, how old the current one is, and who may read it. Exit code: 0 an update would take them, 3 it would not."""
    from datetime import timedelta

    from operations.credentials import checking
    from operations.credentials.place import places, running
    from operations.credentials.secrets_manager import SecretsManager

    configured = places(stack)
    with reading("--max-age"):
        age = timedelta(days=maximum_age)
    checked = checking.check(
        SecretsManager(configured.region, configured.profile),
        configured.some(gateway or []),
        running(stack),
        maximum_age=age,
    )
    code = checking.exit_code(checked)
    if as_json:
        print_answer(checking.SecretsAnswer(exit_code=code, secrets=tuple(one.answer for one in checked)))
    else:
        answer("\n".join(one.human() for one in checked))
    raise typer.Exit(code)


@credentials.command()
@takes_stack
def show(stack: StackName, gateway: GatewayNames = None, as_json: Json = False) -> None:
    """Show what Secrets Manager tells of each gateway's secret without its value: versions, stages, key, and which
    version the stack runs."""
    from operations.credentials import checking
    from operations.credentials.place import places, running
    from operations.credentials.secrets_manager import SecretsManager

    configured = places(stack)
    secrets = SecretsManager(configured.region, configured.profile)
    versions = running(stack).versions
    shown = [checking.show(secrets, place, versions.get(place.gateway)) for place in configured.some(gateway or [])]
    if as_json:
        print_answer(checking.SecretsAnswer(exit_code=ExitCode.OK, secrets=tuple(one.answer for one in shown)))
    else:
        answer("\n".join(one.human() for one in shown))
