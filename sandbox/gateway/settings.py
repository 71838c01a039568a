"""IBC's settings: config.ini as the login automation reads it, and the gateway's own settings on the volume.

Source: IBC's DefaultSettings, IbcTws, TwsSettingsSaver, Configure...Task classes, and its config.ini with comments.
"""

import hashlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from . import console, properties

SECRET_KEYS = ("ibloginid", "ibpassword", "fixloginid", "fixpassword")
"""In lower case: IBC compares without regard to case when it hides them."""

JAVA_BLANKS = "".join(map(chr, range(33)))
"""What String.trim() cuts off: everything up to the space, and nothing beyond ASCII."""

LARGEST_INTEGER = 2**31 - 1

# Exit codes of IBC's ErrorCodes; the process's status is the code modulo 256.
UNHANDLED = 1100
INI_MISSING = 1103
INVALID_MODE = 1104
INVALID_SETTING = 1105
LOGIN_TIMED_OUT = 1111
FORM_TIMED_OUT = 1112

PRECAUTIONS = {
    "BypassOrderPrecautions": "Bypass Order Precautions for API Orders",
    "BypassBondWarning": "Bypass Bond warning for API Orders",
    "BypassNegativeYieldToWorstConfirmation": "Bypass negative yield to worst confirmation for API Orders",
    "BypassCalledBondWarning": "Bypass Called Bond warning for API Orders",
    "BypassSameActionPairTradeWarning": 'Bypass "same action pair trade" warning for API orders.',
    "BypassPriceBasedVolatilityRiskWarning": "Bypass price-based volatility risk warning for API Orders",
    "BypassUSStocksMarketDataInSharesWarning": "Bypass US Stocks market data in shares warning for API Orders",
    "BypassRedirectOrderWarning": "Bypass Redirect Order warning for Stock API Orders",
    "BypassNoOverfillProtectionPrecaution": (
        "Bypass No Overfill Protection precaution for destinations where implied natively"
    ),
}


class Exit(Exception):
    """The process ends. `code` is IBC's; `text` is logged as an error first."""

    def __init__(self, code: int, text: str | None = None) -> None:
        super().__init__(text or f"exit code {code}")
        self.code = code
        self.text = text


