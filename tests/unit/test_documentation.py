"""What the documents name exists."""

import re
from pathlib import Path

import pytest

from operations.commands.doctor import doctor
from operations.doctor_host import TOPICS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("document", ["architecture", "extending"])
def test_each_file_that_is_named_exists(document: str) -> None:
    text = (ROOT / "docs" / f"{document}.md").read_text()
    named = re.findall(r"`((?:deployment|infra|healthcheck|operations|client|sandbox|tests|docs)/[\w./-]*)`", text)
    assert len(named) > 10
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []


def test_the_page_about_the_host_has_each_topic_of_the_doctor_in_its_order() -> None:
    rows = re.findall(r"^\| `([a-z ]+)` \|", (ROOT / "docs" / "host.md").read_text(), re.MULTILINE)
    assert rows == [topic.__name__.replace("_", " ") for topic in TOPICS]
    help_text = " ".join((doctor.__doc__ or "").split())
    assert f"Of the Docker host: {', '.join(rows)}" in help_text
