"""The README's settings table names every setting, and nothing that does not exist."""

import re
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from infra.settings import Gateway, Settings

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


ELSEWHERE = ("Gateway", "ClientSettings")
"""The keys of a gateway are counted by themselves; those of `clients` stand in its own row."""


def keys(model: type[BaseModel]) -> set[str]:
    found: set[str] = set()
    for field in model.model_fields.values():
        found.add(str(field.alias))
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found |= keys(kind) if kind.__name__ not in ELSEWHERE else set()
    return found


def test_the_settings_table_is_complete_and_true() -> None:
    table = README.partition("## Settings")[2].partition("## Commands")[0]
    first_columns = "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))
    named = {name.removeprefix("ibgw:") for name in re.findall(r"`([A-Za-z:]+)`", first_columns)}
    assert named == keys(Settings) | keys(Gateway)
