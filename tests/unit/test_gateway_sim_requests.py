"""Every message that the two clients can send is handled, or refused with an error and by its name in the log.

The messages are made by the clients' own encoders, by calling each method that sends one.
"""

import inspect
import socket
import struct
from collections.abc import Iterator
from typing import Any

import ib_async
import pytest
from ib_async.client import Client as IbAsyncClient
from ib_async.objects import ExecutionFilter, ScannerSubscription, WshEventData
from ibapi.client import EClient  # type: ignore[import-untyped]
from ibapi.common import WshEventData as IbapiWshEventData  # type: ignore[import-untyped]
from ibapi.contract import Contract  # type: ignore[import-untyped]
from ibapi.execution import ExecutionFilter as IbapiFilter  # type: ignore[import-untyped]
from ibapi.message import OUT  # type: ignore[import-untyped]
from ibapi.order import Order  # type: ignore[import-untyped]
from ibapi.order_cancel import OrderCancel  # type: ignore[import-untyped]
from ibapi.scanner import ScannerSubscription as IbapiScanner  # type: ignore[import-untyped]

from sandbox.gateway.requests import Requests
from tests.unit.simulated_gateway import SimulatedGateway, simulated_gateway

VERSION = 178
REQUEST = 9001
UNKNOWN = "505"

# Sent without any answer by the real gateway as well: settings, cancellations of what runs, and what has no news.
SILENT = {
    "cancelAccountSummary",
    "cancelAccountUpdatesMulti",
    "cancelNewsBulletins",
    "cancelPositions",
    "cancelPositionsMulti",
    "reqGlobalCancel",
    "reqMarketDataType",
    "reqNewsBulletins",
    "setServerLogLevel",
}


class _Wire:
    """A socket that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def isConnected(self) -> bool:
        return True

    def sendMsg(self, message: bytes) -> None:
        self.sent.append(message)


class _Deaf:
    """A wrapper that hears nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


def _methods(of: type) -> Iterator[tuple[str, list[str]]]:
    for name, method in inspect.getmembers(of, inspect.isfunction):
        known = (
            "req",
            "cancel",
            "place",
            "query",
            "subscribe",
            "unsubscribe",
            "update",
            "verify",
            "calculate",
            "exercise",
        )
        if name.startswith((*known, "setServer", "replace", "requestFA")) and not name.endswith("ProtoBuf"):
            yield name, list(inspect.signature(method).parameters)[1:]


def _argument(name: str, kinds: dict[str, Any]) -> Any:
    """A value for a parameter: by its name for what is not text, a number or a flag."""
    if name == "data":
        return WshEventData()
    for part, value in kinds.items():
        if part in name.lower():
            return value
    return 1


def of_ib_async() -> dict[str, bytes]:
    kinds = {
        "contract": ib_async.Stock("SPY", "SMART", "USD"),
        "order": ib_async.LimitOrder("BUY", 1, 100.0),
        "subscription": ScannerSubscription(),
        "filter": ExecutionFilter(),
    }
    found = {}
    # One for all: CPython 3.11 crashes when a garbage collection happens to begin as an eventkit client ends.
    client: Any = IbAsyncClient(_Deaf())  # type: ignore[no-untyped-call]
    for name, parameters in _methods(IbAsyncClient):
        wire = _Wire()
        client.connState, client._serverVersion, client.MaxRequests = IbAsyncClient.CONNECTED, VERSION, 0
        client.conn = wire
        getattr(client, name)(*(_value(name, parameter, kinds) for parameter in parameters))
        if wire.sent:
            found[name] = wire.sent[0]
    return found


def of_ibapi() -> dict[str, bytes]:
    contract = Contract()
    contract.symbol, contract.secType, contract.exchange, contract.currency = "SPY", "STK", "SMART", "USD"
    order = Order()
    order.action, order.orderType, order.totalQuantity, order.lmtPrice = "BUY", "LMT", 1, 100.0
    kinds = {
        "contract": contract,
        "ordercancel": OrderCancel(),
        "order": order,
        "subscription": IbapiScanner(),
        "filter": IbapiFilter(),
        "wsheventdata": IbapiWshEventData(),
    }
    found = {}
    for name, parameters in _methods(EClient):
        wire = _Wire()
        client = EClient(_Deaf())
        client.setConnState(EClient.CONNECTED)
        client.conn, client.serverVersion_ = wire, VERSION
        getattr(client, name)(*(_value(name, parameter, kinds) for parameter in parameters))
        if wire.sent:
            found[name] = wire.sent[0]
    return found


def _value(method: str, parameter: str, kinds: dict[str, Any]) -> Any:
    lowered = parameter.lower()
    if lowered in ("reqid", "tickerid", "orderid"):
        return REQUEST
    if "options" in lowered:
        return []
    special = {
        ("reqHistoricalData", "barsizesetting"): "1 hour",
        ("reqHistoricalData", "durationstr"): "1 D",
        ("reqHistoricalData", "enddatetime"): "",
        ("reqHistoricalData", "keepuptodate"): False,
        ("reqMktData", "generictickslist"): "",
        ("reqMktData", "genericticklist"): "",
        ("reqMarketRule", "marketruleid"): 26,
    }
    if (method, lowered) in special:
        return special[method, lowered]
    if "account" in lowered or "acct" in lowered:
        return "DU1111111"
    if lowered in ("accountdata", "fadata", "cxml", "modelcode", "manualcancelordertime", "miscoptions"):
        return [] if lowered == "miscoptions" else ""
    return _argument(parameter, kinds)


