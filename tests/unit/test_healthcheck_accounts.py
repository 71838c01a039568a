"""account_access: each account's figures by whatever way of asking brings them, and a way out where none does."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from healthcheck.checks import account_access
from healthcheck.checks.account_access import MOST_SINGLY
from healthcheck.report import CheckResult, check_result
from healthcheck.session import Timeouts
from tests.unit.gateways import checks, gateway, run_checks
from tests.unit.tws_server import Script, TwsServer, error, send, serving

PATIENT = Timeouts(request=2.0, settle=0.3, one_account=2.0)
BRIEF = Timeouts(request=0.4, settle=0.1, one_account=0.1)
"""Where no answer comes."""
Talk = Callable[[socket.socket, list[str]], None]

# What a gateway answers to `All` (TWS API reference, and the sandbox's own texts).
TOO_MANY = (322, "Error processing request.-'Q' : cause - Maximum number of account summary requests exceeded")
FIFTY = (321, "Error validating request.-'bR' : cause - Account summary is not supported for more than 50 accounts")


def refuses(code: int, text: str) -> Talk:
    return lambda connection, message: error(connection, message[2], code, text)


def unanswered(connection: socket.socket, message: list[str]) -> None:
    pass


def values(worth: dict[str, str]) -> Talk:
    """Answers reqAccountUpdatesMulti for the accounts that have figures."""

    def talk(connection: socket.socket, message: list[str]) -> None:
        request, account = message[2], message[3]
        if account in worth:
            send(connection, "73", "1", request, account, "", "NetLiquidation", worth[account], "USD")
        send(connection, "74", "1", request)

    return talk


def updates(worth: dict[str, str]) -> Talk:
    """Answers reqAccountUpdates for the accounts that have figures."""

    def talk(connection: socket.socket, message: list[str]) -> None:
        account = message[3]
        if message[2] == "1" and account in worth:
            send(connection, "6", "2", "NetLiquidation", worth[account], "USD", account)
            send(connection, "54", "1", account)

    return talk


def seen(
    script: Script, level: str = "required", *, brief: bool = False, **changes: Any
) -> tuple[CheckResult, TwsServer]:
    asked_of = checks() | {"account_access": {"level": level}}
    with serving(script) as server:
        asked = gateway(server.port, checks=asked_of, **changes)
        found = asyncio.run(run_checks(asked, timeouts=BRIEF if brief else PATIENT))
        results = {check.name.value: check_result(check, asked, "paper") for check in found}
        assert results["order_capability"].skipped_because == (
            "account_access" if results["account_access"].verdict == "fail" else None
        )
        return results["account_access"], server


@pytest.mark.parametrize("summary", [refuses(*TOO_MANY), refuses(*FIFTY), unanswered])
@pytest.mark.parametrize(
    "way", [{"76": values({"DU1234567": "5"})}, {"76": refuses(321, "not here"), "6": updates({"DU1234567": "5"})}]
)
def test_without_a_summary_each_account_is_asked(summary: Talk, way: dict[str, Talk]) -> None:
    found, _ = seen(Script(answers={"62": summary, **way}))
    assert (found.verdict.value, found.seen) == ("pass", "DU1234567 NetLiquidation 5.00 USD")


def test_one_account_that_the_summary_lacks_is_asked_by_itself() -> None:
    script = Script(accounts=["DU1234567", "DU7777777"], answers={"76": values({"DU7777777": "7"})})
    found, server = seen(script)
    assert found.verdict == "pass"
    assert "DU7777777 NetLiquidation 7.00 USD" in found.seen
    assert [message[3] for message in server.messages if message[0] == "76"] == ["DU7777777"]


def test_every_subscription_is_ended() -> None:
    script = Script(answers={"62": refuses(*FIFTY), "76": refuses(321, "not here"), "6": updates({"DU1234567": "5"})})
    _, server = seen(script)
    assert [m[2] for m in server.messages if m[0] == "76"] == [m[2] for m in server.messages if m[0] == "77"]
    assert [message[2:4] for message in server.messages if message[0] == "6"] == [
        ["1", "DU1234567"],
        ["0", "DU1234567"],
    ]


def test_an_advisers_accounts_are_asked_as_a_sample() -> None:
    many = [f"DU{1000000 + at}" for at in range(60)]
    answers = {"62": refuses(*FIFTY), "76": values(dict.fromkeys(many, "5"))}
    found, server = seen(Script(accounts=many, answers=answers))
    assert found.verdict == "pass"
    assert found.seen.startswith(f"{MOST_SINGLY} of 60 accounts asked; ")
    assert sum(message[0] == "76" for message in server.messages) == MOST_SINGLY


def test_with_expected_accounts_only_these_count() -> None:
    accounts = ["DF100", "DU1234567", "DU7777777"]
    found, _ = seen(Script(accounts=accounts), expected_accounts=["DU1234567"])
    assert found.verdict == "pass"


@pytest.mark.parametrize(("level", "verdict"), [("required", "fail"), ("warn", "warn"), ("off", "not_applicable")])
@pytest.mark.parametrize(
    ("summary", "reason"),
    [([], "no_account_summary"), ([("DU1234567", "NetLiquidation", "", "USD")], "implausible_summary")],
)
def test_a_user_without_figures_has_a_way_out(summary: Any, reason: str, level: str, verdict: str) -> None:
    found, server = seen(Script(summary=summary), level, brief=True)
    assert (found.verdict.value, found.reason) == (verdict, "switched_off" if level == "off" else reason)
    assert not found.remedy or "ibgw:gateways.main.checks.accountAccess.level" in found.remedy
    assert any(message[0] == "62" for message in server.messages) == (level != "off")


@pytest.mark.parametrize("level", ["required", "warn", "off"])
def test_an_expected_account_is_required_at_every_level(level: str) -> None:
    found, _ = seen(Script(), level, expected_accounts=["DU7777777"])
    assert (found.verdict.value, found.reason) == ("fail", "account_missing")
    found, _ = seen(Script(), level, expected_accounts=["DU1234567"])
    assert found.verdict.value == ("not_applicable" if level == "off" else "pass")


def test_asking_one_at_a_time_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_access, "SINGLY", 0.5)
    many = [f"DU{1000000 + at}" for at in range(60)]
    found, server = seen(Script(accounts=many, answers={"62": refuses(*FIFTY)}), brief=True)
    assert (found.verdict.value, found.reason) == ("fail", "no_account_summary")
    assert sum(message[0] == "76" for message in server.messages) < MOST_SINGLY
