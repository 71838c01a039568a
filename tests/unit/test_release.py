"""A live stack runs what a record of `releases/` names, and only a whole record of a paper verification."""

import json
from pathlib import Path
from typing import Any

import pytest

from contract.errors import ExitCode, IbgwError
from infra.release import read_release

DIGEST = "sha256:" + "0123456789abcdef" * 4
GOOD: dict[str, Any] = {
    "schema": 1,
    "image": "ghcr.io/gnzsnz/ib-gateway",
    "digest": DIGEST,
    "report": {"stack": "paper", "verdict": "verified"},
}


def write(folder: Path, **changes: Any) -> Path:
    (folder / "r.json").write_text(json.dumps(GOOD | changes))
    return folder


def test_a_release_names_its_image_by_digest(tmp_path: Path) -> None:
    assert read_release(write(tmp_path), "r").reference == f"ghcr.io/gnzsnz/ib-gateway@{DIGEST}"


def test_a_missing_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IbgwError, match=r"no file releases/r\.json") as refused:
        read_release(tmp_path, "r")
    assert refused.value.exit_code is ExitCode.REFUSED


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"digest": "latest"}, "digest"),
        ({"image": "a@b"}, "image"),
        ({"schema": 2}, "schema"),
        ({"report": {"stack": "paper", "verdict": "failed"}}, "report.verdict"),
        ({"report": {}}, "report.stack"),
    ],
)
def test_a_record_that_does_not_validate_is_refused_by_key(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    with pytest.raises(IbgwError, match=f"is not a release record: .*{key}"):
        read_release(write(tmp_path, **changes), "r")


def test_only_a_paper_stack_s_verification_counts(tmp_path: Path) -> None:
    with pytest.raises(IbgwError, match="only a paper stack's verification counts"):
        read_release(write(tmp_path, report={"stack": "live", "verdict": "verified"}), "r")
