"""The gateway's connection to the broker: one for each login, kept for as long as the session lasts.

The protocol is described in the broker's `server` module.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from . import jsonlines
from .clock import CLOCK


class LinkLost(Exception):
    """The connection to the broker is gone, or never came about."""


class BrokerLink:
    """One connection. `login` first; then `run`, beside which `ask` may be used. `down`: it is never made."""

    def __init__(self, host: str, port: int, *, down: bool = False) -> None:
        self._host = host
        self._port = port
        self._down = down
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._next_id = 1

    async def connect(self, timeout: float) -> None:
        """Raises LinkLost when the broker cannot be reached within `timeout` seconds."""
        if self._down:
            raise LinkLost("the login server takes no connection")
        try:
            async with asyncio.timeout(timeout):
                self._reader, writer = await asyncio.open_connection(self._host, self._port, limit=jsonlines.LINE_LIMIT)
        except (OSError, TimeoutError) as problem:
            raise LinkLost(f"cannot reach the broker: {problem!r}") from problem
        jsonlines.keep_alive(writer)
        self._writer = writer

    def send(self, message: jsonlines.Message) -> None:
        """Raises LinkLost when the connection is gone."""
        if self._writer is None or self._writer.is_closing():
            raise LinkLost("not connected to the broker")
        self._writer.write(jsonlines.encode(message))

    async def event(self) -> jsonlines.Message:
        """The next event of the broker, but for a change of its clock, which is followed at once. Raises LinkLost when
        the connection ends."""
        if self._reader is None:
            raise LinkLost("not connected to the broker")
        while (message := await jsonlines.read(self._reader)) is not None:
            if message["event"] != "clock":
                return message
            CLOCK.follow(message["clock"])
        raise LinkLost("the broker closed the connection")

    async def run(self, on_event: Callable[[jsonlines.Message], None] = lambda event: None) -> None:
        """Serves the session until the connection ends; events that answer no request go to `on_event`."""
        try:
            while True:
                message = await self.event()
                if message["event"] != "answer":
                    on_event(message)
                elif not (waiting := self._waiting.pop(message["id"])).done():
                    waiting.set_result(message["answer"])
        except LinkLost:
            return
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(LinkLost("the connection to the broker ended"))
            self._waiting.clear()

    async def ask(self, what: str, **request: Any) -> dict[str, Any]:
        """The broker's answer to one request. Raises LinkLost when the connection is or goes away."""
        number = self._next_id
        self._next_id += 1
        waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.send({"type": "ask", "id": number, "what": what, "request": request})
        self._waiting[number] = waiting
        answer = await waiting
        assert isinstance(answer, dict)
        return answer

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
