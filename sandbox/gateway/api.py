"""The TWS API server: connections, handshake, client ids, pacing, and what every client is told.

Text protocol only: the version that it offers makes newer clients negotiate down to it. What each request is answered
is in `requests`.
"""

import asyncio
import contextlib
import re
import time
from typing import Any

from . import pacing, wire
from .clients import Api, Client, Session
from .link import LinkLost
from .notices import RESTORED_DATA_LOST
from .requests import Requests

SERVER_VERSION = 178
# The oldest client that is understood; the real gateway goes down to 100.
OLDEST_CLIENT = 157
# "Verify that the maximum API connection threshold (default 32) is not exceeded" (ibapi, errors.py, 502). What becomes
# of one more connection is documented nowhere: here it is accepted and closed without a word.
MOST_CLIENTS = 32

CLIENT_ID_IN_USE = (326, "Unable to connect as the client id is already in use. Retry with a unique client id.")
START_API = 71
POLL = 0.1  # seconds between two looks at whether the API is still wedged or slow


class ApiServer(Api):
    """Listens on one address and serves clients with the answers of one session."""

    def __init__(self, session: Session, **settings: Any) -> None:
        """`settings`: see `Api`."""
        super().__init__(session, **settings)
        self._requests = Requests(self)
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[Any]] = set()
        self._ticking: asyncio.Task[None] | None = None
        self._unread = False

    @property
    def wedged(self) -> bool:
        return self.session.state.api == "wedged"

    async def start(self, host: str, port: int) -> int:
        """Opens the port; returns it (0 asks for a free one)."""
        self._server = await asyncio.start_server(self._on_client, host, port)
        self._ticking = asyncio.create_task(self._tick())
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Closes the port and every connection, and waits until all are served out."""
        if self._server is not None:
            self._server.close()
        if self._ticking is not None:
            self._ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticking
        for client in self.clients:
            client.writer.close()
        if self._serving:
            await asyncio.wait(self._serving)

    def notice(self, code: int, text: str) -> None:
        """Tells every client."""
        for client in self.clients:
            if client.client_id is not None:
                client.error(-1, code, text)
                if code == RESTORED_DATA_LOST.code:
                    client.streams.clear()

    async def _tick(self) -> None:
        """All that clients are told unasked: news of quotes, orders and accounts."""
        loop = asyncio.get_running_loop()
        accounts_at = loop.time()
        while True:
            await asyncio.sleep(self.timing.tick)
            if self.wedged:
                self._leave_unread()
                continue
            if self._unread:
                self._read_again()
            due = loop.time() - accounts_at >= self.timing.accounts
            if due:
                accounts_at = loop.time()
            if not self.session.state.connected:
                continue
            with contextlib.suppress(LinkLost):
                filled = await self._requests.orders.refresh()
                await self._requests.accounts.refresh(every_tick=not (filled or due))
                await self._requests.market.refresh()

    def _leave_unread(self) -> None:
        self._unread = True
        for client in self.clients:
            if not client.writer.is_closing():
                client.transport.pause_reading()

    def _read_again(self) -> None:
        self._unread = False
        for client in self.clients:
            if not client.writer.is_closing():
                client.transport.resume_reading()

    async def _wedge(self, client: Client) -> None:
        """Leaves a connection open and unread for as long as the API is wedged."""
        if not self.wedged:
            return
        self._leave_unread()
        while self.wedged and not client.writer.is_closing():
            await asyncio.sleep(POLL)
        self._read_again()

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self.clients) >= MOST_CLIENTS:
            self.log(f"API connection refused: {MOST_CLIENTS} are open")
            writer.close()
            return
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
            if client.client_id is not None:
                self.log(f"remove Client {client.client_id}")
            writer.close()
            self._serving.discard(task)

    async def _handshake(self, client: Client, reader: asyncio.StreamReader) -> bool:
        """`API`, NUL, then the client's versions; answers the one to use. False when the client has to go."""
        await self._wedge(client)
        try:
            prefix = await reader.readexactly(len(wire.PREFIX))
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        if prefix != wire.PREFIX:
            raise ValueError("no API prefix")
        payload = await wire.read_frame(reader)
        if payload is None:
            return False
        versions = re.match(rb"v(\d+)(?:\.\.(\d+))?(.*)", payload)
        if versions is None:
            raise ValueError("no client version")
        await self._wedge(client)
        oldest, newest = int(versions[1]), int(versions[2] or versions[1])
        client.paces = b"+PACEAPI" in versions[3]
        client.version = min(SERVER_VERSION, newest)
        if client.version < OLDEST_CLIENT or oldest > SERVER_VERSION:
            raise ValueError(f"unsupported client version {payload.decode(errors='replace')}")
        await self._be_late(asyncio.get_running_loop().time())
        client.send([client.version, time.strftime("%Y%m%d %H:%M:%S %Z", time.localtime(self.now()))])
        return True

    async def _serve(self, client: Client, reader: asyncio.StreamReader) -> None:
        """Answers messages in order, each as late as the session's delay and the pacing ask for."""
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
                await self._wedge(client)
                if not await self._pace(client, row, arrived.qsize()):
                    if client.pacer.violations >= pacing.TOLERATED:
                        self.log(f"API client {client.client_id} sent too fast {pacing.TOLERATED} times")
                        return
                    continue
                await self._be_late(at)
                if not await self._answer(client, row):
                    return
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading

    async def _be_late(self, arrived: float) -> None:
        """Waits for as long after a message's arrival as the session's delay says, which may change meanwhile."""
        while (early := arrived + self.session.state.delay - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(early, POLL))

    async def _pace(self, client: Client, row: list[str], waiting: int) -> bool:
        """Lets a message wait for its time; False when it is rejected for its rate."""
        loop = asyncio.get_running_loop()
        wait = client.pacer.wait(loop.time())
        if wait > 0:
            if self.reject_over_rate and not client.paces:
                if client.pacer.violate(loop.time()):
                    text = pacing.error_text(pacing.MOST + 1 + waiting, client.pacer.violations)
                    client.error(self._requests.request_id(row), 100, text)
                return False
            await asyncio.sleep(wait)
        client.pacer.let_through(loop.time())
        return True

    async def _answer(self, client: Client, row: list[str]) -> bool:
        """False when the client has to go. Raises ValueError for a malformed message."""
        if not row:
            raise ValueError("an empty message")
        if self.session.state.api == "silent":
            return True
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
        if state.api != "half-open" and not self.read_only:
            with contextlib.suppress(LinkLost):
                await self._requests.orders.greet(client)
        self._requests.send_accounts(client)
        if state.api != "half-open":
            await self._requests.orders.send_next_id(client)
        for code, text in state.greeting:
            client.error(-1, code, text)
        return True
