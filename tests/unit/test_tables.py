"""The tables of properties: nothing of the description is forgotten in them, and they agree with the provider's own."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from enum import Enum
from ipaddress import IPv4Network
from typing import Any

import pytest

from deployment.parts import (
    USER_ID,
    Attachment,
    ContainerSpec,
    FileSpec,
    LogSpec,
    Mount,
    NetworkSpec,
    Probe,
    Reference,
    Restart,
    VolumeSpec,
)
from deployment.properties import Table, Update, declared, facts_of_inputs
from deployment.tables import CONTAINER, NETWORK, TABLES, VOLUME, Kind
from infra.components.parts import references
from sandbox.plugins.docker import properties as plug_in
from sandbox.plugins.docker.schema import OnChange

SECONDS = timedelta(seconds=60)
# Every field has a value, so that a field without one here fails below.
EXAMPLES: list[tuple[Table[Any], Any]] = [
    (
        CONTAINER,
        ContainerSpec(
            name="main",
            image="gateway:1",
            command=("bash",),
            labels={"a": "b"},
            restart=Restart.UNLESS_STOPPED,
            entry_point=("chown",),
            user="0",
            environment={"TZ": "UTC"},
            files=(FileSpec("/user", USER_ID), FileSpec("/values", "1")),
            mounts=(Mount("settings", "/settings", read_only=True),),
            networks=(Attachment("api", ("main",)), Attachment("egress")),
            capabilities=("CHOWN",),
            read_only=True,
            probe=Probe(("CMD", "true"), SECONDS, SECONDS, 3),
            memory=1536,
            stop_grace=SECONDS,
            log=LogSpec("10m", 5),
        ),
    ),
    (NETWORK, NetworkSpec("api", IPv4Network("10.0.0.0/28"), {"a": "b"}, internal=True, separates=True)),
    (VOLUME, VolumeSpec("settings", {"a": "b"}, {"type": "tmpfs"})),
]


def otherwise(value: Any) -> Iterator[Any]:
    """The same with one thing in it changed, once for each thing."""
    if is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            for other in otherwise(getattr(value, field.name)):
                yield replace(value, **{field.name: other})
    elif isinstance(value, tuple) and value and not isinstance(value[0], str):
        for at, one in enumerate(value):
            for other in otherwise(one):
                yield (*value[:at], other, *value[at + 1 :])
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, Enum):
        yield from (other for other in type(value) if other is not value)
    elif isinstance(value, dict):
        yield {**value, "more": "1"}
    elif isinstance(value, tuple):
        yield (*value, "more")
    elif isinstance(value, timedelta):
        yield value * 2
    elif isinstance(value, IPv4Network):
        yield IPv4Network("10.0.1.0/28")
    elif isinstance(value, int):
        yield value + 1
    else:
        yield type(value)(f"{value}1")


@pytest.mark.parametrize(("table", "part"), EXAMPLES)
def test_each_thing_of_a_part_is_declared_and_read_back(table: Table[Any], part: Any) -> None:
    """A field of the description that has no row fails here."""
    assert all(getattr(part, field.name) for field in fields(part)), "a field has no example"
    inputs = declared(table, part)
    facts = facts_of_inputs(table, inputs)
    others = list(otherwise(part))
    assert len(others) > len(fields(part)) - 1
    for other in others:
        changed = declared(table, other)
        assert changed != inputs, other
        # Judged, compared and planned by.
        assert facts_of_inputs(table, changed) != facts, other


def test_what_docker_does_not_show_is_told_one_by_one() -> None:
    """Of all else tests/unit/test_operations_drift.py has an example of how Docker shows it."""
    unseen = {(kind, row.input) for kind, table in TABLES.items() for row in table if row.inspect is None}
    assert unseen == {
        (Kind.CONTAINER, "uploads"),
        *((Kind.CONTAINER, key) for key in ("destroyGraceSeconds", "wait", "attach", "logs")),
        (Kind.IMAGE, "name"),
    }


def test_what_an_update_does_is_what_the_provider_does() -> None:
    """By the stand-in's own tables, which were made from the official plug-in's sources."""
    does = {OnChange.REPLACE: Update.REPLACES, OnChange.APPLY: Update.IN_PLACE, OnChange.RECORD: Update.RECORDS}
    for table, schema in ((CONTAINER, plug_in.CONTAINER), (NETWORK, plug_in.NETWORK), (VOLUME, plug_in.VOLUME)):
        for row in table:
            known = schema[row.key].on_change
            assert known is OnChange.REPLACE_IF_COUNTED or row.update is does[known], row.name


def test_a_reference_has_the_address_that_the_engine_knows_it_by() -> None:
    table, part = EXAMPLES[0]
    assert dict(references(declared(table, part))) == {
        "image": Reference("gateway:1"),
        "uploads[0].content": USER_ID,
        "volumes[0].volumeName": Reference("settings"),
        "networksAdvanced[0].name": Reference("api"),
        "networksAdvanced[1].name": Reference("egress"),
    }
