"""The scripts that run inside the gateway's container, by running them."""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from infra.settings import load
from infra.spec import describe, probe_script
from tests.unit.test_settings import as_engine, changed, tracked


@contextmanager
def listener(answer: bytes | None) -> Iterator[int]:
    """A port that accepts and answers once with `answer`, or never."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                received = connection.recv(64)
                # API reference, EClient.connect: "API", a NUL, then the length and text of the version range
                assert received == b"API\0" + b"\0\0\0\x09" + b"v100..178"
                if answer is not None:
                    connection.sendall(answer)
                connection.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


def probe(port: int) -> int:
    return subprocess.run(["bash", "-c", probe_script(port)], capture_output=True, check=False, timeout=30).returncode


def test_the_probe_tells_an_api_from_an_open_port() -> None:
    with listener(b"\0\0\0\x0a" + b"178\0" + b"time\0\0") as port:
        assert probe(port) == 0
    with listener(None) as port:
        assert probe(port) != 0


def test_the_probe_fails_where_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert probe(port) != 0


def script(stack: str = "paper", **changes: object) -> str:
    settings = load(stack, changed(stack, changes) if changes else as_engine(tracked(stack)))
    return describe(settings, project="ibgw", stack=stack, image=None).gateways["main"].start_script


def test_the_start_script_allows_two_attempts() -> None:
    assert "readonly PORT=4002 CLIENT_ID=900 LIMIT=2\n" in script()
    assert "readonly PORT=4001 CLIENT_ID=900 LIMIT=2\n" in script("live")


def test_no_placeholder_is_left_in_the_start_script() -> None:
    text = script()
    for word in ("PORT", "CLIENT_ID", "LIMIT", "DEBUG", "RELOGIN", "VNC", "LOGS", "SECRETS"):
        assert f"@{word}@" not in text


@pytest.mark.parametrize("stack", ["paper", "live"])
def test_the_start_script_is_valid_bash(stack: str) -> None:
    subprocess.run(["bash", "-n"], input=script(stack), text=True, check=True)


def test_nothing_of_the_secret_is_in_the_description() -> None:
    settings = load("paper", as_engine(tracked("paper")))
    text = repr(describe(settings, project="ibgw", stack="paper", image=None))
    assert "ibgw/paper/main" in text  # the secret's name is no secret
    assert "SecretString" not in text


TEMPLATE = """IbLoginId=${TWS_USERID}
IbPassword=${TWS_PASSWORD}
ReloginAfterSecondFactorAuthenticationTimeout=${RELOGIN_AFTER_TWOFA_TIMEOUT}
LogStructureScope=known
LogStructureWhen=never
IncludeStackTraceForExceptions=
CommandServerPort=0
BindAddress=
TradingMode=${TRADING_MODE}
"""


class Start:
    """The start script's first half in a folder that looks like the container's home."""

    def __init__(self, folder: Path) -> None:
        self.home = folder
        self.settings = folder / "tws_settings"
        self.guard = self.settings / "guard"
        (folder / "ibc").mkdir()
        self.template = folder / "ibc" / "config.ini.tmpl"
        self.template.write_text(TEMPLATE)
        self.settings.mkdir()
        (folder / "secrets").mkdir()
        (folder / "secrets" / "tws_userid").write_text(r"some\u002Dbody")
        (folder / "secrets" / "secret_version").write_text("v1")

    def run(self, **changes: object) -> str:
        """Returns what the script printed; its background half is ended with its session."""
        text = script("paper", **changes).replace("/run/secrets", str(self.home / "secrets"))
        text = text.replace("/home/ibgateway/debug_logs", str(self.home / "logs"))
        done = subprocess.Popen(
            ["bash", "-c", text],
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(self.home),
                "TWS_SETTINGS_PATH": str(self.settings),
                "TIME_ZONE": "America/New_York",
                "VNC_SERVER_PASSWORD_FILE": str(self.home / "vnc_password"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert done.wait(20) == 0
        with suppress(ProcessLookupError):
            os.killpg(done.pid, signal.SIGKILL)
        assert done.stdout is not None
        return done.stdout.read()

    def lines(self) -> list[str]:
        return self.template.read_text().splitlines()


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return Start(tmp_path)


RELOGIN = "ReloginAfterSecondFactorAuthenticationTimeout"
PUSH = {"ibgw:gateways.main.secondFactor": {"method": "push", "relogin": True}}


def test_the_user_id_goes_into_the_template_and_the_password_stays_a_file(start: Start) -> None:
    start.run()
    start.run()  # the same container again: nothing is entered twice
    assert start.lines()[:3] == [r"IbLoginId=some\u002Dbody", "IbPassword=${TWS_PASSWORD}", f"{RELOGIN}=no"]
    assert start.lines()[-1] == "TradingMode=${TRADING_MODE}"
    assert oct(start.template.stat().st_mode & 0o777) == "0o600"


@pytest.mark.parametrize("count", ["2\n", "7\n", "", "many\n"])
def test_a_used_up_or_unreadable_count_leaves_no_credentials(start: Start, count: str) -> None:
    start.guard.mkdir()
    (start.guard / "v1.attempts").write_text(count)
    assert "ibgw-guard: held: this secret version was tried twice without a successful login" in start.run()
    assert start.lines()[:3] == ["IbLoginId=", "IbPassword=", f"{RELOGIN}=no"]


def test_a_new_version_of_the_secret_starts_anew(start: Start) -> None:
    start.guard.mkdir()
    (start.guard / "v0.attempts").write_text("2\n")
    assert "held" not in start.run()
    assert start.lines()[0] == r"IbLoginId=some\u002Dbody"


def test_relogin_is_only_for_a_version_whose_last_login_succeeded(start: Start) -> None:
    start.run(**PUSH)
    assert f"{RELOGIN}=no" in start.lines()
    (start.guard / "v1.ok").touch()
    start.run(**PUSH)
    assert f"{RELOGIN}=yes" in start.lines()
    (start.guard / "v1.attempts").write_text("1\n")
    start.run(**PUSH)
    assert f"{RELOGIN}=no" in start.lines()


def test_debugging_logs_no_window_that_holds_the_user_id(start: Start) -> None:
    """IBC's LogStructureScope=all would log the filled login form."""
    start.run(**{"ibgw:gateways.main.debug": {"enabled": True}})
    assert "LogStructureScope=unknown" in start.lines()
    assert "IncludeStackTraceForExceptions=yes" in start.lines()


