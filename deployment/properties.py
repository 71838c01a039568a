"""What a property of a container, a network or a volume is: its names, and how its value is read. Pure.

A property has one value, its fact, whether it is read from the inputs of the engine's provider (pulumi-docker 5.1) or
from Docker's inspect (API 1.41). `deployment.tables` has a row for each.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, Generic, TypeVar

Inputs = Mapping[str, Any]
"""A resource's, as the engine has them."""
Inspected = Mapping[str, Any]
Facts = Mapping[str, Any]
"""By the name of the property. None: not to be seen from where they were read."""

Part = TypeVar("Part")


class Unknown(Enum):
    """An input that depends on what is not created yet."""

    UNKNOWN = "unknown"


UNKNOWN = Unknown.UNKNOWN


class Update(StrEnum):
    """What the provider makes of a changed input of an object that exists."""

    REPLACES = "replaces"
    IN_PLACE = "in_place"
    RECORDS = "records"
    """It reports an update and changes nothing. Right for what is its own business, such as the grace at a removal."""


def _same(value: Any) -> Any:
    return value


def by_key(fact: Any) -> Mapping[str, object]:
    """What is compared on its own: the entries of a mapping, or the whole under an empty key."""
    return fact if isinstance(fact, Mapping) else {"": fact}


def each(fact: Iterable[str]) -> Mapping[str, object]:
    return dict.fromkeys(fact, True)


@dataclass(frozen=True)
class Property(Generic[Part]):
    """One property by its names: `name` in facts, `words` for people (the name, unless given), `input` and `inspect` as
    paths into the provider's inputs and Docker's inspect. None as a path: Docker does not show it.

    `declare` makes the provider's value of the description, None where nothing is to be declared; without it no part of
    ours can have the property. `read` makes the fact of what is found under either path, `given` and `shown` of what is
    found under the one and the other; `default` is the fact where nothing is there. `tell` is how a person reads the
    fact; without it nobody does, since somebody may have put a password there. `parts`: what is compared on its own.
    `ask` makes what Docker is asked for of the provider's value.
    """

    name: str
    input: str
    inspect: str | None = None
    declare: Callable[[Part], Any] | None = None
    read: Callable[[Any], Any] = _same
    given: Callable[[Any], Any] | None = None
    shown: Callable[[Any], Any] | None = None
    default: Any = None
    words: str = ""
    update: Update = Update.REPLACES
    tell: Callable[[Any], str] | None = None
    parts: Callable[[Any], Mapping[str, object]] = by_key
    ask: Callable[[Any], Any] = _same
    inherited: bool = False
    """Docker adds the image's own."""
    counts_undeclared: bool = False
    """An object that somebody gave it, although it was not declared, has drifted."""

    @property
    def item(self) -> str:
        return self.words or self.name.replace("_", " ")

    @property
    def key(self) -> str:
        """The input, without the way inside of it."""
        return self.input.partition(".")[0]

    def of_inputs(self, inputs: Inputs) -> Any:
        """The fact; None where the engine does not know it yet."""
        value = _at(inputs, self.input)
        if _unknown(value):
            return None
        return self.default if value is None else (self.given or self.read)(value)

    def of_docker(self, inspected: Inspected) -> Any:
        """The fact; None where Docker does not show it."""
        if self.inspect is None:
            return None
        value = _at(inspected, self.inspect)
        return self.default if value is None else (self.shown or self.read)(value)


Table = tuple[Property[Part], ...]


def declared(table: Table[Part], part: Part) -> dict[str, Any]:
    """The provider's inputs that a part of ours is declared with. What only the engine knows is a Reference."""
    inputs: dict[str, Any] = {}
    for row in table:
        value = None if row.declare is None else row.declare(part)
        if value is not None:
            key, _, inner = row.input.partition(".")
            if inner:
                inputs.setdefault(key, {})[inner] = value
            else:
                inputs[key] = value
    return inputs


def _chosen(table: Table[Part], part: Part) -> Iterable[tuple[Property[Part], str, Any]]:
    """What Docker keeps as it was asked for it: the row, the path and the provider's value."""
    inputs = declared(table, part)
    for row in table:
        value = _at(inputs, row.input)
        if value is not None and row.inspect is not None and row.inspect.startswith(("Config.", "HostConfig.")):
            yield row, row.inspect, value


def asked_of_docker(table: Table[Part], part: Part) -> dict[str, Any]:
    """`Config` and `HostConfig` of a part as Docker is asked to create it. Its image, volumes, networks and files are
    not in there."""
    asked: dict[str, Any] = {}
    for row, path, value in _chosen(table, part):
        *folders, last = path.split(".")
        place = asked
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = row.ask(value)
    return asked


def is_as_asked(table: Table[Part], part: Part, inspected: Inspected) -> bool:
    """Whether Docker shows an object that was asked for with all of that."""
    inputs = declared(table, part)
    for row, _, _ in _chosen(table, part):
        wanted, shown = row.of_inputs(inputs), row.of_docker(inspected)
        if row.inherited:
            shown = {key: shown.get(key) for key in wanted}
        if wanted != shown:
            return False
    return True


def facts_of_inputs(table: Table[Any], inputs: Inputs) -> Facts:
    return {row.name: row.of_inputs(inputs) for row in table}


def facts_of_docker(table: Table[Any], inspected: Inspected) -> Facts:
    return {row.name: row.of_docker(inspected) for row in table}


def row(table: Table[Part], name: str) -> Property[Part]:
    """Raises KeyError for a name that no row has."""
    return {entry.name: entry for entry in table}[name]


def _at(value: Any, path: str) -> Any:
    for step in filter(None, path.split(".")):
        value = value if value is UNKNOWN else (value or {}).get(step)
    return value


def _unknown(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_unknown, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_unknown, value))
    return value is UNKNOWN
