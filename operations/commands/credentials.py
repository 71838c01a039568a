from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand

from deployment.errors import ExitCode, IbgwError
from operations.commands.shared import (
    DuringMarket,
    GatewayName,
    GatewayNames,
    Json,
    StackName,
    TypedName,
    answer,
    docker_of,
    print_answer,
    print_json,
    reading,
    say,
    takes_stack,
)


class TakesNoMore(TyperCommand):
    """A command that does not repeat what it has no place for: somebody may have given the password."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # typer's own click
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            raise IbgwError(
                f"`{ctx.command_path}` takes no such argument, and does not repeat it here; a password is asked for, "
                "or comes on standard input. If it was one, it stands in the shell's history now: change it at IBKR",
                exit_code=ExitCode.BAD_USAGE,
            )
        return rest


credentials = typer.Typer(
    help="Put, check, rotate secrets. No command prints a value.\n\nThe gateways' own, in AWS Secrets Manager."
)

EXAMPLES = (
    "ibgw credentials put paper --gateway main",
    "ibgw credentials check paper",
    "ibgw credentials show paper --json",
    "ibgw credentials rotate paper --gateway main",
    "ibgw credentials migrate paper --from .env",
    "ibgw credentials policy ibgw-paper --account 111122223333 --region us-east-1",
)
EXIT_CODES = (ExitCode.FAILED, ExitCode.TIMED_OUT, ExitCode.REFUSED, ExitCode.DECLINED)

_Fd = Annotated[
    int | None,
    typer.Option("--fd", metavar="N", min=0, help="Read the JSON document from this descriptor, not from a terminal."),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Check all of it, write nothing, and say what would be.")]


@credentials.command(cls=TakesNoMore)
@takes_stack
def put(
    stack: StackName, gateway: GatewayName = None, fd: _Fd = None, dry_run: _DryRun = False, as_json: Json = False
) -> None:
    """Put a gateway's credentials into its secret.

    Makes the secret, or adds a version; the next update deploys them.

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
        print_answer(done)
    else:
        answer(done.human())


@credentials.command(cls=TakesNoMore)
@takes_stack
def check(
    stack: StackName,
    gateway: GatewayNames = None,
    maximum_age: Annotated[
        int, typer.Option("--max-age", metavar="DAYS", min=1, help="After so many days a rotation is due.")
    ] = 90,
    as_json: Json = False,
) -> None:
    """Say whether an update would take each gateway's secret.

    Whether it is there, readable by this identity and well-formed, which version the stack runs, how old the current
    one is, and who may read it. Exit code: 0 an update would take them, 3 it would not."""
    from datetime import timedelta

    from operations.credentials import checking
    from operations.credentials.place import places, running
    from operations.credentials.secrets_manager import SecretsManager
    from operations.formats import folded, terminal_width

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
        answer(folded("\n".join(one.human() for one in checked), terminal_width()))
    raise typer.Exit(code)


@credentials.command(cls=TakesNoMore)
@takes_stack
def show(stack: StackName, gateway: GatewayNames = None, as_json: Json = False) -> None:
    """Show what is known of each gateway's secret, but its value.

    Versions, stages, key, and which version the stack runs."""
    from operations.credentials import checking
    from operations.credentials.place import places, running
    from operations.credentials.secrets_manager import SecretsManager
    from operations.formats import folded, terminal_width

    configured = places(stack)
    secrets = SecretsManager(configured.region, configured.profile)
    versions = running(stack).versions
    shown = [checking.show(secrets, place, versions.get(place.gateway)) for place in configured.some(gateway or [])]
    if as_json:
        print_answer(checking.SecretsAnswer(exit_code=ExitCode.OK, secrets=tuple(one.answer for one in shown)))
    else:
        answer(folded("\n".join(one.human() for one in shown), terminal_width()))


