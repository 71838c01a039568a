"""The document that a gateway's secret holds, and what is refused of it. No message ever shows any of its values.

What IBC would garble or the broker would reject must not cost a login attempt.
"""

import base64
import json
import re

from deployment.description import Mode
from deployment.errors import ExitCode, IbgwError
from infra.values import unseen

_KEYS = ("user_id", "password", "trading_mode")
_MAXIMUM_LENGTH = 128

_TEMPLATE = re.compile(r"[$%]?\{+[^{}]*\}+|\$[A-Z_]+|%[A-Z_]+%|<[^<>]*>|\[[^\[\]]*\]")
"""Something that was to be filled in: `<password>`, `${PASSWORD}`, `{{ password }}`, `$PASSWORD`."""
_WHAT = "(user|username|userid|login|password|passwd|passphrase|pass|pwd|secret|value|credential)s?"
_WORDS = re.compile(
    r"(please)?(change|replace|insert|enter|put|fill|set|add|type)"
    rf"(this|your|own|the|real|ibkr|tws|with|in|it|me|my)*({_WHAT})*(in|here|later|now|please)*[0-9]{{0,4}}"
    r"|(todo|fixme|your|the|my|real|new|some|a|an|default|example|sample|dummy|fake|test|placeholder|ibkr|tws)*"
    rf"({_WHAT}){{1,2}}(here|placeholder)?"
    r"|todo|tbd|tba|fixme|placeholder|example|sample|dummy|none|null|nil|undefined|unset|notset|missing|empty"
    r"|redacted|hidden|foo|bar|foobar|na"
)
"""What people write where a value is to come, without what stands between the letters."""


def refused(secret_id: str, fault: str, remedy: str, kind: type[IbgwError] = IbgwError) -> IbgwError:
    return kind(f"secret {secret_id!r}: {fault}; {remedy}", exit_code=ExitCode.REFUSED)


_SEED_LETTERS = range(16, 129)
"""Of base32: 80 bits, the least that authenticators use, to 640."""


def parse_seed(secret_id: str, text: str) -> str:
    """An authenticator's seed in base32 (RFC 4648), without the blanks and in the case that people copy it in. Raises
    IbgwError (REFUSED) that never holds it."""
    form = (
        "put in the seed alone, which IBKR shows as text beside the QR code: the letters A to Z and the digits 2 to 7"
    )
    seed = "".join(text.split()).upper().rstrip("=")
    if seed.startswith("OTPAUTH:"):
        raise refused(secret_id, "its value is the address that a QR code holds", form)
    if len(seed) not in _SEED_LETTERS:
        raise refused(secret_id, "its value has another length than a seed", form)
    try:
        base64.b32decode(seed + "=" * (-len(seed) % 8))
    except ValueError:
        raise refused(secret_id, "its value is not base32", form) from None
    return seed


def binary(secret_id: str) -> IbgwError:
    return refused(secret_id, "its value is binary", "put the JSON document in as text, with `ibgw credentials put`")


def _is_placeholder(value: str) -> bool:
    """Whether somebody left it to be filled in. The broker's passwords have letters and digits, and its user ids have
    letters, so that one character over and over (`...`, `xxxx`) and what has no letter (`12345678`) are none."""
    word = "".join(character for character in value.casefold() if character.isalnum())
    if len(set(word)) <= 1 or not any(character.isalpha() for character in word):
        return True
    template = _TEMPLATE.fullmatch(value) is not None and not any(character.isdigit() for character in word)
    return template or _WORDS.fullmatch(word) is not None


def _check_text(secret_id: str, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise refused(secret_id, f"{key} is not a text", "write it in double quotes")
    if not value:
        raise refused(secret_id, f"{key} is empty", "put the real one in")
    if value != value.strip():
        raise refused(secret_id, f"{key} begins or ends with a blank", "IBC cuts such blanks off; remove them")
    if len(value) > _MAXIMUM_LENGTH:
        raise refused(secret_id, f"{key} has more than {_MAXIMUM_LENGTH} characters", "put the real one in")
    if any(0xD800 <= ord(character) < 0xE000 for character in value):
        raise refused(secret_id, f"{key} is not valid Unicode", "put the real one in")
    if unseen(value):
        raise refused(
            secret_id,
            f"{key} contains a control character, or another that nobody sees",
            "type it anew; such a one comes along when text is copied",
        )
    if _is_placeholder(value):
        raise refused(secret_id, f"{key} is a placeholder", "put the real one in, before it costs a login")
    return value


def render(user_id: str, password: str, mode: Mode) -> str:
    """The document of these values, as `parse` reads it."""
    return json.dumps(dict(zip(_KEYS, (user_id, password, mode.value), strict=True)))


def parse(secret_id: str, text: str, mode: Mode) -> tuple[str, str]:
    """User id and password out of a secret's JSON. Raises IbgwError (REFUSED) that never holds any of its values."""
    form = 'expected {"user_id": "...", "password": "...", "trading_mode": "' + mode.value + '"}'
    if text.startswith("\ufeff"):
        raise refused(secret_id, "its value begins with a byte-order mark", "save it as UTF-8 without one")
    try:
        document = json.loads(text)
    # RecursionError: nested without end; ValueError: also a number of thousands of digits.
    except (ValueError, RecursionError):
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
        form = "name this stack's own secret, or put its own credentials there (`ibgw credentials put`)"
        raise refused(secret_id, f"{other}, the stack's mode is {mode.value!r}", form)
    return user_id, password
