"""A live stack runs what a record of `releases/` names, and only a whole record of a paper verification."""

import json
from pathlib import Path
from typing import Any

import pytest

from deployment.errors import ExitCode, IbgwError
from infra.release import read_release

DIGEST = "sha256:" + "0123456789abcdef" * 4
NAME = "20261123T010203Z-0123456789ab"
GOOD: dict[str, Any] = {
    "schema": 1,
    "image": "ghcr.io/gnzsnz/ib-gateway",
    "digest": DIGEST,
    "version": "10.45.1j",
    "commit": "0123456789" * 4,
    "created": "2026-11-23T01:02:03Z",
    "who": "trader@example.com",
    "soak": {"seconds": 1800, "verifications": 7},
    "live_quote": True,
    "report": {"stack": "paper", "verdict": "verified", "gateways": []},
}


def write(folder: Path, **changes: Any) -> Path:
    (folder / f"{NAME}.json").write_text(json.dumps(GOOD | changes))
    return folder


def test_a_release_names_its_image_by_digest(tmp_path: Path) -> None:
    assert read_release(write(tmp_path), NAME).reference == f"ghcr.io/gnzsnz/ib-gateway@{DIGEST}"


def test_a_missing_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IbgwError, match=rf"no file releases/{NAME}\.json") as refused:
        read_release(tmp_path, NAME)
    assert refused.value.exit_code is ExitCode.REFUSED


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"digest": "latest"}, "digest"),
        ({"image": "a@b"}, "image"),
        ({"schema": 2}, "schema"),
        ({"report": {"stack": "paper", "verdict": "failed"}}, "report.verdict"),
        ({"report": {}}, "report.stack"),
        ({"commit": "main"}, "commit"),
        ({"who": ""}, "who"),
        ({"created": "2026-11-23T01:02:03"}, "created"),
        ({"soak": {"seconds": 1800, "verifications": 0}}, "soak.verifications"),
        ({"note": "x"}, "note"),
    ],
)
def test_a_record_that_does_not_validate_is_refused_by_key(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    with pytest.raises(IbgwError, match=f"is not a release record: .*{key}"):
        read_release(write(tmp_path, **changes), NAME)


def test_only_a_paper_stack_s_verification_counts(tmp_path: Path) -> None:
    with pytest.raises(IbgwError, match="only a paper stack's verification counts"):
        read_release(write(tmp_path, report={"stack": "live", "verdict": "verified"}), NAME)


def test_a_record_keeps_the_name_that_it_was_written_under(tmp_path: Path) -> None:
    (write(tmp_path) / f"{NAME}.json").rename(tmp_path / "20261123T010203Z-ffffffffffff.json")
    with pytest.raises(IbgwError, match=f"holds the release {NAME}"):
        read_release(tmp_path, "20261123T010203Z-ffffffffffff")
