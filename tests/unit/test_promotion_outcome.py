"""What a deployment came to, from the reasons of its report. Expected outcomes are written from docs/promotion.md."""

import pytest

from operations.promotion.outcome import Outcome, judge
from tests.unit.promotion_reports import report


@pytest.mark.parametrize(
    ("reasons", "outcome"),
    [
        ((), "verified"),
        (("crash_looping",), "image"),
        (("wedged",), "image"),
        (("half_open",), "image"),
        (("read_only_unexpected",), "image"),
        (("version_refused",), "image"),
        (("port_closed",), "image"),
        (("second_factor_pending",), "second_factor"),
        (("second_factor_timeout",), "second_factor"),
        (("second_factor_denied",), "second_factor"),
        (("login_failed",), "credentials"),
        (("locked_out",), "credentials"),
        (("guard_held",), "credentials"),
        (("server_unreachable",), "broker"),
        (("system_unavailable",), "broker"),
        (("maintenance_window",), "broker"),
        (("connectivity_lost",), "broker"),
        (("competing_session",), "broker"),
        # What a gateway shows between two attempts to reach a server that is down.
        (("starting",), "broker"),
        (("planned_restart",), "broker"),
        (("relay_only",), "broker"),
        (("not_logged_in",), "broker"),
        (("account_kind_mismatch",), "person"),
        (("exposed",), "person"),
        (("undeclared_client",), "person"),
        (("stopped",), "person"),
        # Of several, the one that forbids most.
        (("wedged", "login_failed"), "credentials"),
        (("wedged", "exposed"), "person"),
        (("second_factor_pending", "crash_looping"), "image"),
        (("server_unreachable", "second_factor_pending"), "second_factor"),
        (("server_unreachable", "undeclared_client"), "person"),
    ],
)
def test_the_outcome_follows_from_the_reasons(reasons: tuple[str, ...], outcome: str) -> None:
    found, why = judge(report(*reasons))
    assert found is Outcome(outcome)
    assert set(why) == set(reasons)


def test_warnings_do_not_undo_a_promotion() -> None:
    assert judge(report(verdict="verified_with_warnings"))[0] is Outcome.VERIFIED


def test_a_failure_without_a_reason_is_for_a_person() -> None:
    assert judge(report(verdict="failed"))[0] is Outcome.PERSON
