"""The time that the broker and its gateways live by: real time until it is moved or made to run faster."""

import asyncio
import time

Setting = dict[str, float]


class Clock:
    """Seconds since the epoch: `base` at the real time `since`, and from then on `speed` seconds a real second."""

    def __init__(self) -> None:
        self._base = self._since = 0.0
        self._speed = 1.0
        self._waiting: set[asyncio.Future[None]] = set()

    def now(self) -> float:
        return self._base + (time.time() - self._since) * self._speed

    @property
    def speed(self) -> float:
        return self._speed

    def set(self, at: float | None = None, speed: float | None = None) -> None:
        """Moves the clock, changes its speed, or both. Raises ValueError for a speed that is not above zero."""
        if speed is not None and not speed > 0:
            raise ValueError(f"the clock's speed is {speed}; expected a number above 0")
        since = time.time()
        base = self.now() if at is None else at
        self.follow({"base": base, "since": since, "speed": self._speed if speed is None else speed})

    def real(self) -> None:
        self.follow({"base": 0.0, "since": 0.0, "speed": 1.0})

    def setting(self) -> Setting:
        """What another clock has to `follow` to be the same as this one. It tells real times: for one machine only."""
        return {"base": self._base, "since": self._since, "speed": self._speed}

    def follow(self, setting: Setting) -> None:
        self._base, self._since, self._speed = setting["base"], setting["since"], setting["speed"]
        for change in self._waiting:
            if not change.done():
                change.set_result(None)

    async def wait(self, until: float) -> bool:
        """Waits for a time: True once it has come, False as soon as the clock was changed before that."""
        while (left := until - self.now()) > 0:
            change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(change)
            try:
                # No longer than a minute: the machine's own clock may be put right meanwhile.
                await asyncio.wait({change}, timeout=min(left / self._speed, 60.0))
            finally:
                self._waiting.discard(change)
            if change.done():
                return self.now() >= until
        return True

    async def sleep_until(self, at: float) -> None:
        while not await self.wait(at):
            pass

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self.now() + seconds)


CLOCK = Clock()
"""A gateway's clock, which follows its broker's: one process is one gateway. The broker has a clock of its own."""
