"""The document that a gateway's secret holds, and what is refused of it. No message ever shows any of its values.

What IBC would garble or the broker would reject must not cost a login attempt.
"""

import json

from deployment.description import Mode
from deployment.errors import ExitCode, IbgwError

_KEYS = ("user_id", "password", "trading_mode")
_MAXIMUM_LENGTH = 128


def refused(secret_id: str, fault: str, remedy: str, kind: type[IbgwError] = IbgwError) -> IbgwError:
    return kind(f"secret {secret_id!r}: {fault}; {remedy}", exit_code=ExitCode.REFUSED)


def _check_text(secret_id: str, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise refused(secret_id, f"{key} is not a text", "write it in double quotes")
    if not value:
        raise refused(secret_id, f"{key} is empty", "put the real one in")
    if value != value.strip():
        raise refused(secret_id, f"{key} begins or ends with a blank", "IBC cuts such blanks off; remove them")
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in value):
        raise refused(secret_id, f"{key} contains a control character", "remove it, a line break at the end perhaps")
    if any(0xD800 <= ord(character) < 0xE000 for character in value):
        raise refused(secret_id, f"{key} is not valid Unicode", "put the real one in")
    if len(value) > _MAXIMUM_LENGTH:
        raise refused(secret_id, f"{key} has more than {_MAXIMUM_LENGTH} characters", "put the real one in")
    return value


def parse(secret_id: str, text: str, mode: Mode) -> tuple[str, str]:
    """User id and password out of a secret's JSON. Raises IbgwError (REFUSED) that never holds any of its values."""
    form = 'expected {"user_id": "...", "password": "...", "trading_mode": "' + mode.value + '"}'
    try:
        document = json.loads(text)
    except ValueError:
        raise refused(secret_id, "its value is not JSON", form) from None
    if not isinstance(document, dict):
        raise refused(secret_id, "its value is not a JSON object", form)
    # Only the names of our own keys are shown: a mistyped secret may hold the password as a key.
    missing = [key for key in _KEYS if key not in document]
    if missing:
        raise refused(secret_id, f"{' and '.join(missing)} missing", form)
    unknown = len(document) - len(_KEYS)
    if unknown:
        raise refused(
            secret_id,
            f"{unknown} unknown key{'s' if unknown > 1 else ''}",
            f"allowed are {', '.join(_KEYS)} and nothing else",
        )
    user_id, password = (_check_text(secret_id, key, document[key]) for key in ("user_id", "password"))
    if document["trading_mode"] != mode.value:
        written = document["trading_mode"]
        other = f"trading_mode is {written!r}" if written in tuple(Mode) else "trading_mode is neither paper nor live"
        raise refused(secret_id, f"{other}, the stack's mode is {mode.value!r}", "name this stack's own secret")
    return user_id, password