@credentials.command(cls=TakesNoMore)
@takes_stack
def rotate(
    stack: StackName,
    gateway: GatewayName = None,
    fd: _Fd = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Do not ask whether the password is changed at IBKR's site by now.")
    ] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Take a rotation back that is under way; the gateway keeps the old one.")
    ] = False,
    dry_run: _DryRun = False,
    yes: TypedName = None,
    during_market: DuringMarket = False,
    as_json: Json = False,
) -> None:
    """Change a password, proved by one real login.

    Asks for the new password, adds it as AWSPENDING, says when to change it at IBKR's site, and has the gateway log in
    with it. Verified, it becomes AWSCURRENT; otherwise the gateway goes back. Killed, the same command goes on.
    """
    from pydantic import SecretStr

    from deployment.description import Deployment, Gateway
    from infra.secret_document import parse
    from operations.credentials import typed
    from operations.credentials.place import places
    from operations.credentials.rotation import Person, Rotation
    from operations.credentials.secrets_manager import SecretsManager
    from operations.live import Leave
    from operations.live import consent as live_consent
    from operations.prompt import confirm

    configured = places(stack)
    place = configured.one(gateway)

    def value(current: SecretStr) -> SecretStr:
        user_id, password = map(SecretStr, parse(place.secret_id, current.get_secret_value(), place.mode))
        new = typed.document(place.secret_id, place.mode, fd, user_id=user_id)
        if new == typed.checked(place.secret_id, place.mode, user_id, password):
            raise IbgwError("The new password is the current one; nothing was changed.", exit_code=ExitCode.REFUSED)
        return new

    def is_changed() -> None:
        say("Now change the user's password at IBKR's site to the new one. No login is tried before.")
        if not changed:
            confirm("Is it changed? (Otherwise the same command goes on later, from here.)")

    def consent(deployment: Deployment, chosen: Gateway) -> None:
        with docker_of(deployment) as docker:
            question = f"This ends the session of {chosen.name} in {stack}; it logs in with another password."
            live_consent(docker, deployment, [chosen], Leave(yes, during_market), say, question=question)

    secrets = SecretsManager(configured.region, configured.profile)
    rotation = Rotation(secrets, place, Person(value, is_changed, consent), say)
    done = rotation.abandon() if abandon else rotation.run(dry_run=dry_run)
    if as_json:
        print_answer(done.answer)
    else:
        answer(done.human())
    raise typer.Exit(done.exit_code)


@credentials.command(cls=TakesNoMore)
@takes_stack
def migrate(
    stack: StackName,
    gateway: GatewayName = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="A .env with TWS_USERID and TWS_PASSWORD, or a .json.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            "--from-secret", metavar="ID", help="A secret with a JSON object, or two: user id, then password."
        ),
    ] = None,
    dry_run: _DryRun = False,
    as_json: Json = False,
) -> None:
    """Put credentials of today's setup into a secret.

    As put does, but for where they come from: --from .env, or --from-secret ib-username --from-secret ib-password. That
    stays as it is.
    """
    from operations.credentials import migration, putting
    from operations.credentials.place import places
    from operations.credentials.secrets_manager import SecretsManager

    if (source is None) == (not secret):
        raise IbgwError("migrate: say either --from or --from-secret.", exit_code=ExitCode.BAD_USAGE)
    configured = places(stack)
    place = configured.one(gateway)
    secrets = SecretsManager(configured.region, configured.profile)
    value = migration.from_file(place, source) if source else migration.from_secrets(secrets, place, secret or [])
    done = putting.put(secrets, place, value, dry_run=dry_run)
    if as_json:
        print_answer(done)
    else:
        answer(done.human())


@credentials.command(cls=TakesNoMore)
def policy(
    role: Annotated[str, typer.Argument(metavar="ROLE", help="Which identity (docs/identities.md).")],
    account: Annotated[str, typer.Option("--account", metavar="ID", help="The AWS account.")],
    region: Annotated[str, typer.Option("--region", metavar="NAME", help="The secrets' region.")],
) -> None:
    """Print the IAM policy of an identity.

    For the secrets that this project's stack files name. The same documents are deployed by infra/account, and
    docs/identities.md shows them.
    """
    import re

    from deployment import iam
    from deployment.paths import project_folder
    from infra import values
    from infra.account.settings import secrets_of

    if role not in tuple(iam.Identity):
        raise IbgwError(
            f"policy: there is no role {role!r}, only {', '.join(iam.Identity)}.", exit_code=ExitCode.BAD_USAGE
        )
    if not re.fullmatch("[0-9]{12}", account):
        raise IbgwError(f"--account {account}: expected the twelve digits of an account.", exit_code=ExitCode.BAD_USAGE)
    with reading("--region"):
        values.region(region)
    print_json(iam.policy(iam.Identity(role), iam.Account(account, region), secrets_of(project_folder(), region)))
