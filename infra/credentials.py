"""Secrets Manager -> credentials as secret outputs. A value is wrapped where it is read and never appears in a message.

All secrets are read at once, before the first resource is declared, and checked: what IBC would garble or the broker
would reject must not cost a login attempt. A preview by who may not read them goes by their versions alone.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata
from typing import Any

import pulumi

from deployment.description import Mode
from deployment.errors import IbgwError, kind
from infra import aws_errors
from infra.monitoring import MonitoringSpec
from infra.properties import escape
from infra.secret_document import binary, parse, parse_seed, refused

_PLUGIN_VERSION = metadata.version("pulumi-aws")
_VALUE = "aws:secretsmanager/getSecretVersion:getSecretVersion"
_VERSIONS = "aws:secretsmanager/getSecretVersions:getSecretVersions"
_CURRENT = "AWSCURRENT"
_NOT_READ = "not read"
"""In place of a value in a preview without values. Nothing is ever created with it: an update insists on values."""


@dataclass(frozen=True)
class Credentials:
    """One gateway's credentials as the container's files hold them, escaped; `version_id`, and when that was made
    (`made`), are no secrets.

    `were_read` is False in a preview by who may not read the values: user id and password are then placeholders."""

    version_id: str
    made: datetime
    user_id: pulumi.Output[str] = field(repr=False)
    password: pulumi.Output[str] = field(repr=False)
    were_read: bool = True


@dataclass(frozen=True)
class Seed:
    """An authenticator's seed; `version_id` is no secret. `were_read` as above."""

    version_id: str
    seed: pulumi.Output[str] = field(repr=False)
    were_read: bool = True


@dataclass(frozen=True)
class Channels:
    """Where a stack's watcher sends to, as its one file holds it: JSON (healthcheck.monitoring.channels).

    `were_read` is False in a preview by who may not read the values: the document is then a placeholder."""

    document: pulumi.Output[str] = field(repr=False)
    were_read: bool = True


class _DeniedError(IbgwError):
    """What was asked for is there, perhaps, but not for this identity."""


def _refusal(secret_id: str, error: Exception) -> IbgwError:
    """Without the provider's text, which may hold more than AWS's error code."""
    said = aws_errors.explain(secret_id, str(error))
    todo = said.todo or (
        f"Secrets Manager did not answer as expected ({kind(error)}); check the AWS set-up and try again"
    )
    return refused(secret_id, "could not be read", todo, _DeniedError if said.denied else IbgwError)


async def _ask(function: str, secret_id: str, **arguments: Any) -> Any:
    """The provider's answer. Raises IbgwError (REFUSED), of the kind _DeniedError if it is this identity's fault."""
    try:
        # Without pulumi_aws, which only names these functions and takes longer to load than the rest of the program.
        return await pulumi.runtime.invoke_async(
            function, {"secretId": secret_id, **arguments}, opts=pulumi.InvokeOptions(version=_PLUGIN_VERSION)
        )
    except Exception as error:  # noqa: BLE001 - the engine raises a bare Exception; _refusal turns it into a message
        raise _refusal(secret_id, error) from None


async def _fetch(secret_id: str, version_id: str | None) -> tuple[str | None, str, datetime]:
    """The value, the id of its version, and when that was made; no value in a preview by who may not read it."""
    try:
        secret = await _ask(_VALUE, secret_id, **({"versionId": version_id} if version_id else {}))
    except _DeniedError:
        if not pulumi.runtime.is_dry_run():
            raise
        return None, *await _listed_version(secret_id, version_id)
    if secret.get("secretBinary") and not secret.get("secretString"):
        raise binary(secret_id)
    return secret.get("secretString") or "", secret["versionId"], datetime.fromisoformat(secret["createdDate"])


async def _listed_version(secret_id: str, version_id: str | None) -> tuple[str, datetime]:
    """The version that an update would read, the configured one or the current one: its id, and when it was made."""
    listed = (await _ask(_VERSIONS, secret_id))["versions"]
    for version in listed:
        if version["versionId"] == version_id or (version_id is None and _CURRENT in version["versionStages"]):
            return str(version["versionId"]), datetime.fromisoformat(version["createdTime"])
    if version_id is None:
        raise refused(secret_id, "it has no current version", f"put a value in ({_CURRENT})")
    # The list has no versions without a staging label, and Secrets Manager deletes those when it likes.
    raise refused(
        secret_id,
        f"version {version_id!r} is not among those with a staging label",
        "correct credentials.versionId, or put a label on the version",
    )


