"""docs/sandbox.md against the code: the scenarios that it lists, and the places that it names."""

import re
from pathlib import Path

from sandbox.broker.scenarios import NORMAL, SCENARIOS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return TEXT.split(f"# {title}\n", 1)[1].split("\n#", 1)[0]


def first_cells(text: str) -> list[str]:
    """The first column of a table, without its head."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [row.split("|")[1] for row in rows[2:]]


def test_each_scenario_is_described_once() -> None:
    listed = [name for cell in first_cells(section("States")) for name in re.findall(r"`([^`]+)`", cell)]
    assert sorted(listed) == sorted(SCENARIOS.keys() - {NORMAL})


def test_the_scenarios_of_the_examples_exist() -> None:
    used = re.findall(r"\$ ibgw sandbox scenario ([a-z-]+)", TEXT)
    assert used
    assert set(used) <= SCENARIOS.keys()


def test_the_places_that_are_named_exist() -> None:
    places = re.findall(r"`((?:sandbox|tests)/[^`]+)`", TEXT)
    assert places
    for place in places:
        assert (ROOT / place).is_file(), place
