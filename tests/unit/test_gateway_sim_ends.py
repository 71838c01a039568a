"""How the simulated gateway ends and starts again: its display, SIGTERM, IBC's command server, saved sessions.

Measured with the image's own scripts, IBC 3.24.1's start script and classes, and a Java under Xvfb; classes named below
are IBC's.
"""

import asyncio
import contextlib
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.gateway import display as displays
from sandbox.gateway.program import ENTRY_POINT, Gateway, Options
from tests.helpers import until
from tests.unit.gateway_sim_start import Installation, end
from tests.unit.simulated_gateway import INI, SimulatedGateway, simulated_gateway

CONFIGURED = "IBC: Configuration tasks completed"
FORM = "IBC: Login dialog WINDOW_OPENED: LoginState is LOGGED_OUT"
IMMEDIATELY = "IBC: Login has not completed: exiting immediately"
FILE_CLOSE = "IBC: Login has completed: exiting via [File, Close] menu"


class Run:
    """One run of the start script, with what it prints."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process = process
        self.port = port  # of the command server
        self.lines: list[str] = []

    def shows(self, text: str) -> None:
        """Reads on until a line contains this."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if text in line:
                return
        raise AssertionError(f"ended without {text!r}:\n" + "\n".join(self.lines))

    def ends(self) -> int:
        assert self.process.stdout is not None
        self.lines += self.process.stdout.read().splitlines()
        return self.process.wait(10)

    def command(self, text: str) -> list[str]:
        """What the command server answers until it closes the channel, or for half a second."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as channel:
            channel.sendall(text.encode() + b"\n")
            answer = b""
            with contextlib.suppress(TimeoutError):
                while part := channel.recv(1024):
                    answer += part
        return answer.decode().splitlines()


@pytest.fixture
def place() -> Iterator[SimulatedGateway]:
    with simulated_gateway(logged_in=False) as found:
        yield found


@pytest.fixture
def installation(place: SimulatedGateway, tmp_path: Path) -> Installation:
    return Installation(tmp_path, place.broker_port)


@pytest.fixture
def start(installation: Installation) -> Iterator[Callable[..., Run]]:
    started = []

    def run(on_timeout: str = "exit", **ini: str) -> Run:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = installation.start(on_timeout, **{**INI, "CommandServerPort": str(port), **ini})
        started.append(process)
        return Run(process, port)

    yield run
    for process in started:
        end(process)


@pytest.fixture
def display(installation: Installation) -> Iterator["subprocess.Popen[bytes]"]:
    """A display that can be killed."""
    with subprocess.Popen(["sleep", "60"]) as server:
        installation.show_display(server.pid)
        yield server
        server.kill()


def counted(place: SimulatedGateway, user: str = "trader") -> dict[str, Any]:
    found = place.control.status()["users"][user]
    assert isinstance(found, dict)
    return found


def test_the_program_dies_with_its_display_and_does_not_log_out(
    place: SimulatedGateway, start: Callable[..., Run], display: "subprocess.Popen[bytes]"
) -> None:
    run = start()
    run.shows(CONFIGURED)
    display.kill()
    killed = time.monotonic()
    assert run.ends() == 1
    assert 0.3 <= time.monotonic() - killed < 3
    assert "IBC returned exit status 1" in run.lines
    until(lambda: not counted(place)["sessions"])
    assert (counted(place)["logouts"], counted(place)["stranded_sessions"]) == (0, 1)


@pytest.mark.parametrize("first", ["display", "SIGTERM"])
def test_sigterm_does_not_log_out_where_the_display_goes_too(
    first: str, place: SimulatedGateway, start: Callable[..., Run], display: "subprocess.Popen[bytes]"
) -> None:
    """run.sh, stop_ibc: Xvfb is killed, then the start script passes SIGTERM on. 12 of 12 stops logged nobody out."""
    run = start()
    run.shows(CONFIGURED)
    if first == "display":
        display.kill()
    run.process.send_signal(signal.SIGTERM)
    display.kill()
    assert run.ends() == 1
    until(lambda: not counted(place)["sessions"])
    assert counted(place)["logouts"] == 0


def test_a_shutdown_whose_display_has_gone_meanwhile_logs_nobody_out(
    tmp_path: Path, display: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late the display goes: what is left to be done of a SIGTERM is not done."""
    monkeypatch.setattr(displays, "LOCKS", tmp_path)

    async def shut_down(*, killed: bool) -> bool:
        options = Options([f"-DjtsConfigDir={tmp_path}", ENTRY_POINT, "config.ini"])
        program = Gateway(options, ("127.0.0.1", 1), started=0.0, display=":1")
        program._open_display()
        if killed:
            display.kill()
            display.wait()
        program._shut_down()
        return program._halted.done()

    assert asyncio.run(shut_down(killed=False))
    assert not asyncio.run(shut_down(killed=True))


