"""A steady stream of requests over many connections, and how long their answers take.

Each request has a time at which it is due, whatever became of those before it, and its latency counts from then. So a
server that falls behind cannot hide it: the latency climbs for as long as the stream lasts.
"""

import asyncio
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.gateway import wire

ANSWER_SECONDS = 30
"""How long an answer may take to be counted at all."""

FIRST_CLIENT_ID = 300


@dataclass(frozen=True)
class Request:
    """One that the API knows, and the id of the message that ends its answer (API reference, EWrapper)."""

    row: tuple[wire.Field, ...]
    ends: str


TIME = Request((49, 1), "49")
"""Answered by the gateway itself."""

CONTRACT = Request((9, 8, 1, 0, "SPY", "STK", "", 0.0, "", "", "SMART", "", "USD", "", "", False, "", "", ""), "52")
"""Contract details: the gateway asks the broker."""


@dataclass(frozen=True)
class Answers:
    """What became of the requests. `rate`: answers a second; `p50`, `p99`: milliseconds; `slope`: by how many
    milliseconds the latency grew with each second, about 0 where no queue builds up."""

    connections: int
    asked: int
    answered: int
    rate: float
    p50: float
    p99: float
    slope: float


def summarize(connections: int, asked: int, answered: Sequence[tuple[float, float]]) -> Answers:
    """`answered`: for each answer the seconds at which it was due to be asked for, and its latency in seconds."""
    if len(answered) < 2:
        return Answers(connections, asked, len(answered), 0.0, 0.0, 0.0, 0.0)
    dues, latencies = zip(*sorted(answered), strict=True)
    percentiles = statistics.quantiles(latencies, n=100, method="inclusive")
    last = max(due + latency for due, latency in answered)
    return Answers(
        connections=connections,
        asked=asked,
        answered=len(answered),
        rate=len(answered) / (last - dues[0]),
        p50=percentiles[49] * 1000,
        p99=percentiles[98] * 1000,
        slope=statistics.linear_regression(dues, latencies).slope * 1000,
    )


class Connection:
    """One client. Answers to requests of one kind come in the order in which they were asked for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: dict[str, deque[float]] = defaultdict(deque)
        self.answered: list[tuple[float, float]] = []

    @classmethod
    async def open(cls, host: str, port: int) -> "Connection":
        return cls(*await asyncio.open_connection(host, port))

    async def start_api(self, client_id: int) -> None:
        """Handshake and START_API; returns when accounts and next order id are there, so that the client is ready.
        Raises ConnectionError when the gateway hangs up."""
        versions = b"v100..178"
        self._writer.write(wire.PREFIX + len(versions).to_bytes(4) + versions)
        await self._next()
        self._writer.write(wire.frame([71, 2, client_id, ""]))
        wanted = {"15", "9"}
        while wanted:
            wanted.discard(await self._next())

    def ask(self, request: Request, due: float) -> None:
        self._waiting[request.ends].append(due)
        self._writer.write(wire.frame(request.row))

    async def listen(self) -> None:
        """Notes the answers, until it is cancelled or the server hangs up."""
        while (payload := await wire.read_frame(self._reader)) is not None:
            waiting = self._waiting.get(wire.fields(payload)[0])
            if waiting:
                due = waiting.popleft()
                self.answered.append((due, time.perf_counter() - due))

    @property
    def waits(self) -> bool:
        return any(self._waiting.values())

    def close(self) -> None:
        self._writer.close()

    async def _next(self) -> str:
        payload = await wire.read_frame(self._reader)
        if payload is None:
            raise ConnectionError("the gateway hung up")
        return wire.fields(payload)[0]


async def of_gateways(
    hosts: Sequence[str], port: int, *, connections: int, rate: int, seconds: int, requests: Sequence[Request]
) -> Answers:
    """`rate` requests a second, the kinds in turn, over `connections` that take turns too, spread over the hosts."""
    opened = []
    for at in range(connections):
        connection = await Connection.open(hosts[at % len(hosts)], port)
        await connection.start_api(FIRST_CLIENT_ID + at)
        opened.append(connection)
    return await _stream(opened, rate, seconds, requests)


async def of_echo(port: int, *, connections: int, rate: int, seconds: int, requests: Sequence[Request]) -> Answers:
    """The same frames to the echo server; what ends an answer is then the request itself."""
    opened = [await Connection.open("127.0.0.1", port) for _ in range(connections)]
    return await _stream(opened, rate, seconds, [Request(request.row, str(request.row[0])) for request in requests])


async def _stream(opened: Sequence[Connection], rate: int, seconds: int, requests: Sequence[Request]) -> Answers:
    listening = [asyncio.create_task(connection.listen()) for connection in opened]
    began = time.perf_counter()
    asked = rate * seconds
    for number in range(asked):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        # The kind changes only when every connection had its turn, so that each connection asks for all of them.
        opened[number % len(opened)].ask(requests[number // len(opened) % len(requests)], due)
    deadline = time.perf_counter() + ANSWER_SECONDS
    while any(connection.waits for connection in opened) and time.perf_counter() < deadline:
        await asyncio.sleep(0.05)
    for task, connection in zip(listening, opened, strict=True):
        task.cancel()
        connection.close()
    await asyncio.gather(*listening, return_exceptions=True)
    return summarize(len(opened), asked, [answer for connection in opened for answer in connection.answered])