MESSAGES = [("ib_async", name, message) for name, message in of_ib_async().items()]
MESSAGES += [("ibapi", name, message) for name, message in of_ibapi().items()]


@pytest.fixture(scope="module")
def place() -> Iterator[SimulatedGateway]:
    with simulated_gateway() as found:
        yield found


def clear(place: SimulatedGateway) -> None:
    async def work() -> None:
        place.broker.states["trader"].accounts.clear()

    place.run(work())


class Wire:
    """A connection of its own that has started the API."""

    def __init__(self, port: int, client_id: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.socket.sendall(b"API\0" + frame(b"v100..178"))
        self.socket.sendall(frame(f"71\x002\x00{client_id}\0\0".encode()))
        self.stream = self.socket.makefile("rb")

    def ask(self, message: bytes) -> list[list[str]]:
        """Everything that comes for a framed message, up to the error of a cancellation of nothing behind it."""
        self.socket.sendall(message + frame(b"2\x002\x00123456\0"))
        found: list[list[str]] = []
        while True:
            fields = self.read()
            if fields[2:4] == ["123456", "300"]:
                return found
            found.append(fields)

    def read(self) -> list[str]:
        (length,) = struct.unpack(">I", self.stream.read(4))
        return self.stream.read(length).decode().split("\0")[:-1]

    def close(self) -> None:
        self.stream.close()
        self.socket.close()


def frame(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


def test_both_clients_send_what_the_table_of_ibapi_names() -> None:
    """ibapi's class OUT; its messages of later server versions are not sent at all at this one."""
    numbers = {int(message[4:].split(b"\0")[0]) for _, _, message in MESSAGES}
    listed = {value for name, value in vars(OUT).items() if not name.startswith("_")}
    assert listed - numbers == {OUT.START_API, 105, 106, 107, 108, 109}
    assert numbers <= listed


def test_every_number_has_its_name() -> None:
    names = {number: request.name for number, request in Requests(None)._table.items()}  # type: ignore[arg-type]
    listed = {value for name, value in vars(OUT).items() if not name.startswith("_")} - {OUT.START_API}
    assert set(names) == listed


@pytest.mark.parametrize(("client", "name", "message"), MESSAGES, ids=[f"{kind}-{name}" for kind, name, _ in MESSAGES])
def test_a_message_is_answered_or_refused_by_name(
    place: SimulatedGateway, client: str, name: str, message: bytes
) -> None:
    clear(place)
    place.log.clear()
    wire = Wire(place.api_port, 3)
    try:
        fresh = wire.ask(b"")
        assert fresh[0][0] == "178"
        answers = wire.ask(message)
    finally:
        wire.close()
    fields = message[4:].split(b"\0")
    number, carries_id = int(fields[0]), str(REQUEST).encode() in fields
    called = Requests(None)._table[number].name  # type: ignore[arg-type]
    refused = [answer for answer in answers if answer[0] == "4" and answer[3] == UNKNOWN]
    if refused:
        assert [answer[2] for answer in refused] == [str(REQUEST) if carries_id else "-1"]
        assert f"API client 3: {called} is not implemented" in place.log
    else:
        assert bool(answers) is (called not in SILENT), answers
        assert not any("not implemented" in line or "malformed" in line for line in place.log), place.log


@pytest.mark.parametrize("number", [105, 106, 107, 108, 109, 4711])
def test_what_no_client_sends_at_this_version_is_refused_too(place: SimulatedGateway, number: int) -> None:
    wire = Wire(place.api_port, 4)
    try:
        wire.ask(b"")
        (answer,) = wire.ask(frame(f"{number}\x00{REQUEST}\0".encode()))
    finally:
        wire.close()
    assert answer[:2] == ["4", "2"]
    assert answer[3:5] == [UNKNOWN, "Fatal Error: Unknown message id."]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"62\x001\0", "320"),  # too few fields
        (
            b"20\x009001\x000\0SPY\0STK\0\x000\0\0\0SMART\0\0USD\0\0\x000\0\x001 hour\x00x\x001\0TRADES\x001\x000\0\0",
            "321",
        ),
        (b"1\x0011\x00x\0", "320"),  # no number
    ],
)
def test_a_malformed_request_is_an_error_and_the_connection_stays(
    place: SimulatedGateway, message: bytes, code: str
) -> None:
    """The gateway's default, "Maintain connection upon receiving incorrectly formatted fields"."""
    wire = Wire(place.api_port, 5)
    try:
        wire.ask(b"")
        (answer,) = wire.ask(frame(message))
        assert answer[3] == code
        assert wire.ask(frame(b"17\x001\0")) == [["15", "1", "DU1111111"]]
    finally:
        wire.close()
