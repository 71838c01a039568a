"""`ibgw credentials migrate`: user id and password from where a setup of today has them."""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from deployment.description import Mode
from deployment.errors import ExitCode, IbgwError
from operations.compose_file import variables
from operations.credentials.place import Place
from operations.credentials.secrets_manager import SecretsManager
from operations.credentials.typed import checked, decoded

_USER: tuple[str, ...] = ("user_id", "username", "userid", "user", "login", "TWS_USERID", "IB_USERNAME")
_PASSWORD: tuple[str, ...] = ("password", "TWS_PASSWORD", "IB_PASSWORD")
_OF_PAPER = {"TWS_USERID": "TWS_USERID_PAPER", "TWS_PASSWORD": "TWS_PASSWORD_PAPER"}
"""Of the image, whose paper user stands beside the live one."""


def from_secrets(secrets: SecretsManager, place: Place, names: list[str]) -> SecretStr:
    """From one secret with a JSON object, or from two plain ones: user id, password. Raises IbgwError (REFUSED)."""
    values = [secrets.value(name) for name in names]
    if len(values) == 1:
        return _named(place, _object(values[0], f"secret {names[0]!r}"), f"secret {names[0]!r}")
    if len(values) != 2:
        raise IbgwError(
            "--from-secret: name one with a JSON object, or two: the user id's, then the password's.",
            exit_code=ExitCode.BAD_USAGE,
        )
    # What `echo` put there ends with a line break, which no password of IBKR's has.
    user_id, password = (SecretStr(value.get_secret_value().rstrip("\r\n")) for value in values)
    return checked(place.secret_id, place.mode, user_id, password)


def from_file(place: Place, file: Path) -> SecretStr:
    """From a JSON object, or NAME=value lines (`.env`). Raises IbgwError (REFUSED)."""
    if file.suffix != ".json":
        found = {name: SecretStr(value) for name, value in variables(file).items()}
        return _named(place, found, str(file), compose=True)
    try:
        text = SecretStr(decoded(file.read_bytes(), str(file)).removeprefix("\ufeff"))
    except OSError as error:
        raise IbgwError(f"--from: {file} cannot be read: {error.strerror}.", exit_code=ExitCode.BAD_USAGE) from None
    return _named(place, _object(text, str(file)), str(file))


def _object(text: SecretStr, where: str) -> dict[str, SecretStr]:
    """Its texts, by their names."""
    try:
        document = json.loads(text.get_secret_value())
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise _refused(f"{where} holds no JSON object")
    return {str(name): SecretStr(value) for name, value in document.items() if isinstance(value, str)}


def _named(place: Place, found: Mapping[str, SecretStr], where: str, *, compose: bool = False) -> SecretStr:
    mode = found.get("trading_mode") or found.get("TRADING_MODE")
    own = any(name in found for name in _OF_PAPER.values())
    if mode is not None and mode.get_secret_value() not in (place.mode.value, "both"):
        raise _refused(f"{where} is not of the mode {place.mode.value!r}, which stack {place.stack!r} has")
    values = []
    for known in (_USER, _PASSWORD):
        names = known
        if own and place.mode is Mode.PAPER:
            names = tuple(_OF_PAPER[name] for name in known if name in _OF_PAPER)
        name = next((name for name in names if found.get(name)), None)
        if name is None:
            raise _refused(f"{where} has none of {', '.join(names)}")
        if compose and set(found[name].get_secret_value()) & set("$\\\"'"):
            raise _refused(
                f"{name} in {where} holds a $, a backslash or a quote, which compose may have read otherwise than it "
                "stands there; type it with `ibgw credentials put`"
            )
        values.append(found[name])
    return checked(place.secret_id, place.mode, *values)


def _refused(fault: str) -> IbgwError:
    return IbgwError(f"{fault}. Nothing was changed.", exit_code=ExitCode.REFUSED)
