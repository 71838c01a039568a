"""What differs between what the last update left and what is there. Pure.

Two sources. A refresh in preview: what was recorded, beside what the provider reads today. And Docker itself, for what
the provider does not read back (environment, labels, mounts, networks) and for objects that somebody made anew, which
the provider only knows to be gone. `deployment.tables` says for each input of an object where Docker's inspect has it;
what is not in there is compared as the provider read it.

Everything is compared by key, so that the order means nothing. Values are told only of properties that a person may
read: in an environment or a label somebody may have put a password.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, computed_field

from deployment.properties import Inspected, Property
from deployment.tables import TABLES, Kind
from operations.answers import Answer

HIDDEN = "[secret]"
"""What the engine's JSON has in place of a secret."""

PASSING = frozenset({"networkDatas", "exitCode", "containerLogs", "repoDigest"})
"""Outputs that change by themselves: addresses (which the provider also gives in any order), how a container ended, and
by which of its repositories the provider names an image, whose id counts."""


class Change(StrEnum):
    """Of a whole object (gone, recreated, forgotten) or of a part of it."""

    GONE = "gone"
    RECREATED = "recreated"
    """Another object of its name is there instead of the one that was deployed."""
    FORGOTTEN = "forgotten"
    """The last update left it, and the state has it no more: a refresh has found it gone."""
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"


class Difference(BaseModel, frozen=True):
    """`item`: what of it, such as `environment TIME_ZONE`; None where it is the whole object. `recorded` and `found`
    are None where the values are not to be told."""

    kind: Kind
    name: str
    item: str | None
    change: Change
    recorded: str | None = None
    found: str | None = None


class Drift(Answer):
    stack: str
    differences: tuple[Difference, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def drift(self) -> bool:
        return bool(self.differences)


@dataclass(frozen=True)
class Recorded:
    """One object as the state has it. `inputs` are what the last update asked for, `outputs` what the provider made of
    it and read at the last update or refresh, `read` what it reads now, None if it finds nothing."""

    kind: Kind
    id: str
    name: str
    host: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    read: Mapping[str, Any] | None


@dataclass(frozen=True)
class Seen:
    """One object as Docker inspects it. `image`: the `Config` of the image that a container was made from, whose
    environment and labels Docker adds to the container's. `networks`: names of the recorded networks, by id."""

    inspected: Inspected
    image: Inspected
    networks: Mapping[str, str]

    @property
    def own(self) -> Inspected:
        """Without the volumes that the image asks for and that nobody named."""
        of_image = self.image.get("Volumes") or {}
        mounts = [
            mount
            for mount in self.inspected.get("Mounts") or ()
            if not (mount["Destination"] in of_image and re.fullmatch("[0-9a-f]{64}", mount.get("Name") or ""))
        ]
        return {**self.inspected, "Mounts": mounts}


def compare(recorded: Recorded, seen: Seen | None) -> list[Difference]:
    """What differs. `seen` is None where Docker has no such object."""

    def differing(item: str | None, change: Change, before: str | None = None, after: str | None = None) -> Difference:
        return Difference(
            kind=recorded.kind, name=recorded.name, item=item, change=change, recorded=before, found=after
        )

    if seen is None:
        return [differing(None, Change.GONE)]
    differences = []
    if recorded.kind in (Kind.CONTAINER, Kind.NETWORK) and seen.inspected["Id"] != recorded.id:
        differences.append(differing(None, Change.RECREATED))
    inputs = {key: _declared(recorded, key) for key in recorded.inputs}
    compared = set()
    for row in TABLES[recorded.kind]:
        value = inputs.get(row.key)
        if row.inspect is None or value == HIDDEN or (value is None and not row.counts_undeclared):
            continue
        compared.add(row.key)
        before, after = _before(row, inputs, seen), row.parts(row.of_docker(seen.own))
        for part in sorted({*before, *after}):
            item = f"{row.item} {part}".rstrip()
            if part not in after:
                differences.append(differing(item, Change.REMOVED))
            elif part not in before:
                differences.append(differing(item, Change.ADDED))
            elif before[part] != after[part]:
                values = (row.tell(before[part]), row.tell(after[part])) if row.tell else (None, None)
                differences.append(differing(item, Change.CHANGED, *values))
    if recorded.read is not None:
        for key in sorted({*recorded.outputs, *recorded.read} - compared - PASSING):
            if _plain(recorded.outputs.get(key)) != _plain(recorded.read.get(key)):
                differences.append(differing(key, Change.CHANGED))
    return differences


def _before(row: Property[Any], inputs: Mapping[str, Any], seen: Seen) -> Mapping[str, object]:
    """What the last update left of one property, in the parts that are compared."""
    fact = row.of_inputs(inputs)
    if fact is None:
        # Either is right.
        fact = row.of_docker(seen.own)
    if row.inherited:
        fact = {**row.of_docker({"Config": seen.image}), **fact}
    if isinstance(fact, Mapping):
        # The inputs have the ids of networks.
        fact = {seen.networks.get(key, key): part for key, part in fact.items()}
    return row.parts(fact)


def _declared(recorded: Recorded, key: str) -> Any:
    """What the last update asked for. Of what has keys, such as a network's options, with those that Docker added."""
    value, read = recorded.inputs[key], recorded.outputs.get(key)
    return {**read, **value} if isinstance(value, Mapping) and isinstance(read, Mapping) else value


def _plain(value: Any) -> Any:
    """Without order, and without what is empty: to the provider, empty and absent are the same."""
    if isinstance(value, Mapping):
        return {key: kept for key, part in value.items() if (kept := _plain(part)) is not None} or None
    if isinstance(value, list):
        kept_parts = (kept for part in value if (kept := _plain(part)) is not None)
        return sorted(kept_parts, key=lambda part: json.dumps(part, sort_keys=True)) or None
    return value or None
