"""What people run today, read into a stack's settings: a compose file with its `.env`, or such a file alone.

The names are the image's (docker-compose.yml and .env-dist of gnzsnz/ib-gateway-docker), and those of setup guides
around it. Each setting that is found gets an answer: the key that takes it, or why it is not kept and what to do
instead. A credential is named, and its value goes nowhere.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml

from deployment.description import Mode
from deployment.errors import ExitCode, IbgwError
from deployment.rules import shows_credential
from infra import elsewhere
from infra.elsewhere import Row
from operations.yaml_text import read as read_yaml
from operations.yaml_text import what_is_wrong

# Compose's interpolation: $$, ${NAME}, ${NAME:-default} and its kin, $NAME.
_REFERENCE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?:(?P<how>:?[-+?])(?P<word>[^}]*))?\}|(?P<bare>\w+))")
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?(\w+)\s*=\s*(.*?)\s*")
_GATEWAY_IMAGE = re.compile(r"ib-?gateway|ibkr|ibgw|ib-docker", re.IGNORECASE)
_CREDENTIAL = re.compile(r"PASS|SECRET|TOKEN|USER|TOTP|LOGIN|_KEY$", re.IGNORECASE)


class Answer(NamedTuple):
    """What becomes of one setting. `key`: what takes it, below the gateway but for the stack's own; None if it is not
    kept. `note`: why not, or what is different from now on."""

    setting: str
    key: str | None = None
    value: Any = None
    note: str = ""


@dataclass
class Imported:
    """The answers, in the order of the file; at most one of them takes a key."""

    answers: list[Answer]

    def values(self) -> dict[str, Any]:
        return {answer.key: answer.value for answer in self.answers if answer.key is not None}

    def drop(self, key: str, note: str) -> None:
        """What would have taken `key`, a key below it, or what it is a part of, is not kept after all."""
        self.answers = [
            Answer(answer.setting, note=note) if _touch(f"{answer.key}.", f"{key}.") else answer
            for answer in self.answers
        ]

    def drop_item(self, key: str, place: int, note: str) -> None:
        """Of the list that would have taken `key`, one is not kept. Named by what stands before its `=`."""
        for index, answer in enumerate(self.answers):
            if answer.key == key:
                name = str(answer.value[place]).partition("=")[0]
                self.answers[index] = answer._replace(value=[*answer.value[:place], *answer.value[place + 1 :]])
                self.answers.append(Answer(f"{answer.setting}: {name}", note=note))


def _touch(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _yes(text: str) -> bool:
    words = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if text.lower() not in words:
        raise ValueError("expected yes or no")
    return words[text.lower()]


def _time(text: str) -> str:
    for form in ("%I:%M %p", "%H:%M"):
        try:
            return f"{datetime.strptime(text, form):%H:%M}"
        except ValueError:
            continue
    raise ValueError("expected a time such as 11:59 PM or 23:59")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("expected a whole number") from None


def _seconds(text: str) -> str:
    return f"{_whole(text)}s"


def _saving(text: str) -> str | list[str]:
    """SaveTwsSettingsAt of IBC's config.ini."""
    if every := re.fullmatch(r"every (\d+)(?: (mins?|hours?))?( .*)?", text.strip(), re.IGNORECASE):
        if every[3]:
            raise ValueError("a part of the day is not supported; how often, or times of day")
        return f"{every[1]}{'h' if (every[2] or '').lower().startswith('h') else 'm'}"
    return [_time(at) for at in text.split()]


def _mode(text: str) -> str:
    if text.lower() not in (*Mode, "both"):
        raise ValueError("expected paper, live or both")
    return text.lower()


def _mebibytes(text: str) -> int:
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)([kmg]?)i?b?", text, re.IGNORECASE)
    if match is None:
        raise ValueError("expected an amount of memory such as 2g")
    return round(float(match[1]) * {"": 1 / 2**20, "k": 1 / 2**10, "m": 1, "g": 2**10}[match[2].lower()])


def _image(text: str) -> str:
    if not re.fullmatch(r"ghcr\.io/gnzsnz/ib-gateway(:\d+\.\d+\.\d+[a-z]?|@sha256:[0-9a-f]{64})", text):
        raise ValueError("tags that move and other images are refused; the new file names a full version")
    return text


def _debugging(text: str) -> bool:
    return text.lower() in ("debug", "trace") or (
        text.lower() not in ("info", "warn", "warning", "error") and _yes(text)
    )


