"""A stack's file, `Pulumi.<stack>.yaml`, as `ibgw init` writes it: every key that the stack can have, with its meaning
and its default, from the models of the configuration."""

import json
import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, JsonValue, ValidationError

from deployment.description import Mode
from deployment.errors import ExitCode, IbgwError, fault_in_words
from deployment.names import PROJECT
from healthcheck.report import Model
from infra.elsewhere import OTHER_STACK
from infra.settings import (
    MINIMUM_HEADROOM_MIB,
    Gateway,
    Resources,
    Session,
    Settings,
    check_account,
    load,
    mode_of,
)
from infra.settings_errors import explain
from infra.settings_reference import GATEWAY, MEANINGS, inline, model_of
from operations.answers import Answer as JsonAnswer
from operations.compose_file import Answer, Imported

IMAGE = "ghcr.io/gnzsnz/ib-gateway:10.45.1j"
"""The gateway that a new paper stack names. Renovate moves it with the one in Pulumi.paper.yaml."""

SCHEMA = "docs/stack.schema.json"
GATEWAYS_SCHEMA = "docs/gateways.schema.json"
_WIDTH = 118
_STACK: Mapping[Mode, Mapping[str, Any]] = {
    Mode.PAPER: {"image": IMAGE},
    # Apart from paper's, so that both fit on one host.
    Mode.LIVE: {"network": {"subnetPool": "10.213.16.0/20"}},
}
_GATEWAY: Mapping[Mode, Mapping[str, Any]] = {
    Mode.PAPER: {},
    Mode.LIVE: {"secondFactor.method": "push"},
}
"""What a new stack has beside the models' defaults."""

_DAILY = "23:59"
_TIMES = tuple(f"session.{key}" for key in ("autoRestart", "autoLogoff", "coldRestart", "timeZone"))

_OTHER_MODES_KEY = {Mode.PAPER: "release", Mode.LIVE: "image"}
"""A stack has one of the two."""


def render(region: str, settings: Mapping[str, Any]) -> str:
    """The file's text. `settings`: by their keys in YAML, as plain data; what is not among them is written with its
    default, or as a comment where it has none. Validates nothing."""
    lines = [
        f"# yaml-language-server: $schema={SCHEMA}",
        "# Every key that this stack can have. A key behind a # is not set, and has no default.",
        "config:",
        f"  aws:region: {inline(region)}",
        *_section(Settings, settings, "", "  ", skip=_OTHER_MODES_KEY[Mode(settings["mode"])]),
    ]
    return "\n".join(lines) + "\n"


def new(
    stack: str, mode: Mode, given: Mapping[str, Any], gateway: str, own: Mapping[str, Any], imported: Imported
) -> dict[str, Any]:
    """The settings of a new stack with one gateway: defaults, then what was imported, then what was `given` for the
    stack and as the gateway's `own`. Answers of `imported` that fit nothing become notes.

    Raises IbgwError (REFUSED) for what was given, and for an import of the other mode.
    """
    _settle(imported, mode)
    while True:
        settings = _composed(mode, given, gateway, own, imported)
        try:
            Settings.model_validate_json(json.dumps(settings))
        except ValidationError as error:
            dropped = [
                _drop(imported, fault["loc"], explain(fault, Settings, PROJECT)) for fault in reversed(error.errors())
            ]
            if any(dropped):
                continue
        load(stack, {f"{PROJECT}:{key}": _as_engine(value) for key, value in settings.items()})
        return settings


def check_new(file: Path, *, replace: bool) -> None:
    """Raises IbgwError (REFUSED) if there is a file and it is not to be replaced."""
    if file.exists() and not replace:
        raise IbgwError(
            f"{file} exists, and was not changed; --replace writes over it, and another name, such as "
            f"{file.name.removeprefix('Pulumi.').removesuffix('.yaml')}-two, makes a further stack.",
            exit_code=ExitCode.REFUSED,
        )


class SettingAnswer(Model):
    """What becomes of one setting of today. `key`: what takes it; None if it is not kept, and `note` says why."""

    setting: str
    key: str | None
    value: JsonValue
    note: str


class InitAnswer(JsonAnswer):
    """`next`: the commands from the file to a running gateway."""

    file: str
    settings: tuple[SettingAnswer, ...]
    next: tuple[str, ...]


def next_commands(stack: str, gateway: str, credentials: Path | None = None) -> list[str]:
    """From the file to a running gateway. `credentials`: the file of today that holds user id and password."""
    put = f"ibgw credentials put {stack} --gateway {gateway}  # asks for user id and password"
    if credentials is not None:
        migrate = f"ibgw credentials migrate {stack} --gateway {gateway} --from {shlex.quote(str(credentials))}"
        put = f"{migrate}  # user id and password"
    return [
        "pulumi login s3://BUCKET  # where the states are kept; --local: on this machine",
        f"pulumi stack init {stack} --secrets-provider=awskms://alias/ibgw-{mode_of(stack)}  # a KMS key of yours",
        put,
        f"ibgw plan {stack}",
        f"pulumi up --stack {stack}" if mode_of(stack) is Mode.PAPER else f"ibgw promote --to {stack}",
    ]


def summary(file: Path, imported: Imported, following: Sequence[str]) -> str:
    """What was written, what became of today's settings, and the next commands."""
    kept = [answer for answer in imported.answers if answer.key is not None]
    lost = [answer for answer in imported.answers if answer.key is None]
    lines = [f"{file} is written."]
    for title, answers in (("Kept:", kept), ("Not kept:", lost)):
        texts: dict[str, list[str]] = {}
        for answer in answers:
            becomes = f"{answer.key}: {inline(answer.value)}" if answer.key else ""
            texts.setdefault("; ".join(filter(None, (becomes, answer.note))), []).append(answer.setting)
        lines += ["", title] if answers else []
        lines += [f"  {', '.join(settings)} -> {text}" for text, settings in texts.items()]
    return "\n".join([*lines, "", "Next:", *(f"  {command}" for command in following)])


