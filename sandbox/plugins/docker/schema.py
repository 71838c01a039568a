"""What a property is, and what follows from it: whether inputs are accepted and what a change of them does.

The comparison is the official plug-in's (Terraform's): the recorded state against what the program says now. A property
that the program leaves out is what its default says, or stays as Docker chose it when it is computed; zero, empty and
absent are one and the same.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sandbox.plugins.provider import Change, Difference, Refusal
from sandbox.plugins.values import UNKNOWN, Properties, has_unknown


class Shape(Enum):
    """A property's form. The order of a SET means nothing."""

    SCALAR = "scalar"
    LIST = "list"
    SET = "set"
    MAP = "map"
    OBJECT = "object"


class OnChange(Enum):
    """What a changed property does to the object that exists."""

    REPLACE = "replaces it"
    APPLY = "is applied to it in place"
    RECORD = "is reported as an update and recorded, but not applied"
    REPLACE_IF_COUNTED = "replaces it if the number of elements changed, else is only recorded"


@dataclass(frozen=True)
class Property:
    """One property of a resource, or of an object inside one.

    `computed`: left out, it is what Docker makes of it. `items`: the properties of an object, or of each element.
    `refused`: why the stand-in does not accept it. `output`: only Docker sets it.
    """

    shape: Shape = Shape.SCALAR
    on_change: OnChange = OnChange.REPLACE
    default: Any = None
    computed: bool = False
    required: bool = False
    output: bool = False
    pattern: str | None = None
    items: "Schema | None" = None
    refused: str | None = None


Schema = Mapping[str, Property]

DEFAULTS = "__defaults"
"""Bookkeeping in recorded inputs: which of an object's properties were filled in."""


def refusals(schema: Schema, inputs: Properties, path: str = "") -> Iterator[Refusal]:
    """Why these inputs are not accepted: unknown, refused, missing or malformed properties, by name."""
    for name, value in inputs.items():
        where = f"{path}{name}"
        known = schema.get(name)
        if name.startswith("__"):
            continue  # the engine's and our own bookkeeping
        if known is None or known.output:
            yield Refusal(where, f"the docker stand-in does not know '{where}'")
        elif known.refused is not None:
            yield Refusal(where, f"the docker stand-in refuses '{where}': {known.refused}")
        elif value is not None and value is not UNKNOWN:
            yield from _malformed(known, value, where)
    for name, known in schema.items():
        if known.required and inputs.get(name) is None:
            yield Refusal(f"{path}{name}", f"Missing required property '{path}{name}'")


def _malformed(known: Property, value: Any, where: str) -> Iterator[Refusal]:
    if known.pattern is not None and not re.search(known.pattern, str(value)):
        yield Refusal(where, f"'{where}' does not match {known.pattern}")
    if known.items is None:
        return
    if known.shape is Shape.OBJECT and isinstance(value, dict):
        yield from refusals(known.items, value, f"{where}.")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict):
                yield from refusals(known.items, item, f"{where}[{index}].")


def with_defaults(schema: Schema, inputs: Properties) -> Properties:
    """The inputs and the defaults of what they leave out, nested ones included."""
    filled = {name: value for name, value in inputs.items() if not name.startswith("__")}
    for name, known in schema.items():
        if filled.get(name) is None and known.default is not None:
            filled[name] = known.default
        if known.items is not None and (value := filled.get(name)) is not None and value is not UNKNOWN:
            filled[name] = _fill_items(known, value)
    return filled


def recorded_inputs(schema: Schema, inputs: Properties, *, given: Properties) -> Properties:
    """The inputs as pulumi-terraform-bridge checks and records them: filled in, and each object with the list of what
    the program had not `given`."""
    filled = with_defaults(schema, inputs)
    for name, known in schema.items():
        value = filled.get(name)
        if known.items is None or value is None or value is UNKNOWN:
            continue
        if known.shape is Shape.OBJECT:
            filled[name] = recorded_inputs(known.items, value, given=inputs[name])
        else:
            filled[name] = [
                recorded_inputs(known.items, item, given=before) if isinstance(item, dict) else item
                for item, before in zip(value, inputs[name], strict=True)
            ]
    return {**filled, DEFAULTS: sorted(filled.keys() - given.keys())}


def _fill_items(known: Property, value: Any) -> Any:
    items = known.items or {}
    if known.shape is Shape.OBJECT:
        return with_defaults(items, value)
    return [with_defaults(items, item) if isinstance(item, dict) else item for item in value]


def compare(schema: Schema, state: Properties, old_inputs: Properties, new: Properties) -> Difference:
    """What the new inputs change in the recorded state."""
    wanted = with_defaults(schema, new)
    changes: dict[str, Change] = {}
    for name, known in schema.items():
        if known.output or known.refused is not None or (known.computed and wanted.get(name) is None):
            continue
        before, after = canonical(known, state.get(name)), canonical(known, wanted.get(name))
        if before != after or has_unknown(wanted.get(name)):
            changes[name] = _change(known, state.get(name), wanted.get(name))
    by_program = frozenset(name for name in changes if old_inputs.get(name) != new.get(name))
    return Difference(changes, by_program)


_ABSENT: tuple[Any, ...] = (None, "", [], {})


def _change(known: Property, before: Any, after: Any) -> Change:
    kind = "ADD" if before in _ABSENT else "DELETE" if after in _ABSENT else "UPDATE"
    counted = known.on_change is OnChange.REPLACE_IF_COUNTED and len(before or ()) != len(after or ())
    replaces = known.on_change is OnChange.REPLACE or counted
    return Change[f"{kind}_REPLACE" if replaces else kind]


def canonical(known: Property, value: Any) -> Any:
    """A form in which equal values are equal: defaults filled in, sets sorted, nothing for what is zero or empty."""
    if value is None or value is UNKNOWN:
        return None
    if known.items is not None:
        value = _fill_items(known, value)
        if known.shape is Shape.OBJECT:
            value = _canonical_object(known.items, value)
        else:
            value = [_canonical_object(known.items, item) for item in value]
    if known.shape is Shape.SET:
        value = sorted(value, key=_sort_key)
    return value or None


def _canonical_object(items: Schema, value: Properties) -> Properties:
    return {name: found for name, known in items.items() if (found := canonical(known, value.get(name))) is not None}


def _sort_key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def planned(schema: Schema, inputs: Properties, state: Properties | None = None) -> Properties:
    """What a preview says of the object: the inputs, and unknown for all that Docker has not set yet."""
    outputs: Properties = {}
    for name, known in schema.items():
        if known.refused is None and (known.output or known.computed):
            outputs[name] = UNKNOWN if state is None else state.get(name)
    return {**outputs, **with_defaults(schema, inputs)}
