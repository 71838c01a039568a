"""The API's limit on what one client may send (TWS API reference, Pacing Limitations).

As many requests may come in a second as half the market data lines, which are 100 by default. What happens beyond that
is a setting of the gateway, "Reject messages above maximum allowed message rate vs applying pacing". Off, as it is by
default: the gateway lets requests wait. On: it rejects them with error 100, and ends the connection at the third time.
"""

from collections import deque

MOST = 50  # messages in a second
WINDOW = 1.0
TOLERATED = 3  # violations, the last of which ends the connection


class Pacer:
    """The messages of one client. Times in seconds of any clock that only goes forward."""

    def __init__(self) -> None:
        self.violations = 0
        self._let_through: deque[float] = deque(maxlen=MOST)
        self._violated_at = float("-inf")

    def wait(self, now: float) -> float:
        """How many seconds one more message has to wait for, not to be above the rate."""
        if len(self._let_through) < MOST:
            return 0.0
        return max(0.0, self._let_through[0] + WINDOW - now)

    def let_through(self, at: float) -> None:
        self._let_through.append(at)

    def violate(self, at: float) -> bool:
        """Notes a message above the rate; True when that is a new violation rather than more of the last one."""
        if at - self._violated_at < WINDOW:
            return False
        self._violated_at = at
        self.violations += 1
        return True


def error_text(received: int, violations: int) -> str:
    """As gateways send it: `...exceeded:max=50 rec=138 (1)`."""
    return f"Max rate of messages per second has been exceeded:max={MOST} rec={received} ({violations})"