def test_ibc_takes_commands_from_inside_the_container_only(start: Start) -> None:
    """IBC: without BindAddress the command server listens on all addresses, and it asks for no password."""
    start.run()
    assert start.lines()[-3:-1] == ["CommandServerPort=7462", "BindAddress=127.0.0.1"]


def test_a_gateway_without_a_daily_restart_takes_no_commands(start: Start) -> None:
    """IBC, RestartTask: it may borrow the time of the daily restart, which only AutoRestartTime would set back."""
    start.run(**{"ibgw:gateways.main.session": {"autoLogoff": "22:00"}})
    assert start.lines()[-3:-1] == ["CommandServerPort=0", "BindAddress=127.0.0.1"]


def test_an_existing_jts_ini_gets_the_configured_time_zone(start: Start) -> None:
    jts = start.settings / "jts.ini"
    jts.write_text("[Logon]\nTimeZone=Etc/UTC\nLocale=en\n")
    start.run()
    assert jts.read_text() == "[Logon]\nTimeZone=America/New_York\nLocale=en\n"


def test_the_screen_has_a_new_password_at_each_start(start: Start) -> None:
    changes = {"ibgw:gateways.main.vnc": {"enabled": True}}
    start.run(**changes)
    first = (start.home / "vnc_password").read_text()
    start.run(**changes)
    assert len(first) == 12
    assert (start.home / "vnc_password").read_text() != first
