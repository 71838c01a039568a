"""The clients of the API and what each has asked for, and what every request is answered with."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from . import messages, pacing, wire
from .clock import CLOCK
from .messages import Json, Row

MOST_UNREAD = 16 * 1024 * 1024  # bytes that wait for a client that does not read, before it is let go
NO_SUCH_REQUEST = (505, "Fatal Error: Unknown message id.")

Look = Callable[[], Awaitable[list[Row] | None]]


@dataclass
class Feed:
    """What one subscription shows. `look` returns all of it, or None when the broker has answered with an error.

    `account`: of account updates alone.
    """

    look: Look
    account: str = ""
    every_tick: bool = False  # else only now and then, and when an order was filled
    sent: set[tuple[object, ...]] = field(default_factory=set)

    async def news(self) -> list[Row]:
        """The rows that the last look did not show."""
        rows = await self.look()
        if rows is None:
            return []
        fresh = [row for row in rows if tuple(row) not in self.sent]
        self.sent = {tuple(row) for row in rows}
        return fresh


@dataclass
class Stream:
    """One market data request. `until`: when a snapshot without data ends (time of the loop)."""

    contract: Json
    until: float | None
    announced: int | None = None  # market data type
    asked: bool = False  # an answer of the broker's is on its way
    sent: set[tuple[object, ...]] = field(default_factory=set)


@dataclass(frozen=True)
class ApiState:
    """What the broker says about the API of this session. See the broker's `scenarios` for the values of `api`."""

    accounts: tuple[str, ...] = ()
    api: str = "normal"
    read_only: bool = False
    delay: float = 0.0  # seconds before each answer
    connected: bool = True
    greeting: tuple[tuple[int, str], ...] = ()

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> "ApiState":
        return cls(
            accounts=tuple(message["accounts"]),
            api=message["api"],
            read_only=message["read_only"],
            delay=message["delay"],
            connected=message["connected"],
            greeting=tuple((code, text) for code, text in message["greeting"]),
        )


@dataclass(frozen=True)
class Timing:
    """Seconds, of real time whatever the clock does."""

    tick: float = 1.0  # between two looks at quotes and at open orders
    accounts: float = 180.0  # between two updates of accounts (TWS API reference, reqAccountUpdates)
    snapshot: float = 11.0  # after which a snapshot without data ends (TWS API reference, reqMktData)


class Session(Protocol):
    """The logged-in session behind the API."""

    @property
    def state(self) -> ApiState: ...

    async def ask(self, what: str, **request: Any) -> dict[str, Any]:
        """Raises LinkLost when the broker is out of reach."""
        ...


@dataclass(eq=False)
class Client:
    """One API connection."""

    writer: asyncio.StreamWriter
    version: int = 0
    client_id: int | None = None  # None until startApi
    paces: bool = False  # has asked for pacing, whatever the gateway's setting
    pacer: pacing.Pacer = field(default_factory=pacing.Pacer)
    market_data_type: int = 1
    streams: dict[int, Stream] = field(default_factory=dict)
    feeds: dict[tuple[str, int], Feed] = field(default_factory=dict)

    @property
    def transport(self) -> asyncio.Transport:
        return cast(asyncio.Transport, self.writer.transport)

    def send(self, row: messages.Row) -> None:
        if self.writer.is_closing():
            return
        self.writer.write(wire.frame(row))
        if self.transport.get_write_buffer_size() > MOST_UNREAD:
            self.transport.abort()

    def error(self, request_id: int, code: int, text: str) -> None:
        self.send(messages.error(request_id, code, text, self.version))


class Api:
    """The session behind the API, its clients and the gateway's settings."""

    def __init__(
        self,
        session: Session,
        *,
        read_only: bool = False,
        master_client_id: int | None = None,
        log: Callable[[str], None] = lambda line: None,
        on_write_refused: Callable[[], None] = lambda: None,
        reject_over_rate: bool = False,
    ) -> None:
        """`reject_over_rate`: the gateway's setting on requests above the rate, see `pacing`."""
        self.session = session
        self.master_client_id = master_client_id
        self.log = log
        self.on_write_refused = on_write_refused
        self.reject_over_rate = reject_over_rate
        self.timing = Timing()
        self.clients: list[Client] = []
        self._read_only = read_only

    @property
    def read_only(self) -> bool:
        return self._read_only or self.session.state.read_only

    def now(self) -> float:
        """The broker's time, in seconds since the epoch."""
        return CLOCK.now()

    def is_master(self, client: Client) -> bool:
        return client.client_id is not None and client.client_id == self.master_client_id

    async def ask(self, client: Client, request_id: int, what: str, **request: Any) -> dict[str, Any] | None:
        """The broker's answer; None when there is none for the client, which has then got the error, if there is one.

        Raises LinkLost.
        """
        answer = await self.session.ask(what, **request)
        if "error" in answer:
            client.error(request_id, *answer["error"])
            return None
        if "silent" in answer:
            self.log(f"API client {client.client_id}: request {request_id} is left unanswered: {answer['silent']}")
            return None
        return answer

    def refuse(self, client: Client, request_id: int, name: str) -> None:
        """For what the simulator does not know."""
        self.log(f"API client {client.client_id}: {name} is not implemented")
        client.error(request_id, *NO_SUCH_REQUEST)
