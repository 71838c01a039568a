"""What is quoted: whatever names a contract in the API, from the stack's file to the bytes of each request."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from deployment import description
from deployment.description import Gateway
from deployment.errors import IbgwError
from healthcheck.checks.order_capability import on_grid
from healthcheck.observation import CheckName
from healthcheck.verdict import check_verdict
from infra.settings import QuoteContract, load
from tests.unit.gateways import checks, gateway, run_checks
from tests.unit.test_settings import MAIN, changed
from tests.unit.tws_server import Script, send, serving

CONTRACT = f"{MAIN}.checks.marketData.contract"


def configured(**contract: Any) -> description.QuoteContract:
    settings = load("paper", changed("paper", {CONTRACT: contract}))
    return settings.gateways["main"].checks.market_data.contract.named()


# What the stack's file says, and the twelve fields of a contract as the API has them (EClient): conId, symbol,
# secType, lastTradeDateOrContractMonth, strike, right, multiplier, exchange, primaryExchange, currency, localSymbol,
# tradingClass.
NAMED: list[tuple[dict[str, Any], str]] = [
    ({}, "0,SPY,STK,,0.0,,,SMART,,USD,,"),
    ({"symbol": "QQQ"}, "0,QQQ,STK,,0.0,,,SMART,,USD,,"),
    ({"symbol": "SXR8", "primaryExchange": "IBIS", "currency": "EUR"}, "0,SXR8,STK,,0.0,,,SMART,IBIS,EUR,,"),
    ({"symbol": "EUR", "secType": "CASH", "exchange": "IDEALPRO"}, "0,EUR,CASH,,0.0,,,IDEALPRO,,USD,,"),
    ({"conId": 756733}, "756733,,,,0.0,,,SMART,,,,"),
    ({"conId": 495512552, "exchange": "CME"}, "495512552,,,,0.0,,,CME,,,,"),
    ({"conId": 1, "symbol": "ES", "secType": "FUT", "exchange": "CME"}, "1,ES,FUT,,0.0,,,CME,,,,"),
    ({"secType": "FUT", "localSymbol": "ESZ6", "exchange": "CME"}, "0,,FUT,,0.0,,,CME,,,ESZ6,"),
    (
        {"secType": "FUT", "localSymbol": "FESX DEC 26", "exchange": "EUREX", "currency": "EUR"},
        "0,,FUT,,0.0,,,EUREX,,EUR,FESX DEC 26,",
    ),
    (
        {"secType": "FUT", "symbol": "ES", "expiry": 202612, "exchange": "CME", "multiplier": 50},
        "0,ES,FUT,202612,0.0,,50,CME,,USD,,",
    ),
    (
        {"secType": "OPT", "symbol": "SPY", "expiry": "20261218", "strike": 600.5, "right": "C", "tradingClass": "SPY"},
        "0,SPY,OPT,20261218,600.5,C,,SMART,,USD,,SPY",
    ),
    (
        {"secType": "FOP", "symbol": "ES", "expiry": "20261218", "strike": 6000, "right": "P", "exchange": "CME"},
        "0,ES,FOP,20261218,6000.0,P,,CME,,USD,,",
    ),
]


@pytest.mark.parametrize(("contract", "sent"), NAMED)
def test_all_requests_name_the_contract_as_configured(contract: dict[str, Any], sent: str) -> None:
    named = configured(**contract)
    market_data = {"level": "required", "contract": named.model_dump(mode="json")}
    with serving() as server:
        asked = gateway(server.port, checks=checks() | {"market_data": market_data})
        # As it comes to the verifier's container: an argument of text.
        found = asyncio.run(run_checks(Gateway.model_validate_json(asked.model_dump_json())))
        assert [check.reason for check in found] == [None] * 6
        places = {"9": 3, "1": 3, "3": 2}
        told = {
            message[0]: ",".join(message[places[message[0]] :][:12])
            for message in server.messages
            if message[0] in places
        }
        assert told == dict.fromkeys(places, sent)
        assert str(named) in found[4].seen


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"secType": "FUT", "symbol": "ES", "exchange": "CME"}, "missing: expiry; or name it by localSymbol or conId"),
    ({"secType": "FUT", "symbol": "ES", "expiry": "202612"}, "not traded on SMART; name its exchange"),
    ({"secType": "FUT", "localSymbol": "ESZ6"}, "not traded on SMART"),
    ({"secType": "CONTFUT", "symbol": "ES"}, "not traded on SMART; name its exchange, such as CME"),
    ({"secType": "IND", "symbol": "SPX"}, "not traded on SMART; name its exchange, such as CBOE"),
    ({"secType": "CASH", "symbol": "EUR"}, "not traded on SMART; name its exchange, such as IDEALPRO"),
    ({"secType": "CASH", "symbol": "EUR.USD", "exchange": "IDEALPRO"}, "are no pair for secType CASH"),
    ({"secType": "CASH", "symbol": "USD", "exchange": "IDEALPRO"}, "are no pair for secType CASH"),
    ({"symbol": "SPY", "exchange": "smart"}, "did you mean SMART?"),
    ({"symbol": "SAP", "primaryExchange": "IB IS"}, "an exchange's name in capitals"),
    ({"secType": "OPT", "symbol": "SPY", "expiry": "202612", "strike": 600}, "missing: right"),
    ({"secType": "OPT", "symbol": "SPY"}, "missing: expiry, strike, right"),
    ({"secType": "FOP", "symbol": "ES", "exchange": "CME", "right": "C"}, "missing: expiry, strike"),
    ({"symbol": "SPY", "strike": 600}, "strike with secType STK"),
    (
        {"secType": "CASH", "symbol": "EUR", "exchange": "IDEALPRO", "expiry": "202612"},
        "expiry with secType CASH",
    ),
    ({"conId": 0}, "conId"),
    ({"conId": 2**31}, "conId"),
    ({"conId": "756733"}, "conId"),
    ({"localSymbol": ""}, "localSymbol"),
    ({"localSymbol": "ES\x1b[2J"}, "localSymbol"),
    ({"localSymbol": " ESZ6"}, "localSymbol"),
    ({"primaryExchange": "IB\u202eIS"}, "primaryExchange"),
    ({"tradingClass": "x" * 41}, "tradingClass"),
    ({"secType": "FUT", "exchange": "CME", "expiry": "202613"}, "expiry"),
    ({"secType": "FUT", "exchange": "CME", "expiry": "Dec 26"}, "expiry"),
    ({"secType": "FUT", "exchange": "CME", "expiry": True}, "expiry"),
    ({"secType": "OPT", "expiry": "202612", "strike": -1, "right": "C"}, "strike"),
    ({"secType": "OPT", "expiry": "202612", "strike": 600, "right": "CALL"}, "right"),
    ({"secType": "FUT", "exchange": "CME", "expiry": "202612", "multiplier": "fifty"}, "multiplier"),
    ({"secType": "FUT", "exchange": "CME", "expiry": "202612", "multiplier": 0}, "a number above zero"),
]


@pytest.mark.parametrize(("contract", "said"), REFUSED)
def test_what_names_no_contract_is_refused_in_the_preview(contract: dict[str, Any], said: str) -> None:
    with pytest.raises(IbgwError) as refused:
        configured(**contract)
    assert "checks.marketData.contract" in str(refused.value)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "contract",
    [
        {"secType": "IND", "symbol": "SPX", "exchange": "CBOE"},
        {"secType": "CONTFUT", "symbol": "ES", "exchange": "CME"},
        {"secType": "NEWS", "symbol": "BRF:BRF_ALL", "exchange": "BRF"},
    ],
)
def test_of_what_takes_no_orders_no_what_if_is_asked(contract: dict[str, Any]) -> None:
    """It would be rejected for ever."""
    level = f"{MAIN}.checks.orderCapability"
    assert load("paper", changed("paper", {CONTRACT: contract, level: {}})).order_level("main") == "off"
    assert load("paper", changed("paper", {CONTRACT: {}, level: {}})).order_level("main") == "warn"
    with pytest.raises(IbgwError, match=r"which takes no orders: .* set the level to off"):
        load("paper", changed("paper", {CONTRACT: contract, level: {"level": "required"}}))


def test_what_says_nothing_new_is_told_as_before() -> None:
    """An earlier version reads the contract, and verifiers of an earlier version are deployed: they refuse new keys."""
    told = gateway(checks=checks()).model_dump(mode="json")["checks"]
    assert told == checks()
    assert set(json.loads(configured().model_dump_json())) == {"symbol", "sec_type", "exchange", "currency"}
    kept = gateway(checks=checks() | {"account_access": {"level": "off"}}).model_dump(mode="json")["checks"]
    assert kept["account_access"] == {"level": "off"}


@pytest.mark.parametrize(
    ("price", "tick", "limit"),
    [
        (300.55, 0.01, 300.55),
        (3000.13, 0.25, 3000.25),
        (0.583217, 0.00005, 0.5832),
        (0.001, 0.05, 0.05),
        (54.7, 0.015625, 54.703125),
        (1.0, 5, 5.0),
    ],
)
def test_the_limit_of_a_what_if_is_a_price_that_there_is(price: float, tick: float, limit: float) -> None:
    assert on_grid(price, tick) == limit


def test_the_smallest_step_comes_from_the_contracts_details() -> None:
    def details(connection: Any, message: list[str]) -> None:
        send(
            connection, "10", message[2], "ES", "FUT", "20261218", "0", "", "CME", "USD", "ESZ6", "ES", "ES",
            "495512552", "0.25", "50", "LMT", "CME", "1", "11004968", "E-mini S&P 500", "", "202612", "", "", "",
            "US/Central", "", "20261123:0830-20261123:1500", "", "", "0", "1", "ES", "IND", "67", "20261218", "",
            "1", "1", "1",
        )  # fmt: skip
        send(connection, "52", "1", message[2])

    future = description.QuoteContract(
        symbol="ES", sec_type="FUT", exchange="CME", currency="USD", expiry="202612"
    ).model_dump()
    market_data = {"level": "required", "contract": future}
    with serving(Script(answers={"9": details})) as server:
        asked = gateway(server.port, checks=checks() | {"market_data": market_data})
        found = asyncio.run(run_checks(asked))
        assert [check.reason for check in found] == [None] * 6
        assert server.orders[0][16:20] == ["BUY", "1", "LMT", "300.5"]


def test_a_contract_without_anything_is_what_it_always_was() -> None:
    assert QuoteContract().named() == description.QuoteContract(
        symbol="SPY", sec_type="STK", exchange="SMART", currency="USD"
    )
    with pytest.raises(ValidationError):
        QuoteContract.model_validate({"con_id": 1})


@pytest.mark.parametrize(
    ("expiry", "now", "over"),
    [
        ("20260918", "2026-09-18T23:59:00+00:00", False),
        ("20260918", "2026-09-19T11:59:00+00:00", False),  # Honolulu's day is not over
        ("20260918", "2026-09-19T12:00:00+00:00", True),
        ("202609", "2026-09-30T23:00:00-04:00", False),
        ("202609", "2026-10-01T12:00:00+00:00", True),
        ("202612", "2027-01-01T11:00:00+00:00", False),
        ("202612", "2027-01-01T08:00:00-05:00", True),
        ("", "2027-01-01T12:00:00+00:00", False),
    ],
)
def test_a_contract_is_over_when_its_last_day_is_over_everywhere(expiry: str, now: str, over: bool) -> None:
    contract = description.QuoteContract(symbol="ES", sec_type="FUT", exchange="CME", currency="USD", expiry=expiry)
    assert contract.is_over(datetime.fromisoformat(now)) is over


def test_a_preview_warns_of_a_contract_that_is_over_and_refuses_nothing() -> None:
    """It was deployed while it could be quoted, and nobody changed anything since."""
    future = {"secType": "FUT", "symbol": "ES", "exchange": "CME", "expiry": "202609"}
    settings = load("paper", changed("paper", {CONTRACT: future}))
    assert settings.contracts_over(datetime(2026, 9, 30, tzinfo=UTC)) == []
    [said] = settings.contracts_over(datetime(2026, 10, 2, tzinfo=UTC))
    assert said.startswith(f"{CONTRACT}.expiry: 202609 is over")


@pytest.mark.parametrize(("expiry", "reason"), [("202001", "contract_expired"), ("209912", "contract_unknown")])
@pytest.mark.parametrize("level", ["warn", "required"])
def test_what_ibkr_does_not_know_any_more_has_a_reason_of_its_own(expiry: str, reason: str, level: str) -> None:
    """A check that only warns does not turn an update red on the day after."""
    future = {"symbol": "ES", "sec_type": "FUT", "exchange": "CME", "currency": "USD", "expiry": expiry}
    levels = {"market_data": {"level": level, "contract": future}, "order_capability": {"level": level}}
    refusal = (200, "No security definition has been found for the request")
    with serving(Script(contract_error=refusal, order_error=refusal)) as server:
        asked = gateway(server.port, checks=checks() | levels)
        found = {check.name: check for check in asyncio.run(run_checks(asked))}
    verdict = "warn" if (level, reason) == ("warn", "contract_expired") else "fail"
    for name in (CheckName.MARKET_DATA, CheckName.ORDER_CAPABILITY):
        assert (found[name].reason, check_verdict(found[name], asked)) == (reason, verdict)
