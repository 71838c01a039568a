"""`ibgw logs`: what gateways wrote, each line with what it means, and with nothing in it that is secret."""

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import groupby, islice

from deployment.description import Deployment, Gateway
from healthcheck import logs
from healthcheck.credential_files import redactor_of
from healthcheck.docker_host import DockerHost, docker_errors, moment
from healthcheck.report import Model
from healthcheck.text import clean


@dataclass(frozen=True)
class Line:
    """One line of one gateway's log. `state`: what it says of the login, None where it says nothing known. `folded`:
    how many more lines of the autosave it stands for."""

    at: datetime
    gateway: str
    state: logs.LoginState | None
    text: str
    folded: int = 0

    def human(self, width: int, zone: tzinfo | None) -> str:
        """The time in the zone (None: this machine's), the gateway padded to `width`, the state, the line without its
        own time, which is by another clock."""
        at = self.at.astimezone(zone)
        text = logs.without_stamp(self.text)
        if self.folded:
            text += f" (and {self.folded} more lines of the settings' autosave)"
        return f"{at:%m-%d %H:%M:%S %Z}  {self.gateway:<{width}}  {self.state or '':<{STATE_WIDTH}}  {text}"

    def json(self) -> str:
        at = self.at.astimezone(UTC).isoformat(timespec="milliseconds")
        return LineAnswer(at=at, gateway=self.gateway, state=self.state, text=self.text).as_line()


class LineAnswer(Model):
    """`at`: in UTC, by ISO 8601."""

    at: str
    gateway: str
    state: logs.LoginState | None
    text: str


STATE_WIDTH = max(len(state) for state in logs.LoginState)


def read(
    docker: DockerHost,
    deployment: Deployment,
    gateways: Sequence[Gateway],
    *,
    tail: int,
    since: timedelta | None,
    follow: bool,
    known: bool,
    fold: bool,
    show_accounts: bool,
) -> Iterator[Line]:
    """The last `tail` lines of each gateway, not older than `since`, in the order of their times; then, with `follow`,
    each line as it comes, until the containers end. `known`: those that say something of the login alone. `fold`: each
    run of the autosave's lines is one. Raises IbgwError (could not run) when Docker fails."""
    started = datetime.now(UTC)
    sources = [Source(docker, deployment, gateway, known, fold, show_accounts) for gateway in gateways]
    past = [
        line for source in sources for line in source.lines(tail=tail, since=None if since is None else started - since)
    ]
    yield from sorted(past, key=lambda line: line.at)
    if follow:
        newest = {line.gateway: line.at for line in past}
        yield from _merged([(source, newest.get(source.name, started)) for source in sources])


class Source:
    """One gateway's log."""

    def __init__(
        self, docker: DockerHost, deployment: Deployment, gateway: Gateway, known: bool, fold: bool, show_accounts: bool
    ) -> None:
        self._deployment = deployment
        self._gateway = gateway
        self.name = gateway.name
        self._docker = docker
        self._known = known
        self._fold = fold
        with self._errors():
            self._redactor = redactor_of(docker, gateway, show_accounts=show_accounts)

    def lines(self, *, tail: int, since: datetime | None) -> list[Line]:
        """The last `tail` of those that are wanted, for which more and more of the log is asked."""
        asked = tail + 1  # so that what the first one stands for is whole
        while True:
            with self._errors():
                raw = self._docker.log(self._gateway.container.name, timestamps=True, tail=asked, since=since)
            found = list(self._wanted(map(self._line, raw)))
            if len(found) > tail or len(raw) < asked:
                return found[len(found) - min(tail, len(found)) :]
            asked *= 4

    def follow(self, after: datetime) -> Iterator[Line]:
        """Lines that are newer than `after`."""
        with self._errors():
            came = map(self._line, self._docker.follow(self._gateway.container.name, timestamps=True, since=after))
            yield from self._wanted((line for line in came if line.at > after), counted=False)

    def _wanted(self, lines: Iterable[Line], *, counted: bool = True) -> Iterator[Line]:
        """`counted`: of lines that are folded into one, whose number is known only when they have all come."""
        if self._known:
            lines = (line for line in lines if line.state is not None)
        if not self._fold:
            yield from lines
            return
        for routine, run in groupby(lines, key=lambda line: logs.is_routine(line.text)):
            if not routine:
                yield from run
            elif counted:
                first, *others = run
                yield replace(first, folded=len(others))
            else:
                yield from islice(run, 1)

    def _errors(self) -> AbstractContextManager[None]:
        return docker_errors(
            f"Container {self._gateway.container.name} on {self._deployment.docker_host}",
            f"`ibgw verify --stack {self._deployment.stack} --gateway {self.name}` says how the gateway is now",
        )

    def _line(self, raw: str) -> Line:
        stamp, _, text = raw.partition(" ")
        return Line(moment(stamp), self.name, logs.classify(text), clean(self._redactor.text(text)))


def _merged(sources: Sequence[tuple[Source, datetime]]) -> Iterator[Line]:
    """Lines of all sources as they come, until all have ended. A failure of one ends all."""
    arrived: queue.Queue[Line | Exception | None] = queue.Queue()

    def forward(source: Source, after: datetime) -> None:
        try:
            for line in source.follow(after):
                arrived.put(line)
            arrived.put(None)
        except Exception as error:  # noqa: BLE001 - raised again by the reader, in its own thread
            arrived.put(error)

    for source, after in sources:
        threading.Thread(target=forward, args=(source, after), name=f"logs-{source.name}", daemon=True).start()
    open_sources = len(sources)
    while open_sources:
        item = arrived.get()
        if item is None:
            open_sources -= 1
        elif isinstance(item, Exception):
            raise item
        else:
            yield item
