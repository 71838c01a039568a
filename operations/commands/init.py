from pathlib import Path
from typing import Annotated

import typer

from deployment.errors import ExitCode
from operations.commands.shared import Json, NewStackName, answer, print_answer

EXAMPLES = ("ibgw init paper", "ibgw init paper --from docker-compose.yml")
EXIT_CODES = (ExitCode.REFUSED,)

_DockerHost = Annotated[
    str | None, typer.Option("--docker-host", metavar="URL", help="unix:///var/run/docker.sock or ssh://user@host.")
]
_SecretId = Annotated[
    str | None, typer.Option("--secret-id", metavar="ID", help="The secret's name or ARN in AWS Secrets Manager.")
]
_Accounts = Annotated[
    list[str] | None, typer.Option("--account", metavar="ID", help="An account that must be there; may be repeated.")
]
_From = Annotated[
    Path | None, typer.Option("--from", metavar="FILE", help="What runs today: a compose file, or its .env alone.")
]


def init(
    stack: NewStackName = None,
    docker_host: _DockerHost = None,
    region: Annotated[str | None, typer.Option("--region", metavar="NAME", help="The secret's AWS region.")] = None,
    secret_id: _SecretId = None,
    gateway: Annotated[str, typer.Option("--gateway", "-g", metavar="NAME", help="The gateway's name.")] = "main",
    account: _Accounts = None,
    source: _From = None,
    service: Annotated[
        str | None, typer.Option("--service", metavar="NAME", help="Which service of it is the gateway.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write over the stack's file if there is one.")] = False,
    as_json: Json = False,
) -> None:
    """Write a new stack's file, every key with its meaning.

    It is Pulumi.STACK.yaml, beside Pulumi.yaml. Asks for what no option says.

    With --from it says of each setting of today which key takes it, or why it is not kept and what to do instead.
    Credentials are neither asked for nor written: they go to AWS Secrets Manager.
    """
    from functools import partial

    from deployment import docker_address
    from deployment.description import Mode
    from deployment.paths import project_folder
    from infra import values
    from infra.settings import check_account, mode_of
    from operations.compose_file import Imported, credentials_beside, read
    from operations.prompt import ask
    from operations.stack_file import InitAnswer, SettingAnswer, check_new, new, next_commands, render, summary

    stack = ask("The new stack, paper or live, or with a name of its own such as paper-2:", "--stack", given=stack)
    mode = mode_of(stack)
    file = project_folder() / f"Pulumi.{stack}.yaml"
    check_new(file, replace=replace)
    imported = read(source, service=service) if source else Imported([])
    gateway = ask("The gateway's name:", "--gateway", given=gateway, check=values.gateway_name)
    host = ask(
        "Docker host (unix:///var/run/docker.sock or ssh://user@host):", "--docker-host",
        given=docker_host, check=docker_address.parse,
    )  # fmt: skip
    place = ask("AWS region of the secret:", "--region", "us-east-1", given=region, check=values.region)
    secret = ask(
        "The secret's name or ARN in AWS Secrets Manager:", "--secret-id", f"ibgw/{stack}/{gateway}",
        given=secret_id, check=values.secret_id,
    )  # fmt: skip
    fits = partial(check_account, mode=mode)
    accounts = [ask("", "--account", given=each, check=fits) for each in account or ()]
    if mode is Mode.LIVE and not accounts and "account.expected" not in imported.values():
        accounts = [ask("The user's account, such as U1234567:", "--account", check=fits)]
    own = {"credentials.secretId": secret} | ({"account.expected": accounts} if accounts else {})
    settings = new(stack, mode, {"dockerHost": host}, gateway, own, imported)
    file.write_text(render(place, settings), encoding="utf-8")
    following = next_commands(stack, gateway, credentials_beside(source) if source else None)
    if as_json:
        settings_told = tuple(SettingAnswer(**row._asdict()) for row in imported.answers)
        print_answer(InitAnswer(file=str(file), settings=settings_told, next=tuple(following)))
    else:
        answer(summary(file, imported, following))
