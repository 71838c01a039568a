"""Java's properties format, as IBC reads config.ini: java.util.Properties.load(InputStream)."""

import re

_WHITE = " \t\f"
_LINE_END = re.compile(r"(\r\n|\r|\n)")


class MalformedEscape(ValueError):
    """A `\\u` without four hexadecimal digits; Java throws IllegalArgumentException."""


def parse(data: bytes) -> dict[str, str]:
    """Keys to values; the last of several equal keys wins. Bytes are Latin-1, anything else is written as `\\uXXXX`.

    Raises MalformedEscape.
    """
    found: dict[str, str] = {}
    for line in _logical_lines(data.decode("latin-1")):
        key_end, value_start = _split(line)
        found[_unescape(line[:key_end])] = _unescape(line[value_start:])
    return found


def _logical_lines(text: str) -> list[str]:
    """Natural lines without comments and blanks; a line that ends in an odd number of backslashes is continued.

    A lone backslash leaves nothing, so what follows may be a comment again; at the very end it makes an empty line.
    """
    *naturals, last = _LINE_END.split(text)
    lines: list[str] = []
    pending = ""
    for at in range(0, len(naturals) + 1, 2):
        natural, end = (naturals[at], naturals[at + 1]) if at < len(naturals) else (last, "")
        stripped = natural.lstrip(_WHITE)
        if not pending and (not stripped or stripped[0] in "#!"):
            continue
        line = pending + stripped
        pending = ""
        if (len(line) - len(line.rstrip("\\"))) % 2 == 0:
            lines.append(line)
            continue
        nothing_follows = not end or (at + 2 == len(naturals) and not last and end != "\r\n")
        if nothing_follows:
            lines.append(line[:-1])
        else:
            pending = line[:-1]
    return [*lines, pending] if pending else lines


def _split(line: str) -> tuple[int, int]:
    """Where the key ends and the value starts: at the first `=`, `:` or blank that is not escaped."""
    index = 0
    while index < len(line) and line[index] not in "=:" + _WHITE:
        index += 2 if line[index] == "\\" else 1
    key_end = min(index, len(line))
    index = key_end
    while index < len(line) and line[index] in _WHITE:
        index += 1
    if index < len(line) and line[index] in "=:":
        index += 1
        while index < len(line) and line[index] in _WHITE:
            index += 1
    return key_end, index


def _unescape(text: str) -> str:
    """`\\t`, `\\n`, `\\r`, `\\f`, `\\uXXXX`; any other escaped character stands for itself."""
    units: list[str] = []
    index = 0
    while index < len(text):
        character = text[index]
        index += 1
        if character != "\\" or index >= len(text):
            if character != "\\":
                units.append(character)
            continue
        escaped = text[index]
        index += 1
        if escaped == "u":
            digits = text[index : index + 4]
            if not re.fullmatch("[0-9A-Fa-f]{4}", digits):
                raise MalformedEscape("Malformed \\uxxxx encoding.")
            units.append(chr(int(digits, 16)))
            index += 4
        else:
            units.append({"t": "\t", "n": "\n", "r": "\r", "f": "\f"}.get(escaped, escaped))
    # Two \uXXXX units of one character beyond the first 65536 become that character, as in a Java string.
    return "".join(units).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
