"""Account numbers and credentials stay out of what is printed."""

import json
import logging
from collections.abc import Callable
from urllib.parse import quote

import pytest

from healthcheck.credential_files import credentials_of
from healthcheck.redact import RedactingFilter, Redactor, mask_account
from operations.stack import parse_contract
from tests.leaks import leaks
from tests.unit.fake_docker import FakeDocker
from tests.unit.operations_contract import contract_json

GATEWAY = parse_contract(contract_json(), "x").gateways["main"]


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


NASTY = [
    "hunter2hunter2",
    r"back\slash\n",
    "quo\"te's",
    "$HOME `id` ${X}",
    "p=q:r #!",
    "schön☃𝄞",
    "<&>",
    "100%d",
    "a+b c/d",
]


def escaped(text: str) -> str:
    """As infra.properties.escape writes the files: what is no ASCII letter or digit as UTF-16 units."""
    units = text.encode("utf-16-be")
    pairs = [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]
    return "".join(chr(unit) if chr(unit).isascii() and chr(unit).isalnum() else f"\\u{unit:04X}" for unit in pairs)


@pytest.mark.parametrize("password", NASTY)
@pytest.mark.parametrize(
    "spelled",
    [
        str,
        repr,
        json.dumps,
        lambda text: json.dumps(text, ensure_ascii=False),
        escaped,
        lambda text: quote(text, safe=""),
        lambda text: f"IBC: something said {text} and went on",
        lambda text: str({"k": text}),
    ],
)
def test_a_known_credential_is_masked_however_it_is_spelled(password: str, spelled: Callable[[str], str]) -> None:
    redactor = Redactor(show_accounts=True, credentials=[escaped(password)])
    text = spelled(password)
    found = redactor.text(f"before {text} after")
    assert "***" in found
    assert password not in found
    assert text not in found
    assert found.startswith("before ")
    assert found.endswith(" after")


def test_an_empty_credential_masks_nothing() -> None:
    """The start guard blanks what it holds back."""
    assert Redactor(credentials=[""]).text("all is well") == "all is well"


@pytest.mark.parametrize("password", NASTY)
def test_credentials_are_read_from_the_gateways_container(password: str) -> None:
    files = {
        "/run/secrets/secret_version": "v1",
        "/run/secrets/tws_userid": "someone",
        "/run/secrets/tws_password": escaped(password),
    }

    docker = FakeDocker()
    docker.files.update(files)
    found = credentials_of(docker, GATEWAY)
    assert docker.asked == [("read_folder", GATEWAY.container.name, "/run/secrets")]
    shown = Redactor(credentials=found).text(f"user someone, password {password}")
    assert len(found) == 2
    assert leaks(shown, "someone", password) == []


def test_a_container_without_credentials_gives_none() -> None:
    assert credentials_of(FakeDocker(), GATEWAY) == ()
