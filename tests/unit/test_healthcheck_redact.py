"""Account numbers and credentials stay out of what is printed."""

import logging

import pytest

from healthcheck.redact import RedactingFilter, Redactor, mask_account


@pytest.mark.parametrize(
    ("account", "masked"),
    [("DU1234567", "DU***567"), ("U7654321", "U***321"), ("DF98765", "DF***765"), ("DUP123456", "DUP***456")],
)
def test_an_account_keeps_its_kind_and_three_digits(account: str, masked: str) -> None:
    assert mask_account(account) == masked
    assert Redactor().text(f"accounts {account},x") == f"accounts {masked},x"
    assert Redactor(show_accounts=True).text(f"accounts {account},x") == f"accounts {account},x"


def test_accounts_of_an_unusual_form_are_masked_when_known() -> None:
    assert Redactor(accounts=["HEDGE-99-12345"]).text("at HEDGE-99-12345!") == "at HEDGE***345!"


@pytest.mark.parametrize("text", ["sha256:du123456ab", "SPY live 601.1", "2026-11-22T17:58:03Z", "ibgw-paper-u123456"])
def test_other_text_is_left_alone(text: str) -> None:
    assert Redactor().text(text) == text


@pytest.mark.parametrize("password", ["hunter2", "a b c", "p=q:r", "{json}", "sécret$\\", "***x"])
@pytest.mark.parametrize(
    "before", ["IbPassword=", "TWS_PASSWORD: ", '"password": ', "IbLoginTotpSecret=", "FIXPassword = ", "IbLoginId="]
)
def test_what_follows_a_credentials_key_is_masked_to_the_lines_end(before: str, password: str) -> None:
    found = Redactor(show_accounts=True).text(f"2026 IBC: {before}{password}\nnext line")
    assert password not in found
    assert found.endswith("\nnext line")
    assert found.startswith("2026 IBC: ")


def test_nested_values_and_keys_are_masked() -> None:
    found = Redactor().value({"DU1234567": ["U7654321", {"seen": "DU1234567 ok"}], "n": 3, "none": None})
    assert found == {"DU***567": ["U***321", {"seen": "DU***567 ok"}], "n": 3, "none": None}


def test_log_records_are_masked_with_their_arguments_and_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("redaction")
    caplog.handler.addFilter(RedactingFilter(Redactor()))
    try:
        raise ValueError("field DU1234567")
    except ValueError:
        logger.exception("fields: %s", ["15", "1", "DU1234567"])
    assert "DU***567" in caplog.text
    assert "ValueError" in caplog.text
    assert "DU1234567" not in caplog.text
