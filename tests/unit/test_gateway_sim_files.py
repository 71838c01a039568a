"""How the gateway's files are rendered and read: envsubst, Java's properties format, IBC's settings."""

import inspect
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from infra.spec import environment
from sandbox.gateway import properties
from sandbox.gateway.settings import Exit, GatewaySettings, Settings, save_times, user_folder
from tests.leaks import leaks

NEW_YORK = ZoneInfo("America/New_York")
FILES = Path(properties.__file__).parent / "files"


def test_the_image_reads_every_variable_that_infra_can_set() -> None:
    """None is ignored in silence; TZ is read by the C library. What each does is in the engine's table of the image."""
    names = set(re.findall(r'"([A-Z][A-Z0-9_]+)"', inspect.getsource(environment))) - {"TZ"}
    assert {"TRADING_MODE", "TWOFA_DEVICE", "SAVE_TWS_SETTINGS"} <= names
    texts = [path.read_text() for path in FILES.rglob("*") if path.suffix in (".sh", ".tmpl")]
    read = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", "\n".join(texts)))
    assert names <= read


def test_envsubst_as_a_command() -> None:
    code = "from sandbox.gateway.envsubst import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], input=b"x=${NAME}\n", env={"NAME": "ä"}, stdout=subprocess.PIPE, check=True
    )
    assert done.stdout == "x=ä\n".encode()


def test_the_examples_of_javas_documentation() -> None:
    """java.util.Properties.load(Reader). That it is so in general is shown with the class itself, and of envsubst with
    gettext's own: tests/engine/test_java_properties.py."""
    text = b"  Truth:Beauty\n# comment\nfruits    apple, banana, \\\n      kiwi, mango\ncheeses\nk=\\u00e4\\z"
    assert properties.parse(text) == {
        "Truth": "Beauty",
        "fruits": "apple, banana, kiwi, mango",
        "cheeses": "",
        "k": "\u00e4z",
    }


def test_malformed_escape() -> None:
    with pytest.raises(properties.MalformedEscape):
        properties.parse(b"k=\\u12g4")


def settings(**values: str) -> Settings:
    return Settings(values)


def test_ibc_trims_what_it_puts_into_the_form() -> None:
    found = settings(IbLoginId=" someone ", IbPassword="\x01\tsecret ")
    assert (found.user_id, found.password) == ("someone", "secret")
    # String.trim() knows no blanks beyond ASCII.
    blanks = "\u00a0secret\u3000"
    assert settings(IbPassword=blanks).password == blanks


def test_dump_hides_only_the_four_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """IBC masks IbLoginId, IbPassword and the FIX ones, in any case; everything else is shown (DefaultSettings)."""
    settings(IbLoginId="someone", IbPassword="s3cret", FIXLoginId="x", Other="shown", ibpassword="s3cret").dump()
    printed = capsys.readouterr().out
    assert "    IbLoginId=***\n    IbPassword=***\n    Other=shown\n    ibpassword=***\n" in printed
    assert leaks(printed, "s3cret") == []
    assert "someone" not in printed


@pytest.mark.parametrize(
    ("values", "relogin"),
    [
        ({}, False),
        ({"ReloginAfterSecondFactorAuthenticationTimeout": "yes"}, True),
        ({"ReloginAfterSecondFactorAuthenticationTimeout": "no"}, False),
        ({"ExitAfterSecondFactorAuthenticationTimeout": "yes"}, True),
        (
            {
                "ReloginAfterSecondFactorAuthenticationTimeout": "no",
                "ExitAfterSecondFactorAuthenticationTimeout": "yes",
            },
            False,
        ),
    ],
)
def test_relogin(values: dict[str, str], relogin: bool) -> None:
    assert settings(**values).relogin is relogin


def test_invalid_settings_end_the_program_with_ibcs_codes(tmp_path: Path) -> None:
    """IBC's ErrorCodes: 1103 no ini file, 1104 trading mode, 1105 invalid setting."""
    with pytest.raises(Exit) as missing:
        Settings.load(tmp_path / "none.ini")
    assert missing.value.code == 1103
    with pytest.raises(Exit) as mode:
        _ = settings(TradingMode="both").mode
    assert mode.value.code == 1104
    with pytest.raises(Exit) as time_of_day:
        settings(ColdRestartTime="7 AM").cold_restart(datetime(2026, 11, 23, tzinfo=NEW_YORK))
    assert time_of_day.value.code == 1105


@pytest.mark.parametrize(
    ("now", "due"),
    [
        (datetime(2026, 11, 23, 12, 0, tzinfo=NEW_YORK), datetime(2026, 11, 29, 7, 5, tzinfo=NEW_YORK)),
        (datetime(2026, 11, 29, 7, 4, tzinfo=NEW_YORK), datetime(2026, 11, 29, 7, 5, tzinfo=NEW_YORK)),
        (datetime(2026, 11, 29, 7, 5, tzinfo=NEW_YORK), datetime(2026, 12, 6, 7, 5, tzinfo=NEW_YORK)),
    ],
)
def test_cold_restart_is_on_sundays(now: datetime, due: datetime) -> None:
    assert settings(ColdRestartTime="07:05").cold_restart(now) == due


