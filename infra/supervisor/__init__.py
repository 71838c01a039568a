"""The first process of a gateway's container: `supervisor.sh`, and the values of one gateway that it reads. Pure."""

from importlib.resources import files
from pathlib import Path
from shlex import quote

from deployment.description import COMMAND_PORT, PORTS, STATUS_PORT, VNC_PORT, ClientIds, Mode, SecondFactor
from healthcheck.automation import ibc
from healthcheck.automation.base import LoginState
from infra import settings as config
from infra.times import parse_time_of_day

MAXIMUM_ATTEMPTS = 2
"""Logins that one version of a secret may try without success, whatever restarts the gateway."""
LOGINS_AN_HOUR = 5
"""Full logins within an hour that nobody asked to end, after which the gateway is held."""
HEALS_A_DAY = 3
UNWELL_SECONDS = 180
"""For how long the API is wedged or half open before the gateway is restarted."""
LOG_DAYS = 14
LOG_MEBIBYTES = 256
"""Of the gateway's own logs, where debugging is on: what is older, and then the oldest of more, is deleted."""
FORM_SECONDS = 300
"""IBC's LoginDialogDisplayTimeout. Its own 60 s are too short where a dozen gateways start on two cores at once."""

WORDS: dict[LoginState, str] = {
    LoginState.STARTING: "begun",
    LoginState.RESUMING: "begun",
    LoginState.LOGIN_FORM: "form",
    LoginState.SUBMITTED: "submitted",
    LoginState.SECOND_FACTOR_PENDING: "factor",
    LoginState.SECOND_FACTOR_DEVICE: "device",
    LoginState.SECOND_FACTOR_CLOSED: "second_factor_denied",
    LoginState.SECOND_FACTOR_TIMEOUT: "second_factor_timeout",
    LoginState.REJECTED: "rejected",
    LoginState.LOCKED_OUT: "locked_out",
    LoginState.EXISTING_SESSION: "competing_session",
    LoginState.SERVER_UNREACHABLE: "unreachable",
    LoginState.SYSTEM_UNAVAILABLE: "unavailable",
    LoginState.VERSION_REFUSED: "version_refused",
    LoginState.LOGIN_ERROR: "text_follows",
    LoginState.LATE_FORM: "late_form",
    LoginState.RELOGIN_REQUIRED: "relogin",
    LoginState.SESSION_KEPT: "kept",
    LoginState.LOGGED_IN: "logged_in",
}
"""What a state is called in the container. A state that is not here decides nothing there."""

_SCRIPT = Path(__file__).with_name("supervisor.sh")


def script(*, paths: dict[str, str]) -> str:
    """The script, the same for every gateway. `paths`: VALUES, SECRETS, LOGS and RUN, where the container has its
    gateway's values, its credentials, its debug logs, and what only lives as long as the container; WANTED and TOLD,
    the files between it and what types its codes."""
    values: dict[str, object] = {
        **paths,
        "SCREEN_PORT": VNC_PORT,
        "COMMANDS": COMMAND_PORT,
        "STATUS_PORT": STATUS_PORT,
        "CLIENT_ID": ClientIds().testing[0],
        "LIMIT": MAXIMUM_ATTEMPTS,
        "LOGINS_AN_HOUR": LOGINS_AN_HOUR,
        "HEALS_A_DAY": HEALS_A_DAY,
        "UNWELL_SECONDS": UNWELL_SECONDS,
        "FORM_SECONDS": FORM_SECONDS,
        "LOG_DAYS": LOG_DAYS,
        "LOG_MEBIBYTES": LOG_MEBIBYTES,
        "LINES": "\n".join(f"\t{quote(row)}" for row in line_table()),
    }
    text = _SCRIPT.read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    return text


def values(mode: Mode, gateway: config.Gateway) -> str:
    """What the script reads of its gateway: assignments for bash."""
    session = gateway.session
    offline = session.offline
    told: dict[str, object] = {
        "MODE": mode.value,
        "PORT": PORTS[mode].inner,
        "RELAY_PORT": PORTS[mode].client,
        "GRACE": round(gateway.container.stop_grace.total_seconds()),
        "HEAL": _yes(session.heal),
        "AUTO_RESTART": _minute(session.auto_restart),
        "AUTO_LOGOFF": _minute(session.auto_logoff),
        "COLD_RESTART": _minute(session.cold_restart),
        "OFFLINE_FROM": _minute(offline.from_ if offline else None),
        "OFFLINE_UNTIL": _minute(offline.until if offline else None),
        "DEBUG": _yes(gateway.debug.enabled),
        "RELOGIN": _yes(gateway.second_factor.relogin),
        # Of the setting `vnc`, which is gone. Without this line the file would change, and replace the gateway.
        "VNC": "no",
        "ZONE_RULES": zone_rules(session.time_zone),
    }
    if gateway.second_factor.method is SecondFactor.TOTP:
        # Nothing in it for others, whose containers a new line would replace.
        told["CODES"] = "yes"
    return "".join(f"{key}={quote(str(value))}\n" for key, value in told.items())


def line_table() -> list[str]:
    """Each row of the automation's table as `word pattern`, in its order, since the first match counts."""
    return [f"{WORDS.get(state, 'none')} {pattern}" for pattern, state in ibc.PROFILE.lines]


def zone_rules(time_zone: str) -> str:
    """A zone's rules as POSIX writes them, `EST5EDT,M3.2.0,M11.1.0`: the last line of its file (RFC 8536, 3.3).

    Always of the package `tzdata`, so that every machine renders the same script. A zone without a rule that goes on
    has its last one.
    """
    data = files("tzdata").joinpath("zoneinfo", *time_zone.split("/")).read_bytes()
    return data.rstrip(b"\n").rpartition(b"\n")[2].decode("ascii")


def _minute(time_of_day: str | None) -> int:
    """Minutes since midnight; -1 for none."""
    if time_of_day is None:
        return -1
    at = parse_time_of_day(time_of_day)
    return at.hour * 60 + at.minute


def _yes(value: bool) -> str:
    return "yes" if value else "no"
