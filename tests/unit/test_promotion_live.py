"""A deployment of a release to live: by which program, and what is said of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deployment.errors import ExitCode, IbgwError
from deployment.paths import update_report
from healthcheck.report import Report
from operations import verification
from operations.promotion import live
from operations.promotion.checkout import Program
from operations.promotion.deployer import Deployed
from operations.promotion.live import LiveStack
from operations.stack import Stack
from tests.unit.promotion_reports import report


def deploy(
    monkeypatch: pytest.MonkeyPatch, program: Program | IbgwError, outcome: tuple[bool, Report | None], *, touched: bool
) -> tuple[Deployed, list[str]]:
    """The deployment, and what was said."""
    said: list[str] = []
    containers = iter([frozenset({"a"}), frozenset({"b"} if touched else {"a"})])

    @contextmanager
    def program_of(*_: Any) -> Iterator[Program]:
        if isinstance(program, IbgwError):
            raise program
        yield program

    monkeypatch.setattr(live, "project_folder", lambda: Path())
    monkeypatch.setattr(live, "read_release", lambda *_: None)
    monkeypatch.setattr(live, "program_of", program_of)
    monkeypatch.setattr(live, "update", lambda *_, **__: outcome)
    monkeypatch.setattr(LiveStack, "_containers", lambda _: next(containers))
    monkeypatch.setattr(LiveStack, "_look", lambda _: None)
    return LiveStack(Stack("live"), said.append).deploy("r"), said


HERE = Program(Stack("live"), Path())
TREE = Program(Stack("live"), Path("tree"), commit="c" * 40)
GOOD = report()


def test_by_the_program_that_is_checked_out_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert deploy(monkeypatch, HERE, (True, GOOD), touched=True) == (Deployed(True, True, GOOD), [])
    assert deploy(monkeypatch, HERE, (False, None), touched=False) == (Deployed(False, False, None), [])


def test_by_another_program_the_next_update_s_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    done, [said] = deploy(monkeypatch, TREE, (True, GOOD), touched=True)
    assert done == Deployed(True, True, GOOD)
    assert said.startswith(
        f"live was deployed by the program of commit {'c' * 40}. `pulumi up` deploys what is checked"
    )


def test_a_program_that_refuses_today_s_configuration_touches_nothing_and_is_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done, [said] = deploy(monkeypatch, TREE, (False, None), touched=False)
    assert done == Deployed(False, False, None)
    assert "Where it does not know a key, take that out of Pulumi.live.yaml" in said


def test_a_program_that_cannot_be_had_touches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = IbgwError("no such commit", exit_code=ExitCode.REFUSED)
    assert deploy(monkeypatch, missing, (True, GOOD), touched=True) == (
        Deployed(False, False, None),
        ["no such commit"],
    )


def test_the_report_of_another_program_is_kept_where_every_other_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = tmp_path / "tree", tmp_path / "here"
    ours.mkdir()
    (ours / "Pulumi.yaml").touch()
    monkeypatch.setenv("PULUMI_OPTION_CWD", str(ours))

    def up(_: Stack, __: Any) -> bool:
        GOOD.write(update_report(theirs, "live"), pytest.fail)
        return True

    monkeypatch.setattr(Stack, "up", up)
    assert verification.update(Stack("live"), project=theirs) == (True, GOOD)
    assert json.loads((ours / ".ibgw" / "reports" / "live.update.json").read_text())["verdict"] == "verified"
    # A report of an earlier update is not this one's.
    monkeypatch.setattr(Stack, "up", lambda _, __: False)
    assert verification.update(Stack("live"), project=theirs) == (False, None)
