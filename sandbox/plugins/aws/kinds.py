"""What each kind of resource has in common: which inputs there are, how they are compared, and what a module does."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.plugins.provider import Change, Difference, Refusal, State
from sandbox.plugins.values import UNKNOWN, Properties, has_unknown

Client = Any
"""A client of boto3, whose classes exist at run time only."""


@dataclass(frozen=True)
class Kind:
    """One kind of resource. Which inputs replace is that of terraform-provider-aws (ForceNew).

    `put` brings everything that can be changed in place to what the inputs say. `read` gives the properties that AWS
    tells of, or None where the object is gone.
    """

    service: str
    replacing: frozenset[str]
    in_place: frozenset[str]
    outputs: frozenset[str]
    create: Callable[[Client, Properties], str]
    put: Callable[[Client, str, Properties], None]
    read: Callable[[Client, str], Properties | None]
    delete: Callable[[Client, State], None]

    @property
    def inputs(self) -> frozenset[str]:
        return self.replacing | self.in_place

    def refusals(self, token: str, inputs: Properties) -> list[Refusal]:
        return [
            *(
                Refusal(name, f"the aws stand-in does not know the input '{name}' of {token}")
                for name in sorted(set(inputs) - self.inputs)
            ),
            # The official provider would make one up.
            *(
                Refusal(name, f"the aws stand-in makes no names up: {token} needs '{name}'")
                for name in sorted(self.replacing - set(inputs))
            ),
        ]

    def planned(self, inputs: Properties) -> Properties:
        return {**dict.fromkeys(self.outputs, UNKNOWN), **inputs}

    def imported(self, state: State) -> Properties:
        """The inputs that an object has which nobody declared yet."""
        return {name: value for name, value in state.properties.items() if name in self.inputs and value}

    def compare(self, state: State, old: Properties, new: Properties) -> Difference:
        changes: dict[str, Change] = {}
        for name in sorted(self.inputs):
            kind = _kind_of_change(name, state.properties, old, new)
            if kind is not None:
                changes[name] = Change[f"{kind}_REPLACE"] if name in self.replacing else Change[kind]
        by_program = {name for name in changes if not _same(old.get(name), new.get(name))}
        return Difference(changes, frozenset(by_program), delete_first=any(c.replaces for c in changes.values()))


def _kind_of_change(name: str, recorded: Properties, old: Properties, new: Properties) -> str | None:
    if new.get(name) is None:
        return "DELETE" if old.get(name) is not None else None
    if recorded.get(name) is None:
        return "ADD"
    return None if _same(recorded[name], new[name]) else "UPDATE"


def _same(one: Any, other: Any) -> bool:
    """A policy is what it says, however it is written."""
    if has_unknown(one) or has_unknown(other):
        return False
    return bool(_parsed(one) == _parsed(other))


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())
