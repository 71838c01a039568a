"""What the watcher tells, pushed to a Pushgateway, for a Prometheus that cannot reach the watcher.

It is a group of its own there, by job and instance, which each push replaces as a whole: what is not told any more is
gone. It is deleted when the watcher ends; of one that was killed it stays, and `push_time_seconds` tells its age.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from healthcheck.monitoring.metrics import JOB, Sample, registry

EVERY = 15.0
TIMEOUT = 5.0
"""Seconds."""


class Pushing(threading.Thread):
    """`address`: the Pushgateway's. `instance`: what the group is called. `samples`: what is told now."""

    def __init__(
        self,
        address: str,
        instance: str,
        samples: Callable[[], Iterable[Sample]],
        log: Callable[[dict[str, Any]], None],
        *,
        every: float = EVERY,
    ) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._group = {"instance": instance}
        self._samples = samples
        self._log = log
        self._every = every
        self._taken = True
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            self._say(taken=self._push())
            self._ended.wait(self._every)
        self._withdraw()

    def end(self) -> None:
        """Waits until the group is deleted, or was not within the time for it."""
        self._ended.set()
        self.join(2 * TIMEOUT)

    def _push(self) -> bool:
        from prometheus_client import push_to_gateway

        try:
            push_to_gateway(self._address, JOB, registry(self._samples()), self._group, TIMEOUT)
        except (OSError, ValueError):
            return False
        return True

    def _withdraw(self) -> None:
        from prometheus_client import delete_from_gateway

        try:
            delete_from_gateway(self._address, JOB, self._group, TIMEOUT)
        except (OSError, ValueError):
            self._log({"event": "push", "deleted": False})

    def _say(self, *, taken: bool) -> None:
        """Once, and not at each push."""
        if taken is not self._taken:
            self._taken = taken
            self._log({"event": "push", "taken": taken})
