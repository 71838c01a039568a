"""The program's own `launcher.log`, in its settings folder: written from each start until a login succeeds.

It does not depend on the login automation. The texts that tell something are those that ib-gateway-mcp 0.2.2 reads,
whose author has seen them with 10.45 and 10.50; what stands around them is made up, and of the kind that must not leave
the file: addresses, session ids, hashes.
"""

from datetime import datetime
from pathlib import Path

from .clock import CLOCK

NAME = "launcher.log"
WITH_SECOND_FACTOR = 5  # onAuthenticationCompleted, tokenProtocol
WRONG_PASSWORD = "Invalid username or password"  # noqa: S105 - a text

# Made up; the address is one for documentation (RFC 5737).
_SERVER = "gdc1.sandbox.invalid/192.0.2.44:4001"
_SESSION = "6a1f0c7e.0007"
_HASH = "3f5be4c1d0a94d6c8e2b7f1190aa57c2e8d4b663"


class LauncherLog:
    """Nothing is written before `begin` and after `completed`."""

    def __init__(self) -> None:
        self._path: Path | None = None

    def begin(self, folder: Path) -> None:
        """A new process."""
        self._path = folder / NAME
        dashes = "-" * 40
        self.write(f"{dashes} IB GATEWAY RESTART {dashes}")
        self.write(f"Machine hash={_HASH}, local address=192.0.2.77")

    def write(self, text: str) -> None:
        """One line, stamped with the container's wall clock, without a zone."""
        if self._path is None:
            return
        moment = datetime.fromtimestamp(CLOCK.now())
        stamp = f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"
        with self._path.open("a", encoding="utf-8") as log:
            log.write(f"{stamp} INFO  [JTS-Main] - {text}\n")

    def connecting(self, attempt: int) -> None:
        """`attempt`: the number of the login."""
        self.write(
            f"LauncherLoginThread.runLoginWithUI()[server={_SERVER},loginAttempt={attempt},sessionId={_SESSION}]"
        )

    def unreachable(self, attempt: int) -> None:
        """`attempt`: of the connection, within one login."""
        self.write(f"SPLASH Attempt {attempt}: network error, will retry")

    def authenticating(self, *, password: bool, second_factor: str = "") -> None:
        kind = "PWD" if password else "SOFT"
        tokens = f"[{_SESSION},[{second_factor}]]" if second_factor else "[]"
        flags = f"pwd={int(password)} soft={int(not password)}"
        self.write(f"NS_AUTH_START version=38 {flags} token(s)={tokens} initialTokenType={kind}")

    def refused(self, text: str) -> None:
        if text == WRONG_PASSWORD:
            self.write("AUTH_RESULT indicates wrong password")
        self.write(f"Authorization failed: {text}")

    def completed(self, *, second_factor: bool) -> None:
        protocol = WITH_SECOND_FACTOR if second_factor else 0
        self.write(f"### onAuthenticationCompleted tokenProtocol={protocol}; authenticated=true")
        self.write("Switching to a new encrypted log...")
        self._path = None


LAUNCHER = LauncherLog()
"""Of this process: one process is one gateway."""
