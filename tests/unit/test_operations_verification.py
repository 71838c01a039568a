"""`ibgw verify` around the verification: what is passed on, where the answer goes, and the exit code."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployment.description import Deployment
from healthcheck.report import Report
from operations import cli, formats, verification
from operations.stack import Stack
from tests.unit.operations_contract import contract_json


def report(verdict: str, exit_code: int) -> Report:
    gateway = {
        "gateway": "main",
        "mode": "paper",
        "verdict": verdict,
        "started_at": "2026-11-22T17:58:03Z",
        "waited_ms": 0,
        "duration_ms": 640,
        "vantage": {"api": True, "docker": True},
        "verifier": {"version": "0.1.0", "image_id": None},
        "checks": [
            {"name": "connected", "verdict": "pass", "required": True, "seen": "server version 178", "duration_ms": 12}
        ],
    }
    document = {"schema": 1, "stack": "paper", "verdict": verdict, "exit_code": exit_code, "gateways": [gateway]}
    return Report.model_validate(document)


@pytest.fixture
def verifier(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Report], dict[str, Any]]:
    """Gives the report that the verification is to find; returns what it was asked for."""
    asked: dict[str, Any] = {}

    def find(found: Report) -> dict[str, Any]:
        def verify(deployment: Deployment, *, progress: Callable[[str], None], recorded: Any, **options: Any) -> Report:
            assert (recorded.__name__, recorded.__self__) == ("recorded_ids", Stack(deployment.stack))
            asked.update(options, stack=deployment.stack)
            progress("main: starting the verifier")
            return found

        monkeypatch.setattr(verification, "verify", verify)
        return asked

    (tmp_path / "contract.json").write_text(contract_json("main", "other"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Pulumi.yaml").touch()
    return find


VERIFY = ["verify", "--contract", "contract.json"]


def test_options_reach_the_verification(verifier: Callable[[Report], dict[str, Any]]) -> None:
    asked = verifier(report("verified", 0))
    assert cli.run([*VERIFY, "--gateway", "other", "--wait", "1m30s", "--watch", "5m", "--show-accounts"]) == 0
    expected = {"gateways": ["other"], "wait": 90.0, "watch": 300.0, "show_accounts": True, "checks": None}
    assert asked.pop("pictures")("main").name == "paper.main.png"
    assert asked == {"stack": "paper", **expected}


@pytest.mark.parametrize(
    "options", [["--checks", "connected,hygiene"], ["--checks", "hygiene", "--checks", "connected"]]
)
def test_some_checks_alone_can_be_asked_for(verifier: Callable[[Report], dict[str, Any]], options: list[str]) -> None:
    asked = verifier(report("verified", 0))
    assert cli.run([*VERIFY, *options]) == 0
    assert asked["checks"] == {"connected", "hygiene"}


@pytest.mark.parametrize("options", [["--checks", "conected"], ["--checks", ""], ["--checks", "connected,"]])
def test_an_unknown_check_is_bad_usage_and_the_known_ones_are_named(
    verifier: Callable[[Report], dict[str, Any]], options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = verifier(report("verified", 0))
    assert cli.run([*VERIFY, *options]) == 2
    assert asked == {}
    assert (
        "expected some of: reachable, connected, authenticated, account_access, market_data, order_capability, "
        "isolation, hygiene" in capsys.readouterr().err
    )


def test_defaults_wait_as_it_is_worth_it_for_all_gateways_and_hide_accounts(
    verifier: Callable[[Report], dict[str, Any]],
) -> None:
    asked = verifier(report("verified", 0))
    assert cli.run(VERIFY) == 0
    expected = {"gateways": ["main", "other"], "wait": None, "watch": 0.0, "show_accounts": False, "checks": None}
    assert asked.pop("pictures")("main").name == "paper.main.png"
    assert asked == {"stack": "paper", **expected}


# docs/reference.md: the exit codes.
@pytest.mark.parametrize(
    ("verdict", "code", "options", "expected"),
    [
        ("verified", 0, [], 0),
        ("verified", 0, ["--strict"], 0),
        ("verified_with_warnings", 0, [], 0),
        ("verified_with_warnings", 0, ["--strict"], 4),
        ("failed", 3, [], 3),
        ("could_not_run", 5, [], 5),
        ("timed_out", 6, ["--strict"], 6),
    ],
)
def test_the_verdict_decides_the_exit_code(
    verifier: Callable[[Report], dict[str, Any]], verdict: str, code: int, options: list[str], expected: int
) -> None:
    verifier(report(verdict, code))
    assert cli.run([*VERIFY, *options]) == expected


def test_the_report_is_the_output_and_progress_is_not(
    verifier: Callable[[Report], dict[str, Any]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    verifier(report("verified", 0))
    cli.run([*VERIFY, "--json"])
    shown = capsys.readouterr()
    assert json.loads(shown.out)["gateways"][0]["verdict"] == "verified"
    assert shown.err == "main: starting the verifier\n"
    assert json.loads((tmp_path / ".ibgw" / "reports" / "paper.json").read_text()) == json.loads(shown.out)


@pytest.mark.parametrize(
    ("wanted", "beginning"),
    [("json", "{"), ("junit", "<testsuites"), ("prometheus", "# HELP"), ("human", "paper/main")],
)
def test_a_format_can_be_asked_for(
    verifier: Callable[[Report], dict[str, Any]], capsys: pytest.CaptureFixture[str], wanted: str, beginning: str
) -> None:
    verifier(report("verified", 0))
    cli.run([*VERIFY, "--format", wanted])
    assert capsys.readouterr().out.startswith(beginning)


def test_the_human_report_is_coloured_on_a_terminal_only(
    verifier: Callable[[Report], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    verifier(report("verified", 0))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    cli.run(VERIFY)
    plain = capsys.readouterr().out
    assert "VERIFIED" in plain
    assert "\x1b" not in plain
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "\x1b[" in formats.human(report("verified", 0))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in formats.human(report("verified", 0))


def test_outside_a_project_a_report_is_shown_and_not_kept(
    verifier: Callable[[Report], dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Pulumi.yaml").unlink()
    verifier(report("verified", 0))
    assert cli.run(VERIFY) == 0
    assert "VERIFIED" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["contract.json"]


def test_a_gateway_that_the_stack_lacks_is_bad_usage(
    verifier: Callable[[Report], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = verifier(report("verified", 0))
    assert cli.run([*VERIFY, "--gateway", "typo"]) == 2
    assert "only main, other" in capsys.readouterr().err
    assert asked == {}


def test_a_report_that_cannot_be_kept_takes_no_verdict_away(
    verifier: Callable[[Report], dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".ibgw").write_text("a file in the folder's place")
    verifier(report("failed", 3))
    assert cli.run(VERIFY) == 3
    shown = capsys.readouterr()
    assert "main" in shown.out
    assert "this report is not kept" in shown.err


@pytest.mark.parametrize(
    "content", [bytes(range(256)), b'{"a":' * 5000, b'{"schema":' + b"9" * 5000 + b"}", b"null", b""]
)
def test_a_contract_that_is_none_is_refused_in_words(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "contract"
    file.write_bytes(content)
    assert cli.run(["verify", "--contract", str(file)]) == 5
    assert f"{file}: " in capsys.readouterr().err
