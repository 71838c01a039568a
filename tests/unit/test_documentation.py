"""What the documents for developers name exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("document", ["architecture", "extending"])
def test_each_file_that_is_named_exists(document: str) -> None:
    text = (ROOT / "docs" / f"{document}.md").read_text()
    named = re.findall(r"`((?:deployment|infra|healthcheck|operations|client|sandbox|tests|docs)/[\w./-]*)`", text)
    assert len(named) > 10
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []
