"""What is wrong with a configuration, in words: the key as it is in YAML, what is there and what was expected."""

import difflib
from types import UnionType
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

_SHOWN = 120


def explain(fault: ErrorDetails, schema: type[BaseModel], namespace: str) -> str:
    """One fault of a document that `schema` refused. `namespace`: of its keys, in the stack's file."""
    location = fault["loc"]
    key = ".".join(str(part) for part in location if part != "[key]")
    where = f"{namespace}:{key}" if key else namespace
    match fault["type"]:
        case "missing":
            return f"{where}: missing; set it, there is no default"
        case "extra_forbidden":
            known = _keys(schema, location[:-1])
            near = difflib.get_close_matches(str(location[-1]), known, n=1)
            return f"{where}: unknown key; " + (
                f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
            )
        case "value_error":
            # Our own words; a rule between top-level keys names them itself.
            said = str(fault["ctx"]["error"])
            return f"{where}: {said}" if location else said
        case _:
            value = fault["input"]
            shown = repr(value) if isinstance(value, str | int | float | bool | None) else type(value).__name__
            shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
            return f"{where}: found {shown}; {fault['msg']}"


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
