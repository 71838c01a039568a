"""`ibgw logs`: what gateways wrote, each line with what it means, and with nothing in it that is secret."""

import json
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deployment.description import Deployment, Gateway
from healthcheck import logs
from healthcheck.credential_files import credentials_of
from healthcheck.docker_host import DockerHost, docker_errors, moment
from healthcheck.redact import Redactor
from healthcheck.text import clean


@dataclass(frozen=True)
class Line:
    """One line of one gateway's log. `state`: what it says of the login, None where it says nothing known."""

    at: datetime
    gateway: str
    state: logs.LoginState | None
    text: str

    def human(self, width: int) -> str:
        """The time in UTC, the gateway padded to `width`, the state, the line."""
        at = self.at.astimezone(UTC)
        return f"{at:%m-%d %H:%M:%S}  {self.gateway:<{width}}  {self.state or '':<{STATE_WIDTH}}  {self.text}"

    def json(self) -> str:
        at = self.at.astimezone(UTC).isoformat(timespec="milliseconds")
        return json.dumps({"at": at, "gateway": self.gateway, "state": self.state, "text": self.text})


STATE_WIDTH = max(len(state) for state in logs.LoginState)


def read(
    docker: DockerHost,
    deployment: Deployment,
    gateways: Sequence[Gateway],
    *,
    tail: int,
    since: timedelta | None,
    follow: bool,
    show_accounts: bool,
) -> Iterator[Line]:
    """The last `tail` lines of each gateway, not older than `since`, in the order of their times; then, with `follow`,
    each line as it comes, until the containers end. Raises IbgwError (could not run) when Docker fails."""
    started = datetime.now(UTC)
    sources = [Source(docker, deployment, gateway, show_accounts) for gateway in gateways]
    past = [
        line for source in sources for line in source.lines(tail=tail, since=None if since is None else started - since)
    ]
    yield from sorted(past, key=lambda line: line.at)
    if follow:
        newest = {line.gateway: line.at for line in past}
        yield from _merged([(source, newest.get(source.name, started)) for source in sources])


class Source:
    """One gateway's log."""

    def __init__(self, docker: DockerHost, deployment: Deployment, gateway: Gateway, show_accounts: bool) -> None:
        self._deployment = deployment
        self._gateway = gateway
        self.name = gateway.name
        self._docker = docker
        with self._errors():
            self._redactor = Redactor(
                show_accounts=show_accounts,
                accounts=gateway.expected_accounts,
                credentials=credentials_of(docker, gateway),
            )

    def lines(self, *, tail: int, since: datetime | None) -> list[Line]:
        with self._errors():
            lines = self._docker.log(self._gateway.container.name, timestamps=True, tail=tail, since=since)
        return [self._line(line) for line in lines]

    def follow(self, after: datetime) -> Iterator[Line]:
        """Lines that are newer than `after`."""
        with self._errors():
            for line in map(
                self._line, self._docker.follow(self._gateway.container.name, timestamps=True, since=after)
            ):
                if line.at > after:
                    yield line

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
