"""A small TWS API server for unit tests: text protocol, one thread a connection, and a record of every byte received.

Message layouts are those of the TWS API reference (EReader and EClient, as in ibapi 10.45), written out here so that
the code under test does not check itself.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

VERSION = 178
UNSET = "1.7976931348623157E308"

# reqMarketDataType -> [(tick type, price)]
LIVE_QUOTES: dict[int, list[tuple[int, float]]] = {1: [(1, 601.10), (2, 601.14)]}


@dataclass
class Script:
    """How the server behaves. The defaults: a healthy paper gateway on a trading day (Monday, 2026-11-23, 15:00Z)."""

    accounts: list[str] = field(default_factory=lambda: ["DU1234567"])
    send_accounts: bool = True
    next_id: int | None = 1
    taken: set[int] = field(default_factory=set)
    notices: list[tuple[int, str]] = field(default_factory=lambda: [(2104, "Market data farm connection is OK:usfarm")])
    close_after_handshake: bool = False
    time: int | None = 1795446000  # 2026-11-23T15:00:00Z, 10:00 in New York
    summary: list[tuple[str, str, str, str]] | None = field(
        default_factory=lambda: [
            ("DU1234567", "NetLiquidation", "1000000.00", "USD"),
            ("DU1234567", "BuyingPower", "4000000.00", "USD"),
        ]
    )
    contract_error: tuple[int, str] | None = None
    liquid_hours: str = "20261123:0930-20261123:1600;20261124:0930-20261124:1600"
    quotes: dict[int, list[tuple[int, float]]] = field(default_factory=lambda: dict(LIVE_QUOTES))
    quote_error: dict[int, tuple[int, str]] = field(default_factory=dict)
    announced_type: dict[int, int] = field(default_factory=dict)  # asked type -> type in message 58
    margin: str | None = "310.25"
    order_error: tuple[int, str] | None = None
    open_orders: list[tuple[str, str]] | None = field(default_factory=list)  # order ids and states
    positions: list[tuple[str, str, str]] | None = field(default_factory=list)  # account, symbol, quantity
    drop_on: str | None = None  # message id after which the connection is cut
    # What answers a request, by its message id, in place of the server's own answer.
    answers: dict[str, Callable[[socket.socket, list[str]], None]] = field(default_factory=dict)


class TwsServer:
    def __init__(
        self,
        script: Script | None = None,
        talk: Callable[[socket.socket], None] | None = None,
        address: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        self.script = script or Script()
        self.received = b""
        self.messages: list[list[str]] = []
        self.ended_cleanly: list[bool] = []
        self.open_connections = 0
        self._talk = talk or self._api
        self._listener = socket.create_server(address)
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def orders(self) -> list[list[str]]:
        return [message for message in self.messages if message[0] == "3"]

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._sockets:
            connection.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            # Like the real thing: an answer leaves at once, however small it is.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        self.open_connections += 1
        try:
            self._talk(connection)
        except ConnectionError:
            self.ended_cleanly.append(False)
        except OSError:
            return
        finally:
            self.open_connections -= 1
            connection.close()

    def _read(self, connection: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = connection.recv(size - len(data))
            if not part:
                return b""
            data += part
        self.received += data
        return data

    def _api(self, connection: socket.socket) -> None:
        script = self.script
        if self._read(connection, 4) != b"API\0":
            return
        self._read(connection, int.from_bytes(self._read(connection, 4), "big"))
        send(connection, str(VERSION), "20261123 10:00:00 EST")
        if script.close_after_handshake:
            self._read(connection, int.from_bytes(self._read(connection, 4), "big"))
            return
        data_type = 1
        while True:
            head = self._read(connection, 4)
            if not head:
                self.ended_cleanly.append(True)
                return
            message = self._read(connection, int.from_bytes(head, "big")).decode().split("\0")[:-1]
            self.messages.append(message)
            if message[0] == "59":
                data_type = int(message[2])
            if message[0] == script.drop_on:
                return
            if not self._answer(connection, message, data_type):
                return

    def _answer(self, connection: socket.socket, message: list[str], data_type: int) -> bool:
        script = self.script
        if message[0] in script.answers:
            script.answers[message[0]](connection, message)
            return True
        match message[0]:
            case "71":
                if int(message[2]) in script.taken:
                    send(connection, "4", "2", "-1", "326", "Unable to connect as the client id is already in use.", "")
                    return False
                if script.send_accounts:
                    send(connection, "15", "1", ",".join(script.accounts) + ",")
                if script.next_id is not None:
                    send(connection, "9", "1", str(script.next_id))
                for code, text in script.notices:
                    send(connection, "4", "2", "-1", str(code), text, "")
            case "49":
                if script.time is not None:
                    send(connection, "49", "1", str(script.time))
            case "62":
                if script.summary is not None:
                    for row in script.summary:
                        send(connection, "63", "1", message[2], *row)
                    send(connection, "64", "1", message[2])
            case "9":
                self._contract_details(connection, message)
            case "1":
                self._quote(connection, message, data_type)
            case "16":
                self._open_orders(connection)
            case "61":
                self._positions(connection)
            case "3":
                self._order(connection, message)
        return True

    def _contract_details(self, connection: socket.socket, message: list[str]) -> None:
        request, script = message[2], self.script
        if script.contract_error is not None:
            code, text = script.contract_error
            send(connection, "4", "2", request, str(code), text, "")
            return
        send(
            connection, "10", request, "SPY", "STK", "", "0", "", "SMART", "USD", "SPY", "SPY", "SPY", "756733", "0.01",
            "", "LMT,MKT", "SMART,ARCA", "1", "0", "SPDR S&P 500", "ARCA", "", "", "", "", "US/Eastern",
            script.liquid_hours, script.liquid_hours, "", "", "0", "1", "", "", "26", "", "ETF", "1", "1", "100",
        )  # fmt: skip
        send(connection, "52", "1", request)

    def _quote(self, connection: socket.socket, message: list[str], data_type: int) -> None:
        request, script = message[2], self.script
        if data_type in script.quote_error:
            code, text = script.quote_error[data_type]
            send(connection, "4", "2", request, str(code), text, "")
        ticks = script.quotes.get(data_type, [])
        if ticks:
            send(connection, "58", "1", request, str(script.announced_type.get(data_type, data_type)))
        for tick_type, price in ticks:
            send(connection, "1", "6", request, str(tick_type), str(price), "3", "0")

    def _open_orders(self, connection: socket.socket) -> None:
        if self.script.open_orders is not None:
            for order_id, state in self.script.open_orders:
                send(connection, *open_order(order_id, UNSET, what_if=False, status=state))
            send(connection, "53", "1")

    def _positions(self, connection: socket.socket) -> None:
        if self.script.positions is not None:
            for number, (account, symbol, quantity) in enumerate(self.script.positions):
                held = [str(number), symbol, "STK", "", "0", "", "", "ARCA", "USD", symbol, symbol]
                send(connection, "61", "3", account, *held, quantity, "100.5")
            send(connection, "62", "1")

    def _order(self, connection: socket.socket, message: list[str]) -> None:
        order_id, script = message[1], self.script
        if script.order_error is not None:
            code, text = script.order_error
            send(connection, "4", "2", order_id, str(code), text, "")
        elif script.margin is not None:
            send(connection, *open_order(order_id, script.margin))


def open_order(order_id: str, margin: str, *, what_if: bool = True, status: str = "PreSubmitted") -> list[str]:
    """Message 5 for a plain order at server version 178 (EDecoder.processOpenOrder)."""
    contract = ["756733", "SPY", "STK", "", "0", "", "", "SMART", "USD", "SPY", "SPY"]
    order = ["BUY", "1", "LMT", "300.55", "0", "DAY", "", "DU1234567", "", "0", "", "999", "0", "0", "0", "0", "", ""]
    advisor = ["", "", ""]
    extended = ["", "", "", UNSET, "", "0", "", "-1", "0", "", "", "", "", "", "0", "0", "0", "0", "", "0", "0", "0",
                "", "0", "0", "", "0", "", ""]  # fmt: skip
    combination = ["0", "", "", "", "", "", "", "0", "0", "0"]
    scale_hedge_clearing = ["", "", "", "", "0", "", "", "0", "0"]
    algorithm = ["", "0"]
    state = [f"{what_if:d}", status, "0", "0", "1000000", margin, "290.5", "0", margin, "290.5", "1000000", "1.0",
             UNSET, UNSET, "USD", "", "0", "0", "0"]  # fmt: skip
    adjusted = ["None", UNSET, UNSET, UNSET, UNSET, UNSET, UNSET, "0", "", "", "", UNSET, "0", "0", "0", "0"]
    later_versions = ["", "", "0", "", "", "", "", ""]
    return ["5", order_id, *contract, *order, *advisor, *extended, *combination, *scale_hedge_clearing, *algorithm,
            *state, *adjusted, *later_versions]  # fmt: skip


def send(connection: socket.socket, *fields: str) -> None:
    payload = "".join(field + "\0" for field in fields).encode()
    connection.sendall(len(payload).to_bytes(4, "big") + payload)


def error(connection: socket.socket, request: str, code: int, text: str) -> None:
    send(connection, "4", "2", request, str(code), text, "")


def silent(connection: socket.socket) -> None:
    """Accepts, and never answers."""
    while connection.recv(1024):
        pass


def echo(connection: socket.socket) -> None:
    """Sends back whatever it gets."""
    while data := connection.recv(1024):
        connection.sendall(data)


def hang_up(connection: socket.socket) -> None:
    """What socat does when the gateway's own port is closed."""


@contextmanager
def serving(script: Script | None = None, talk: Callable[[socket.socket], None] | None = None) -> Iterator[TwsServer]:
    server = TwsServer(script, talk)
    try:
        yield server
    finally:
        server.close()


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
