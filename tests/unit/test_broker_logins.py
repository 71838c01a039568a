"""The broker's judgement of a login form, its users file, and one session a user."""

import json
from pathlib import Path

import pytest

from sandbox.broker import logins, users
from sandbox.broker.logins import UserState, Verdict
from sandbox.broker.users import User

NOW = 1_795_000_000.0


def state() -> UserState:
    return UserState(User("someone", "right", ("U1",), ("DU1",)))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        # Both texts are quoted in IBC's TooManyFailedLoginAttemptsDialogHandler.
        (
            287,
            "Too many failed login attempts. Please wait 4 minutes & 47 seconds before attempting to re-login again.",
        ),
        (53, "Too many failed login attempts. Please wait 53 seconds before attempting to re-login again."),
        (61, "Too many failed login attempts. Please wait 1 minute & 1 second before attempting to re-login again."),
        (300, "Too many failed login attempts. Please wait 5 minutes before attempting to re-login again."),
        (0.2, "Too many failed login attempts. Please wait 1 second before attempting to re-login again."),
    ],
)
def test_waiting_text(seconds: float, text: str) -> None:
    assert logins.waiting_text(seconds) == text


def test_right_password_passes_and_wrong_one_is_counted() -> None:
    user = state()
    assert user.judge("wrong", NOW) is Verdict.REJECTED
    assert user.judge("right", NOW) is Verdict.PASSWORD_OK
    assert (user.counters.attempts, user.counters.failed_attempts) == (2, 1)


def test_fifth_failure_in_a_row_locks_for_five_minutes() -> None:
    user = state()
    verdicts = [user.judge("wrong", NOW) for _ in range(5)]
    assert verdicts == [Verdict.REJECTED] * 4 + [Verdict.LOCKED]
    assert user.judge("right", NOW + 299) is Verdict.LOCKED
    assert user.judge("right", NOW + 301) is Verdict.PASSWORD_OK
    assert user.counters.failed_attempts == 6


def test_success_starts_the_count_of_failures_anew() -> None:
    user = state()
    for password in ["wrong"] * 4 + ["right"] + ["wrong"] * 4:
        assert user.judge(password, NOW) is not Verdict.LOCKED


@pytest.mark.parametrize(
    ("scenario", "verdict", "attempts", "failed"),
    [
        ("wrong-password", Verdict.REJECTED, 1, 1),
        ("login-failed-restart", Verdict.FAILED, 1, 1),
        ("locked-out", Verdict.LOCKED, 1, 1),
        ("system-unavailable", Verdict.UNAVAILABLE, 1, 0),
        ("login-server-down", Verdict.NO_ANSWER, 0, 0),
    ],
)
def test_scenarios_of_the_login_server(scenario: str, verdict: Verdict, attempts: int, failed: int) -> None:
    user = state()
    user.set_scenario(scenario, NOW)
    assert user.judge("right", NOW) is verdict
    assert (user.counters.attempts, user.counters.failed_attempts) == (attempts, failed)
    user.set_scenario("normal", NOW)
    assert user.judge("right", NOW) is Verdict.PASSWORD_OK


def test_a_token_holds_until_the_next_full_login_of_its_mode() -> None:
    user = state()
    paper, live = user.new_token("paper"), user.new_token("live")
    assert user.tokens == {paper: "paper", live: "live"}
    second = user.new_token("paper")
    assert user.tokens == {second: "paper", live: "live"}


@pytest.mark.parametrize(
    ("action", "prevails"),
    # IBC's config.ini, Existing Session Detected Action.
    [("primary", True), ("primaryoverride", False), ("secondary", False), ("manual", False)],
)
def test_existing_session(action: str, prevails: bool) -> None:
    assert logins.existing_prevails(action) is prevails


def test_users_file(tmp_path: Path) -> None:
    entry = {"user_id": "a", "password": "b", "live_accounts": ["U1"], "paper_accounts": [], "second_factor": "push"}
    path = tmp_path / "users.json"
    path.write_text(json.dumps({"users": [entry]}))
    (user,) = users.load(path).values()
    assert user.accounts("live") == ("U1",)
    assert user.accounts("paper") == ()
    assert user.second_factor == "push"
    path.write_text(json.dumps({"users": [entry, entry]}))
    with pytest.raises(ValueError, match="same user id twice"):
        users.load(path)
