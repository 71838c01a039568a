"""Runs the sandbox's steps side by side and says what each is doing."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self

Say = Callable[[str], None]

QUIET_SECONDS = 10.0
"""How long nobody may say anything before it is said what is being worked at."""


class Steps:
    """Each step is a thread, which first waits for those it comes after. They begin when all are known, on leaving.

    Then all are waited for (what a long step leaves in the cache is worth keeping), and the first failure is raised.
    Each failure is said at once.
    """

    def __init__(self, say: Say, quiet: float = QUIET_SECONDS) -> None:
        self._say = say
        self._quiet = quiet
        self._began = self._spoke = time.monotonic()
        self._pool = ThreadPoolExecutor(max_workers=32, thread_name_prefix="step")
        self._known = threading.Event()
        self._steps: list[Future[None]] = []
        self._at_work: dict[str, float] = {}
        self._ended = 0
        self._failures: list[BaseException] = []
        self._lock = threading.Lock()

    def start(self, name: str, work: Callable[[Say], None], *, after: Sequence[Future[None]] = ()) -> Future[None]:
        """Runs `work` as soon as all of `after` have succeeded; one that fails, fails this step too."""
        step = self._pool.submit(self._run, name, work, after)
        self._steps.append(step)
        return step

    def _run(self, name: str, work: Callable[[Say], None], after: Sequence[Future[None]]) -> None:
        self._known.wait()
        for step in after:
            step.result()
        spoke = False

        def say(text: str) -> None:
            nonlocal spoke
            spoke = True
            self._tell(f"{name}: {text}")

        with self._lock:
            self._at_work[name] = time.monotonic()
        try:
            work(say)
        except BaseException as error:
            self._failures.append(error)
            say(f"failed: {error}")
            raise
        finally:
            with self._lock:
                del self._at_work[name]
                self._ended += 1
                ended = self._ended
        if spoke:
            say(f"ready ({ended} of {len(self._steps)})")

    def _tell(self, text: str) -> None:
        with self._lock:
            self._spoke = time.monotonic()
            self._say(f"[{self._spoke - self._began:4.0f} s] {text}")

    def _break_the_silence(self) -> None:
        now = time.monotonic()
        if now - self._spoke < self._quiet:
            return
        with self._lock:
            at_work = ", ".join(f"{name} ({now - began:.0f} s)" for name, began in self._at_work.items())
        if at_work:
            self._tell(f"still at work: {at_work}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._known.set()
        while wait(self._steps, timeout=self._quiet / 10).not_done:
            self._break_the_silence()
        self._pool.shutdown(wait=True)
        if error is None and self._failures:
            raise self._failures[0]