def test_sigterm_logs_out_while_there_is_a_display(place: SimulatedGateway, start: Callable[..., Run]) -> None:
    run = start()
    run.shows(CONFIGURED)
    run.process.send_signal(signal.SIGTERM)
    assert run.ends() == 143
    assert (counted(place)["logouts"], counted(place)["stranded_sessions"]) == (1, 0)


def test_without_a_display_there_is_no_start(
    place: SimulatedGateway, installation: Installation, display: "subprocess.Popen[bytes]"
) -> None:
    """AWTError from Toolkit.getDefaultToolkit, which UncaughtExceptionHandler ends with 1100, 76 to the script."""
    display.kill()
    display.wait()
    status, lines = installation.run(**INI)
    assert status == 76
    assert any("java.awt.AWTError: Can't connect to X11 window server using ':1'" in line for line in lines)
    assert not any("Login dialog" in line for line in lines)
    assert counted(place)["attempts"] == 0


# --- the command server ---------------------------------------------------------------------------------------------


def test_stop_logs_out(place: SimulatedGateway, start: Callable[..., Run]) -> None:
    """StopTask: the answer, the end of the channel, and the menu."""
    run = start()
    run.shows(CONFIGURED)
    assert run.command("STOP") == ["OK Shutting down: STOP command"]
    assert run.ends() == 0
    text = "\n".join(run.lines)
    order = ["received command: STOP", "Closing command channel", FILE_CLOSE, "dialog entitled: Shutdown progress"]
    assert sorted(order, key=text.index) == order
    assert counted(place)["logouts"] == 1


def test_stop_at_the_login_form_ends_at_once(place: SimulatedGateway, start: Callable[..., Run]) -> None:
    run = start(IbPassword="")
    run.shows("Setting Trading mode")
    assert run.command("stop") == ["OK Shutting down: STOP command"]
    assert run.ends() == 0
    assert any(line.endswith(IMMEDIATELY) for line in run.lines)
    assert counted(place)["attempts"] == 0


def test_stop_while_a_second_factor_is_pending_ends_at_once(place: SimulatedGateway, start: Callable[..., Run]) -> None:
    place.control.scenario("push-pending", "trader")
    run = start()
    run.shows("Second Factor Authentication initiated")
    assert run.command("STOP") == ["OK Shutting down: STOP command"]
    assert run.ends() == 0
    assert any(line.endswith(IMMEDIATELY) for line in run.lines)
    until(lambda: not counted(place)["second_factor_waiting"])
    assert (counted(place)["logins"], counted(place)["logouts"]) == (0, 0)


def test_restart_keeps_the_session(place: SimulatedGateway, start: Callable[..., Run]) -> None:
    run = start()
    run.shows(CONFIGURED)
    assert run.command("RESTART") == ["OK RESTART in progress"]
    run.shows("IBC: Re-starting session")
    run.shows("IBC: Login has completed")
    assert (counted(place)["logins"], counted(place)["soft_logins"]) == (1, 1)
    assert (counted(place)["attempts"], counted(place)["stranded_sessions"]) == (1, 0)


def test_restart_is_answered_before_there_is_anything_to_restart(
    place: SimulatedGateway, start: Callable[..., Run]
) -> None:
    """RestartTask: the answer first, then the wait for the main window. Nothing comes of it, not even a second try."""
    run = start(IbPassword="")
    run.shows("Setting Trading mode")
    assert run.command("RESTART") == ["OK RESTART in progress"]
    assert run.command("RESTART") == ["ERROR RESTART already in progress"]
    assert run.process.poll() is None
    assert run.command("STOP") == ["OK Shutting down: STOP command"]
    assert run.ends() == 0


def test_restart_during_a_second_factor_fires_after_the_login(
    place: SimulatedGateway, start: Callable[..., Run]
) -> None:
    place.control.scenario("push-pending", "trader")
    run = start()
    run.shows("Second Factor Authentication initiated")
    assert run.command("RESTART") == ["OK RESTART in progress"]
    assert place.control.approve("trader") == 1
    run.shows("IBC: Login has completed")
    run.shows("dialog entitled: Restart in progress")
    run.shows("IBC: Re-starting session")
    run.shows("IBC: Login has completed")
    assert (counted(place)["logins"], counted(place)["soft_logins"]) == (1, 1)


