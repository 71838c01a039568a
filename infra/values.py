"""What Docker, AWS, IANA and the API take as a value: each grammar and bound from its own definition. Pure.

What they would refuse is refused in the preview. Each function returns the value or raises ValueError, in words.
"""

import difflib
import re
import unicodedata
from datetime import date
from importlib.resources import files
from ipaddress import IPv4Network

from deployment.description import ClientIds

_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Letters, marks and a symbol that are drawn as nothing: of Unicode's Default_Ignorable_Code_Point, and a blank."""


def unseen(text: str) -> str | None:
    """The first character that a reader of the text does not see, by its code and name: a control, a change of the
    writing's direction, a blank that is no space, one without width. None where there is none."""
    for character in text:
        kind = unicodedata.category(character)
        variation = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
        if kind[0] == "C" or (kind[0] == "Z" and character != " ") or variation or character in _BLANK:
            return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()
    return None


# --- texts --------------------------------------------------------------------------------------------------------

NAME = r"^[a-z]([a-z0-9-]*[a-z0-9])?$"
ACCOUNT = r"^[A-Z]{1,3}[0-9]{3,12}$"
VERSION_ID = r"^[A-Za-z0-9-]{32,64}$"
CONTAINER_NAME = r"^[a-zA-Z0-9][a-zA-Z0-9_.-]+$"
LABEL = r"^[^=\s]+=[^\s]*$"
RELEASE = r"^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{12}$"
API_TEXT = r"^[!-~]([ -~]*[!-~])?$"
EXCHANGE = r"^[A-Z0-9][A-Z0-9._-]*$"
CURRENCY = r"^[A-Z]{3}$"
MULTIPLIER = r"^([1-9][0-9]{0,6}(\.[0-9]{1,4})?|0\.[0-9]{0,3}[1-9])$"
NOT_BLANK = r"\S"

PATTERNS = {
    NAME: "a name of lower-case letters, digits and hyphens, such as main; a letter first, no hyphen last",
    ACCOUNT: "an account such as U1234567, or DU1234567 on paper",
    VERSION_ID: "the id of a secret's version, as `aws secretsmanager list-secret-version-ids` prints it",
    CONTAINER_NAME: "a container's name",
    LABEL: "a label as KEY=VALUE without blanks, such as role=bot",
    RELEASE: "a release's name, as `ibgw releases` prints it",
    # All that the API's own clients send of a contract (error 579).
    API_TEXT: "printable ASCII without blanks around it",
    EXCHANGE: "an exchange's name in capitals, such as SMART",
    CURRENCY: "a currency's code of three letters, such as USD",
    MULTIPLIER: "a number above zero such as 100",
    NOT_BLANK: "a text",
}
"""What each of these wants, in words."""

# --- images -------------------------------------------------------------------------------------------------------

# The grammar of distribution/reference. What stands before the first / is a registry only with a dot, a port, or as
# localhost (splitDockerDomain); otherwise it is a part of the path.
_COMPONENT = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = rf"(?:localhost|{_COMPONENT}(?:\.{_COMPONENT})+|\[[0-9a-fA-F:]+\]|{_COMPONENT}(?=:))(?::(?P<port>[0-9]+))?"
_PART = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_REGISTRY}/)?{_PART}(?:/{_PART})*)(?::(?P<tag>[a-zA-Z0-9_][a-zA-Z0-9_.-]{{0,127}}))?"
    r"(?:@(?P<digest>.*))?"
)
_NAME_MAX = 255
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# A full version; or a date, or a commit, as builds are named after.
_STAYS = re.compile(
    r"[0-9]+\.[0-9]+\.[0-9]+|20[0-9]{2}[-.]?[0-9]{2}[-.]?[0-9]{2}"
    r"|(?<![a-z0-9])(?=[a-f]*[0-9])[0-9a-f]{7,64}(?![a-z0-9])"
)


