"""Whatever one gateway's server does, it gets its own verdict in time, and the other gateways theirs."""

import asyncio
import json
import logging
import random
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from healthcheck.api_client import LONGEST_MESSAGE, MOST_BYTES, MOST_FIELDS
from healthcheck.attempts import attempts
from healthcheck.events import read_attempt
from healthcheck.observation import Attempt, CheckName, CheckObservation
from healthcheck.reasons import Reason
from healthcheck.session import Timeouts
from healthcheck.text import clean_value
from tests.unit.gateways import entry, gateway, run_checks
from tests.unit.tws_server import VERSION, Script, TwsServer, serving

ROOT = Path(__file__).parents[2]
QUICK = Timeouts(
    handshake=0.5,
    ready=0.5,
    request=0.5,
    quote=0.3,
    closed_market_quote=0.3,
    disconnect=0.3,
    settle=0.1,
    one_account=0.2,
)
PATIENT = replace(QUICK, handshake=10, ready=2.5, request=2)
Talk = Callable[[socket.socket], None]
HELLO = (str(VERSION), "20261123 10:00:00 EST")
ACCOUNTS, NEXT_ID = ("15", "1", "DU1234567,"), ("9", "1", "1")
NOTICE = ("4", "2", "-1", "2104", "Market data farm connection is OK:usfarm", "")


def frame(*fields: str) -> bytes:
    payload = "".join(field + "\0" for field in fields).encode()
    return len(payload).to_bytes(4, "big") + payload


def says(*messages: tuple[str, ...], then: Talk = lambda connection: None) -> Talk:
    """Reads the greeting, answers it by these messages at once, and goes on with `then`."""

    def talk(connection: socket.socket) -> None:
        connection.recv(64)
        connection.sendall(b"".join(frame(*message) for message in messages))
        then(connection)

    return talk


def for_ever(data: bytes, pause: float = 0) -> Talk:
    def talk(connection: socket.socket) -> None:
        while True:
            connection.sendall(data)
            time.sleep(pause)

    return talk


