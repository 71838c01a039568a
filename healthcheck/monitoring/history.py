"""What was seen of a stack's gateways, kept on the watcher's own volume, for `ibgw report`.

A file an hour (UTC), replaced as a whole, so that none is ever half written; their number and their bytes are bounded.
It holds closed words, numbers and gateways' names, and nothing of an account or a user. What was not seen is in none of
them: a gap is unknown, and neither up nor down. Times are seconds since the epoch.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deployment.description import MONITORING_HISTORY
from healthcheck.monitoring.handover import CheckSeen, GatewaySeen, Name, Seen, Supervised, Time, Window, Word
from healthcheck.monitoring.incidents import reason_of
from healthcheck.monitoring.metrics import UP
from healthcheck.observation import CheckName
from healthcheck.reasons import Reason
from healthcheck.verdict import CheckVerdict

HISTORY = "history"
FOLDER = Path(MONITORING_HISTORY, HISTORY)
HOUR = 3600
EVERY = 60.0
"""Seconds between two writings: what is lost where the watcher is killed."""
FILES = 35 * 24
BYTES = 32 * 1024**2
"""Of all files; the oldest go. A gateway takes some 20 KB a day."""
STRETCHES, TOLD = 400, 100
"""A gateway's in an hour; what changes more often than that is not kept, and so unknown."""
STEP = 8
"""Buckets of durations for each doubling: a bucket is 9 % wide."""
END = "end"
"""The last line of what is read, without which it was broken off."""


class _Kept(BaseModel):
    # A newer watcher may keep more than this version knows of.
    model_config = ConfigDict(extra="ignore")


class Stretch(_Kept):
    """A time through which the same was seen of a gateway. `up`: a trader could trade (metrics.UP)."""

    began: Time
    ended: Time
    up: bool
    reason: Reason | None
    window: Window

    def same(self, other: "Stretch") -> bool:
        return (self.up, self.reason, self.window) == (other.up, other.reason, other.window)


class Told(_Kept):
    """What a gateway's first process told from `at` on (handover.Supervised)."""

    at: Time
    started: Time
    login: Time
    kind: Word
    factor: Time
    event: Word
    due: Time
    done: Time
    heals: int
    stopped: Word

    def same(self, other: "Told") -> bool:
        return self == other.model_copy(update={"at": self.at})


class Durations(_Kept):
    """Of one check: by bucket, how many times. `longest` in milliseconds."""

    counted: dict[int, int] = Field(default_factory=dict)
    longest: int = 0

    def add(self, milliseconds: int) -> None:
        at = bucket(milliseconds)
        self.counted[at] = self.counted.get(at, 0) + 1
        self.longest = max(self.longest, milliseconds)


class Gateway(_Kept):
    stretches: list[Stretch] = Field(default_factory=list)
    told: list[Told] = Field(default_factory=list)
    durations: dict[CheckName, Durations] = Field(default_factory=dict)