def _reference(value: str, example: str) -> tuple[str | None, str | None]:
    """Tag and digest."""
    parts = _REFERENCE.fullmatch(value)
    if parts is None:
        raise ValueError(f"{value!r} is not an image reference such as {example}")
    if len(parts["name"]) > _NAME_MAX:
        raise ValueError(f"{value!r}: its name has {len(parts['name'])} characters, Docker takes {_NAME_MAX}")
    if parts["port"] and not 1 <= int(parts["port"]) <= 65535:
        raise ValueError(f"{value!r}: the registry's port is not from 1 to 65535")
    if parts["digest"] is not None and not _DIGEST.fullmatch(parts["digest"]):
        raise ValueError(f"{parts['digest']!r} is not a digest; expected sha256: and 64 hexadecimal digits")
    return parts["tag"], parts["digest"]


def pinned_image(value: str) -> str:
    """A gateway's image, which is on a registry that is named, or on Docker Hub under its maker's name."""
    example = "ghcr.io/gnzsnz/ib-gateway:10.45.1j"
    if "/" not in value:
        raise ValueError(f"{value!r} is not an image reference such as {example}")
    return _pinned(value, example)


def base_image(value: str) -> str:
    """What the verifier's image is built on."""
    return _pinned(value, "python:3.11.16-slim-bookworm")


def _pinned(value: str, example: str) -> str:
    """A reference with a tag that is meant to stay, or with a digest. A tag such as 10.45 moves with each release."""
    tag, digest = _reference(value, example)
    if digest:
        return value
    if tag is None:
        raise ValueError(f"{value!r} names no tag, which means 'latest'; name a full version or a digest")
    if not _STAYS.search(tag.lower()):
        raise ValueError(
            f"the tag {tag!r} moves to other images, since it names no full version; "
            f"name one such as {example.rpartition(':')[2]}, or a digest"
        )
    return value


# --- addresses ----------------------------------------------------------------------------------------------------

_UNUSABLE = {
    IPv4Network("0.0.0.0/8"): "'this network' (RFC 1122)",
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("169.254.0.0/16"): "link-local",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("240.0.0.0/4"): "reserved",
}


def _usable(value: IPv4Network) -> bool:
    """Whether a network of containers can have it; Docker takes more than the kernel routes."""
    for network, what in _UNUSABLE.items():
        if network.overlaps(value):
            raise ValueError(f"{value} is {what}, where no container can have an address; expected a private range")
    return value.is_private


def subnet_pool(value: IPv4Network) -> IPv4Network:
    if not _usable(value) or not 16 <= value.prefixlen <= 23:
        raise ValueError(f"{value} is not a private range between a /16 and a /23")
    return value


def api_subnet(value: IPv4Network) -> IPv4Network:
    if not _usable(value) or value.prefixlen != 28:
        raise ValueError(f"{value} is not a private /28")
    return value


# --- the rest -----------------------------------------------------------------------------------------------------

# The name as CreateSecret has it; a whole ARN, or one without the six random characters at its end.
_SECRET_NAME = r"[a-zA-Z0-9/_+=.@!-]"  # noqa: S105 - a grammar. `!` is in the names of secrets that AWS manages
_SECRET_ID = re.compile(
    rf"{_SECRET_NAME}{{1,512}}"
    rf"|arn:aws[a-z-]*:secretsmanager:[a-z]{{2}}(?:-[a-z]+)+-[0-9]+:[0-9]{{12}}:secret:{_SECRET_NAME}{{1,519}}"
)


_HTTP_ADDRESS = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[1-9][0-9]{0,4})?(/[A-Za-z0-9._~/-]*)?")


def secret_id(value: str) -> str:
    """The message does not repeat it: somebody may have put the secret itself there."""
    if not _SECRET_ID.fullmatch(value):
        raise ValueError(
            "expected the name or ARN of a secret in Secrets Manager: letters, digits and /_+=.@-, at most 512, "
            "without blanks"
        )
    return value


def http_address(value: str) -> str:
    """Of what is asked without a password. The message does not repeat it: somebody may have put one there."""
    if not _HTTP_ADDRESS.fullmatch(value):
        raise ValueError(
            "expected http:// or https:// and a host, with a port and a path where it has them, such as "
            "http://push.lan:9091; no user or password, which a stack's file is no place for"
        )
    return value


