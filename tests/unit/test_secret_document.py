"""What a secret may hold, how it is escaped, and that no message ever shows any of it."""

import json

import pytest

from deployment.description import Mode
from deployment.errors import ExitCode, IbgwError
from infra.properties import escape
from infra.secret_document import parse

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
    assert SECRET not in message
    assert USER not in message


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
