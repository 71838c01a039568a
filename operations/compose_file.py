"""What people run today, read into a stack's settings: a compose file with its `.env`, or such a file alone.

The names are the image's (docker-compose.yml and .env-dist of gnzsnz/ib-gateway-docker), and those of setup guides
around it. Each setting that is found gets an answer: the key that takes it, or why it is not kept and what to do
instead. A credential is named, and its value goes nowhere.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from deployment.description import Mode
from deployment.errors import ExitCode, IbgwError

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
        """What would have taken `key`, or a key below it, is not kept after all."""
        self.answers = [
            Answer(answer.setting, note=note) if f"{answer.key}.".startswith(f"{key}.") else answer
            for answer in self.answers
        ]


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


def _seconds(text: str) -> str:
    return f"{int(text)}s"


def _interval(text: str) -> str:
    match = re.fullmatch(r"every (\d+) mins?", text, re.IGNORECASE)
    if match is None:
        raise ValueError("times of day are not supported; every 30 minutes instead, and at each stop")
    return f"{match[1]}m"


def _mode(text: str) -> str:
    if text not in (*Mode, "both"):
        raise ValueError("expected paper, live or both")
    return text


def _mebibytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)i?b?", text, re.IGNORECASE)
    if match is None:
        raise ValueError("expected an amount of memory such as 2g")
    return round(float(match[1]) * {"": 1 / 2**20, "k": 1 / 2**10, "m": 1, "g": 2**10}[match[2].lower()])


def _image(text: str) -> str:
    if not re.fullmatch(r"ghcr\.io/gnzsnz/ib-gateway(:\d+\.\d+\.\d+[a-z]?|@sha256:[0-9a-f]{64})", text):
        raise ValueError("tags that move and other images are refused; the new file names a full version")
    return text


class _Row(NamedTuple):
    key: str
    read: Callable[[str], Any] = str
    note: str = ""


_UNKNOWN_TO_THE_IMAGE = "the image does not know this variable, so it had no effect until now"
_VARIABLES: Mapping[str, _Row] = {
    "TRADING_MODE": _Row("mode", _mode),
    "TWS_ACCEPT_INCOMING": _Row("api.acceptIncoming", note="reject will do: clients come through the image's relay"),
    "TWS_MASTER_CLIENT_ID": _Row("api.masterClientId", int),
    "READ_ONLY_API": _Row("api.readOnly", _yes),
    "ALLOW_BLIND_TRADING": _Row("api.allowBlindTrading", _yes),
    "BYPASS_WARNING": _Row("api.bypassWarnings", _yes),
    "EXISTING_SESSION_DETECTED_ACTION": _Row("session.existingSession"),
    "TIME_ZONE": _Row("session.timeZone"),
    "AUTO_RESTART_TIME": _Row("session.autoRestart", _time),
    "AUTO_LOGOFF_TIME": _Row("session.autoLogoff", _time),
    "TWS_COLD_RESTART": _Row("session.coldRestart", _time),
    "SAVE_TWS_SETTINGS": _Row("session.saveSettings", _interval),
    "TWOFA_DEVICE": _Row("secondFactor.device"),
    "TWOFA_TIMEOUT_ACTION": _Row("secondFactor.onTimeout"),
    "RELOGIN_AFTER_TWOFA_TIMEOUT": _Row("secondFactor.relogin", _yes),
    "TWOFA_EXIT_INTERVAL": _Row("secondFactor.exitInterval", _seconds),
    "JAVA_HEAP_SIZE": _Row("resources.javaHeap", int),
    "IB_TRADING_MODE": _Row("mode", _mode),
    "IB_READ_ONLY_API": _Row("api.readOnly", _yes, _UNKNOWN_TO_THE_IMAGE),
    "IB_MASTER_CLIENT_ID": _Row("api.masterClientId", int, _UNKNOWN_TO_THE_IMAGE),
    "TWS_LOGOFF_TIME": _Row("session.offline.from", _time, _UNKNOWN_TO_THE_IMAGE),
    "TWS_RESTART_TIME": _Row("session.offline.until", _time, _UNKNOWN_TO_THE_IMAGE),
    "TWS_TIMEZONE": _Row("session.timeZone", note=_UNKNOWN_TO_THE_IMAGE),
    "TWS_OVERRIDE_TIME_ZONE": _Row("session.timeZone", note=_UNKNOWN_TO_THE_IMAGE),
    "TWS_DEBUG": _Row("debug.enabled", _yes, _UNKNOWN_TO_THE_IMAGE),
    "LOG_LEVEL": _Row("debug.enabled", lambda text: text.lower() in ("debug", "trace"), _UNKNOWN_TO_THE_IMAGE),
}
"""Variables of the image and of guides, each to the key that takes it."""

_SERVICE: Mapping[str, _Row] = {
    "image": _Row("image", _image),
    "platform": _Row("platform"),
    "mem_limit": _Row("resources.memory", _mebibytes),
    "deploy.resources.limits.memory": _Row("resources.memory", _mebibytes),
    "stop_grace_period": _Row("container.stopGrace"),
    "logging.options.max-size": _Row("container.logMaxSize", str.lower),
    "logging.options.max-file": _Row("container.logMaxFiles", int),
}
"""Keys of a service in a compose file; below them, dots."""

_SECRET = "put it into AWS Secrets Manager (the next commands say how); user id and password are files here"  # noqa: S105
_NOT_KEPT: Mapping[str, str] = {
    r"TWS_(USERID|PASSWORD)_PAPER(_FILE)?": "paper and live are two stacks here, each with a secret of its own: "
    "run ibgw init for the other as well",
    r"(TWS_(USERID|PASSWORD)|IB_(USERNAME|PASSWORD))(_FILE)?": _SECRET,
    r"IB_2FA_(SECRET|METHOD)|.*TOTP.*": "the image can type no codes: secondFactor.method is none, or push for "
    "IBKR Mobile",
    r"IB_(CLIENT_ID|GATEWAY_PORT)": "a client's; ibgw env prints what a client needs",
    r"TWS_SETTINGS_PATH": "the settings lie in a volume of the gateway's own, which is kept",
    r"TZ": "the same as session.timeZone, always: two zones would make the restart come at the wrong hour",
    r"VNC_SERVER_PASSWORD(_FILE)?|SSH_VNC_PORT": "off; on paper vnc.enabled makes a password at each start, and ibgw "
    "forward --vnc leads there",
    r"SSH_.*": "no tunnel out of the container: ibgw:dockerHost takes ssh://, and ibgw forward works through it",
    r"CUSTOM_CONFIG": "config.ini and jts.ini are made from these settings at each start; what has no key here is not "
    "changed",
    r"(START|X|IBC)_SCRIPTS": "the container runs the image's scripts and our first process, nothing else: other "
    "scripts could read the password",
    r"(PUID|PGID|PASSWD(_FILE)?|SSH_RDP_PORT)": "of the remote desktop's image, which is another program",
    r"GATEWAY_OR_TWS|MINIMIZE_MAIN_WINDOW|TWS_TIMING_OF_RUN": _UNKNOWN_TO_THE_IMAGE,
    # A service's keys.
    r"build(\..*)?": "the published image is used, pinned",
    r"container_name": "the new one is called PREFIX-STACK-GATEWAY, such as ibgw-paper-main; ibgw env prints it",
    r"ports": "no port is published, since whoever reaches it can trade: clients join the gateway's network, and "
    "ibgw forward opens a port of this machine's loopback",
    r"expose|networks(\..*)?|network_mode|hostname|extra_hosts|links|dns.*": "each gateway has an internal network of "
    "its own; name under clients: who may join it",
    r"volumes": "the settings volume is made and kept by the stack; a folder's settings are not taken along: nothing "
    "is lost but windows' places",
    r"restart|deploy\.restart_policy.*": "unless stopped, always; each start passes the start guard",
    r"healthcheck(\..*)?": "the API's own handshake; container.probeInterval says how often",
    r"env_file": "read for this, not kept",
    r"secrets(\..*)?": _SECRET,
    r"depends_on(\..*)?|profiles|labels(\..*)?|develop(\..*)?": "compose's own",
    r"(user|privileged|cap_add|cap_drop|security_opt|devices|shm_size|init|tty|stdin_open|read_only|tmpfs|ulimits|"
    r"sysctls|pid|ipc|entrypoint|command|cpus|cpu_.*|deploy\..*|logging\..*)(\..*)?": "the container is as confined as "
    "the image allows, and the same for all (docs/architecture.md)",
}
"""What is not kept, as patterns over the whole name; the first that fits answers."""


def read(path: Path, *, service: str | None = None) -> Imported:
    """Reads a compose file (`.yaml`, `.yml`) with the `.env` beside it, or a file of `NAME=value` lines. `service`: the
    gateway's, where several look like one.

    Raises IbgwError (BAD_USAGE) if the file is neither, and for a gateway that cannot be told.
    """
    if path.suffix not in (".yaml", ".yml"):
        return Imported(list(_answers(_assignments(_text(path)))))
    try:
        document = yaml.safe_load(_text(path))
    except yaml.YAMLError:
        raise _bad(f"{path} is not YAML") from None
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
    settings |= {key: value for key, value in known.items() if key not in referred | set(settings)}
    settings |= {key: _interpolated(value, known) for key, value in _flat(definition) if key != "environment"}
    imported = Imported(list(_answers(settings)))
    if others := sorted(other for other in services if other != name):
        note = "name those that trade under clients:, as - container: NAME, and join them to the gateway's network"
        imported.answers.append(Answer(", ".join(others), note=note))
    return imported


def _answers(settings: Mapping[str, str | None]) -> Iterable[Answer]:
    """One for each setting that has a value. The value of what is not kept is in none of them."""
    taken: dict[str, str] = {}
    for name, text in settings.items():
        row = _VARIABLES.get(name) or _SERVICE.get(name)
        if text == "":
            continue
        if row is None:
            yield Answer(
                name, note=next((why for pattern, why in _NOT_KEPT.items() if re.fullmatch(pattern, name)), _NONE)
            )
        elif text is None:
            yield Answer(name, note=f"refers to what .env does not have, or to a credential; set {row.key}")
        elif row.key in taken:
            yield Answer(name, note=f"{taken[row.key]} says it already")
        else:
            try:
                yield Answer(name, row.key, row.read(text), row.note)
                taken[row.key] = name
            except ValueError as error:
                yield Answer(name, note=f"not understood: {error} ({row.key})")


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
    """A service's variables, its `env_file`s' first; a list entry without a value is taken from the shell."""
    variables: dict[str, str] = {}
    files = service.get("env_file") or []
    for entry in files if isinstance(files, list) else [files]:
        file = path.parent / str(entry.get("path", "") if isinstance(entry, dict) else entry)
        if file.is_file():
            variables |= _assignments(_text(file))
    own = service.get("environment") or {}
    if isinstance(own, list):
        own = dict(str(line).partition("=")[::2] for line in own)
    return variables | {str(key): _scalar(value) for key, value in own.items()}


def _scalar(value: object) -> str:
    """YAML's own kinds, as compose hands them over."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


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
            yield f"{prefix}{key}", _scalar(value) if not isinstance(value, list | dict) else "listed"


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
