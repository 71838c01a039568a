"""Verdicts, exit codes and texts (docs/architecture.md, Interfaces; docs/reference.md)."""

import json
from typing import Any

import pytest

from healthcheck.human import render_human
from healthcheck.observation import CheckName, Observation, skipped
from healthcheck.reasons import Reason
from healthcheck.report import CheckResult, GatewayReport, Report, Vantage, VerifierVersion, check_result
from healthcheck.verdict import CheckVerdict, GatewayVerdict
from tests.unit.gateways import gateway

REQUIRED = {"connected", "authenticated", "account_access", "isolation"}


def check(name: str, verdict: str = "pass", reason: str | None = None, **fields: Any) -> CheckResult:
    return CheckResult.model_validate(
        {"name": name, "verdict": verdict, "required": name in REQUIRED, "reason": reason, "seen": "seen"} | fields
    )


def healthy(**changed: CheckResult) -> list[CheckResult]:
    names = ["connected", "authenticated", "account_access", "market_data", "order_capability", "isolation"]
    return [changed.get(name) or check(name) for name in names]


def of_gateway(name: str, verdict: GatewayVerdict, checks: list[CheckResult] | None = None) -> GatewayReport:
    return GatewayReport(
        gateway=name,
        mode="paper",
        verdict=verdict,
        started_at="2026-11-22T17:58:03Z",
        waited_ms=1900,
        duration_ms=640,
        took_ms=4200,
        vantage=Vantage(api=True, docker=True),
        verifier=VerifierVersion(version="0.1.0", image_id="sha256:" + "0" * 64),
        checks=tuple(checks if checks is not None else healthy()),
    )


@pytest.mark.parametrize(
    ("verdicts", "strict", "exit_code", "worst"),
    [
        (["verified"], False, 0, "verified"),
        (["verified_with_warnings"], False, 0, "verified_with_warnings"),
        (["verified_with_warnings", "verified"], True, 4, "verified_with_warnings"),
        (["timed_out", "verified_with_warnings"], False, 6, "timed_out"),
        (["timed_out", "failed", "verified"], False, 3, "failed"),
        (["timed_out", "failed", "could_not_run"], False, 5, "could_not_run"),
        (["failed"], True, 3, "failed"),
    ],
)
def test_exit_codes_of_several_gateways_take_the_first_of_5_3_6_4_0(
    verdicts: list[str], strict: bool, exit_code: int, worst: str
) -> None:
    gateways = [of_gateway(f"g{number}", GatewayVerdict(verdict)) for number, verdict in enumerate(verdicts)]
    report = Report.of("paper", gateways, strict=strict)
    assert (report.exit_code, report.verdict.value) == (exit_code, worst)
    assert report.gateways[0].verdict.value == worst
    if strict:
        assert Report.of("paper", gateways).strict() == report


def test_a_report_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one gateway"):
        Report.of("paper", [])


def test_a_live_account_on_paper_stands_first_and_cannot_be_overlooked() -> None:
    wrong = check("authenticated", "fail", "account_kind_mismatch", seen="live account U***321 on a paper gateway")
    first = of_gateway("zz", GatewayVerdict.FAILED, healthy(authenticated=wrong))
    report = Report.of("paper", [of_gateway("aa", GatewayVerdict.FAILED), first])
    assert [gateway.gateway for gateway in report.gateways] == ["zz", "aa"]
    second_line = render_human(report).splitlines()[1]
    assert "DO NOT TRADE HERE: LIVE ACCOUNT U***321 ON A PAPER GATEWAY" in second_line


def test_json_has_the_agreed_shape_and_reads_back() -> None:
    report = Report.of("paper", [of_gateway("main", GatewayVerdict.VERIFIED)])
    found = report.model_dump(mode="json", by_alias=True)
    assert list(found) == ["schema", "stack", "verdict", "exit_code", "gateways", "note"]
    assert found["schema"] == 1
    assert list(found["gateways"][0]) == [
        "gateway", "mode", "verdict", "started_at", "waited_ms", "duration_ms", "took_ms", "vantage", "verifier",
        "checks", "stopped", "note", "windows", "picture",
    ]  # fmt: skip
    assert list(found["gateways"][0]["checks"][0]) == [
        "name", "verdict", "required", "reason", "seen", "data", "skipped_because", "remedy", "steps", "runbook",
        "duration_ms",
    ]  # fmt: skip
    assert Report.model_validate_json(json.dumps(found)) == report


def test_a_check_gets_its_remedy_with_the_stacks_names() -> None:
    stopped = Observation("the container is exited", Reason.STOPPED, because=Reason.SESSION_STRANDED, note="; soon")
    found = check_result(stopped.by(CheckName.CONNECTED), gateway(), "paper")
    cause, start = found.steps
    assert start == "start it: `ibgw start --stack paper --gateway main`"
    assert found.remedy == f"{cause}; then {start}; soon"
    assert found.runbook == "docs/runbook.md#stopped"


def test_the_text_has_a_block_a_gateway_with_six_checks_and_remedies() -> None:
    warned = check("market_data", "warn", "market_closed", remedy="none needed", duration_ms=310)
    report = Report.of(
        "paper",
        [
            of_gateway("main", GatewayVerdict.VERIFIED_WITH_WARNINGS, healthy(market_data=warned)),
            of_gateway("second", GatewayVerdict.VERIFIED),
        ],
    )
    assert render_human(report).splitlines() == [
        "paper/main  paper  VERIFIED, with warnings",
        "  ok    connected         seen",
        "  ok    authenticated     seen",
        "  ok    account_access    seen",
        "  warn  market_data       market_closed: seen  310 ms",
        "                          -> none needed",
        "  ok    order_capability  seen",
        "  ok    isolation         seen",
        "  took 4.2 s, 1.9 s of it waiting; 2026-11-22T17:58:03Z",
        "",
        "paper/second  paper  VERIFIED",
        "  ok    connected         seen",
        "  ok    authenticated     seen",
        "  ok    account_access    seen",
        "  ok    market_data       seen",
        "  ok    order_capability  seen",
        "  ok    isolation         seen",
        "  took 4.2 s, 1.9 s of it waiting; 2026-11-22T17:58:03Z",
        "",
        "stack paper, 2 gateways: VERIFIED, with warnings",
    ]


def test_colour_is_added_where_it_is_asked_for() -> None:
    report = Report.of("paper", [of_gateway("main", GatewayVerdict.VERIFIED)])
    assert "\x1b" not in render_human(report)
    assert "\x1b[32mok  \x1b[0m" in render_human(report, colour=True)


def test_a_skipped_check_names_what_stood_in_the_way() -> None:
    found = check_result(skipped(CheckName.MARKET_DATA, CheckName.AUTHENTICATED), gateway(), "paper")
    assert (found.verdict, found.required) == (CheckVerdict.SKIPPED, False)
    assert found.skipped_because == "authenticated"
    assert found.seen == "not run, since authenticated did not pass"