def _as_engine(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _drop(imported: Imported, location: Sequence[int | str], why: str) -> bool:
    """Whether something imported stood at the place of a fault; it is dropped then."""
    below = location[2:] if location[:1] == ("gateways",) else location
    key = ".".join(str(part) for part in below)
    before = imported.values()
    if below and isinstance(place := below[-1], int):
        imported.drop_item(key.rpartition(".")[0], place, why)
    else:
        imported.drop(key, why)
    return bool(key) and imported.values() != before


def _settle(imported: Imported, mode: Mode) -> None:
    """What depends on more than one setting, as the image and the gateway take it."""
    values = imported.values()
    named = values.get("mode", mode)
    if named == "both":
        imported.drop("mode", OTHER_STACK)
    elif named != mode:
        raise IbgwError(
            f"--from: its trading mode is {named}, and the stack's is {mode}; a stack's name begins with its mode.",
            exit_code=ExitCode.REFUSED,
        )
    if mode is Mode.LIVE:
        imported.drop("image", "live runs only what ibgw promote has taken there")
    for place, account in reversed(list(enumerate(values.get("account.expected", ())))):
        try:
            check_account(account, mode)
        except ValueError as error:
            imported.drop_item("account.expected", place, str(error))
    if "session.autoRestart" in values:
        imported.drop("session.autoLogoff", "the gateway ignores it beside a daily restart")
    if ("session.offline.from" in values) != ("session.offline.until" in values):
        imported.drop("session.offline", "session.offline needs both ends: from and until")
    times = {key.partition(".")[2]: value for key, value in imported.values().items() if key in _TIMES}
    session: dict[str, Any] = times if _daily(times) else {"autoRestart": _DAILY, **times}
    without = {key: value for key, value in session.items() if key != "coldRestart"}
    if _refusal(without) is None and (why := _refusal(session)):
        imported.drop("session.coldRestart", why)
    if "secondFactor.device" in values:
        imported.answers.append(Answer("TWOFA_DEVICE", "secondFactor.method", "push"))
    elif mode is Mode.PAPER:
        imported.drop("secondFactor.relogin", "means nothing without a second factor")
    heap = values.get("resources.javaHeap", Resources().java_heap)
    if values.get("resources.memory", Resources().memory) < heap + MINIMUM_HEADROOM_MIB:
        note = f"{MINIMUM_HEADROOM_MIB} MiB beside Java's heap are the least"
        imported.drop("resources.memory", note)
        imported.answers.append(Answer("JAVA_HEAP_SIZE", "resources.memory", heap + MINIMUM_HEADROOM_MIB, note))


def _composed(
    mode: Mode, given: Mapping[str, Any], gateway: str, own: Mapping[str, Any], imported: Imported
) -> dict[str, Any]:
    stack: dict[str, Any] = {"mode": mode.value, **_STACK[mode]}
    one: dict[str, Any] = {}
    values = imported.values()
    for key, value in {**_GATEWAY[mode], **values, **own}.items():
        _place(stack if key in ("mode", "image", "platform") else one, key, value)
    session = one.setdefault("session", {})
    if not _daily(session):
        session["autoRestart"] = _DAILY
    # The first hour in the morning at which IBKR's weekly end of all sessions is over, whatever the zone.
    sundays = (f"{hour:02}:05" for hour in range(7, 24))
    session.setdefault(
        "coldRestart", next((at for at in sundays if _refusal(session | {"coldRestart": at}) is None), None)
    )
    return {**stack, **given, "gateways": {gateway: one}}


def _daily(session: Mapping[str, Any]) -> bool:
    return "autoRestart" in session or "autoLogoff" in session


def _refusal(session: Mapping[str, Any]) -> str | None:
    try:
        Session.model_validate_json(json.dumps(session))
    except ValidationError as error:
        return fault_in_words(error.errors()[0])
    return None


def _place(target: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        target = target.setdefault(section, {})
    target[last] = value


def _section(
    model: type[BaseModel], values: Mapping[str, Any], prefix: str, indent: str, skip: str = ""
) -> Iterator[str]:
    for field in model.model_fields.values():
        path = f"{prefix}{field.alias}"
        key = f"{indent}{field.alias}:" if prefix else f"{indent}{PROJECT}:{field.alias}:"
        inner = model_of(field)
        value = values.get(str(field.alias), None if field.is_required() else field.default)
        if path == skip:
            continue
        if path == "gateways":
            yield from _comment(MEANINGS[path], indent)
            yield key
            for name, gateway in value.items():
                yield f"{indent}  {name}:"
                yield from _section(Gateway, gateway, GATEWAY, f"{indent}    ")
        elif inner is not None and isinstance(field.annotation, type):
            section = list(_section(inner, values.get(str(field.alias), {}), f"{path}.", f"{indent}  "))
            yield key if any(not line.lstrip().startswith("#") for line in section) else f"{key} {{}}"
            yield from section
        else:
            parts = [f"{path}.{part.alias}" for part in inner.model_fields.values()] if inner else [path]
            yield from _comment(" ".join(MEANINGS[part] for part in parts), indent)
            yield f"{key} {inline(value)}" if value is not None else f"{indent}# {key.strip()}"


def _comment(text: str, indent: str) -> Iterator[str]:
    for line in textwrap.wrap(text.replace("`", ""), _WIDTH - len(indent)):
        yield f"{indent}# {line}"