@pytest.mark.parametrize(
    ("value", "number"), [("", 60), ("90", 90), ("+90", 90), ("-1", -1), ("90s", 60), (" 90", 60), ("2147483648", 60)]
)
def test_numbers(value: str, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Integer.parseInt; what it refuses is logged and the default stands (DefaultSettings.getInt)."""
    assert settings(Interval=value).number("Interval", 60) == number
    refused = [f'Invalid number "{value}" for property "Interval"'] if value and number == 60 else []
    assert lines(capsys.readouterr().out) == refused


@pytest.mark.parametrize(
    ("value", "times"),
    # TwsSettingsSaver: with an interval, the end of the range is always one of them.
    [
        ("08:00   12:30", [(8, 0), (12, 30)]),
        ("Every 90 08:00 12:00", [(8, 0), (9, 30), (11, 0), (12, 0)]),
        ("Every 90 mins 08:00 12:00", [(8, 0), (9, 30), (11, 0), (12, 0)]),
        ("every 8 HOURS", [(0, 0), (8, 0), (16, 0), (0, 0)]),
        ("Every 6 hours 20:00 08:00", [(20, 0), (2, 0), (8, 0)]),
    ],
)
def test_save_times(value: str, times: list[tuple[int, int]]) -> None:
    assert save_times(value) == times


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("08:00 noon", "value 'noon' should be in hh:mm format"),
        ("Every", "interval is '' but should be an integer"),
        ("Every now and then", "interval is 'now' but should be an integer"),
        ("Every 0", "the saving interval must be between 1 and 1439 minutes"),
        ("Every 24 hours", "the saving interval must be between 1 and 1439 minutes"),
    ],
)
def test_save_times_that_are_none_are_only_logged(value: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings(SaveTwsSettingsAt=value).announce_saves()
    found = capsys.readouterr().out
    assert f" IBC: Invalid setting SaveTwsSettingsAt={value}: {problem}\nTWS Settings will not be saved" in found


def test_save_times_are_announced(capsys: pytest.CaptureFixture[str]) -> None:
    settings(SaveTwsSettingsAt="08:00 12:30").announce_saves()
    settings().announce_saves()
    assert lines(capsys.readouterr().out) == [
        "Tws settings will be saved at 08:00",
        "Tws settings will be saved at 12:30",
    ]


def lines(printed: str) -> list[str]:
    return [line.split(" IBC: ", 1)[1] for line in printed.splitlines() if " IBC: " in line]


def test_configuration_tasks_and_what_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The log lines are IBC's Configure*Task; a second run finds everything as it was set."""
    asked = settings(
        ReadOnlyApi="no", OverrideTwsMasterClientID="50", AutoRestartTime="11:59 PM", BypassBondWarning="yes"
    )
    GatewaySettings.load(tmp_path / "user").configure(asked)
    assert lines(capsys.readouterr().out) == [
        "Performing master client ID configuration",
        "TWS Master Client ID was set to ",
        "TWS Master Client ID now set to 50",
        "Setting ReadOnlyApi",
        "Read-Only API checkbox is now set to: false",
        "Setting Auto restart time",
        "Auto restart time set to 11:59 PM",
        "'Bypass Bond warning for API Orders' is now selected",
        "Configuration tasks completed",
    ]
    again = GatewaySettings.load(tmp_path / "user")
    assert (again.read_only, again.master_client_id, again.auto_action) == (False, "50", "Auto restart")
    again.configure(asked)
    printed = lines(capsys.readouterr().out)
    assert "Read-Only API checkbox is already set to: false" in printed
    assert "Auto restart time already set to 11:59 PM" in printed
    assert "'Bypass Bond warning for API Orders' is already selected" in printed


def test_unset_means_unchanged_and_read_only_is_the_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = GatewaySettings.load(tmp_path / "user")
    found.configure(settings())
    assert found.read_only is True
    assert lines(capsys.readouterr().out) == []  # not even 'Configuration tasks completed'


def test_both_times_and_bad_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = GatewaySettings.load(tmp_path / "user")
    both = settings(AutoRestartTime="23:59", AutoLogoffTime="11:00 PM")
    both.announce_ignored()
    found.configure(both)
    printed = lines(capsys.readouterr().out)
    assert "AutoLogoffTime is ignored because AutoRestartTime is also set" in printed
    message = 'Auto restart time setting must be hh:mm AM or hh:mm PM, for example "09:30 AM" or "04:00 PM"'
    assert message in printed
    assert (found.auto_action, found.auto_time) == ("Auto logoff", "11:45 PM")
    found.configure(settings(AutoRestartTime="00:30 AM"))
    assert "Auto restart time set to 12:30 AM" in lines(capsys.readouterr().out)
    with pytest.raises(Exit) as bad:
        found.configure(settings(BypassOrderPrecautions="maybe"))
    assert bad.value.code == 1105


def test_user_folder_tells_nothing_of_the_user_id() -> None:
    folder = user_folder("someone")
    assert folder == user_folder("someone") != user_folder("someone2")
    assert leaks(folder, "someone") == []
    assert folder.isalpha()
