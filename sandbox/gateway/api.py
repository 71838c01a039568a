"""The TWS API server: connections, handshake, client ids, and what every client is told.

Text protocol only: the version that it offers makes newer clients negotiate down to it. What each request is answered
is in `requests`.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from . import messages, wire
from .requests import Requests

SERVER_VERSION = 178
# The oldest client that is understood; the real gateway goes down to 100.
OLDEST_CLIENT = 157

CLIENT_ID_IN_USE = (326, "Unable to connect as the client id is already in use. Retry with a unique client id.")
START_API = 71


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
    market_data_type: int = 1
    subscriptions: dict[int, asyncio.Task[None]] = field(default_factory=dict)

    def send(self, row: messages.Row) -> None:
        if not self.writer.is_closing():
            self.writer.write(wire.frame(row))

    def error(self, request_id: int, code: int, text: str) -> None:
        self.send(messages.error(request_id, code, text, self.version))


class ApiServer:
    """Listens on one address and serves clients with the answers of one session."""

    def __init__(
        self,
        session: Session,
        *,
        read_only: bool = False,
        master_client_id: int | None = None,
        log: Callable[[str], None] = lambda line: None,
        on_write_refused: Callable[[], None] = lambda: None,
    ) -> None:
        self.session = session
        self.master_client_id = master_client_id
        self.log = log
        self.on_write_refused = on_write_refused
        self.clients: list[Client] = []
        self._read_only = read_only
        self._requests = Requests(self)
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[Any]] = set()

    @property
    def read_only(self) -> bool:
        return self._read_only or self.session.state.read_only

    async def start(self, host: str, port: int) -> int:
        """Opens the port; returns it (0 asks for a free one)."""
        self._server = await asyncio.start_server(self._on_client, host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Closes the port and every connection, and waits until all are served out."""
        if self._server is not None:
            self._server.close()
        for client in self.clients:
            client.writer.close()
        if self._serving:
            await asyncio.wait(self._serving)

    def notice(self, code: int, text: str) -> None:
        """Tells every client."""
        for client in self.clients:
            if client.client_id is not None:
                client.error(-1, code, text)

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Client(writer)
        self.clients.append(client)
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            if await self._handshake(client, reader):
                await self._serve(client, reader)
        except ValueError as problem:
            self.log(f"API client sent a malformed message: {problem}")
        finally:
            self.clients.remove(client)
            for subscription in client.subscriptions.values():
                subscription.cancel()
            if client.client_id is not None:
                self.log(f"remove Client {client.client_id}")
            writer.close()
            self._serving.discard(task)

    async def _handshake(self, client: Client, reader: asyncio.StreamReader) -> bool:
        """`API`, NUL, then the client's versions; answers the one to use. False when the client has to go."""
        try:
            prefix = await reader.readexactly(len(wire.PREFIX))
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        if prefix != wire.PREFIX:
            raise ValueError("no API prefix")
        payload = await wire.read_frame(reader)
        if payload is None:
            return False
        versions = re.match(rb"v(\d+)(?:\.\.(\d+))?", payload)
        if versions is None:
            raise ValueError("no client version")
        if self.session.state.api == "wedged":
            while await reader.read(65536):
                pass
            return False
        oldest, newest = int(versions[1]), int(versions[2] or versions[1])
        client.version = min(SERVER_VERSION, newest)
        if client.version < OLDEST_CLIENT or oldest > SERVER_VERSION:
            raise ValueError(f"unsupported client version {payload.decode(errors='replace')}")
        await asyncio.sleep(self.session.state.delay)
        client.send([client.version, time.strftime("%Y%m%d %H:%M:%S %Z")])
        return True

    async def _serve(self, client: Client, reader: asyncio.StreamReader) -> None:
        """Answers messages in order, each as late as the session's delay asks for."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[tuple[float, list[str]] | None] = asyncio.Queue()

        async def read() -> None:
            try:
                while (payload := await wire.read_frame(reader)) is not None:
                    arrived.put_nowait((loop.time(), wire.fields(payload)))
            finally:
                arrived.put_nowait(None)

        reading = asyncio.create_task(read())
        try:
            while (message := await arrived.get()) is not None:
                at, row = message
                await asyncio.sleep(max(0.0, at + self.session.state.delay - loop.time()))
                if self.session.state.api != "wedged" and not await self._answer(client, row):
                    return
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading

    async def _answer(self, client: Client, row: list[str]) -> bool:
        """False when the client has to go. Raises ValueError for a malformed message."""
        if not row:
            raise ValueError("an empty message")
        if client.client_id is None:
            return int(row[0]) == START_API and await self._start_api(client, wire.Fields(row[2:]))
        await self._requests.serve(client, row)
        with contextlib.suppress(ConnectionError):
            await client.writer.drain()
        return True

    async def _start_api(self, client: Client, fields: wire.Fields) -> bool:
        client_id = fields.integer()
        if any(other.client_id == client_id for other in self.clients):
            client.error(-1, *CLIENT_ID_IN_USE)
            return False
        client.client_id = client_id
        state = self.session.state
        self._requests.send_accounts(client)
        if state.api != "half-open":
            await self._requests.send_next_id(client)
        for code, text in state.greeting:
            client.error(-1, code, text)
        return True
