"""The verification at an update's end: what it is interrupted by, and which gateways it is of."""

import asyncio
import json
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pulumi
import pytest

import healthcheck.runner
from infra import settings, spec
from infra.verification import ONLY, interruption, verify_after_update
from tests.unit.operations_contract import contract_document
from tests.unit.promotion_reports import report
from tests.unit.test_settings import as_engine, tracked


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_verification_and_not_the_program(number: signal.Signals) -> None:
    """So that the verifier's containers are removed before the program ends."""

    async def update() -> bool:
        with interruption() as interrupted:
            assert not interrupted.is_set()
            os.kill(os.getpid(), number)
            return await asyncio.to_thread(interrupted.wait, 10)

    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(update())
    finally:
        loop.close()
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler), "as before"


class Known:
    """An output whose value is there already."""

    def apply(self, run: Callable[[Any], Coroutine[Any, Any, int]]) -> None:
        asyncio.run(run(contract_document("main", "second")))


@pytest.mark.parametrize(
    ("only", "expected"), [(None, []), ("second", ["second"]), ("main,second", ["main", "second"])]
)
def test_an_update_of_some_gateways_is_verified_by_those(
    only: str | None, expected: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The others are as they were before it, and may be of an earlier version, or stopped."""
    asked: list[Any] = []

    def verify(_: Any, *, gateways: Any, **__: Any) -> Any:
        asked.append(gateways)
        return report(stack="paper")

    monkeypatch.setattr(healthcheck.runner, "verify", verify)
    monkeypatch.setattr(pulumi, "get_root_directory", lambda: str(tmp_path))
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: False)
    monkeypatch.setattr(pulumi.log, "info", lambda *_, **__: None)
    monkeypatch.delenv(ONLY, raising=False)
    if only is not None:
        monkeypatch.setenv(ONLY, only)
    loaded = settings.load("paper", as_engine(tracked("paper")))
    described = spec.describe(loaded, project="ibgw", stack="paper", image=loaded.image)
    verify_after_update(Known(), described)  # type: ignore[arg-type]
    assert asked == [expected]
    assert (tmp_path / ".ibgw" / "reports" / "paper.update.json").exists()
    kept = tmp_path / ".ibgw" / "descriptions" / "paper.json"
    assert json.loads(kept.read_text())["gateways"].keys() == {"main", "second"}
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_an_update_whose_report_cannot_be_kept_warns_and_tells_its_verdict(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: dict[str, list[str]] = {"info": [], "warn": []}
    (tmp_path / ".ibgw").write_text("a file in the folder's place")
    monkeypatch.setattr(healthcheck.runner, "verify", lambda _, **__: report(stack="paper"))
    monkeypatch.setattr(pulumi, "get_root_directory", lambda: str(tmp_path))
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: False)
    for level, texts in told.items():
        monkeypatch.setattr(pulumi.log, level, lambda text, texts=texts, **_: texts.append(text))
    loaded = settings.load("paper", as_engine(tracked("paper")))
    described = spec.describe(loaded, project="ibgw", stack="paper", image=loaded.image)
    verify_after_update(Known(), described)  # type: ignore[arg-type]
    assert any("this report is not kept" in text for text in told["warn"])
    assert "paper/main" in told["info"][-1]