def reset(connection: socket.socket) -> None:
    """Closes without the end of the stream once it is spoken to: whoever reads or writes next meets a reset."""
    connection.recv(64)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def listen(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def raw(data: bytes, then: Talk = listen) -> Talk:
    def talk(connection: socket.socket) -> None:
        connection.sendall(data)
        then(connection)

    return talk


LOGGED_IN = (HELLO, ACCOUNTS, NEXT_ID)
DROPPED, FOREIGN = "connection_dropped", "not_the_api"

HOSTILE: dict[str, tuple[Talk, str]] = {
    "closes after hello, accounts and next id": (says(*LOGGED_IN), DROPPED),
    "closes after hello and accounts": (says(HELLO, ACCOUNTS), DROPPED),
    "closes after hello and next id": (says(HELLO, NEXT_ID), DROPPED),
    "closes after hello": (says(HELLO), "not_logged_in"),
    "resets after hello, accounts and next id": (says(*LOGGED_IN, then=reset), DROPPED),
    "resets at once": (reset, "relay_only"),
    "says nothing after the login": (says(*LOGGED_IN, then=listen), "half_open"),
    "never reads": (says(*LOGGED_IN, then=lambda connection: time.sleep(4)), "half_open"),
    "a flood of notices": (says(HELLO, then=for_ever(1000 * frame(*NOTICE))), FOREIGN),
    "a flood after the login": (says(*LOGGED_IN, then=for_ever(1000 * frame(*NOTICE))), FOREIGN),
    "a flood of what nobody asked for": (says(*LOGGED_IN, then=for_ever(99 * frame("3", "1", "x"))), FOREIGN),
    "a flood of empty messages": (says(*LOGGED_IN, then=for_ever(bytes(4000))), FOREIGN),
    "a flood of zeros instead of a greeting": (for_ever(bytes(65536)), FOREIGN),
    "a giant length": (says(*LOGGED_IN, then=raw(b"\xff\xff\xff\xff")), FOREIGN),
    "a giant length as greeting": (raw(b"\x7f\xff\xff\xff"), FOREIGN),
    "too long a message": (says(*LOGGED_IN, then=raw((LONGEST_MESSAGE + 1).to_bytes(4, "big"))), FOREIGN),
    "too many fields": (says(*LOGGED_IN, ("10", *("1" * 2 * MOST_FIELDS)), then=listen), FOREIGN),
    "a greeting by drops": (for_ever(b"\0", 0.05), FOREIGN),
    "a message by drops": (says(HELLO, then=raw(bytes([0, 1, 0, 0]), for_ever(b"x", 0.02))), "not_logged_in"),
    "a version of 5,000 digits": (says(("1" * 5000, "x"), then=listen), FOREIGN),
    "a version that we do not speak": (says(("999", "x"), then=listen), FOREIGN),
    "a version that is none": (says(("-178", "x"), then=listen), FOREIGN),
    "an id that is no number": (says(HELLO, ACCOUNTS, ("9", "1", "one"), then=listen), "half_open"),
    "an id of 5,000 digits": (says(HELLO, ACCOUNTS, ("9", "1", "9" * 5000), then=listen), "half_open"),
    "messages cut short": (says(HELLO, ("15",), ("9",), ("4", "2"), ("10",), ("5",), then=listen), "not_logged_in"),
    "accounts that are no text": (
        says(HELLO, NEXT_ID, then=raw(b"\0\0\0\x09" + b"15\0001\0\xff\xfe\xfd\0")),
        "account_kind_mismatch",
    ),
    "very many accounts": (says(HELLO, NEXT_ID, ("15", "1", 20_000 * "DU1234567,"), then=listen), "half_open"),
    "accounts without end": (says(HELLO, then=for_ever(frame("15", "1", 20_000 * "DU1234567,"))), FOREIGN),
}


@contextmanager
def each(talks: dict[str, Talk]) -> Iterator[dict[str, TwsServer]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(serving(talk=talk)) for name, talk in talks.items()}


async def last(port: int, name: str, timeouts: Timeouts = QUICK) -> Attempt:
    async for attempt in attempts(gateway(port, name=name), wait=0, timeouts=timeouts):
        found = attempt
    return found


def red(attempt: Attempt) -> CheckObservation:
    return next(check for check in attempt.checks if check.reason is not None and check.skipped_because is None)


def test_each_hostile_server_has_its_own_verdict_beside_all_the_others(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All in one process, as one verifier asks up to sixteen, and a gateway that is well among them."""
    caplog.set_level(logging.CRITICAL, logger="ib_async")
    monkeypatch.setattr("healthcheck.api_client.MOST_MESSAGES", 300)
    monkeypatch.setattr("healthcheck.api_client.MOST_BYTES", 500_000)
    broken: list[dict[str, Any]] = []

    async def all_of_them(servers: dict[str, TwsServer]) -> list[Attempt]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
        return await asyncio.gather(
            *(last(server.port, name, PATIENT) for name, server in servers.items()),
            last(well.port, "well", Timeouts()),
        )

    with serving() as well, each({name: talk for name, (talk, _) in HOSTILE.items()}) as servers:
        found = asyncio.run(all_of_them(servers))
    assert {attempt.gateway: red(attempt).reason for attempt in found[:-1]} == {
        name: reason for name, (_, reason) in HOSTILE.items()
    }
    assert [check.reason for check in found[-1].checks] == [None] * 6
    assert broken == []
    assert [record.name for record in caplog.records if record.name.startswith("healthcheck")] == []


# Not as getrusage has it: that counts what this process held when it started the other one, and all its children.
TELLS_ITS_PEAK = """
import atexit, runpy, sys
def tell():
    sys.stderr.write(next(line for line in open("/proc/self/status") if line.startswith("VmHWM:")))
atexit.register(tell)
runpy.run_module("healthcheck", run_name="__main__", alter_sys=True)
"""


def test_a_verifier_survives_them_and_stays_small() -> None:
    names = [
        "closes after hello, accounts and next id",
        "a flood after the login",
        "a giant length",
        "accounts without end",
        "a flood of zeros instead of a greeting",
    ]
    with serving() as well, each({name: HOSTILE[name][0] for name in names}) as servers:
        command = [sys.executable, "-c", TELLS_ITS_PEAK, "verify", "--stay", "0"]
        for name, server in {**servers, "well": well}.items():
            command += ["--gateway-json", json.dumps(entry(server.port) | {"name": name})]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=120)
    found = {attempt.gateway: attempt for attempt in map(read_attempt, done.stdout.splitlines()) if attempt.last}
    assert {name: red(found[name]).reason for name in names} == {name: HOSTILE[name][1] for name in names}
    assert [check.reason for check in found["well"].checks] == [None] * 6
    assert done.returncode == 0
    peak = re.fullmatch(rb"VmHWM:\s*(\d+) kB\n", done.stderr)
    assert peak is not None, done.stderr
    # The verifier's container has 256 MiB.
    assert int(peak[1]) < 200 * 1024


def test_an_error_of_our_own_is_that_gateways_verdict_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise LookupError("surprise")

    monkeypatch.setattr("healthcheck.session.Session.account_summary", broken)
    with serving() as server:
        found = asyncio.run(run_checks(gateway(server.port)))
    reasons = {check.name: check.reason for check in found}
    assert reasons[CheckName.ACCOUNT_ACCESS] is Reason.VERIFIER_FAILED
    assert reasons[CheckName.MARKET_DATA] is None


# --- a server that answers by seed ------------------------------------------------------------------------------------

SEEDS = range(120)
TOGETHER = 16

NASTY = ["", "-1", "nan", "inf", "1e999", "9" * 5000, "x" * 5000, "\x1b[2J", "\u202e", "\ud800", "DU1,U2", "{0}", "\0"]


class Twisted:
    """A server's socket on which each message may be changed, repeated, torn, delayed, lost or the last, by seed."""

    def __init__(self, connection: socket.socket, seed: int) -> None:
        self._connection = connection
        self._random = random.Random(seed)
        self._rate = self._random.choice([0.02, 0.1, 0.3, 0.8])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def sendall(self, data: bytes) -> None:
        if self._random.random() > self._rate:
            self._connection.sendall(data)
            return
        twist = self._random.choice(
            [self._field, self._field, self._field, self._bytes, self._torn, self._twice, self._lost, self._over]
        )
        self._connection.sendall(twist(data))

    def _field(self, data: bytes) -> bytes:
        fields = data[4:].split(b"\0")
        at = self._random.randrange(len(fields))
        fields[at] = self._random.choice(NASTY).encode("utf-8", "surrogatepass")
        if self._random.random() < 0.2:
            del fields[at:]
        payload = b"\0".join(fields)
        return len(payload).to_bytes(4, "big") + payload

    def _bytes(self, data: bytes) -> bytes:
        twisted = bytearray(data)
        for _ in range(self._random.randint(1, 4)):
            twisted[self._random.randrange(len(twisted))] = self._random.randrange(256)
        return bytes(twisted)

    def _torn(self, data: bytes) -> bytes:
        return data[: self._random.randrange(len(data))]

    def _twice(self, data: bytes) -> bytes:
        return data * self._random.choice([2, 50, 5000])

    def _lost(self, data: bytes) -> bytes:
        return b""

    def _over(self, data: bytes) -> bytes:
        if self._random.random() < 0.5:
            reset(self._connection)
        raise ConnectionError


def by_seed(seed: int) -> TwsServer:
    server = TwsServer(Script())
    plain = server._talk
    server._talk = lambda connection: plain(Twisted(connection, seed))  # type: ignore[arg-type]
    return server


def test_no_bytes_of_a_server_make_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """By seed, so that what is found can be seen again: `SEEDS = [n]`."""
    caplog.set_level(logging.CRITICAL, logger="ib_async")
    broken: list[dict[str, Any]] = []

    async def some(ports: dict[int, int]) -> list[Attempt]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
        return await asyncio.gather(*(last(port, f"seed {seed}") for seed, port in ports.items()))

    found: list[Attempt] = []
    for at in range(0, len(SEEDS), TOGETHER):
        servers = {seed: by_seed(seed) for seed in SEEDS[at : at + TOGETHER]}
        found += asyncio.run(some({seed: server.port for seed, server in servers.items()}))
        for server in servers.values():
            server.close()
    assert [attempt.gateway for attempt in found] == [f"seed {seed}" for seed in SEEDS]
    assert broken == []
    assert [record.getMessage() for record in caplog.records if record.name.startswith("healthcheck")] == []
    failed = [
        attempt.gateway for attempt in found for check in attempt.checks if check.reason is Reason.VERIFIER_FAILED
    ]
    assert failed == []
    assert len({check.reason for attempt in found for check in attempt.checks}) > 8, "the seeds reach many places"
    for attempt in found:
        for check in attempt.checks:
            json.dumps(clean_value([check.seen, check.data]), ensure_ascii=False).encode()


def test_a_flood_takes_no_more_than_its_bounds() -> None:
    with serving(talk=says(HELLO, then=for_ever(2000 * frame(*NOTICE)))) as server:
        found = asyncio.run(last(server.port, "flood", replace(QUICK, ready=60)))
    told = red(found).seen
    assert "more than any gateway sends" in told
    assert int(told.split()[0]) < 2 * MOST_BYTES
