"""`ibgw credentials check` and `show`: whether a stack's secrets will do for an update, and what is known of them. No
value leaves this module."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from deployment.errors import ExitCode, IbgwError
from healthcheck.report import Model
from infra.secret_document import parse
from operations.answers import Answer
from operations.credentials.place import Place, Running
from operations.credentials.secrets_manager import CURRENT, PENDING, DeniedError, Metadata, SecretsManager

READ_ACTION = "secretsmanager:GetSecretValue"
BY_IAM = (
    "those whom this account's IAM policies and the key's policy allow it, which are not looked at "
    "(`aws iam simulate-principal-policy` says it of one identity)"
)


@dataclass(frozen=True)
class Finding:
    """What was looked at; whether it is as it should be, None where it could not be found out; and what was seen."""

    topic: str
    ok: bool | None
    text: str

    def human(self) -> str:
        return f"  {'?' if self.ok is None else 'ok' if self.ok else '!!':2} {self.topic}: {self.text}"


@dataclass(frozen=True)
class Checked:
    """One gateway's secret. `runs`: the version that the stack's last update deployed, None where it is not known."""

    place: Place
    metadata: Metadata | None
    runs: str | None
    findings: list[Finding] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return all(finding.ok is not False for finding in self.findings)

    def human(self) -> str:
        title = f"{self.place.stack}/{self.place.gateway}: secret {self.place.secret_id}"
        lines = [] if self.metadata is None else list(_described(self.metadata, self.runs))
        return "\n".join((title, *lines, *(finding.human() for finding in self.findings)))

    @property
    def answer(self) -> "SecretAnswer":
        known = self.metadata
        return SecretAnswer(
            stack=self.place.stack,
            gateway=self.place.gateway,
            secret=self.place.secret_id,
            ok=self.good,
            arn=known and known.arn,
            region=known and known.region,
            kms_key=known and known.key,
            deleted=known and known.deleted and known.deleted.isoformat(),
            runs=self.runs,
            versions=tuple(
                VersionAnswer(id=version.id, stages=tuple(version.stages), created=version.created.isoformat())
                for version in (known.versions if known else ())
            ),
            findings=tuple(self.findings),
        )


class VersionAnswer(Model):
    id: str
    stages: tuple[str, ...]
    created: str


class SecretAnswer(Model):
    """`runs`: the version that the stack's last update deployed, None where it is not known."""

    stack: str
    gateway: str
    secret: str
    ok: bool
    arn: str | None
    region: str | None
    kms_key: str | None
    deleted: str | None
    runs: str | None
    versions: tuple[VersionAnswer, ...]
    findings: tuple[Finding, ...]


class SecretsAnswer(Answer):
    exit_code: int
    secrets: tuple[SecretAnswer, ...]


def show(secrets: SecretsManager, place: Place, runs: str | None) -> Checked:
    """What Secrets Manager tells of it without its value. Raises IbgwError (REFUSED)."""
    return Checked(place, secrets.describe(place.secret_id), runs)


def check(
    secrets: SecretsManager, places: Iterable[Place], running: Running, *, maximum_age: timedelta
) -> list[Checked]:
    """Each secret, as far as this identity may see it."""
    checked, users = [], dict[str, str]()
    for place in places:
        runs = running.versions.get(place.gateway)
        try:
            metadata = secrets.describe(place.secret_id)
        except IbgwError as error:
            checked.append(Checked(place, None, runs, [Finding("there", False, str(error))]))
            continue
        found = Checked(place, metadata, runs)
        found.findings.extend(_value(secrets, place, users))
        found.findings.extend(_versions(place, metadata, running, maximum_age))
        found.findings.extend(_readers(secrets, place))
        checked.append(found)
    return checked


def _value(secrets: SecretsManager, place: Place, users: dict[str, str]) -> Iterator[Finding]:
    """`users`: the gateways by their users, as far as they were seen."""
    try:
        value = secrets.value(place.secret_id, place.pinned)
    except IbgwError as error:
        yield Finding("readable", False, str(error))
        return
    yield Finding("readable", True, "by this identity")
    try:
        user_id, _ = parse(place.secret_id, value.get_secret_value(), place.mode)
    except IbgwError as error:
        yield Finding("well-formed", False, str(error))
        return
    other = users.setdefault(user_id.lower(), place.gateway)
    if other == place.gateway:
        yield Finding("well-formed", True, f"as the program takes it, for {place.mode}")
    else:
        yield Finding("user", False, f"the same as that of gateway {other!r}; a user has one session")


