"""`python -m healthcheck`, as the verifier's container runs it."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from healthcheck.__main__ import main
from healthcheck.events import read_attempt
from tests.unit.gateways import checks, entry
from tests.unit.tws_server import Script, closed_port, echo, hang_up, serving, silent

ROOT = Path(__file__).parents[2]


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "healthcheck", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )


def events(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_help_needs_nothing() -> None:
    found = run("--help")
    assert found.returncode == 0
    assert "verify" in found.stdout
    assert run("verify", "--help").returncode == 0


def test_a_gateway_on_stdin_gives_one_report_line_with_masked_accounts() -> None:
    with serving() as server:
        found = run("verify", "--stack", "paper", stdin=json.dumps(entry(server.port)))
    assert found.returncode == 0, found.stderr
    (event,) = events(found.stdout)
    assert event["event"] == "report"
    report = event["report"]
    assert (report["verdict"], report["vantage"]) == ("verified", {"api": True, "docker": False, "prober": False})
    assert [(check["name"], check["verdict"]) for check in report["checks"][6:]] == [
        ("isolation", "not_applicable"),
        ("hygiene", "not_applicable"),
    ]
    assert report["checks"][2]["data"] == {"accounts": ["DU***567"], "account_kind": "paper"}
    assert "DU1234567" not in found.stdout + found.stderr


def test_accounts_are_shown_on_demand_and_files_and_arguments_do_as_well(tmp_path: Path) -> None:
    with serving() as server:
        text = json.dumps(entry(server.port))
        (tmp_path / "gateway.json").write_text(text)
        found = run("verify", "--show-accounts", "--gateway", str(tmp_path / "gateway.json"))
        assert events(found.stdout)[0]["report"]["checks"][2]["seen"] == "DU1234567 (paper)"
        assert run("verify", "--gateway-json", text).returncode == 0


def test_several_gateways_are_verified_at_once_and_the_worst_decides() -> None:
    with serving() as server:
        good, bad = json.dumps(entry(server.port)), json.dumps(entry(closed_port()) | {"name": "second"})
        found = run("verify", "--gateway-json", good, "--gateway-json", bad)
    reports = {event["report"]["gateway"]: event["report"]["verdict"] for event in events(found.stdout)}
    assert reports == {"main": "verified", "second": "failed"}
    assert found.returncode == 3


def test_some_checks_alone() -> None:
    with serving() as server:
        found = run("verify", "--checks", "connected,authenticated", stdin=json.dumps(entry(server.port)))
    assert found.returncode == 0, found.stderr
    (event,) = events(found.stdout)
    assert [check["name"] for check in event["report"]["checks"]] == ["connected", "authenticated"]


def test_even_a_message_that_cannot_be_decoded_shows_no_account() -> None:
    """ib_async logs the fields of what it cannot decode."""
    script = Script(notices=[(2104, "ok")], summary=[("DU1234567", "NetLiquidation", "DU1234567", "USD")])
    with serving(script) as server:
        found = run("verify", stdin=json.dumps(entry(server.port)))
    assert found.returncode == 3
    assert "DU1234567" not in found.stdout + found.stderr


def test_progress_lines_come_before_the_report_and_a_timeout_is_6() -> None:
    found = run("verify", "--wait", "1.2", stdin=json.dumps(entry(closed_port())))
    assert found.returncode == 6
    *progress, report = events(found.stdout)
    assert progress
    assert {event["event"] for event in progress} == {"progress"}
    assert progress[0]["checks"][0]["reason"] == "port_closed"
    assert report["report"]["verdict"] == "timed_out"


def test_warnings_are_0_and_failures_are_3() -> None:
    with serving(Script(quotes={}, quote_error={1: (10197, "competing live session")})) as server:
        assert run("verify", stdin=json.dumps(entry(server.port))).returncode == 0
        required = entry(server.port) | {"checks": checks(market_data="required")}
        assert run("verify", stdin=json.dumps(required)).returncode == 3


BAD_USAGE = [
    (["verify", "--gateway-json", "{}"], "not an entry of the contract"),
    (["verify", "--gateway", "no/such/file"], "no/such/file: No such file or directory; expected a readable JSON file"),
    (["verify", "--gateway", "a.json", "--gateway-json", "{}"], "not allowed with"),
    (["verify", "--gateway-json", "{}", "--wait", "soon"], "invalid float"),
    (
        ["verify", "--gateway-json", json.dumps(entry()), "--checks", "orders"],
        "--checks: no check 'orders'; expected some of: reachable, connected, authenticated, account_access, "
        "market_data, order_capability, isolation, hygiene",
    ),
    (["probe", "nowhere"], "nowhere: expected ADDRESS:PORT"),
    ([], "required"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD_USAGE)
def test_bad_usage_is_2_and_says_what_was_expected(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(arguments)
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert said in capsys.readouterr().err


def test_sigterm_disconnects_and_ends_with_143() -> None:
    with serving(talk=silent) as server:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "healthcheck",
                "verify",
                "--wait",
                "60",
                "--gateway-json",
                json.dumps(entry(server.port)),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert b"wedged" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 143


def test_for_the_runner_it_says_what_it_saw_and_stays_without_a_session() -> None:
    command = [sys.executable, "-m", "healthcheck", "verify", "--stay", "60", "--checks", "connected"]
    with serving() as server:
        process = subprocess.Popen(
            [*command, "--gateway-json", json.dumps(entry(server.port))], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        attempt = read_attempt(process.stdout.readline())
        assert attempt.last
        assert [(check.name.value, check.reason) for check in attempt.checks] == [
            ("reachable", None),
            ("connected", None),
        ]
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        assert server.open_connections == 0
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 143


def test_what_needs_docker_does_not_apply_and_is_no_success_alone() -> None:
    with serving() as server:
        found = run("verify", "--checks", "isolation", stdin=json.dumps(entry(server.port)))
    (event,) = events(found.stdout)
    assert [(check["name"], check["verdict"], check["reason"]) for check in event["report"]["checks"]] == [
        ("isolation", "not_applicable", "needs_docker")
    ]
    assert (event["report"]["verdict"], found.returncode) == ("could_not_run", 5)


def test_what_failed_before_the_checks_that_are_asked_for_is_reported_too() -> None:
    found = run("verify", "--checks", "authenticated", stdin=json.dumps(entry(closed_port())))
    (event,) = events(found.stdout)
    assert [check["name"] for check in event["report"]["checks"]] == ["reachable", "authenticated"]


def test_probe_tells_what_answers(capsys: pytest.CaptureFixture[str]) -> None:
    answers = [answer(closed_port(), capsys)]
    for talk in (None, silent, echo, hang_up):
        with serving(talk=talk) as server:
            answers.append(answer(server.port, capsys))
    assert answers == ["closed", "api", "silent", "other", "hung_up"]


def answer(port: int, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["probe", f"127.0.0.1:{port}"]) == 0
    (line,) = events(capsys.readouterr().out)
    assert line["address"] == f"127.0.0.1:{port}"
    return str(line["answer"])
