"""A first message is not a verdict: for every request the last word counts, or the deadline."""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from healthcheck.observation import CheckName, CheckObservation
from healthcheck.session import ADVISORY, Timeouts
from tests.unit.gateways import gateway, run_checks
from tests.unit.tws_server import UNSET, Script, error, open_order, send, serving

LATER = 0.1  # seconds between two messages of a server; far below each of the times allowed
QUICK = Timeouts(ready=2.0, request=2.0, quote=2.0, closed_market_quote=1.5, settle=1.0)
Talk = Callable[[socket.socket, list[str]], None]


def seen(script: Script, name: str, **changes: Any) -> CheckObservation:
    with serving(script) as server:
        found = asyncio.run(run_checks(gateway(server.port, **changes), timeouts=QUICK))
        assert all(order[21] == "DAY" for order in server.orders), "the time in force is not left to a preset"
    return next(check for check in found if check.name is CheckName(name))


def tick(connection: socket.socket, request: str, kind: int = 1, price: str = "601.1") -> None:
    send(connection, "1", "6", request, str(kind), price, "3", "0")


def after_error(code: int, *, ticks: bool = True) -> Talk:
    def talk(connection: socket.socket, message: list[str]) -> None:
        error(connection, message[2], code, "Part of requested market data is not subscribed.")
        time.sleep(LATER)
        if ticks:
            tick(connection, message[2])

    return talk


@pytest.mark.parametrize("code", [10090, 10091, 2109, 354, 10089, 10197, 321])
def test_ticks_after_an_error_are_a_quote(code: int) -> None:
    found = seen(Script(answers={"1": after_error(code)}), "market_data")
    assert (found.reason, found.data["price"]) == (None, 601.1)


@pytest.mark.parametrize(
    ("code", "reason"), [(10090, "no_entitlement"), (354, "no_entitlement"), (10197, "competing_market_data")]
)
def test_without_ticks_the_error_stands(code: int, reason: str) -> None:
    assert seen(Script(answers={"1": after_error(code, ticks=False)}), "market_data").reason == reason


def test_a_price_that_is_none_is_no_answer() -> None:
    def talk(connection: socket.socket, message: list[str]) -> None:
        for price in ("-1", "0", "nan", "inf", "1e308", UNSET):
            tick(connection, message[2], price=price)
        time.sleep(LATER)
        tick(connection, message[2], kind=4)

    assert seen(Script(answers={"1": talk}), "market_data").data["price"] == 601.1


def test_where_the_hours_say_closed_a_last_price_does_not_hide_the_bid_behind_it() -> None:
    def talk(connection: socket.socket, message: list[str]) -> None:
        tick(connection, message[2], kind=4, price="600.0")
        time.sleep(LATER)
        tick(connection, message[2])

    sunday = 1795374000
    found = seen(Script(time=sunday, answers={"1": talk}), "market_data")
    assert (found.reason, found.data["price"]) == (None, 601.1)


def whatif(*steps: str | tuple[int, str]) -> Talk:
    """Answers an order by margins and errors, one after the other."""

    def talk(connection: socket.socket, message: list[str]) -> None:
        for step in steps:
            if isinstance(step, str):
                send(connection, *open_order(message[1], step))
            else:
                error(connection, message[1], *step)
            time.sleep(LATER)

    return talk


@pytest.mark.parametrize(
    "steps",
    [
        (UNSET, "310.25"),
        ("", "310.25"),
        ("nan", UNSET, "310.25"),
        (f"-{UNSET}", "1e308", "310.25"),
        ((10349, "Order TIF was set to DAY based on order preset."), "310.25"),
        ((399, "Order message: will not be placed at the exchange until 09:30"), UNSET, "310.25"),
        ((404, "Order held while securities are located."), "310.25"),
        ((2137, "cross side warning"), "310.25"),
        ((10331, "a warning that nobody here knows"), "310.25"),
        ((201, "Order rejected"), "310.25"),
    ],
)
def test_a_what_if_waits_for_its_figures(steps: tuple[str | tuple[int, str], ...]) -> None:
    found = seen(Script(answers={"3": whatif(*steps)}), "order_capability")
    assert (found.reason, found.data["margin_change"]) == (None, 310.25)