def _versions(place: Place, metadata: Metadata, running: Running, maximum_age: timedelta) -> Iterator[Finding]:
    runs = running.versions.get(place.gateway)
    current, pending = metadata.staged(CURRENT), metadata.staged(PENDING)
    wanted = place.pinned or (current.id if current else None)
    if runs is None:
        yield Finding("deployed", None, running.unknown or "the stack runs no such gateway yet")
    elif runs == wanted:
        yield Finding("deployed", True, f"the stack runs {runs}, as an update would")
    else:
        yield Finding("deployed", None, f"the stack runs {runs}; an update deploys {wanted}, with a new login")
    if pending is not None and pending != current:
        command = f"ibgw credentials rotate --stack {place.stack} --gateway {place.gateway}"
        yield Finding("rotation", None, f"under way with {pending.id}; `{command}` goes on with it")
    if metadata.lambda_rotation:
        yield Finding(
            "rotation",
            False,
            "AWS is set to rotate it by itself, which changes nothing at IBKR and would lock the user out; run "
            f"`aws secretsmanager cancel-rotate-secret --secret-id {place.secret_id}`",
        )
    if current is not None:
        age = datetime.now(UTC) - current.created
        due = current.created + maximum_age
        yield Finding("age", True if age < maximum_age else None, f"{age.days} days; rotation is due on {due:%Y-%m-%d}")


def _readers(secrets: SecretsManager, place: Place) -> Iterator[Finding]:
    try:
        policy = secrets.resource_policy(place.secret_id)
    except DeniedError as error:
        yield Finding("readers", None, str(error))
        return
    if policy is None:
        yield Finding("readers", True, f"no resource policy, so nobody but {BY_IAM}")
        return
    allowed = sorted(set(_principals(policy)))
    text = f"beside {BY_IAM}, its resource policy allows it {', '.join(allowed) or 'nobody'}"
    yield Finding("readers", "everybody (*)" not in allowed, text)


def _principals(policy: dict[str, Any]) -> Iterator[str]:
    """Whom its statements allow to read the value; what narrows a statement is said, not judged."""
    statements = policy.get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        named = any(_covers(name) for name in _listed(statement.get("Action", [])))
        if "NotAction" in statement:
            named = not any(_covers(name) for name in _listed(statement["NotAction"]))
        if statement.get("Effect") != "Allow" or not named:
            continue
        conditions = " under conditions" if statement.get("Condition") else ""
        principal = statement.get("Principal", {})
        names = [principal] if isinstance(principal, str) else [n for one in principal.values() for n in _listed(one)]
        if "NotPrincipal" in statement or "*" in names:
            yield f"everybody{conditions or ' (*)'}"
        else:
            yield from (f"{name}{conditions}" for name in names)


def _listed(value: str | list[str]) -> list[str]:
    """A policy may have one text in a list's place."""
    return [value] if isinstance(value, str) else value


def _covers(action: str) -> bool:
    from fnmatch import fnmatchcase

    return fnmatchcase(READ_ACTION.lower(), action.lower())


def _described(metadata: Metadata, runs: str | None) -> Iterator[str]:
    yield f"  {metadata.arn}"
    yield f"  key {metadata.key or 'aws/secretsmanager'}"
    if metadata.deleted is not None:
        yield f"  marked for deletion on {metadata.deleted:%Y-%m-%d}"
    for version in metadata.versions:
        deployed = ", deployed" if version.id == runs else ""
        stages = ", ".join(version.stages) or "no stage"
        yield f"  {version.id} of {version.created:%Y-%m-%d %H:%M} UTC: {stages}{deployed}"


def exit_code(checked: Iterable[Checked]) -> ExitCode:
    return ExitCode.OK if all(one.good for one in checked) else ExitCode.FAILED
