"""A gateway that ends at its start: IBC's start script and the program, with each exit code that users can meet.

Codes and lines: IBC's ibcstart.sh, its ErrorCodes, and the classes that end the process with each of them.
"""

import itertools
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.gateway_sim_start import Installation, end
from tests.unit.simulated_gateway import INI, SimulatedGateway, simulated_gateway


@pytest.fixture
def place() -> Iterator[SimulatedGateway]:
    with simulated_gateway(logged_in=False) as found:
        yield found


SCRIPT_ERRORS = {
    1: "Error: Can\\'t find suitable Java installation",
    2: "Error: TWS major version number has not been supplied",
    3: "Error: 2FA timeout action set to neither but must be either 'restart' or 'exit' (case-insensitive)",
    4: "Error: Offline TWS/Gateway version 10.45.1j is not installed: can't find jars folder",
    5: r"Error: IBC path: \S+ does not exist",
    6: r"Error: IBC configuration file: \S+  does not exist",
    7: "Error: Neither tws.vmoptions nor ibgateway.vmoptions could be found",
    8: "Error: Can't detect operating system",
}


@pytest.mark.parametrize("code", range(1, 9))
def test_the_script_s_own_errors(code: int, place: SimulatedGateway, tmp_path: Path) -> None:
    place.control.scenario(f"crash-at-start:{code}", "trader")
    status, lines = Installation(tmp_path, place.broker_port).run(**INI)
    assert status == code
    error = SCRIPT_ERRORS[code]
    assert any(line == error or re.fullmatch(error, line) for line in lines), lines
    at = lines.index("=========================== An error has occurred =============================")
    assert lines[at - 1] == ""
    assert not any(line.startswith("Starting Gateway with this command:") for line in lines)
    assert place.control.status()["users"]["trader"]["attempts"] == 0


IBC_ERRORS = {
    76: (1100, "An exception has occurred: java.lang.NullPointerException"),
    77: (1101, "could not login: could not find control: Username"),
    78: (1102, "Incorrect number of arguments passed. quitting..."),
    79: (
        1103,
        'ini file "/home/ibgateway/ibc/config.ini" either does not exist, or is a directory.  quitting...',
    ),
    80: (1104, "Invalid Trading Mode argument or .ini file setting: "),
    81: (1105, "Invalid ColdRestartTime setting: '6'; format should be: <hh:mm>   eg 13:00"),
    82: (
        1106,
        "Failed to create TWS settings directory at: /home/ibgateway/Jts; a file of that name already exists",
    ),
    83: (1107, "Exception occurred at Gateway entry point: ibgateway.GWClient.main"),
    84: (1108, "/home/ibgateway/Jts/jts.ini already exists but is a directory"),
    85: (1109, "Problem writing to /home/ibgateway/Jts/jts.ini: No space left on device"),
    86: (1110, "Trading Login Handoff dialog; error: {}"),
    87: (1111, "IBC closing because login has not completed after Second Factor Authentication"),
}


@pytest.mark.parametrize("status", IBC_ERRORS)
def test_ibc_s_exit_codes(status: int, place: SimulatedGateway, tmp_path: Path) -> None:
    place.control.scenario(f"crash-at-start:{status}", "trader")
    found, lines = Installation(tmp_path, place.broker_port).run(**INI)
    assert found == status
    code, text = IBC_ERRORS[status]
    texts = [line.split(" IBC: ", 1)[-1] for line in lines]
    at = texts.index(text)
    assert set(lines[at - 1]) == set(lines[at + 1]) == {"!"}
    assert texts[at + 2] == f"Exiting after error with exit code={code}"
    after = [line for line in lines[at + 3 :] if line and "autorestart" not in line]
    assert after == [f"IBC returned exit status {status}", "Gateway finished"]
    assert place.control.status()["users"]["trader"]["attempts"] == 0


RESTARTED = ["IBC will restart shortly", "sleep 2", "Starting Gateway with this command:"]


@pytest.mark.parametrize(
    ("status", "on_timeout", "restarts"),
    # ibcstart.sh: 88 always, 87 only where the second factor's time-out asks for it.
    [(87, "exit", False), (87, "restart", True), (88, "exit", True), (88, "restart", True)],
)
def test_which_codes_restart_inside_the_script(
    status: int, on_timeout: str, restarts: bool, place: SimulatedGateway, tmp_path: Path
) -> None:
    place.control.scenario(f"crash-at-start:{status}", "trader")
    process = Installation(tmp_path, place.broker_port).start(on_timeout, **INI)
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if lines.count(f"IBC returned exit status {status}") == 3:
                break
    finally:
        end(process)
    if not restarts:
        assert lines.count(f"IBC returned exit status {status}") == 1
        return
    starts = [at for at, line in enumerate(lines) if line == "IBC will restart shortly"]
    assert len(starts) == 2
    assert all(lines[at : at + 3] == RESTARTED for at in starts)


def test_back_to_normal_the_same_installation_logs_in(place: SimulatedGateway, tmp_path: Path) -> None:
    place.control.clock(at=1_795_435_200.0)  # 2026-11-23 12:00 UTC
    installation = Installation(tmp_path, place.broker_port)
    place.control.scenario("crash-at-start:4")
    assert installation.run(**INI)[0] == 4
    place.control.clear()
    process = installation.start(**INI)
    try:
        assert process.stdout is not None
        lines = list(itertools.takewhile(lambda line: "Configuration tasks completed" not in line, process.stdout))
    finally:
        end(process)
    assert any(line.startswith("Starting IBC version  on 2026-11-23 at 12:00:") for line in lines)
    logged = [line for line in lines if " IBC: " in line]
    assert logged[0].endswith(" IBC: version: 3.24.1\n")
    assert all(line.startswith("2026-11-23 12:00:") for line in logged)
    assert place.control.status()["users"]["trader"]["logins"] == 1


def test_without_a_broker_the_program_goes_on(tmp_path: Path) -> None:
    """No egress: what cannot be asked is not in the way, and the login finds its server unreachable."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = Installation(tmp_path, port).start(**INI)
    try:
        assert process.stdout is not None
        assert any("Connection to server failed" in line for line in itertools.islice(process.stdout, 200))
    finally:
        end(process)
