"""`ibgw credentials put`: a new current version of a gateway's secret."""

import uuid
from typing import Literal

from pydantic import SecretStr

from deployment.errors import ExitCode, IbgwError
from operations.answers import Answer
from operations.credentials.place import Place
from operations.credentials.secrets_manager import CURRENT, PENDING, Metadata, MissingError, SecretsManager
from operations.stack import Stack


class PutAnswer(Answer):
    """`version`: None where nothing was written. `next`: commands."""

    stack: str
    gateway: str
    secret: str
    action: Literal["create", "add"]
    version: str | None
    next: tuple[str, ...]

    def human(self) -> str:
        made = self.action == "create"
        done = "is to be made" if made else "is to get a new version"
        if self.version is not None:
            done = f"{'was made' if made else 'has a new version'}: {self.version}, {CURRENT}"
        return "\n".join((f"secret {self.secret!r} {done}.", "Next:", *(f"  {command}" for command in self.next)))


def put(secrets: SecretsManager, place: Place, value: SecretStr, *, dry_run: bool) -> PutAnswer:
    """Makes the secret, or adds a version that is the current one from now on. A running gateway keeps the version that
    it has until the next update.

    Raises IbgwError (REFUSED) while a rotation of it is under way, and for a stack that pins a version.
    """
    made = _known(secrets, place) is None
    if made and place.secret_id.startswith("arn:"):
        raise IbgwError(
            f"secret {place.secret_id!r} is not there, and one cannot be made by its ARN; name it by its name in "
            f"ibgw:gateways.{place.gateway}.credentials.secretId.",
            exit_code=ExitCode.REFUSED,
        )
    token = str(uuid.uuid4())
    if not dry_run:
        if made:
            secrets.create(place.secret_id, value, token)
        else:
            secrets.add(place.secret_id, value, token, CURRENT)
    return PutAnswer(
        stack=place.stack,
        gateway=place.gateway,
        secret=place.secret_id,
        action="create" if made else "add",
        version=None if dry_run else token,
        next=(f"ibgw plan --stack {place.stack}", Stack(place.stack).update_command),
    )


def _known(secrets: SecretsManager, place: Place) -> Metadata | None:
    try:
        known = secrets.describe(place.secret_id)
    except MissingError:
        return None
    if known.deleted is not None:
        raise IbgwError(
            f"secret {place.secret_id!r} is marked for deletion on {known.deleted:%Y-%m-%d}; restore it: "
            f"`aws secretsmanager restore-secret --secret-id {place.secret_id}`.",
            exit_code=ExitCode.REFUSED,
        )
    if place.pinned is not None:
        raise pinned(place)
    if known.staged(PENDING) not in (None, known.staged(CURRENT)):
        raise IbgwError(
            f"A rotation of secret {place.secret_id!r} is under way. Nothing was changed. "
            f"`ibgw credentials rotate --stack {place.stack} --gateway {place.gateway}` goes on with it, and with "
            "--abandon takes it back.",
            exit_code=ExitCode.REFUSED,
        )
    return known


def pinned(place: Place) -> IbgwError:
    """That a new current version would not reach the gateway."""
    return IbgwError(
        f"ibgw:gateways.{place.gateway}.credentials.versionId of stack {place.stack!r} names {place.pinned}, so that "
        "no other version would reach the gateway. Nothing was changed; take the setting out first.",
        exit_code=ExitCode.REFUSED,
    )
