"""The broker's judgement of a login form, its users file, and one session a user."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox.broker import logins, users
from sandbox.broker.logins import UserState, Verdict
from sandbox.broker.users import User
from tests.leaks import leaks

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


def test_a_token_holds_until_the_next_full_login_of_its_mode() -> None:
    user = state()
    paper, live = user.new_token("paper", NOW), user.new_token("live", NOW)
    assert user.accepts(paper, "paper", NOW)
    assert user.accepts(live, "live", NOW)
    assert not user.accepts(live, "paper", NOW)
    second = user.new_token("paper", NOW)
    assert [user.accepts(token, "paper", NOW) for token in (paper, second)] == [False, True]
    assert user.accepts(live, "live", NOW)


@pytest.mark.parametrize(
    ("login", "resumed", "accepted"),
    # Sunday 01:00 in New York is the end of each week (IBC's config.ini, ColdRestartTime). Times in UTC; New York is
    # five hours behind in November and four in September; on 2026-11-01 summer time ends at 06:00 UTC.
    [
        ("2026-11-16 12:00", "2026-11-22 05:59", True),
        ("2026-11-16 12:00", "2026-11-22 06:00", False),
        ("2026-11-22 05:59", "2026-11-22 06:00", False),
        ("2026-11-22 06:00", "2026-11-29 05:59", True),
        ("2026-11-22 06:00", "2026-11-29 06:00", False),
        ("2026-09-14 12:00", "2026-09-20 04:59", True),
        ("2026-09-14 12:00", "2026-09-20 05:00", False),
        ("2026-10-26 12:00", "2026-11-01 04:59", True),
        ("2026-10-26 12:00", "2026-11-01 05:00", False),
    ],
)
def test_a_token_ends_with_the_week(login: str, resumed: str, accepted: bool) -> None:
    user = state()
    began, later = (datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() for text in (login, resumed))
    assert user.accepts(user.new_token("paper", began), "paper", later) is accepted


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


# RFC 6238, appendix B: the secret is "12345678901234567890", here in base32; the codes are the last six of its eight
# digits.
RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # noqa: S105 - published


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (2000000000, "279037"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (20000000000, "353130"),
    ],
)
def test_typed_codes(at: int, code: str) -> None:
    user = User("a", "b", (), ("DU1",), users.SecondFactor.TOTP, RFC_SECRET)
    assert user.confirms(code, at)
    assert user.confirms(code, at + 30)
    assert user.confirms(code, at - 30)
    assert not user.confirms(code, at + 60)
    assert not user.confirms(code[:-1], at)
    assert not user.confirms("", at)


def test_a_user_without_a_secret_has_no_right_code() -> None:
    assert not User("a", "b", (), ("DU1",), users.SecondFactor.TOTP).confirms("000000", NOW)


def test_users_file_with_a_secret_which_is_never_shown(tmp_path: Path) -> None:
    entry = {"user_id": "a", "password": "pass-word", "live_accounts": [], "paper_accounts": ["DU1"]}
    path = tmp_path / "users.json"
    path.write_text(json.dumps({"users": [{**entry, "second_factor": "totp", "totp_secret": RFC_SECRET}]}))
    (user,) = users.load(path).values()
    assert user.confirms("287082", 59)
    assert leaks(repr(user) + repr(UserState(user)), RFC_SECRET, "pass-word") == []
    path.write_text(json.dumps({"users": [{**entry, "second_factor": "totp"}]}))
    with pytest.raises(ValueError, match="a second factor totp and no totp_secret"):
        users.load(path)


def test_a_typed_code_is_taken_once_and_never_before_its_time() -> None:
    known = UserState(User("a", "b", (), ("DU1",), users.SecondFactor.TOTP, RFC_SECRET))
    now = 1_800_000_010.0
    earlier, code, later = (users.code_at(RFC_SECRET, now + step * 30) for step in (-1, 0, 1))
    assert not known.takes_code(later, now)
    assert not known.takes_code("", now)
    assert known.takes_code(code, now)
    assert not known.takes_code(code, now)
    # One of before a used one is used too.
    assert not known.takes_code(earlier, now)
    assert (known.counters.codes, known.counters.codes_refused, known.counters.least_code_life) == (5, 4, 20)
    assert UserState(User("a", "b", (), ("DU1",), users.SecondFactor.TOTP, RFC_SECRET)).takes_code(earlier, now)
