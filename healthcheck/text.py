"""Foreign text as text: what comes over the API, out of a log or from Docker can command nothing where it is shown.

Terminals, XML, Markdown and CI servers each have characters that do something. This is the one place that takes them
away, for every format; what a format itself writes (colours, tags) is added after it.
"""

import json
from typing import Annotated

from pydantic import AfterValidator, JsonValue

LONGEST = 2000
"""Characters of a text that is shown; the rest is cut, visibly."""

# Printable for Python, and drawn as nothing: Default_Ignorable_Code_Point (Unicode), and the blank of Braille.
_INVISIBLE = frozenset(
    chr(code)
    for first, last in (
        (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800), (0x3164, 0x3164),
        (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF),
    )
    for code in range(first, last + 1)
)  # fmt: skip


def clean(text: str) -> str:
    """One line without control, bidirectional, invisible and unassigned characters and without lone surrogates.

    Line breaks and other blanks become a space, the rest what Python's `repr` writes: `\\x1b`, `\\u202e`. What is clean
    stays as it is, so that it does no harm to clean twice.
    """
    if len(text) <= LONGEST and text.isprintable() and _INVISIBLE.isdisjoint(text):
        return text
    shown = "".join(map(_shown, text[:LONGEST]))
    if len(text) <= LONGEST and len(shown) <= LONGEST:
        return shown
    cut = f"... (cut; {len(text)} characters)"
    return shown[: LONGEST - len(cut)] + cut


def clean_value(value: JsonValue) -> JsonValue:
    """The same for every string and key of a JSON value."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [clean_value(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): clean_value(item) for key, item in value.items()}
    return value


def _clean_data(data: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {clean(key): clean_value(value) for key, value in data.items()}


Text = Annotated[str, AfterValidator(clean)]
Data = Annotated[dict[str, JsonValue], AfterValidator(_clean_data)]
"""Fields of a model that hold nothing but clean text."""


def clean_lines(text: str) -> str:
    """The same for each line of a text of our own that has foreign text in it."""
    return "\n".join(map(clean, text.split("\n")))


def escaped(document: str) -> str:
    """A JSON document that says the same and commands nothing: what `clean` would change is escaped as JSON does it."""
    return "".join(
        character if character == "\n" or _plain(character) else json.dumps(character)[1:-1] for character in document
    )


def _plain(character: str) -> bool:
    return character.isprintable() and character not in _INVISIBLE


def _shown(character: str) -> str:
    if _plain(character):
        return character
    return " " if character.isspace() else character.encode("unicode_escape", "surrogatepass").decode()