_READ: Mapping[str, Callable[[str], Any]] = {
    "mode": _mode,
    "image": _image,
    "account.expected": lambda text: [account.strip() for account in text.split(",")],
    "api.masterClientId": _whole,
    **dict.fromkeys(("api.readOnly", "api.allowBlindTrading", "api.bypassWarnings", "secondFactor.relogin"), _yes),
    **dict.fromkeys(("session.autoRestart", "session.autoLogoff", "session.coldRestart"), _time),
    **dict.fromkeys(("session.offline.from", "session.offline.until"), _time),
    "session.saveSettings": _saving,
    "secondFactor.exitInterval": _seconds,
    "resources.javaHeap": _whole,
    "resources.memory": _mebibytes,
    "container.logMaxSize": str.lower,
    "container.logMaxFiles": _whole,
    "debug.enabled": _debugging,
}
"""How what a key takes is written elsewhere; a text as it is where nothing is said."""

_MOUNTED = ("jts.ini", "config.ini", ".ssh", "init-scripts")
"""What people mount into the container beside the settings, by the last part of the place there."""


def read(path: Path, *, service: str | None = None) -> Imported:
    """Reads a compose file (`.yaml`, `.yml`) with the `.env` beside it, or a file of `NAME=value` lines. `service`: the
    gateway's, where several look like one.

    Raises IbgwError (BAD_USAGE) if the file is neither, and for a gateway that cannot be told.
    """
    if path.suffix not in (".yaml", ".yml"):
        return Imported(list(_answers(_assignments(_text(path)))))
    try:
        document = read_yaml(_text(path))
    except yaml.YAMLError as error:
        raise _bad(f"{path} is not YAML: {what_is_wrong(error)}") from None
    # A guide may show the service alone.
    services = document.get("services", document) if isinstance(document, dict) else None
    if not isinstance(services, dict):
        raise _bad(f"{path} has no services")
    name = _gateway_among(path, services, service)
    definition = dict(services[name])
    beside = path.parent / ".env"
    known = _assignments(_text(beside)) if beside.is_file() else {}
    environment = _environment(path, definition)
    references = (match for value in environment.values() for match in _REFERENCE.finditer(value))
    referred = {match["name"] or match["bare"] for match in references}
    settings = {key: _interpolated(value, known) for key, value in environment.items()}
    # What stands in .env for others to read, such as IB_CLIENT_ID, is a setting too.
    beside_it = {key: value for key, value in known.items() if key not in referred | set(settings)}
    settings |= {key: value for key, value in beside_it.items() if elsewhere.row(key)}
    labels = [label for line in _lines(definition.pop("labels", ())) if (label := _interpolated(line, known))]
    telling = [label for label in labels if shows_credential(*label.partition("=")[::2])]
    mounts = definition.pop("volumes", ())
    settings |= dict.fromkeys(map(_mounted, mounts if isinstance(mounts, list) else ()), "listed")
    settings |= {key: _interpolated(value, known) for key, value in _flat(definition) if key != "environment"}
    imported = Imported(list(_answers(settings)))
    if kept := [label for label in labels if label not in telling]:
        imported.answers.append(Answer("labels", "container.labels", kept))
    for label in telling:
        imported.answers.append(Answer(f"labels: {label.partition('=')[0]}", note="no label may show a credential"))
    if others := sorted(other for other in services if other != name):
        note = "name those that trade under clients:, as - container: NAME, and join them to the gateway's network"
        imported.answers.append(Answer(", ".join(others), note=note))
    return imported


def variables(path: Path) -> dict[str, str]:
    """A file of `NAME=value` lines, credentials included. Raises IbgwError (BAD_USAGE) if it cannot be read."""
    return _assignments(_text(path))


def credentials_beside(path: Path) -> Path | None:
    """The file of `NAME=value` lines, this one or the `.env` beside it, that has a user id; None if there is none.
    Raises IbgwError (BAD_USAGE) if it cannot be read."""
    file = path.parent / ".env" if path.suffix in (".yaml", ".yml") else path
    if not file.is_file():
        return None
    held = variables(file)
    return file if any(held.get(name) for name in ("TWS_USERID", "TWS_USERID_PAPER")) else None


