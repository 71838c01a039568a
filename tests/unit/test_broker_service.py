"""What the broker answers about market data, by scenario and hour."""

from dataclasses import asdict
from typing import Any

import pytest

from sandbox.broker.clock import Clock
from sandbox.broker.logins import UserState
from sandbox.broker.market import Market
from sandbox.broker.service import Service
from sandbox.broker.users import User

ACCOUNT = "DU1111111"
SATURDAY = 1_795_280_400.0  # 2026-11-21 12:00 in New York
FRIDAY_CLOSE = SATURDAY - 20 * 3600
MONDAY_NOON = SATURDAY + 2 * 86_400
SPY = {"symbol": "SPY", "sec_type": "STK", "exchange": "SMART", "currency": "USD"}


def ask(scenario: str, at: float, what: str, **request: Any) -> dict[str, Any]:
    clock = Clock()
    clock.set(at=at)
    state = UserState(User("trader", "right", ("U1111111",), (ACCOUNT,)), scenario)
    return Service(Market(), clock).answer(state, (ACCOUNT,), what, {"contract": SPY, **request})


@pytest.mark.parametrize(
    ("at", "wanted", "kind", "of"),
    [
        (MONDAY_NOON, 1, 1, MONDAY_NOON),
        (MONDAY_NOON, 2, 1, MONDAY_NOON),
        (MONDAY_NOON, 3, 1, MONDAY_NOON),
        (SATURDAY, 1, 1, None),
        (SATURDAY, 2, 2, FRIDAY_CLOSE),
        (SATURDAY, 3, 3, None),
        (SATURDAY, 4, 4, FRIDAY_CLOSE),
        (FRIDAY_CLOSE + 600, 2, 2, FRIDAY_CLOSE),
    ],
)
def test_quotes_by_the_hours(at: float, wanted: int, kind: int, of: float | None) -> None:
    """Frozen data is the last of the last session (TWS API reference, Market Data Types). `of`: the quote's time."""
    answer = ask("market-hours", at, "quote", type=wanted)
    assert answer["type"] == kind
    if of is None:
        assert answer["ticks"] is None
        return
    place = Market()
    contract = place.find(SPY)
    assert contract is not None
    # Rounded: two clocks that run are not equal to the microsecond.
    assert answer["ticks"]["at"] == of
    assert answer["ticks"]["last"] == pytest.approx(place.quote(contract, of).last, abs=0.02)
    assert set(answer["ticks"]) == {*asdict(place.quote(contract, of)), "at"}


def test_delayed_quotes_are_a_quarter_of_an_hour_old() -> None:
    answer = ask("delayed-only", MONDAY_NOON, "quote", type=3)
    assert (answer["type"], answer["ticks"]["at"]) == (3, MONDAY_NOON - 900)


@pytest.mark.parametrize(
    ("scenario", "what", "request_"),
    [
        ("farm-broken:market", "quote", {"type": 1}),
        (
            "farm-broken:history",
            "bars",
            {"end": None, "size": 60, "number": 1, "unit": "D", "regular": 1, "show": "BID"},
        ),
        ("farm-broken:definition", "contract", {}),
    ],
)
def test_a_broken_farm_breaks_its_own_data_only(scenario: str, what: str, request_: dict[str, Any]) -> None:
    broken, whole = ask(scenario, MONDAY_NOON, what, **request_), ask("normal", MONDAY_NOON, what, **request_)
    assert "silent" in broken or "error" in broken or broken["ticks"] is None
    for other in {"farm-broken:market", "farm-broken:history", "farm-broken:definition"} - {scenario}:
        assert set(ask(other, MONDAY_NOON, what, **request_)) == set(whole)