class Settings:
    """config.ini. A missing key and an empty value mean the same: the default."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    @classmethod
    def load(cls, path: Path) -> "Settings":
        """Raises Exit when the file is missing, or no properties file."""
        if not path.is_file():
            raise Exit(INI_MISSING, f'ini file "{path}" either does not exist, or is a directory.  quitting...')
        try:
            return cls(properties.parse(path.read_bytes()))
        except properties.MalformedEscape as problem:
            raise Exit(UNHANDLED, f"An exception has occurred: java.lang.IllegalArgumentException: {problem}") from None

    def dump(self) -> None:
        console.raw("IBC Settings:")
        for key in sorted(self._values):
            console.raw(f"    {key}={'***' if key.lower() in SECRET_KEYS else self._values[key]}")
        console.raw("End IBC Settings\n")

    def text(self, key: str, default: str = "") -> str:
        return self._values.get(key, "") or default

    def flag(self, key: str, default: bool) -> bool:
        return {"yes": True, "true": True, "no": False, "false": False}.get(self.text(key).lower(), default)

    def number(self, key: str, default: int) -> int:
        value = self.text(key)
        if not value:
            return default
        if not re.fullmatch(r"[+-]?\d+", value) or not -LARGEST_INTEGER <= int(value) <= LARGEST_INTEGER:
            console.log(f'Invalid number "{value}" for property "{key}"')
            return default
        return int(value)

    @property
    def user_id(self) -> str:
        """Trimmed, as IBC does with what it puts into the login form."""
        return self.text("IbLoginId").strip(JAVA_BLANKS)

    @property
    def password(self) -> str:
        return self.text("IbPassword").strip(JAVA_BLANKS)

    @property
    def mode(self) -> str:
        """`live` or `paper`. Raises Exit for anything else."""
        mode = self.text("TradingMode", "live").lower()
        if mode not in ("live", "paper"):
            raise Exit(INVALID_MODE, f"Invalid Trading Mode argument or .ini file setting: {mode}")
        return mode

    @property
    def relogin(self) -> bool:
        """Whether a timed-out second factor, or a lockout, leads to another login attempt in the same process."""
        key = "ReloginAfterSecondFactorAuthenticationTimeout"
        if self.text(key):
            return self.flag(key, False)
        return self.flag("ExitAfterSecondFactorAuthenticationTimeout", False)

    def cold_restart(self, now: datetime) -> datetime | None:
        """The next Sunday at ColdRestartTime, `HH:mm`. Raises Exit for another format."""
        value = self.text("ColdRestartTime")
        if not value:
            return None
        time_of_day = lenient_time(value)
        if time_of_day is None:
            text = f"Invalid ColdRestartTime setting: '{value}'; format should be: <hh:mm>   eg 13:00"
            raise Exit(INVALID_SETTING, text)
        hour, minute = time_of_day
        at = now.replace(hour=hour, minute=minute, second=0, microsecond=0) + timedelta(days=(6 - now.weekday()) % 7)
        return at if at > now else at + timedelta(days=7)

    def announce_saves(self) -> list[tuple[int, int]]:
        """Logs and returns when the gateway's settings will be saved (SaveTwsSettingsAt): hours and minutes of a day.
        A bad value is only an error line."""
        value = self.text("SaveTwsSettingsAt")
        if not value:
            return []
        try:
            times = save_times(value)
        except ValueError as problem:
            text = f"Invalid setting SaveTwsSettingsAt={value}: {problem}"
            console.error(f"{text}\nTWS Settings will not be saved automatically")
            return []
        for hour, minute in times:
            console.log(f"Tws settings will be saved at {hour:02d}:{minute:02d}")
        return times

    def announce_ignored(self) -> None:
        """Logs that one of the two daily times has no effect (IbcTws.configureAutoLogoffOrRestart)."""
        if self.text("AutoRestartTime") and self.text("AutoLogoffTime"):
            console.log("AutoLogoffTime is ignored because AutoRestartTime is also set")


def save_times(value: str) -> list[tuple[int, int]]:
    """`08:00 12:30`, or `Every n [mins|hours] [from [to]]`, to times of day. Raises ValueError in IBC's words."""
    words = re.split(" +", value)
    if words[0].lower() != "every":
        return [_save_time(word) for word in words]
    try:
        interval = int(words[1])
    except (IndexError, ValueError):
        raise ValueError(f"interval is '{''.join(words[1:2])}' but should be an integer") from None
    unit = words[2].lower() if len(words) > 2 else ""
    bounds = words[3 if unit in ("mins", "hours") else 2 :]
    if unit == "hours":
        interval *= 60
    if not 1 <= interval <= 1439:
        raise ValueError("the saving interval must be between 1 and 1439 minutes")
    start_hour, start_minute = _save_time(bounds[0]) if bounds else (0, 0)
    end_hour, end_minute = _save_time(bounds[1]) if len(bounds) > 1 else (0, 0)
    start, end = start_hour * 60 + start_minute, end_hour * 60 + end_minute
    if start >= end:
        end += 24 * 60
    return [divmod(minute % (24 * 60), 60) for minute in [*range(start, end, interval), end]]


def _save_time(word: str) -> tuple[int, int]:
    found = lenient_time(word)
    if found is None:
        raise ValueError(f"value '{word}' should be in hh:mm format")
    return found


def lenient_time(value: str) -> tuple[int, int] | None:
    """Hour and minute as Java's SimpleDateFormat("HH:mm") reads them, None where it throws.

    It is lenient: too large numbers carry over, and what follows the minute is not looked at, an `AM` or `PM` neither.
    """
    match = re.match(r"[ \t]*(-?\d+):[ \t]*(-?\d+)", value)
    if match is None:
        return None
    hour, minute = divmod(int(match[1]) * 60 + int(match[2]), 60)
    return hour % 24, minute


def clock_time(value: str) -> tuple[int, int] | None:
    """`hh:mm AM` or `hh:mm PM`, two digits each, to hour (0 to 23) and minute; None for anything else.

    As Java's DateTimeFormatter("hh:mm a") does by default, the hour 00 is taken for 12.
    """
    match = re.fullmatch(r"(0\d|1[0-2]):([0-5]\d) (AM|PM)", value, re.ASCII)
    if match is None:
        return None
    return int(match[1]) % 12 + (12 if match[3] == "PM" else 0), int(match[2])


def clock_text(hour: int, minute: int) -> str:
    return f"{(hour - 1) % 12 + 1:02d}:{minute:02d} {'AM' if hour < 12 else 'PM'}"