def _answers(settings: Mapping[str, str | None]) -> Iterable[Answer]:
    """One for each setting that has a value. The value of what is not kept is in none of them."""
    taken: dict[str, str] = {}
    for name, text in settings.items():
        row = elsewhere.row(name) or Row(None, _NONE)
        # A credential may come from the shell.
        if text == "" and row.note != elsewhere.SECRET:
            continue
        if row.key is None:
            yield Answer(name, note=row.note)
        elif text is None:
            yield Answer(name, note=f"refers to what .env does not have, or to a credential; set {row.key}")
        elif row.key in taken:
            yield Answer(name, note=f"{taken[row.key]} says it already")
        else:
            try:
                yield Answer(name, row.key, _READ.get(row.key, str)(text), row.note)
                taken[row.key] = name
            except ValueError as error:
                yield Answer(name, note=f"not taken: {error} ({row.key})")


_NONE = "nothing here corresponds to it"


def _gateway_among(path: Path, services: Mapping[str, Any], chosen: str | None) -> str:
    gateways = [
        name
        for name, service in services.items()
        if isinstance(service, dict)
        and (_GATEWAY_IMAGE.search(str(service.get("image", ""))) or "TWS_USERID" in _environment(path, service))
    ]
    if chosen is not None and chosen in services and isinstance(services[chosen], dict):
        return chosen
    if chosen is None and len(gateways) == 1:
        return gateways[0]
    found = f"services that look like one: {', '.join(gateways)}" if gateways else f"services: {', '.join(services)}"
    raise _bad(f"{path} does not say which service is the gateway ({found}); name it with --service")


def _environment(path: Path, service: Mapping[str, Any]) -> dict[str, str]:
    """A service's variables, its `env_file`s' first. One without a value is passed through: what `.env` has, or the
    shell."""
    variables: dict[str, str] = {}
    files = service.get("env_file") or []
    for entry in files if isinstance(files, list) else [files]:
        file = path.parent / str(entry.get("path", "") if isinstance(entry, dict) else entry)
        if file.is_file():
            variables |= _assignments(_text(file))
    own = service.get("environment") or {}
    if isinstance(own, dict):
        return variables | {name: f"${{{name}-}}" if text in _NULL else str(text) for name, text in own.items()}
    for line in _lines(own):
        name, given, value = line.partition("=")
        variables[name] = value if given else f"${{{name}}}"
    return variables


_NULL = ("", "null", "~")
"""No value, as `operations.yaml_text` reads it, which does not tell an empty text from none."""


def _lines(values: Any) -> list[str]:
    """NAME=value, as compose files have them in a list, or in a mapping."""
    if isinstance(values, dict):
        return [f"{key}={value}" for key, value in values.items()]
    return [str(line) for line in values] if isinstance(values, list) else []


def _mounted(volume: Any) -> str:
    """The name by which what is mounted there is answered."""
    target = volume.get("target", "") if isinstance(volume, dict) else [*str(volume).split(":"), ""][1]
    name = PurePosixPath(str(target)).name
    return name if name in _MOUNTED else "volumes"


def _interpolated(text: str, known: Mapping[str, str]) -> str | None:
    """With `${NAME:-default}` replaced; None if that needs a variable that is not known, or a credential's value."""
    missing = False

    def replace(match: re.Match[str]) -> str:
        nonlocal missing
        if match["dollar"]:
            return "$"
        name = match["name"] or match["bare"]
        how, word = match["how"] or "", match["word"] or ""
        value = known.get(name, "")
        if value and _CREDENTIAL.search(name):
            missing, value = True, ""
        if how.endswith("+"):
            return word if value else ""
        missing = missing or not (value or how.endswith("-"))
        return value or word

    replaced = _REFERENCE.sub(replace, text)
    return None if missing else replaced


def _flat(definition: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in definition.items():
        if isinstance(value, dict) and value and key != "environment":
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value) if not isinstance(value, list | dict) else "listed" if value else ""


def _assignments(text: str) -> dict[str, str]:
    """`NAME=value` lines: quotes are taken off, and a comment behind a blank."""
    found = filter(None, map(_ASSIGNMENT.fullmatch, text.splitlines()))
    return {match[1]: _unquoted(match[2]) for match in found}


def _unquoted(value: str) -> str:
    if value[:1] in ("'", '"'):
        return value[1:].partition(value[0])[0]
    return re.split(r"(?:^|\s)#", value, maxsplit=1)[0].strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise _bad(f"{path} cannot be read: {reason}") from None


def _bad(what: str) -> IbgwError:
    return IbgwError(f"--from: {what}.", exit_code=ExitCode.BAD_USAGE)
