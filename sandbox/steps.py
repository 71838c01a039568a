"""Runs the sandbox's steps side by side and says what each is doing."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

Say = Callable[[str], None]


class Steps:
    """Each step is a thread, which first waits for those it comes after.

    On leaving, all are waited for (what a long step leaves in the cache is worth keeping), and the first failure is
    raised. Each failure is said at once.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._began = time.monotonic()
        self._pool = ThreadPoolExecutor(max_workers=32, thread_name_prefix="step")
        self._failures: list[BaseException] = []
        self._lock = threading.Lock()

    def start(self, name: str, work: Callable[[Say], None], *, after: Sequence[Future[None]] = ()) -> Future[None]:
        """Runs `work` as soon as all of `after` have succeeded; one that fails, fails this step too."""
        return self._pool.submit(self._run, name, work, after)

    def _run(self, name: str, work: Callable[[Say], None], after: Sequence[Future[None]]) -> None:
        for step in after:
            step.result()
        spoke = False

        def say(text: str) -> None:
            nonlocal spoke
            spoke = True
            with self._lock:
                self._say(f"[{time.monotonic() - self._began:4.0f} s] {name}: {text}")

        try:
            work(say)
        except BaseException as error:
            self._failures.append(error)
            say(f"failed: {error}")
            raise
        if spoke:
            say("ready")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        if error is None and self._failures:
            raise self._failures[0]
