"""The broker's clock. Everything in the broker that has a time takes it from here."""

import time


class Clock:
    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()
