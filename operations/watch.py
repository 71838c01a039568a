"""`ibgw status --watch`: gateways as they change, redrawn in a terminal and told line by line in a pipe."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from deployment.description import Deployment, Gateway
from deployment.errors import IbgwError
from healthcheck.docker_host import DockerHost, docker_errors
from healthcheck.glance import Glance, glance
from healthcheck.redact import Redactor
from healthcheck.report import check_result
from healthcheck.schedule import next_planned
from healthcheck.text import clean
from operations.formats import columns, terminal_width
from operations.status import age

EVERY = 2.0
"""Seconds between two looks."""

AFRESH = 60.0
"""Seconds after which a stack's description is read again: an update may have changed it."""

HEADINGS = ("gateway", "state", "since", "waits until", "next planned")
DISPENSABLE = ("next planned", "since")


@dataclass(frozen=True)
class Seen:
    """A gateway at one look, or, with no more than a name and a note, a stack of which nothing can be known."""

    name: str
    state: str = "unknown"
    started: datetime | None = None
    until: str = ""
    planned: str = ""
    note: str = ""

    def cells(self, now: datetime) -> tuple[str, ...]:
        since = age(now - self.started) if self.started is not None else "-"
        return self.name, self.state, since, self.until or "-", self.planned or "-"

    def line(self) -> str:
        until = f", waits until {self.until}" if self.until else ""
        return f"{self.name}: {self.state}{until}{f'. {self.note}' if self.note else ''}"


@dataclass
class Watched:
    """One stack. `describe` says what it is; both ways of failing raise IbgwError."""

    stack: str
    describe: Callable[[], Deployment]
    _deployment: Deployment | None = None
    _described_at: float = 0.0
    _docker: DockerHost | None = field(default=None, repr=False)

    def look(self) -> list[Seen]:
        try:
            return list(self._look())
        except IbgwError as error:
            self.close()
            return [Seen(self.stack, note=clean(str(error)))]

    def _look(self) -> Iterator[Seen]:
        if self._deployment is None or time.monotonic() - self._described_at > AFRESH:
            self._deployment, self._described_at = self.describe(), time.monotonic()
        deployment = self._deployment
        if self._docker is None or self._docker.url != deployment.docker_host:
            self.close()
            self._docker = DockerHost(deployment.docker_host)
        for gateway in deployment.gateways.values():
            with docker_errors(f"Docker host {deployment.docker_host}", "check the daemon"):
                yield _seen(deployment, gateway, glance(self._docker, deployment, gateway))

    def close(self) -> None:
        if self._docker is not None:
            self._docker.close()
            self._docker = None


def _seen(deployment: Deployment, gateway: Gateway, found: Glance) -> Seen:
    zone, now = ZoneInfo(gateway.schedule.time_zone), datetime.now(UTC)
    redactor = Redactor(accounts=gateway.expected_accounts)
    result = check_result(found.check, gateway, deployment.stack, deployment.docker_host, redactor)
    planned = next_planned(gateway.schedule, now)
    return Seen(
        name=f"{deployment.stack}/{gateway.name}",
        state=result.reason or "logged in",
        started=found.started,
        until=f"{found.until.astimezone(zone):%a %H:%M:%S %Z}" if found.until is not None else "",
        planned=f"{planned.at:%a %H:%M} {gateway.schedule.time_zone} {planned.event}" if planned else "",
        note=result.remedy or "",
    )


def table(seen: Sequence[Seen], now: datetime, width: int | None) -> str:
    """And below it what to do about those that are not logged in."""
    rows = [tuple(map(clean, one.cells(now))) for one in seen]
    notes = [f"{one.name}: {one.note}" for one in seen if one.note]
    return "\n".join([columns(HEADINGS, rows, width=width, dispensable=DISPENSABLE), *notes])


def watch(stacks: Sequence[Watched], *, looks: int | None = None) -> None:
    """Until it is interrupted, or for so many looks; Ctrl-C is its usual end."""
    try:
        (_redrawn if sys.stdout.isatty() else _told)(stacks, range(looks) if looks is not None else iter(int, 1))
    except KeyboardInterrupt:
        return
    finally:
        for stack in stacks:
            stack.close()


def pause() -> None:
    time.sleep(EVERY)


def _looks(stacks: Sequence[Watched]) -> list[Seen]:
    return [seen for stack in stacks for seen in stack.look()]


def _redrawn(stacks: Sequence[Watched], looks: "Iterator[int] | range") -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(Text("looking ..."), auto_refresh=False) as live:
        for _ in looks:
            seen = _looks(stacks)
            now = datetime.now(UTC)
            until = f"\n\n{now.astimezone():%H:%M:%S}, every {EVERY:g} s; Ctrl-C ends it"
            live.update(Text(table(seen, now, terminal_width()) + until), refresh=True)
            pause()


def _told(stacks: Sequence[Watched], looks: "Iterator[int] | range") -> None:
    told: dict[str, str] = {}
    for _ in looks:
        for seen in _looks(stacks):
            if told.get(seen.name) != (line := clean(seen.line())):
                told[seen.name] = line
                sys.stdout.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}\n")
        sys.stdout.flush()
        pause()