class Hour(_Kept):
    """`began`: a whole hour."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    began: Time
    gateways: dict[Name, Gateway] = Field(default_factory=dict)


def bucket(milliseconds: int) -> int:
    return math.floor(STEP * math.log2(milliseconds + 1))


def milliseconds(bucket: int) -> float:
    """The middle of a bucket."""
    return float(2 ** ((bucket + 0.5) / STEP)) - 1


class History:
    """Keeps what it is given. `folder`: its own."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._hour: Hour | None = None
        self._written = 0.0
        self._ran: dict[tuple[str, CheckName], float] = {}
        self._kept = 0.0

    def take(self, seen: Seen) -> None:
        """The same hand-over may be given again. Raises OSError where the disk takes nothing: what is seen meanwhile is
        kept as far as it belongs to the same hour."""
        if seen.written == self._written:
            return
        hour = self._of(seen.written)
        # Longer than that, or a clock that was set back: what lay between was not seen.
        goes_on = 0 <= seen.written - self._written <= seen.patience
        for gateway in seen.gateways:
            if seen.written - gateway.looked > seen.patience:
                continue
            kept = hour.gateways.setdefault(gateway.gateway, Gateway())
            self._stretch(kept, gateway, self._written if goes_on else seen.written, seen.written)
            self._durations(kept, gateway)
            if gateway.supervised is not None:
                self._told(kept, gateway.supervised, seen.written)
        self._written = seen.written
        if not 0 <= seen.written - self._kept < EVERY:
            self.keep()

    def keep(self) -> None:
        """Raises OSError."""
        if self._hour is None:
            return
        self._folder.mkdir(exist_ok=True)
        unfinished = self._folder / "unfinished"
        unfinished.write_text(self._hour.model_dump_json(by_alias=True), encoding="ascii")
        unfinished.replace(self._folder / name(self._hour.began))
        self._kept = self._written

    def _of(self, moment: float) -> Hour:
        began = moment // HOUR * HOUR
        if self._hour is None or self._hour.began != began:
            self.keep()
            # After a start of the watcher's, and where the clock was set back.
            self._hour = read(self._folder / name(began)) or Hour(began=began)
            self._forget()
        return self._hour

    def _forget(self) -> None:
        """The oldest that are too many. By their number and not by their age: a clock that is wrong for a while costs
        nothing."""
        files = hours(self._folder)
        size = sum(file.stat().st_size for file in files)
        for at, file in enumerate(files):
            if len(files) - at < FILES and size < BYTES:
                break
            size -= file.stat().st_size
            file.unlink()

    def _stretch(self, kept: Gateway, gateway: GatewaySeen, began: float, ended: float) -> None:
        now = Stretch(
            began=began, ended=ended, up=gateway.verdict in UP, reason=reason_of(gateway), window=gateway.window
        )
        last = kept.stretches[-1] if kept.stretches else None
        if last is not None and last.ended == began and last.same(now):
            last.ended = ended
        elif len(kept.stretches) < STRETCHES:
            kept.stretches.append(now)

    def _durations(self, kept: Gateway, gateway: GatewaySeen) -> None:
        for check in gateway.checks:
            if _ran(check) and self._ran.get((gateway.gateway, check.name)) != check.at:
                self._ran[gateway.gateway, check.name] = check.at
                kept.durations.setdefault(check.name, Durations()).add(check.duration_ms)

    def _told(self, kept: Gateway, told: Supervised, at: float) -> None:
        now = Told.model_validate({**told.model_dump(), "at": at})
        if (not kept.told or not kept.told[-1].same(now)) and len(kept.told) < TOLD:
            kept.told.append(now)


def _ran(check: CheckSeen) -> bool:
    return check.verdict not in (CheckVerdict.SKIPPED, CheckVerdict.NOT_APPLICABLE)


def name(began: float) -> str:
    """Of an hour's file."""
    return f"{began:012.0f}.json"


def hours(folder: Path) -> list[Path]:
    """The files, the oldest first."""
    return sorted(folder.glob("*.json"))


def read(file: Path) -> Hour | None:
    """None where there is none, or one that a disk has broken."""
    with suppress(OSError, ValidationError, ValueError):
        return Hour.model_validate_json(file.read_text(encoding="ascii"))
    return None


def lines(since: float, folder: Path = FOLDER) -> Iterator[str]:
    """The hours from then on, each in a line, and END. One that cannot be read is `null`."""
    for file in hours(folder):
        if file.name > name(since - HOUR):
            hour = read(file)
            yield "null" if hour is None else hour.model_dump_json(by_alias=True)
    yield json.dumps(END)


def main(arguments: Sequence[str] | None = None) -> None:
    top = argparse.ArgumentParser(prog="python -m healthcheck.monitoring.history", description="Print what was seen.")
    top.add_argument("--since", type=float, required=True, metavar="SECONDS", help="since the epoch")
    for line in lines(top.parse_args(arguments).since):
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
