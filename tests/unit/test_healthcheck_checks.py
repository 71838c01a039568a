"""Each verdict and reason of the five checks, against a server that behaves so (TWS API reference:
EClient and EReader for the messages, Message Codes for the codes)."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from healthcheck.checks.order_capability import may_ask, tradable
from healthcheck.report import CheckResult, check_result
from healthcheck.session import Timeouts
from tests.unit.gateways import checks, gateway, run_checks
from tests.unit.tws_server import Script, TwsServer, closed_port, echo, hang_up, serving, silent

CLOSED_MARKET = 1795374000  # 2026-11-22T19:00:00Z, a Sunday
READ_ONLY = "Error validating request.-'bO' : cause - The API interface is currently in Read-Only mode."


def run(server_port: int, timeouts: Timeouts | None = None, **changes: Any) -> dict[str, CheckResult]:
    asked = gateway(server_port, **changes)
    checks = asyncio.run(run_checks(asked, timeouts=timeouts))
    return {check.name.value: check_result(check, asked, "paper") for check in checks}


def verdicts(found: dict[str, CheckResult]) -> list[str]:
    return [check.verdict.value for check in found.values()]


def test_a_healthy_gateway_passes_all_in_order() -> None:
    with serving() as server:
        found = run(server.port)
    assert list(found) == [
        "reachable", "connected", "authenticated", "account_access", "market_data", "order_capability",
    ]  # fmt: skip
    assert verdicts(found) == ["pass"] * 6
    assert found["connected"].data["server_version"] == 178
    assert found["connected"].data["client_id"] == 998, "the last one is the prober's"
    assert found["authenticated"].seen == "DU1234567 (paper)"
    assert found["account_access"].seen == "DU1234567 NetLiquidation 1,000,000.00 USD"
    assert found["market_data"].seen == "SPY live 601.1"
    assert found["order_capability"].data["margin_change"] == 310.25
    assert all(check.reason is None and check.remedy is None for check in found.values())


def test_a_closed_port_a_mute_one_an_echo_and_an_empty_relay_are_told_apart() -> None:
    hasty = Timeouts(handshake=0.3)
    found = run(closed_port())
    assert (found["reachable"].reason, found["connected"].skipped_because) == ("port_closed", "reachable")
    reasons = []
    for talk in (silent, echo, hang_up):
        with serving(talk=talk) as server:
            found = run(server.port, hasty)
            assert found["reachable"].verdict == "pass"
            reasons.append(found["connected"].reason)
    assert [str(reason) for reason in reasons] == ["wedged", "not_the_api", "relay_only"]


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"ok\r\n"])
def test_another_protocol_is_not_the_api(greeting: bytes) -> None:
    def talk(connection: Any) -> None:
        connection.recv(64)
        connection.sendall(greeting)
        connection.recv(64)

    with serving(talk=talk) as server:
        found = run(server.port, Timeouts(handshake=0.3))
    assert found["connected"].reason == "not_the_api"


def test_a_name_that_does_not_resolve_is_unreachable() -> None:
    api = {"network": "n", "host": "ibgw-paper-main.invalid", "port": 4004, "inner_port": 4002}
    found = run(0, api=api)
    assert found["reachable"].reason == "unreachable"
    assert "ibgw-paper-main.invalid:4004" in found["reachable"].seen


@dataclass(frozen=True)
class Case:
    """`first_red` is the check that is not green; all before it are, and what needs it is skipped."""

    name: str
    script: Script
    check: str
    verdict: str
    reason: str
    seen: str = ""
    timeouts: Timeouts = field(default_factory=Timeouts)
    changes: dict[str, Any] = field(default_factory=dict)


BRIEF = Timeouts(request=0.3, one_account=0.1, settle=0.1)
CASES = [
    Case("accounts without an order id", Script(next_id=None), "authenticated", "fail", "half_open",
         "accounts and no next order id", Timeouts(ready=0.3)),
    Case("an order id without accounts", Script(send_accounts=False), "authenticated", "fail", "half_open",
         "a next order id and no accounts", Timeouts(ready=0.3)),
    Case("no login", Script(send_accounts=False, next_id=None, notices=[]), "authenticated", "fail", "not_logged_in",
         "neither accounts nor a next order id", Timeouts(ready=0.3)),
    Case("hangs up after the handshake", Script(close_after_handshake=True), "authenticated", "fail", "not_logged_in",
         "closed the connection"),
    Case("an empty list of accounts", Script(accounts=[]), "authenticated", "fail", "no_accounts",
         "an empty list of accounts", Timeouts(ready=0.3)),
    Case("too many messages", Script(contract_error=(100, "Max rate of messages per second has been exceeded")),
         "market_data", "fail", "rate_limited", "100 Max rate"),
    Case("IBKR lost", Script(notices=[(1100, "Connectivity between IB and TWS has been lost.")]), "authenticated",
         "fail", "connectivity_lost", "1100 Connectivity"),
    Case("IBKR's server lost", Script(notices=[(2110, "Connectivity between TWS and server is broken.")]),
         "authenticated", "fail", "connectivity_lost", "2110"),
    Case("no clock", Script(time=None), "authenticated", "fail", "half_open", "did not tell its time",
         Timeouts(request=0.3)),
    Case("a live account", Script(accounts=["U7654321"]), "authenticated", "fail", "account_kind_mismatch",
         "live account U7654321 on a gateway for paper accounts"),
    Case("a live account among paper ones", Script(accounts=["DU1234567", "U7654321"]), "authenticated", "fail",
         "account_kind_mismatch", "live account U7654321"),
    Case("a paper account on live", Script(), "authenticated", "fail", "account_kind_mismatch",
         "paper account DU1234567 on a gateway for live accounts", changes={"mode": "live", "account_kind": "live"}),
    Case("an expected account is missing", Script(), "account_access", "fail", "account_missing", "expected DU7777777",
         changes={"expected_accounts": ["DU1234567", "DU7777777"]}),
    Case("no summary", Script(summary=None), "account_access", "fail", "no_account_summary", "did not end",
         BRIEF),
    Case("an empty summary", Script(summary=[]), "account_access", "fail", "no_account_summary", "empty",
         BRIEF),
    Case("a summary without a number", Script(summary=[("DU1234567", "NetLiquidation", "", "USD")]), "account_access",
         "fail", "implausible_summary", "DU1234567", BRIEF),
    Case("a summary of infinity", Script(summary=[("DU1234567", "NetLiquidation", "Infinity", "USD")]),
         "account_access", "fail", "implausible_summary", "DU1234567", BRIEF),
    Case("a summary without the value that counts", Script(summary=[("DU1234567", "BuyingPower", "1", "USD")]),
         "account_access", "fail", "implausible_summary", "DU1234567", BRIEF),
    Case("no entitlement, delayed instead", Script(quotes={3: [(68, 600.9)]}, quote_error={
        1: (354, "Requested market data is not subscribed.")}), "market_data", "warn", "delayed_data",
         "SPY delayed 600.9; 354 Requested"),
    Case("no entitlement, delayed unasked", Script(quotes={1: [(66, 600.8)]}, announced_type={1: 3}, quote_error={
        1: (10167, "Requested market data is not subscribed. Displaying delayed market data.")}), "market_data",
         "warn", "delayed_data", "SPY delayed 600.8; 10167"),
    Case("no entitlement at all", Script(quotes={}, quote_error={
        1: (10089, "Requested market data requires additional subscription for API."),
        3: (10168, "Delayed market data is not enabled.")}), "market_data", "warn", "no_entitlement",
         "SPY: no quote; 10089"),
    Case("a competing session", Script(quotes={}, quote_error={
        1: (10197, "No market data during competing live session")}), "market_data", "warn", "competing_market_data",
         "10197 No market data during competing live session"),
    Case("no line left", Script(quotes={}, quote_error={1: (101, "Max number of tickers has been reached")}),
         "market_data", "warn", "data_lines_used", "101 Max number"),
    Case("not allowed for this account", Script(quotes={}, quote_error={
        1: (203, "The security SPY is not available or allowed for this account")}), "market_data", "warn",
         "not_permitted", "203 The security"),
    Case("no document in the user's language, asked for a quote", Script(quotes={}, quote_error={
        1: (354, "No market data: there is no KID for this product in your language")}), "market_data", "warn",
         "not_permitted", "no KID"),
    Case("no document in the user's language, asked for an order", Script(order_error=(
        201, "Order rejected - reason: This product does not have a KID in English")), "order_capability", "warn",
         "not_permitted", "201 Order rejected"),
    Case("no document, in other words", Script(order_error=(
        201, "Order rejected - reason: Key Information Document is not available (PRIIPs)")), "order_capability",
         "warn", "not_permitted", "PRIIPs"),
    Case("an order that is not allowed", Script(order_error=(203, "The security is not allowed")), "order_capability",
         "warn", "not_permitted", "203"),
    Case("a broken farm", Script(quotes={}, notices=[(2103, "Market data farm connection is broken:usfarm")]),
         "market_data", "warn", "farm_broken", "farm usfarm is broken", Timeouts(quote=0.3)),
    Case("a closed market", Script(time=CLOSED_MARKET, quotes={2: [(4, 600.5)]}), "market_data", "warn",
         "market_closed", "SPY frozen 600.5", Timeouts(closed_market_quote=0.3)),
    Case("a closed market that shows its last price", Script(time=CLOSED_MARKET, quotes={1: [(4, 600.5)]}),
         "market_data", "warn", "market_closed", "SPY live 600.5"),
    Case("an open market without quotes", Script(quotes={}), "market_data", "warn", "no_quote", "SPY: no quote",
         Timeouts(quote=0.3, closed_market_quote=0.3)),
    Case("prices that mean none", Script(quotes={1: [(1, -1.0), (4, 0.0)]}), "market_data", "warn", "no_quote",
         "SPY: no quote", Timeouts(quote=0.3, closed_market_quote=0.3)),
    Case("an unknown contract", Script(contract_error=(200, "No security definition has been found")), "market_data",
         "fail", "contract_unknown", "200 No security definition"),
    Case("a read-only API that should not be", Script(order_error=(321, READ_ONLY)), "order_capability", "fail",
         "read_only_unexpected", "321"),
    Case("a rejected order", Script(order_error=(201, "Order rejected - reason: no trading permission")),
         "order_capability", "warn", "order_rejected", "201 Order rejected"),
    Case("no answer to the order", Script(margin=None), "order_capability", "warn", "no_margin_figures",
         "not answered", Timeouts(request=0.3)),
    Case("an answer without figures", Script(margin="1.7976931348623157E308"), "order_capability", "warn",
         "no_margin_figures", "without margin figures", BRIEF),
    Case("dropped in the middle", Script(drop_on="62"), "account_access", "fail", "connection_dropped",
         "closed the connection"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_fault_has_its_verdict_and_reason(case: Case) -> None:
    with serving(case.script) as server:
        found = run(server.port, case.timeouts, **case.changes)
    red = found[case.check]
    assert (red.verdict.value, str(red.reason)) == (case.verdict, case.reason)
    assert case.seen in red.seen
    assert red.remedy
    assert red.runbook == f"docs/runbook.md#{case.reason}"
    before = list(found.values())[: list(found).index(case.check)]
    assert verdicts({check.name.value: check for check in before}) == ["pass"] * len(before)


def test_what_depends_on_a_failed_check_is_skipped_and_says_because_of_what() -> None:
    with serving(Script(next_id=None)) as server:
        found = run(server.port, Timeouts(ready=0.3))
    assert verdicts(found) == ["pass", "pass", "fail", "skipped", "skipped", "skipped"]
    assert [str(check.skipped_because) for check in found.values()][3:] == ["authenticated"] * 3
    with serving(Script(summary=[])) as server:
        found = run(server.port, BRIEF)
    assert verdicts(found) == ["pass", "pass", "pass", "fail", "pass", "skipped"]
    assert str(found["order_capability"].skipped_because) == "account_access"


def test_restored_connectivity_is_connectivity() -> None:
    notices = [(1100, "lost"), (1102, "restored, data maintained")]
    with serving(Script(notices=notices)) as server:
        assert run(server.port)["authenticated"].verdict.value == "pass"


def test_a_farm_that_came_back_is_not_broken() -> None:
    notices = [
        (2103, "Market data farm connection is broken:usfarm"),
        (2104, "Market data farm connection is OK:usfarm"),
    ]
    with serving(Script(notices=notices, quotes={})) as server:
        found = run(server.port, Timeouts(quote=0.3, closed_market_quote=0.3))
    assert found["market_data"].reason == "no_quote"


def test_a_closed_market_says_when_it_opens() -> None:
    with serving(Script(time=CLOSED_MARKET, quotes={2: [(4, 600.5)]})) as server:
        found = run(server.port, Timeouts(closed_market_quote=0.3))
    assert found["market_data"].remedy == "none needed; opens Mon 09:30 US/Eastern"


def test_a_check_that_is_off_is_not_applicable_even_after_a_failure() -> None:
    with serving(Script(next_id=None)) as server:
        found = run(server.port, Timeouts(ready=0.3), checks=checks(order_capability="off"))
    assert found["order_capability"].verdict.value == "not_applicable"


def test_on_a_read_only_gateway_no_order_request_is_made() -> None:
    with serving() as server:
        found = run(server.port, read_only=True, checks=checks(order_capability="required"))
        assert found["order_capability"].verdict.value == "not_applicable"
        assert found["order_capability"].reason == "read_only"
        assert sent(server) <= {"71", "49", "62", "63", "9", "59", "1", "2"}


@pytest.mark.parametrize(
    ("changes", "may"),
    [
        ({}, True),
        ({"read_only": True}, False),
        ({"checks": checks(order_capability="off")}, False),
    ],
)
def test_the_session_itself_may_ask_only_where_the_check_is_on(changes: dict[str, Any], may: bool) -> None:
    """The second line: even a check that ran by mistake could not send its order (architecture.md, decision 14)."""
    assert may_ask(gateway(**changes)) is may


def test_the_requests_are_the_reading_ones_and_one_what_if() -> None:
    with serving() as server:
        run(server.port)
        assert sent(server) == {"71", "49", "62", "63", "9", "59", "1", "2", "3"}
        assert [len(server.orders), server.orders[0][16:20]] == [1, ["BUY", "1", "LMT", "300.55"]]


def test_without_a_price_the_limit_is_one() -> None:
    with serving(Script(quotes={})) as server:
        run(server.port, Timeouts(quote=0.3, closed_market_quote=0.3))
        assert server.orders[0][19] == "1.0"


def sent(server: TwsServer) -> set[str]:
    return {message[0] for message in server.messages}


@pytest.mark.parametrize(
    ("accounts", "asked"),
    [(("DF100", "DU101", "DU102"), "DU101"), (("F100", "U101"), "U101"), (("U101",), "U101"), (("F100",), "F100")],
)
def test_a_what_if_is_asked_of_an_account_that_trades(accounts: tuple[str, ...], asked: str) -> None:
    """An adviser's master account comes first in the list, and takes no order without an allocation (error 436)."""
    assert tradable(accounts) == asked