def region(value: str) -> str:
    """One of AWS's, such as us-gov-west-1; which there are is AWS's to say."""
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]+", value):
        raise ValueError(f"{value!r} is not a region of AWS's, such as us-east-1")
    return value


def gateway_name(value: str) -> str:
    if not re.fullmatch(NAME, value):
        raise ValueError(f"{value!r} is not {PATTERNS[NAME]}")
    return value


def gateways_file(value: str) -> str:
    """Pulumi.NAME.yaml is a stack's own."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.ya?ml", value) or value.startswith("Pulumi."):
        raise ValueError(
            f"{value[:120]!r} is not the name of a YAML file beside Pulumi.yaml, such as gateways.paper.yaml"
        )
    return value


_LOG_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9}
"""Docker reads the size of a log by go-units' FromHumanSize, whose units are decimal, into 64 bits."""


def log_size(value: str) -> str:
    size = re.fullmatch(r"([1-9][0-9]*)([kmg])", value)
    if size is None:
        raise ValueError(f"{value!r} is not a size such as 10m: a whole number with k, m or g")
    if len(size[1]) > 18 or int(size[1]) * _LOG_UNITS[size[2]] >= 2**63:
        raise ValueError(f"{value!r} is more than Docker can count (64 bits of bytes)")
    return value


def master_client_id(value: int) -> int:
    low, high = ClientIds().testing
    if low <= value <= high:
        raise ValueError(f"{value} is one of the verifier's own ({low} to {high}); choose another")
    return value


def expiry(value: str) -> str:
    """A contract's last trading day, or its month."""
    if not re.fullmatch(r"20[0-9]{4}([0-9]{2})?", value):
        raise ValueError(f"{value!r} is neither YYYYMM nor YYYYMMDD, such as 202703")
    try:
        date.fromisoformat(value if len(value) == len("YYYYMMDD") else f"{value}01")
    except ValueError:
        raise ValueError(f"{value!r} is not in the calendar") from None
    return value


_ABBREVIATIONS = {
    **dict.fromkeys(("EST", "EDT", "ET", "EASTERN", "NYC"), "America/New_York"),
    **dict.fromkeys(("CST", "CDT", "CT", "CENTRAL"), "America/Chicago"),
    **dict.fromkeys(("MST", "MDT", "MT", "MOUNTAIN"), "America/Denver"),
    **dict.fromkeys(("PST", "PDT", "PT", "PACIFIC"), "America/Los_Angeles"),
    **{"HST": "Pacific/Honolulu", "BST": "Europe/London", "CEST": "Europe/Berlin", "EEST": "Europe/Athens"},
    **{"IST": "Asia/Kolkata", "HKT": "Asia/Hong_Kong", "SGT": "Asia/Singapore", "JST": "Asia/Tokyo"},
    **dict.fromkeys(("AEST", "AEDT"), "Australia/Sydney"),
}
"""What people write for a place. Some are several places': the one whose exchange most will mean."""


def time_zone(value: str) -> str:
    """A name of IANA's for a place, or UTC. What is called after a distance from UTC has no summer time, so that the
    gateway's times would part from those of the place that is meant."""
    # The package's own list, so that every machine has the same; a system's folders hold files such as localtime.
    names = files("tzdata").joinpath("zones").read_text(encoding="ascii").split()
    place = value.strip().replace(" ", "_")
    meant = _ABBREVIATIONS.get(value.strip().upper()) or next(
        (name for name in names if place and place.casefold() in (name.casefold(), name.rpartition("/")[2].casefold())),
        None,
    )
    if value == "Factory" or value in _ABBREVIATIONS or re.fullmatch(r"(Etc/)?GMT[+-][1-9][0-9]*", value):
        raise ValueError(
            f"{value!r} is no place's time and knows no summer time; name the place whose time it is"
            + (f"; did you mean {meant!r}?" if meant else ", such as 'Europe/Berlin'")
        )
    if value not in names:
        meant = meant or next(iter(difflib.get_close_matches(value, names, n=1)), None)
        raise ValueError(f"{value!r} is not an IANA time zone" + (f"; did you mean {meant!r}?" if meant else ""))
    return value