def test_the_other_commands(start: Callable[..., Run]) -> None:
    """CommandDispatcher; a command is taken as it stands, in any case."""
    run = start()
    run.shows(CONFIGURED)
    assert run.command("exit") == ["OK Goodbye"]
    assert run.command("ENABLEAPI") == ["ERROR ENABLEAPI is not valid for the IB Gateway"]
    assert run.command(" STOP") == ["ERROR Command invalid"]
    for name in ("PAUSE", "RECONNECTDATA", "RECONNECTACCOUNT"):
        assert run.command(name) == ["ERROR not implemented by the simulator"]
    assert run.process.poll() is None


def test_prompt_and_info_lines(start: Callable[..., Run]) -> None:
    """CommandChannel."""
    run = start(CommandPrompt=">", SuppressInfoMessages="no")
    run.shows(CONFIGURED)
    assert run.command("nonsense") == ["INFO IBC Command Server", "ERROR Command invalid", ">"]
    assert run.command("STOP") == ["INFO IBC Command Server", "INFO Closing IBC", "OK Shutting down: STOP command"]


@pytest.mark.parametrize(
    ("ini", "listens", "answer"),
    # CommandServer: no BindAddress, all addresses; besides loopback and its own address, only what ControlFrom lists.
    [
        ({}, "0.0.0.0", []),
        ({"ControlFrom": "10.1.1.1,{own}"}, "0.0.0.0", ["OK Goodbye"]),
        ({"BindAddress": "{own}"}, "{own}", ["OK Goodbye"]),
        ({"BindAddress": "127.0.0.1"}, "127.0.0.1", None),
    ],
)
def test_who_may_command(
    ini: dict[str, str], listens: str, answer: list[str] | None, start: Callable[..., Run]
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as routed:
        routed.connect(("192.0.2.1", 9))  # nothing is sent
        own = routed.getsockname()[0]
    run = start(**{key: value.format(own=own) for key, value in ini.items()})
    run.shows(CONFIGURED)
    pattern = rf"CommandServer listening on address(es)?: {re.escape(listens.format(own=own))};? port: {run.port}"
    assert any(re.search(pattern, line) for line in run.lines)
    if answer is None:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((own, run.port), timeout=1).close()
        return
    with socket.create_connection((own, run.port), timeout=2) as channel:
        channel.sendall(b"EXIT\n")
        try:
            found = channel.makefile().read().splitlines()
        except ConnectionResetError:
            found = []
    assert found == answer


def test_a_port_that_is_taken_leaves_the_gateway_without_commands(start: Callable[..., Run]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run = start(CommandServerPort=str(taken.getsockname()[1]), BindAddress="127.0.0.1")
        run.shows(CONFIGURED)
    text = "\n".join(run.lines)
    assert "IBC: CommandServer failed to create socket" in text
    assert "IBC: CommandServer cannot process commands" in text
    assert "ready to accept commands" not in text


# --- scenarios of the broker that only the process shows ------------------------------------------------------------


def test_a_login_form_that_comes_too_late_ends_the_program(place: SimulatedGateway, start: Callable[..., Run]) -> None:
    """SessionManager.startSession: 1112, 88 to ibcstart.sh, which starts again whatever was configured."""
    place.control.scenario("slow-form:3")
    run = start(LoginDialogDisplayTimeout="1")
    run.shows("IBC returned exit status 88")
    assert any(line.endswith("IBC closing after TWS/Gateway failed to display login dialog") for line in run.lines)
    assert not any(FORM in line for line in run.lines)
    run.shows("IBC will restart shortly")
    assert counted(place)["attempts"] == 0


def test_a_session_that_ends_by_itself_is_a_logout(place: SimulatedGateway, start: Callable[..., Run]) -> None:
    """As an automatic logoff: exit code 0."""
    place.control.scenario("session-ends:0.5")
    run = start()
    assert run.ends() == 0
    assert any(line.endswith("dialog entitled: Shutdown progress; event=Opened") for line in run.lines)
    assert counted(place)["logouts"] == 1


def test_a_program_that_hangs_hears_no_command_and_no_signal(
    place: SimulatedGateway, start: Callable[..., Run]
) -> None:
    run = start()
    run.shows(CONFIGURED)
    place.control.scenario("deaf")
    until(lambda: run.command("BOGUS") == [])  # the broker's word has reached it
    run.process.send_signal(signal.SIGTERM)
    assert run.command("STOP") == []
    assert run.process.poll() is None
    assert counted(place)["sessions"] == ["paper"]


# --- saved sessions -------------------------------------------------------------------------------------------------


def test_the_saved_session_stays_on_the_volume(
    place: SimulatedGateway, start: Callable[..., Run], installation: Installation
) -> None:
    """IBC since 3.21.1 does not delete it, nor does the program: a start much later resumes too, and without any
    credentials."""
    first = start()
    first.shows(CONFIGURED)
    first.command("RESTART")
    first.shows("IBC: Re-starting session")
    first.shows(CONFIGURED)
    end(first.process)
    (saved,) = (installation.folder / "Jts").glob("*/autorestart")
    again = start(IbLoginId="", IbPassword="")
    again.shows("IBC: Login has completed")
    assert saved.is_file()
    assert counted(place)["attempts"] == 1
    assert counted(place)["soft_logins"] == 2
    assert place.control.status()["unknown_user_attempts"] == 0


@pytest.mark.parametrize("token", ["", "refused", None])
def test_without_a_good_token_there_is_the_form_and_nothing_more(
    token: str | None, place: SimulatedGateway, start: Callable[..., Run], installation: Installation
) -> None:
    """AbstractLoginHandler: at a restart the form is left to the program. No password is submitted, however long it
    takes, nor does LoginDialogDisplayTimeout count."""
    if token is None:  # the session was logged out meanwhile
        first = start()
        first.shows(CONFIGURED)
        first.command("RESTART")
        first.shows("IBC: Re-starting session")
        first.shows(CONFIGURED)
        end(first.process)
        place.broker.states["trader"].revoke("paper")
    else:
        folder = installation.folder / "Jts" / "abc"
        folder.mkdir()
        (folder / "autorestart").write_text(token)
    before = counted(place)["attempts"]
    run = start(LoginDialogDisplayTimeout="1")
    run.shows(FORM)
    assert [line.split(" IBC: ")[1] for line in run.lines if "session" in line and " IBC: " in line] == [
        "Re-starting session"
    ]
    time.sleep(1.5)
    assert run.process.poll() is None
    assert run.command("STOP") == ["OK Shutting down: STOP command"]
    # The script finds the file again and starts the program again: the leftover is a trap.
    run.shows(IMMEDIATELY)
    run.shows("IBC returned exit status 0")
    run.shows(FORM)
    assert not any("Setting user name" in line or "Login attempt" in line for line in run.lines)
    assert counted(place)["attempts"] == before


def test_a_soft_restart_of_a_session_that_has_ended_is_refused(
    place: SimulatedGateway, start: Callable[..., Run]
) -> None:
    run = start()
    run.shows(CONFIGURED)
    place.control.scenario("weekly-login", "trader")
    run.shows("IBC: Re-login to session")
    assert run.command("RESTART") == ["OK RESTART in progress"]
    run.shows("IBC: Re-starting session")
    run.shows(FORM)
    assert (counted(place)["attempts"], counted(place)["logins"], counted(place)["soft_logins"]) == (1, 1, 0)


def test_stop_after_the_session_has_ended_ends_at_once(place: SimulatedGateway, start: Callable[..., Run]) -> None:
    """ReloginDialogHandler: the state is LOGGING_IN from then on."""
    run = start()
    run.shows(CONFIGURED)
    place.control.scenario("weekly-login", "trader")
    run.shows("IBC: Re-login to session")
    assert run.command("STOP") == ["OK Shutting down: STOP command"]
    assert run.ends() == 0
    assert any(line.endswith(IMMEDIATELY) for line in run.lines)


def test_the_script_keeps_a_restart_option_whose_file_is_gone(
    place: SimulatedGateway, start: Callable[..., Run], installation: Installation
) -> None:
    """ibcstart.sh: nothing but a cold restart resets it. Exit 87, with `restart`, is where it shows."""
    folder = installation.folder / "Jts" / "abc"
    folder.mkdir()
    (folder / "autorestart").write_text("")
    place.control.scenario("crash-at-start:87", "trader")
    run = start("restart")
    run.shows("AUTORESTART_OPTION is -Drestart=abc")
    (folder / "autorestart").unlink()
    for _ in range(2):
        run.shows("IBC returned exit status 87")
    run.shows("Starting Gateway with this command:")
    run.shows("ibcalpha.ibc.IbcGateway")
    assert " -Drestart=abc " in run.lines[-1]
    assert "autorestart file not found: full authentication will be required" in run.lines


def test_the_template_is_the_image_s_in_its_keys_and_line_ends() -> None:
    """config.ini.tmpl of the image: what is set by replacing a line must know that these are missing, or there."""
    template = Path(__file__).parents[2] / "sandbox/gateway/files/home/ibgateway/ibc/config.ini.tmpl"
    data = template.read_bytes()
    assert data.count(b"\r\n") == data.count(b"\n") > 50
    keys = set(re.findall(rb"(?m)^([A-Za-z]+)=", data))
    assert len(keys) == 52
    assert {b"IbDir", b"CommandServerPort", b"BindAddress", b"ControlFrom"} <= keys
    assert not keys & {b"IncludeStackTraceForExceptions", b"LogComponents", b"ShowAllTrades"}
