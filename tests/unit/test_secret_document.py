"""What a secret may hold, how it is escaped, and that no message ever shows any of it."""

import json

import pytest

from deployment.description import Mode
from deployment.errors import ExitCode, IbgwError
from infra.properties import escape
from infra.secret_document import parse
from tests.leaks import leaks

SECRET = "hunter2Hunter"  # noqa: S105 - a made-up password that must not be shown
USER = "somebody77"


def document(**changes: object) -> str:
    whole: dict[str, object] = {"user_id": USER, "password": SECRET, "trading_mode": "paper", **changes}
    return json.dumps({key: value for key, value in whole.items() if value is not ...})


def test_a_good_secret_gives_both_values() -> None:
    assert parse("s", document(), Mode.PAPER) == (USER, SECRET)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(f"{USER}:{SECRET}", "not JSON", id="not-json"),
        pytest.param(json.dumps([USER, SECRET]), "not a JSON object", id="array"),
        pytest.param("", "not JSON", id="empty"),
        pytest.param(f"\ufeff{document()}", "begins with a byte-order mark", id="byte-order-mark"),
        pytest.param(document(password=...), "password missing", id="no-password"),
        pytest.param(document(user_id=..., password=...), "user_id and password missing", id="nothing"),
        pytest.param(document(password=""), "password is empty", id="empty-password"),
        pytest.param(document(user_id=""), "user_id is empty", id="empty-user"),
        pytest.param(document(password=12345678), "password is not a text", id="number"),
        pytest.param(document(password=None), "password is not a text", id="null"),
        pytest.param(document(password=f"{SECRET} "), "begins or ends with a blank", id="blank-after"),
        pytest.param(document(user_id=f" {USER}"), "begins or ends with a blank", id="blank-before"),
        pytest.param(document(password=f"{SECRET}\n"), "begins or ends with a blank", id="line-break-after"),
        pytest.param(document(password=f"a\nb{SECRET}"), "control character", id="line-break"),
        pytest.param(document(password=f"a\x00{SECRET}"), "control character", id="nul"),
        pytest.param(document(password=f"a\x85{SECRET}"), "control character", id="next-line"),
        pytest.param(document(password=f"{SECRET}\ud800"), "not valid Unicode", id="lone-surrogate"),
        pytest.param(document(password=f"{SECRET}\u200b"), "that nobody sees", id="zero-width-space"),
        pytest.param(document(user_id=f"{USER}\u202e"), "that nobody sees", id="right-to-left"),
        pytest.param(document(password=f"{SECRET[:5]}\u00a0{SECRET}"), "that nobody sees", id="no-break-space"),
        pytest.param('{"a":' * 100_000, "not JSON", id="nested-without-end"),
        pytest.param('{"password": ' + "9" * 5000 + "}", "not JSON", id="number-of-5000-digits"),
        pytest.param(document(password=SECRET * 20), "more than 128 characters", id="too-long"),
        pytest.param(document(trading_mode="live"), "trading_mode is 'live'", id="live-secret"),
        pytest.param(document(trading_mode=SECRET), "neither paper nor live", id="mode-holds-password"),
        pytest.param(
            document(account="x", note="y"),
            "2 unknown keys; allowed are user_id, password, trading_mode and nothing else",
            id="unknown-keys",
        ),
        pytest.param(document(**{SECRET: "x"}), "1 unknown key;", id="password-as-a-key"),
        pytest.param(document(**{f"{SECRET}_1": "x"}), "1 unknown key;", id="password-with-underscore-as-a-key"),
    ],
)
def test_a_bad_secret_is_refused_without_showing_it(text: str, found: str) -> None:
    with pytest.raises(IbgwError) as refused:
        parse("ibgw/paper/main", text, Mode.PAPER)
    message = str(refused.value)
    assert refused.value.exit_code is ExitCode.REFUSED
    assert "ibgw/paper/main" in message
    assert found in message
    assert leaks(message, SECRET, USER) == []


@pytest.mark.parametrize(
    "value",
    [
        *("...", "…", "********", "xxxxxxxx", "XXXX-XXXX", "00000000", "---"),
        *("<password>", "<your user id>", "${PASSWORD}", "{{ password }}", "$TWS_PASSWORD", "%PASSWORD%", "[secret]"),
        *(
            "changeme",
            "CHANGE_ME",
            "change-it",
            "please change me!",
            "replaceMe",
            "your_password_here",
            "your-username",
        ),
        *(
            "password",
            "PASSWORD",
            "my password",
            "insert password here",
            "TODO",
            "tbd",
            "n/a",
            "null",
            "EXAMPLE-PASSWORD",
            *("changeme123", "put_your_IBKR_password_here", "%(password)s", "PASSWORD_PLACEHOLDER"),
            *("replace with password", "12345678", "test-user", "TODO: password", "__PASSWORD__"),
        ),
    ],
)
@pytest.mark.parametrize("key", ["user_id", "password"])
def test_a_placeholder_is_refused(key: str, value: str) -> None:
    with pytest.raises(IbgwError, match=f"{key} is a placeholder"):
        parse("ibgw/paper/main", document(**{key: value}), Mode.PAPER)


@pytest.mark.parametrize("key", ["user_id", "password"])
@pytest.mark.parametrize(
    "value",
    [
        "edemo",
        "demouser",
        "passwort",
        "<Tr4ding>",
        "$Trading2024",
        "my-password-is-7",
        "password2024",
        "changer",
        "Putney",
        "users7",
        "Mysterious",
        "aaaaaaa1",
    ],
)
def test_what_only_looks_like_a_placeholder_is_taken(key: str, value: str) -> None:
    assert value in parse("ibgw/paper/main", document(**{key: value}), Mode.PAPER)


NASTY = [
    "simple1",
    "back\\slash",
    "a$HOME${TWS_USERID}`id`$(id)",
    "quote\"single'hash#colon:equals=bang!",
    "inner  blanks",
    "grüße-ñ-Ω",
    "密码パスワード",
    "emoji😀end",
    "%s%n\\u0041\\n",
    "x" * 128,
    "".join(chr(code) for code in range(33, 127)),
]


@pytest.mark.parametrize("value", NASTY)
def test_escaping_leaves_nothing_that_a_shell_or_envsubst_reads(value: str) -> None:
    escaped = escape(value)
    assert all(character.isascii() and (character.isalnum() or character == "\\") for character in escaped)
    assert "$" not in escaped