async def read_all(wanted: Mapping[str, tuple[str, str | None]], mode: Mode) -> dict[str, Credentials]:
    """Reads each gateway's secret (`wanted`: gateway -> secret id and version), all at once.

    Raises IbgwError (REFUSED) for the first that is missing, denied or malformed, and when two gateways have one user.
    A preview goes on without the values that this identity may not read, and warns.
    """
    fetched = await asyncio.gather(*(_fetch(secret_id, version) for secret_id, version in wanted.values()))
    credentials: dict[str, Credentials] = {}
    users: dict[str, str] = {}
    unread: list[str] = []
    for (gateway, (secret_id, _)), (text, version_id, made) in zip(wanted.items(), fetched, strict=True):
        if text is None:
            unread.append(secret_id)
            placeholder = pulumi.Output.secret(_NOT_READ)
            credentials[gateway] = Credentials(version_id, made, placeholder, placeholder, were_read=False)
            continue
        user_id, password = parse(secret_id, text, mode)
        other = users.setdefault(user_id.lower(), gateway)
        if other != gateway:
            raise refused(
                secret_id, f"gateway {gateway!r} has the same user as gateway {other!r}", "a user has one session"
            )
        credentials[gateway] = Credentials(
            version_id=version_id,
            made=made,
            user_id=pulumi.Output.secret(escape(user_id)),
            password=pulumi.Output.secret(escape(password)),
        )
    if unread:
        pulumi.log.warn(
            f"not read, since this identity may not: the values of {', '.join(map(repr, unread))}. The preview goes by "
            "their versions; that they are well-formed and that no two gateways have the same user is for the update "
            "to check, which reads them"
        )
    return credentials


async def read_seeds(wanted: Mapping[str, str]) -> dict[str, Seed]:
    """Reads the seed of each gateway that codes are typed for (`wanted`: gateway -> secret id).

    Raises IbgwError (REFUSED) for the first that is missing, denied or no seed. What a preview may not read it goes
    without, and warns.
    """
    fetched = await asyncio.gather(*(_fetch(secret_id, None) for secret_id in wanted.values()))
    seeds: dict[str, Seed] = {}
    for (gateway, secret_id), (text, version_id, _) in zip(wanted.items(), fetched, strict=True):
        if text is None:
            pulumi.log.warn(f"not read, since this identity may not: the seed {secret_id!r}. The update reads it")
        seed = _NOT_READ if text is None else parse_seed(secret_id, text)
        seeds[gateway] = Seed(version_id, pulumi.Output.secret(seed), were_read=text is not None)
    return seeds


_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]{1,30}://[^\s]{1,2000}", re.IGNORECASE)
_PAGE = re.compile(r"https?://[^\s]{1,2000}", re.IGNORECASE)


async def read_channels(monitoring: MonitoringSpec | None) -> Channels:
    """The addresses that a watcher sends to, each the whole value of a secret.

    Raises IbgwError (REFUSED) for the first that is missing, denied or no address. What a preview may not read it goes
    without, and warns.
    """
    if monitoring is None:
        return Channels(pulumi.Output.secret(""))
    grammars = [(secret_id, _ADDRESS) for secret_id in monitoring.notify]
    if monitoring.heartbeat is not None:
        grammars.append((monitoring.heartbeat, _PAGE))
    fetched = await asyncio.gather(*(_fetch(secret_id, None) for secret_id, _ in grammars))
    addresses: dict[str, str] = {}
    for (secret_id, grammar), (text, _, _) in zip(grammars, fetched, strict=True):
        if text is None:
            pulumi.log.warn(
                f"not read, since this identity may not: where monitoring sends to ({secret_id!r}). The update reads it"
            )
            return Channels(pulumi.Output.secret(_NOT_READ), were_read=False)
        if not grammar.fullmatch(text.strip()):
            expected = "https://..." if grammar is _PAGE else "apprise's form, such as tgram://... or mailtos://..."
            raise refused(secret_id, "its value is no address", f"put one in, alone and in one line: {expected}")
        addresses[secret_id] = text.strip()
    document = {
        "notify": [{"secret": secret_id, "address": addresses[secret_id]} for secret_id in monitoring.notify],
        "heartbeat": addresses.get(monitoring.heartbeat or ""),
    }
    return Channels(pulumi.Output.secret(json.dumps(document)))
