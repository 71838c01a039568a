"""A report in each of its formats, read back by something that understands the format."""

import json
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from prometheus_client.parser import text_string_to_metric_families

from healthcheck.report import Report
from healthcheck.verdict import GatewayVerdict
from operations import formats
from operations.commands import verify


def check(name: str, verdict: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "verdict": verdict, "required": True, "seen": f"{name} as seen", "duration_ms": 12, **more}


REPORT = Report.model_validate(
    {
        "schema": 1,
        "stack": "paper",
        "verdict": "failed",
        "exit_code": 3,
        "gateways": [
            {
                "gateway": "main",
                "mode": "paper",
                "verdict": "failed",
                "started_at": "2026-11-22T17:58:03Z",
                "waited_ms": 1900,
                "duration_ms": 640,
                "vantage": {"api": True, "docker": True},
                "verifier": {"version": "0.1.0", "image_id": None},
                "checks": [
                    check("connected", "pass"),
                    check(
                        "authenticated", "fail", reason="half_open", seen='no "next id" <yet> & none soon', remedy="x"
                    ),
                    check("account_access", "skipped", skipped_because="authenticated"),
                    check("market_data", "warn", required=False, reason="market_closed", remedy="none needed"),
                    check("order_capability", "not_applicable", required=False, reason="switched_off"),
                ],
            }
        ],
    }
)


def test_every_format_that_can_be_asked_for_is_there() -> None:
    assert set(formats.RENDERERS) == set(verify.Format)


def test_json_reads_back_as_the_same_report() -> None:
    assert Report.model_validate(json.loads(formats.RENDERERS["json"](REPORT))) == REPORT


def test_junit_counts_and_explains() -> None:
    suites = Xml.fromstring(formats.junit(REPORT))
    [suite] = suites
    assert suite.attrib == {
        "name": "paper/main",
        "timestamp": "2026-11-22T17:58:03Z",
        "time": "0.640",
        "tests": "5",
        "failures": "1",
        "skipped": "2",
    }
    cases = {case.get("name"): case for case in suite}
    assert cases["connected"].get("classname") == "paper.main"
    assert cases["connected"].get("time") == "0.012"
    [failure] = cases["authenticated"]
    assert (failure.tag, failure.get("type"), failure.text) == ("failure", "half_open", "x")
    assert failure.get("message") == 'no "next id" <yet> & none soon'
    assert [child.tag for child in cases["account_access"]] == ["skipped"]
    assert [child.tag for child in cases["order_capability"]] == ["skipped"]
    [told] = cases["market_data"]
    assert (told.tag, told.text) == ("system-out", "market_closed\nmarket_data as seen\nnone needed")


def samples() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {}
    for family in text_string_to_metric_families(formats.prometheus(REPORT) + "\n"):
        for sample in family.samples:
            labels = {key: value for key, value in sample.labels.items() if key not in ("stack", "gateway", "mode")}
            found[sample.name, tuple(sorted(labels.items()))] = sample.value
            assert {sample.labels[key] for key in ("stack", "gateway", "mode")} == {"paper", "main"}
    return found


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("ib_gateway_up", {}, 0),
        ("ibgw_gateway_verdict", {"verdict": "failed"}, 1),
        ("ibgw_gateway_verdict", {"verdict": "verified"}, 0),
        ("ibgw_check_verdict", {"check": "connected", "verdict": "pass"}, 1),
        ("ibgw_check_verdict", {"check": "connected", "verdict": "fail"}, 0),
        ("ibgw_check_reason", {"check": "authenticated", "reason": "half_open"}, 1),
        ("ibgw_check_duration_seconds", {"check": "connected"}, 0.012),
        ("ibgw_verification_duration_seconds", {}, 0.64),
        ("ibgw_verification_waited_seconds", {}, 1.9),
        ("ibgw_verification_timestamp_seconds", {}, 1795370283),  # date -u -d 2026-11-22T17:58:03Z +%s
    ],
)
def test_prometheus_reads_back(name: str, labels: dict[str, str], value: float) -> None:
    assert samples()[name, tuple(sorted(labels.items()))] == value


def test_a_gateway_with_warnings_is_up() -> None:
    """As a verification has it, which such a gateway passes."""
    warned = REPORT.gateways[0].model_copy(update={"verdict": GatewayVerdict.VERIFIED_WITH_WARNINGS})
    assert 'ib_gateway_up{gateway="main",mode="paper",stack="paper"} 1.0' in formats.prometheus(
        REPORT.model_copy(update={"gateways": (warned,)})
    )


def test_prometheus_names_one_verdict_a_gateway() -> None:
    assert sum(value for (name, _), value in samples().items() if name == "ibgw_gateway_verdict") == 1