@pytest.mark.parametrize(
    ("steps", "reason", "said"),
    [
        ((UNSET, (201, "Order rejected")), "order_rejected", "201 Order rejected"),
        ((UNSET,), "no_margin_figures", "without margin figures"),
        (((10349, "Order TIF was set to DAY"),), "no_margin_figures", "10349 Order TIF"),
        (((321, "The API interface is currently in Read-Only mode."),), "read_only_unexpected", "321"),
    ],
)
def test_a_what_if_without_figures_ends_with_its_last_word(steps: Any, reason: str, said: str) -> None:
    found = seen(Script(answers={"3": whatif(*steps)}), "order_capability")
    assert found.reason == reason
    assert said in found.seen


def rows(connection: socket.socket, request: str, *worths: str) -> None:
    for worth in worths:
        send(connection, "63", "1", request, "DU1234567", "NetLiquidation", worth, "USD")
    send(connection, "64", "1", request)


@pytest.mark.parametrize("code", [322, 321, 2100])
def test_a_summary_after_an_error_is_a_summary(code: int) -> None:
    def talk(connection: socket.socket, message: list[str]) -> None:
        error(connection, message[2], code, "Maximum number of account summary requests exceeded")
        time.sleep(LATER)
        rows(connection, message[2], "1000.00")

    assert seen(Script(answers={"62": talk}), "account_access").reason is None


@pytest.mark.parametrize("figure", ["", "nan", "1.7976931348623157E308e", UNSET, f"-{UNSET}", "1e308"])
def test_the_last_figure_of_a_summary_counts(figure: str) -> None:
    found = seen(Script(answers={"62": lambda c, m: rows(c, m[2], figure, "1000.00")}), "account_access")
    assert (found.reason, "1,000.00" in found.seen) == (None, True)


@pytest.mark.parametrize("figure", ["nan", "inf", UNSET, f"-{UNSET}", "1e300"])
def test_a_figure_that_is_none_is_not_told_as_one(figure: str) -> None:
    found = seen(Script(answers={"62": lambda c, m: rows(c, m[2], figure)}), "account_access")
    assert found.reason == "implausible_summary"


def start(*steps: tuple[str, ...]) -> Talk:
    """Answers startApi by whole messages, one after the other."""

    def talk(connection: socket.socket, message: list[str]) -> None:
        for step in steps:
            send(connection, *step)
            time.sleep(LATER)

    return talk


NEXT_ID = ("9", "1", "1")
ONE, BOTH = ("15", "1", "DU1234567,"), ("15", "1", "DU1234567,DU7777777,")


@pytest.mark.parametrize(
    "steps",
    [
        (NEXT_ID, ("15", "1", ""), BOTH),
        (ONE, NEXT_ID, BOTH),
        (("4", "2", "-1", "1100", "lost", ""), BOTH, NEXT_ID, ("4", "2", "-1", "1102", "restored", "")),
        (BOTH, NEXT_ID, ("4", "2", "-1", "2110", "broken", ""), ("4", "2", "-1", "1101", "restored", "")),
    ],
)
def test_accounts_and_connectivity_are_what_was_told_last(steps: tuple[tuple[str, ...], ...]) -> None:
    expected = {"expected_accounts": ["DU1234567", "DU7777777"]}
    summary = [(account, "NetLiquidation", "1", "USD") for account in expected["expected_accounts"]]
    script = Script(summary=summary, answers={"71": start(*steps)})
    assert seen(script, "authenticated", **expected).reason is None
    assert seen(script, "account_access", **expected).reason is None


def test_a_notice_before_the_word_that_the_client_id_is_taken_does_not_hide_it() -> None:
    def talk(connection: socket.socket, message: list[str]) -> None:
        send(connection, "4", "2", "-1", "2104", "Market data farm connection is OK:usfarm", "")
        time.sleep(LATER)
        if message[2] == "999":
            send(connection, "4", "2", "-1", "326", "Unable to connect as the client id is already in use.", "")
            connection.shutdown(socket.SHUT_RDWR)
        else:
            send(connection, *ONE)
            send(connection, *NEXT_ID)

    found = seen(Script(answers={"71": talk}), "connected")
    assert (found.reason, found.data["client_id"]) == (None, 998)


def test_no_advisory_is_a_refusal() -> None:
    """Codes that say that nothing comes (TWS API reference, Message Codes)."""
    assert ADVISORY.isdisjoint({200, 201, 202, 321, 322, 354, 10089, 10168, 10186, 10197})
