"""What the watcher does all the time, beside what it serves: it reads the prober's file, logs what changed, brings what
is news to whom it concerns, and keeps what was seen."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from deployment.description import MONITORING_HISTORY
from healthcheck.monitoring import channels, handover
from healthcheck.monitoring.channels import Channel, Channels, Message, Sender, UndeliveredError
from healthcheck.monitoring.handover import Seen
from healthcheck.monitoring.history import HISTORY, History
from healthcheck.monitoring.incidents import Memory, Tracker
from healthcheck.monitoring.page import page

FOLDER = Path(MONITORING_HISTORY)
TICK = 1.0
HEARTBEAT = 60.0
"""Seconds between two heartbeats."""

Log = Callable[[dict[str, Any]], None]


def fresh(file: Path, now: float) -> tuple[Seen | None, str]:
    """What was handed over and is fresh, or why there is nothing."""
    try:
        seen = handover.read(file)
    except (OSError, ValueError) as error:
        return None, error.strerror or "" if isinstance(error, OSError) else str(error)
    if seen is None:
        return None, "the prober has handed nothing over yet"
    return (seen, "") if seen.fresh(now) else (None, f"the prober handed nothing over for {now - seen.written:.0f} s")


def log(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)  # noqa: T201 - its standard output is its log


class Watching:
    """`to`: whom it tells. `folder`: its own, for what outlives it."""

    def __init__(self, stack: str, to: Channels, *, file: Path = handover.FILE, folder: Path = FOLDER) -> None:
        self._file = file
        self._remembered = folder / "incidents.json"
        self._tracker = Tracker(stack, self._remember())
        self._stack = stack
        self._heartbeat = to.heartbeat
        self._answered = True
        self._history = History(folder / HISTORY)
        self._recorded = True
        self.senders = [Sender(channel, self._undelivered) for channel in to.notify]

    def run(self, ended: threading.Event) -> None:
        """Until then."""
        for sender in self.senders:
            sender.start()
        if self._heartbeat is not None:
            threading.Thread(target=self._beat, args=(self._heartbeat, ended), daemon=True).start()
        while not ended.wait(TICK):
            self.tick(time.time())
        self.end()

    def tick(self, now: float) -> None:
        seen, _ = fresh(self._file, now)
        before = self._tracker.memory.model_dump_json()
        lines, messages = self._tracker.step(seen, now)
        for line in lines:
            log(line)
        for message in messages:
            self._tell(message)
        after = self._tracker.memory.model_dump_json()
        if after != before:
            self._keep(after)
        if seen is not None:
            self._record(seen)

    def _record(self, seen: Seen | None) -> None:
        """None: what is not on the disk yet is written to it."""
        recorded = True
        try:
            self._history.keep() if seen is None else self._history.take(seen)
        except OSError:
            recorded = False
        if recorded is not self._recorded:
            self._recorded = recorded
            log({"event": "history", "stack": self._stack, "recorded": recorded})

    def end(self) -> None:
        self._record(None)

    def page(self, now: float) -> str:
        seen, why = fresh(self._file, now)
        return page(self._stack, seen, why, self._tracker.memory, now)

    def _tell(self, message: Message) -> None:
        log({"event": "told", "stack": self._stack, "title": message.title, "channels": len(self.senders)})
        for sender in self.senders:
            sender.take(message)

    def _undelivered(self, channel: Channel) -> None:
        log({"event": "undelivered", "stack": self._stack, "secret": channel.secret})

    def _beat(self, address: SecretStr, ended: threading.Event) -> None:
        """While all is watched: the outside monitor hears nothing of a prober that stands still, too."""
        while not ended.is_set():
            if fresh(self._file, time.time())[0] is not None:
                answered = True
                try:
                    channels.beat(address)
                except UndeliveredError:
                    answered = False
                if answered is not self._answered:
                    self._answered = answered
                    log({"event": "heartbeat", "stack": self._stack, "answered": answered})
            ended.wait(HEARTBEAT)

    def _remember(self) -> Memory | None:
        """None where nothing is kept, or by another version: at worst something is told twice."""
        try:
            return Memory.model_validate_json(self._remembered.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValidationError, ValueError):
            log({"event": "forgotten", "file": self._remembered.name})
            return None

    def _keep(self, text: str) -> None:
        unfinished = self._remembered.with_suffix(".new")
        try:
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(self._remembered)
        except OSError as error:
            log({"event": "not_kept", "file": self._remembered.name, "error": error.strerror})


def try_channels(to: Channels) -> list[dict[str, Any]]:
    """A message to each of them, and a heartbeat: what became of it."""
    message = Message("ibgw: a test", "Somebody ran `ibgw alerts test`. Nothing is wrong.", "info")
    tried = [_tried(channel.secret, channels.send, channel, message) for channel in to.notify]
    return tried if to.heartbeat is None else [*tried, _tried("the heartbeat", channels.beat, to.heartbeat)]


def _tried(name: str, act: Callable[..., None], *given: object) -> dict[str, Any]:
    try:
        act(*given)
    except UndeliveredError as error:
        return {"channel": name, "delivered": False, "why": str(error)}
    return {"channel": name, "delivered": True, "why": ""}


if __name__ == "__main__":
    # `docker exec`, by `ibgw alerts test`.
    print(json.dumps(try_channels(channels.read())))  # noqa: T201
