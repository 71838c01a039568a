"""What the program asks the broker when it starts: the time, and what is to go wrong.

Over UDP, since a program that ends before its login, or finds the login server down, must not be seen to have reached
anybody by TCP. Without an answer it goes on.
"""

import json
import socket
from dataclasses import dataclass
from pathlib import Path

from .clock import CLOCK
from .settings import FORM_TIMED_OUT, INVALID_MODE, INVALID_SETTING, LOGIN_TIMED_OUT, UNHANDLED, Exit

ANSWER_SECONDS = 0.5
TRIES = 2
MAX_ANSWER = 4096  # bytes

# IBC's exit codes by what the process ends with, each with its line. Sources: IBC's ErrorCodes, and where it uses them:
# TwsListener, AbstractLoginHandler, IbcTws, DefaultSettings, TradingModeManager, JtsIniManager,
# TradingLoginHandoffDialogHandler, LoginManager, SessionManager. The codes that it cannot come to before it has read
# its settings and begun its session are `LATER`.
LINES = {
    UNHANDLED: "An exception has occurred: java.lang.NullPointerException",
    1101: "could not login: could not find control: Username",
    1102: "Incorrect number of arguments passed. quitting...",
    1103: 'ini file "/home/ibgateway/ibc/config.ini" either does not exist, or is a directory.  quitting...',
    INVALID_MODE: "Invalid Trading Mode argument or .ini file setting: ",
    INVALID_SETTING: "Invalid ColdRestartTime setting: '6'; format should be: <hh:mm>   eg 13:00",
    1106: "Failed to create TWS settings directory at: /home/ibgateway/Jts; a file of that name already exists",
    1107: "Exception occurred at Gateway entry point: ibgateway.GWClient.main",
    1108: "/home/ibgateway/Jts/jts.ini already exists but is a directory",
    1109: "Problem writing to /home/ibgateway/Jts/jts.ini: No space left on device",
    1110: "Trading Login Handoff dialog; error: {}",
    LOGIN_TIMED_OUT: "IBC closing because login has not completed after Second Factor Authentication",
    FORM_TIMED_OUT: "IBC closing after TWS/Gateway failed to display login dialog",
}
LATER = frozenset({UNHANDLED, 1101, 1107, 1108, 1109, 1110, LOGIN_TIMED_OUT, FORM_TIMED_OUT})


@dataclass(frozen=True)
class Start:
    """`crash`: the exit status that this run is to end with, 0 for none. `down`: no login server is there. `form`: the
    seconds by which the login form is late. `deaf`: the program reacts neither to commands nor to SIGTERM."""

    crash: int = 0
    down: bool = False
    form: float = 0.0
    deaf: bool = False

    def before_session(self) -> None:
        """Raises Exit if this run ends before it has begun its session."""
        self._crash(later=False)

    def in_session(self) -> None:
        self._crash(later=True)

    async def form_opens(self, timeout: float) -> None:
        """Raises Exit if the form is not there within so many seconds (SessionManager, startSession)."""
        await CLOCK.sleep(min(self.form, timeout))
        if self.form > timeout:
            raise Exit(FORM_TIMED_OUT, LINES[FORM_TIMED_OUT])

    def _crash(self, *, later: bool) -> None:
        for code, line in LINES.items():
            if code % 256 == self.crash and (code in LATER) is later:
                raise Exit(code, line)


def ask(broker: tuple[str, int], ini: Path) -> Start:
    """Sets the clock as the broker's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(ANSWER_SECONDS)
        for _ in range(TRIES):
            try:
                asking.connect(broker)
                asking.send(_user_line(ini))
                answer = json.loads(asking.recv(MAX_ANSWER))
            except OSError:  # out of reach, or too late
                continue
            CLOCK.follow(answer["clock"])
            return Start(answer["crash"], answer["down"], answer["form"], answer["deaf"])
    return Start()


def _user_line(ini: Path) -> bytes:
    if not ini.is_file():
        return b""
    return next((line for line in ini.read_bytes().splitlines() if line.startswith(b"IbLoginId=")), b"")
