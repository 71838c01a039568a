"""Every byte that the verifier sends, whatever the configuration, kept by a proxy before the simulated gateway."""

import asyncio
import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.unit.gateways import checks, gateway, run_checks
from tests.unit.simulated_gateway import simulated_gateway

# EClient in the TWS API reference: what only reads, and what ends such a request.
READING = {"71", "49", "62", "63", "9", "59", "1", "2"}
PLACE_ORDER = "3"
WHAT_IF = 84
"""The flag's place among the fields of a placeOrder message of a plain order, from server version 177 on."""


@dataclass
class Recorder:
    """A TCP proxy that keeps what clients send, connection by connection."""

    upstream: int
    sent: list[bytearray] = field(default_factory=list)
    readers: list[threading.Thread] = field(default_factory=list)

    @contextmanager
    def serving(self) -> Iterator[int]:
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            yield listener.getsockname()[1]
            listener.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self.upstream))
                kept = bytearray()
                self.sent.append(kept)
                self.readers.append(threading.Thread(target=pump, args=(client, server, kept), daemon=True))
                self.readers[-1].start()
                threading.Thread(target=pump, args=(server, client, bytearray()), daemon=True).start()

    def messages(self) -> list[list[str]]:
        """All that was sent, but for the greetings, by clients that are gone."""
        found = []
        for reader in self.readers:
            reader.join(10)
            assert not reader.is_alive()
        for kept in self.sent:
            assert kept.startswith(b"API\0")
            rest = bytes(kept[4:])
            while rest:
                size = int.from_bytes(rest[:4], "big")
                found.append(rest[4 : 4 + size].decode().split("\0")[:-1])
                rest = rest[4 + size :]
        return [message for message in found if message]


def pump(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            kept += data
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


LEVELS = ("off", "warn", "required")
CONFIGURATIONS = list(itertools.product((False, True), ("off", "required"), LEVELS))


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_no_order_without_the_what_if_flag_leaves_the_verifier(mode: str) -> None:
    with simulated_gateway(TradingMode=mode) as place:
        for read_only, market_data, orders in CONFIGURATIONS:
            recorder = Recorder(place.api_port)
            changes: dict[str, Any] = {
                "mode": mode,
                "account_kind": mode,
                "read_only": read_only,
                "checks": checks(market_data, orders),
            }
            with recorder.serving() as port:
                found = asyncio.run(run_checks(gateway(port, **changes)))
            assert (found[2].name.value, found[2].reason) == ("authenticated", None)
            assert len(recorder.sent) == 1, "one connection"
            messages = recorder.messages()
            told = [message for message in messages if message[0] == PLACE_ORDER]
            assert {message[0] for message in messages} - {PLACE_ORDER} <= READING
            # Off on live unless configured; never where the API is read-only.
            assert len(told) == (0 if read_only or orders == "off" else 1)
            assert all(message[WHAT_IF] == "1" for message in told)
            assert requests(messages, "1") == requests(messages, "2"), "every subscription is cancelled"
            assert requests(messages, "62") == requests(messages, "63")
        user = place.control.status()["users"]["trader"]
        assert user["orders"] == 0


def requests(messages: list[list[str]], number: str) -> list[str]:
    """The ids of the requests of one kind."""
    return [message[2] for message in messages if message[0] == number]
