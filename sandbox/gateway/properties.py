"""Java's properties format, as IBC reads config.ini: java.util.Properties.load(InputStream)."""

import re

_WHITE = " \t\f"
_LINE_END = re.compile(r"\r\n|\r|\n")


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
    """Natural lines without comments and blanks; a line that ends in an odd number of backslashes is continued."""
    lines: list[str] = []
    pending: str | None = None
    for natural in _LINE_END.split(text):
        stripped = natural.lstrip(_WHITE)
        if pending is None and (not stripped or stripped[0] in "#!"):
            continue
        line = stripped if pending is None else pending + stripped
        pending = None
        trailing = len(line) - len(line.rstrip("\\"))
        if trailing % 2:
            pending = line[:-1]
        else:
            lines.append(line)
    if pending:
        lines.append(pending)
    return lines


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