@dataclass
class GatewaySettings:
    """What the gateway itself remembers from run to run, in ibg.xml of the user's folder on the settings volume."""

    path: Path
    read_only: bool = True
    master_client_id: str = ""
    auto_action: str = "Auto logoff"
    auto_time: str = "11:45 PM"
    selected: tuple[str, ...] = ()  # precautions that are bypassed, by the text of their checkbox

    @classmethod
    def load(cls, folder: Path) -> "GatewaySettings":
        """From the user's folder, which is made if need be."""
        folder.mkdir(exist_ok=True)
        found = cls(folder / "ibg.xml")
        if found.path.is_file():
            root = ElementTree.fromstring(found.path.read_text(encoding="utf-8"))
            found.read_only = root.get("readOnlyApi") == "true"
            found.master_client_id = root.get("masterClientId", "")
            found.auto_action = root.get("autoAction", found.auto_action)
            found.auto_time = root.get("autoTime", found.auto_time)
            found.selected = tuple(element.text or "" for element in root.iter("Bypass"))
        return found

    def save(self) -> None:
        root = ElementTree.Element(
            "Settings",
            readOnlyApi="true" if self.read_only else "false",
            masterClientId=self.master_client_id,
            autoAction=self.auto_action,
            autoTime=self.auto_time,
        )
        for text in self.selected:
            ElementTree.SubElement(root, "Bypass").text = text
        self.path.write_text(ElementTree.tostring(root, encoding="unicode"), encoding="utf-8")

    def configure(self, settings: Settings) -> None:
        """Applies what config.ini asks for, with the login automation's log lines. Raises Exit for a bad value."""
        performed = [
            self._configure_master_client_id(settings),
            self._configure_read_only(settings),
            self._configure_auto_action(settings),
            self._configure_precautions(settings),
        ]
        if any(performed):
            console.log("Configuration tasks completed")
        self.save()

    def _configure_master_client_id(self, settings: Settings) -> bool:
        wanted = settings.text("OverrideTwsMasterClientID")
        if not wanted:
            return False
        console.log("Performing master client ID configuration")
        if wanted == self.master_client_id:
            console.log(f"TWS Master Client ID is already set to {wanted}")
        else:
            console.log(f"TWS Master Client ID was set to {self.master_client_id}")
            self.master_client_id = wanted
            console.log(f"TWS Master Client ID now set to {wanted}")
        return True

    def _configure_read_only(self, settings: Settings) -> bool:
        if not settings.text("ReadOnlyApi"):
            return False
        console.log("Setting ReadOnlyApi")
        wanted = settings.flag("ReadOnlyApi", True)
        verb = "is already set to" if wanted == self.read_only else "is now set to"
        self.read_only = wanted
        console.log(f"Read-Only API checkbox {verb}: {'true' if wanted else 'false'}")
        return True

    def _configure_auto_action(self, settings: Settings) -> bool:
        restart, logoff = settings.text("AutoRestartTime"), settings.text("AutoLogoffTime")
        if not restart and not logoff:
            return False
        action, given = ("Auto restart", restart) if restart else ("Auto logoff", logoff)
        console.log(f"Setting {action} time")
        at = clock_time(given)
        if at is None:
            console.error(f'{action} time setting must be hh:mm AM or hh:mm PM, for example "09:30 AM" or "04:00 PM"')
            return True
        wanted = clock_text(*at)
        if (action, wanted) == (self.auto_action, self.auto_time):
            console.log(f"{action} time already set to {wanted}")
        else:
            change = f"changed from {self.auto_time} to" if action == self.auto_action else "set to"
            self.auto_action, self.auto_time = action, wanted
            console.log(f"{action} time {change} {wanted}")
        return True

    def _configure_precautions(self, settings: Settings) -> bool:
        wanted = {text: settings.text(key).lower() for key, text in PRECAUTIONS.items() if settings.text(key)}
        for text, value in wanted.items():
            if value not in ("yes", "no"):
                raise Exit(INVALID_SETTING, f"Invalid setting value for '{text}'")
            selected = value == "yes"
            state = "selected" if selected else "unselected"
            console.log(f"'{text}' is {'already' if (text in self.selected) == selected else 'now'} {state}")
            others = tuple(other for other in self.selected if other != text)
            self.selected = (*others, text) if selected else others
        return bool(wanted)


def user_folder(user_id: str) -> str:
    """The name of a user's folder: it tells nothing of the user id, and is the same at each start."""
    digest = hashlib.sha256(user_id.encode()).hexdigest()[:24]
    return "".join(chr(ord("a") + int(digit, 16)) for digit in digest)
