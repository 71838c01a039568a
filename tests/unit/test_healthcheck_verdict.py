"""From what was seen to verdicts (docs/architecture.md, Interfaces)."""

import pytest

from healthcheck.observation import CheckName, CheckObservation, skipped
from healthcheck.reasons import Reason
from healthcheck.verdict import check_verdict, gateway_verdict, required
from tests.unit.gateways import checks as levels
from tests.unit.gateways import gateway

GATEWAY = gateway(checks=levels("warn", "required"))
NAMES = ["connected", "authenticated", "account_access", "market_data", "order_capability", "isolation"]


def check(name: str, reason: str | None = None, because: str | None = None) -> CheckObservation:
    if because is not None:
        return skipped(CheckName(name), CheckName(because))
    return CheckObservation("seen", Reason(reason) if reason else None, name=CheckName(name))


def healthy(**reasons: str) -> list[CheckObservation]:
    return [check(name, reasons.get(name)) for name in NAMES]


@pytest.mark.parametrize(
    ("reason", "level", "verdict"),
    [
        (None, "required", "pass"),
        (None, "warn", "pass"),
        ("market_closed", "warn", "warn"),
        ("market_closed", "required", "fail"),
        ("farm_broken", "warn", "warn"),
        ("no_entitlement", "warn", "warn"),
        ("competing_session", "warn", "warn"),
        ("order_rejected", "warn", "warn"),
        ("contract_unknown", "warn", "fail"),
        ("read_only_unexpected", "warn", "fail"),
        ("switched_off", "off", "not_applicable"),
        ("read_only", "required", "not_applicable"),
        ("undeclared_client", "required", "fail"),
        ("out_of_memory", "required", "warn"),  # a hint
    ],
)
@pytest.mark.parametrize("name", ["market_data", "order_capability"])
def test_ibkrs_faults_warn_unless_required_and_ours_always_fail(
    name: str, reason: str | None, level: str, verdict: str
) -> None:
    asked = gateway(checks=levels(**{name: level}))
    assert check_verdict(check(name, reason), asked).value == verdict
    assert required(check(name, reason), asked) is (level == "required")


@pytest.mark.parametrize(
    ("checks", "waited", "verdict"),
    [
        (healthy(), False, "verified"),
        (healthy(market_data="market_closed"), False, "verified_with_warnings"),
        (healthy(order_capability="read_only"), False, "verified"),
        (healthy(market_data="contract_unknown"), False, "failed"),
        (healthy(isolation="exposed"), True, "failed"),
        ([*healthy()[:-1], check("isolation", because="authenticated")], False, "failed"),
        ([*healthy(), check("market_data", because="account_access")], False, "verified"),
        (healthy(connected="switched_off"), False, "failed"),
        ([], False, "failed"),
        (healthy()[1:], False, "failed"),
        (healthy(authenticated="second_factor_pending"), True, "timed_out"),
        (healthy(authenticated="second_factor_pending"), False, "failed"),
        (healthy(authenticated="login_failed"), True, "failed"),
        (healthy(authenticated="half_open", isolation="exposed"), True, "failed"),
        (healthy(connected="verifier_image_missing"), True, "could_not_run"),
        (healthy(connected="verifier_failed"), False, "could_not_run"),
    ],
)
def test_a_gateways_verdict_follows_from_its_checks(checks: list[CheckObservation], waited: bool, verdict: str) -> None:
    assert gateway_verdict(checks, GATEWAY, waited=waited).value == verdict
