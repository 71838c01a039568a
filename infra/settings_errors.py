"""What is wrong with a configuration, in words: the key as it is in YAML, what is there and what was expected."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from deployment.errors import fault_in_words
from infra import elsewhere
from infra.values import PATTERNS

_SHOWN = 120
_EXPECTED = {
    "float_type": "expected a number, without quotes",
    "string_type": "expected a text; put it in quotes",
    "dict_type": "expected names, such as main, each with its settings below it",
    "tuple_type": "expected a list, such as [a, b]",
    "too_short": "expected at least one",
}
"""By pydantic's names of what is wrong; for all others, its own words."""
_BOOLEANS = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_SIZE = re.compile(r"(?i)([0-9]+) ?([mg])i?b?")
"""As other programs take one; ours are numbers of MiB."""

_WHOLE = ("model_type", "dict_type")
"""A text in the place of several settings may be anything, a password too."""


def explain(fault: ErrorDetails, schema: type[BaseModel], namespace: str) -> str:
    """One fault of a document that `schema` refused. `namespace`: of its keys, in the stack's file."""
    location = fault["loc"]
    key = ".".join(str(part) for part in location if part != "[key]")
    where = f"{namespace}:{key}" if key else namespace
    match fault["type"]:
        case "missing" if len(location) == 3 and str(location[1]) in _keys(schema, location[:2]):
            misplaced = location[1]
            return (
                f"{namespace}:gateways.{misplaced}: read as a gateway, which has {location[2]}; settings stand under a "
                f"gateway's name, such as {namespace}:gateways.main.{misplaced}"
            )
        case "missing":
            return f"{where}: missing; set it, there is no default{_below(schema, location)}"
        case "extra_forbidden":
            return f"{where}: unknown key; {_instead(location, fault['input'], schema, namespace)}"
        case "value_error":
            # Our own words; a rule between top-level keys names them itself.
            said = str(fault["ctx"]["error"])
            return f"{where}: {said}" if location else said
        case kind:
            hidden = "credentials" in location or kind in _WHOLE
            return f"{where}: found {_shown(fault['input'], hidden)}; {_expected(fault)}{_below(schema, location)}"


def _shown(value: Any, hidden: bool) -> str:
    if isinstance(value, str):
        text = ("a text" if value else "nothing") if hidden else repr(value)
    elif isinstance(value, int | float):
        text = json.dumps(value)
    else:
        text = "nothing" if value is None else "a list" if isinstance(value, list) else "keys and values"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _expected(fault: ErrorDetails) -> str:
    value, context = fault["input"], fault.get("ctx", {})
    match fault["type"]:
        case "string_pattern_mismatch":
            pattern = context["pattern"]
            meant = next((text for text in (value.lower(), value.upper()) if re.search(pattern, text)), None)
            return f"expected {PATTERNS[pattern]}{_meant(meant)}"
        case "enum":
            words = re.findall("'([^']*)'", context["expected"])
            near = difflib.get_close_matches(str(value).lower(), words, n=1, cutoff=0.7)
            return f"expected {context['expected']}{_meant(*near)}"
        case "model_type":
            return "expected settings"
        case "bool_type":
            return f"expected true or false, without quotes{_meant(_BOOLEANS.get(str(value).lower()))}"
        case "int_type":
            size = _SIZE.fullmatch(str(value))
            in_mib = size and str(int(size[1]) * (1024 if size[2].lower() == "g" else 1))
            return f"expected a whole number, without quotes or a unit{_meant(in_mib)}"
        case kind:
            return _EXPECTED.get(kind) or fault_in_words(fault)


def _below(schema: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """What stands below a key; empty for one that is itself a value, or names gateways."""
    keys = _keys(schema, location)
    return f"; below it stand: {', '.join(keys)}" if keys else ""


def _meant(meant: str | None = None) -> str:
    return f"; did you mean {meant}?" if meant else ""


def _instead(location: tuple[int | str, ...], value: Any, schema: type[BaseModel], namespace: str) -> str:
    """What an unknown key may have been meant for: a key beside it, another program's setting, a key elsewhere."""
    name = str(location[-1])
    known = _keys(schema, location[:-1])
    gateway = str(location[1]) if location[0] == "gateways" and len(location) > 1 else "NAME"

    def full(key: str) -> str:
        return (
            f"{namespace}:{key}" if key.split(".")[0] in _keys(schema, ()) else f"{namespace}:gateways.{gateway}.{key}"
        )

    def answer(name: str) -> str | None:
        # What other programs call a gateway's settings is no answer to who configures something else.
        row = elsewhere.row(name) if "gateways" in _keys(schema, ()) else None
        return row and "; ".join(filter(None, (row.key and f"it is {full(row.key)} here", row.note)))

    if beside := next((key for key in known if key.lower() == name.lower().replace("_", "").replace("-", "")), None):
        return f"did you mean {beside}?"
    if others := [path for path in _paths(schema) if path.rpartition(".")[2] == name]:
        # In a section of its own kind it may be another word for one of those.
        here = f" Known here: {', '.join(known)}" if len(location) == 2 or len(location) > 3 else ""
        return f"did you mean {' or '.join(map(full, others))}?{here}"
    if answered := answer(name):
        variables = _variables(value) if name == "environment" else ()
        return "\n      ".join((answered, *(f"{each}: {answer(each) or 'nothing takes it'}" for each in variables)))
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"


def _variables(environment: Any) -> list[str]:
    """The names in a container's environment, as compose files write it: a mapping, or a list of NAME=value."""
    lines = environment if isinstance(environment, list | Mapping) else ()
    return [str(line).partition("=")[0] for line in lines]


def _paths(schema: Any, above: str = "") -> Iterator[str]:
    """All keys; those of a gateway without where it stands."""
    for field in schema.model_fields.values():
        path = f"{above}{field.alias}"
        yield path
        inner = field.annotation if _is_model(field.annotation) else _held(field.annotation)
        if inner is not None:
            yield from _paths(inner, "" if path == "gateways" else f"{path}.")


def _keys(schema: Any, location: tuple[int | str, ...]) -> list[str]:
    """The keys of the model at `location` below `schema`."""
    for part in location:
        fields = schema.model_fields.values() if _is_model(schema) else ()
        # A field, or what a mapping or a list of models holds.
        schema = next((field.annotation for field in fields if field.alias == part), None) or _held(schema)
        if isinstance(schema, UnionType):  # with None
            schema = _held(schema)
    return sorted(str(field.alias) for field in schema.model_fields.values()) if _is_model(schema) else []


def _held(annotation: Any) -> Any:
    return next(filter(_is_model, get_args(annotation)), None)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
