"""The API on the wire: handshake, pacing, limits, and connections that end in every bad way. No client library."""

import socket
import struct
import time
from collections.abc import Iterator

import pytest

from sandbox.gateway import clients
from sandbox.gateway.pacing import Pacer
from tests.helpers import until
from tests.unit.simulated_gateway import SimulatedGateway, simulated_gateway
from tests.unit.test_gateway_sim_requests import Wire, frame

TIME = frame(b"49\x001\0")


@pytest.fixture
def place() -> Iterator[SimulatedGateway]:
    with simulated_gateway() as found:
        yield found


@pytest.mark.parametrize(
    ("first", "answer"),
    [
        (b"API\0\0\0\0\x09v100..178", b"178"),
        (b"API\0\0\0\0\x09v157..160", b"160"),
        (b"API\0\0\0\0\x09v100..223", b"178"),
        (b"API\0\0\0\0\x12v100..223 +PACEAPI", b"178"),
        (b"API\0\0\0\0\x09v100..150", b""),
        (b"API\0\0\0\0\x09v200..223", b""),
        (b"GET / HTTP/1.1\r\n\r\n", b""),
        (b"API\0\xff\xff\xff\xffgarbage", b""),
    ],
)
def test_handshake(place: SimulatedGateway, first: bytes, answer: bytes) -> None:
    """The lower of both sides' versions is used; what is no client, or too old a one, is let go."""
    with socket.create_connection(("127.0.0.1", place.api_port), timeout=2) as client:
        client.sendall(first)
        assert client.recv(4096)[4:].split(b"\0")[0] == answer


def test_nothing_is_answered_before_the_api_is_started(place: SimulatedGateway) -> None:
    with socket.create_connection(("127.0.0.1", place.api_port), timeout=2) as client:
        client.sendall(b"API\0" + frame(b"v100..178") + TIME)
        received = b""
        while chunk := client.recv(4096):
            received += chunk
    assert received[4:].startswith(b"178\0")
    assert b"\x0049\0" not in received


def reset(client: socket.socket) -> None:
    """Closes with RST instead of FIN."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("ending", ["clean", "reset", "half a frame", "half a length", "absurd length", "no number"])
def test_a_connection_ends_and_its_client_id_is_free_again(place: SimulatedGateway, ending: str) -> None:
    """A message that cannot be one ends the connection, which clients report as 507, bad message length."""
    wire = Wire(place.api_port, 9)
    wire.ask(b"")
    if ending == "reset":
        wire.stream.close()
        reset(wire.socket)
    elif ending in ("half a frame", "half a length"):
        wire.socket.sendall(TIME[:6] if ending == "half a frame" else TIME[:2])
        wire.close()
    elif ending in ("absurd length", "no number"):
        wire.socket.sendall(b"\x7f\xff\xff\xff" if ending == "absurd length" else frame(b"hello\0"))
        assert wire.stream.read() == b""
        assert any("malformed message" in line for line in place.log)
        wire.close()
    else:
        wire.close()
    until(lambda: "remove Client 9" in place.log)
    again = Wire(place.api_port, 9)
    assert again.ask(b"")[1] == ["15", "1", "DU1111111"]
    again.close()


def test_messages_in_pieces_and_many_in_one_are_the_same(place: SimulatedGateway) -> None:
    wire = Wire(place.api_port, 9)
    wire.ask(b"")
    for byte in frame(b"17\x001\0"):
        wire.socket.sendall(bytes([byte]))
    assert wire.read() == ["15", "1", "DU1111111"]
    assert wire.ask(frame(b"17\x001\0") * 10) == [["15", "1", "DU1111111"]] * 10
    wire.close()


def test_the_thirty_third_connection_is_closed_without_a_word(place: SimulatedGateway) -> None:
    """32 by default (ibapi, errors.py, 502); that it is accepted first is an assumption."""
    open_ = [Wire(place.api_port, number) for number in range(32)]
    for wire in open_:
        wire.ask(b"")
    with socket.create_connection(("127.0.0.1", place.api_port), timeout=2) as client:
        assert client.recv(16) == b""
    assert "API connection refused: 32 are open" in place.log
    open_.pop().close()
    until(lambda: "remove Client 31" in place.log)
    again = Wire(place.api_port, 40)
    assert again.ask(b"")[0][0] == "178"
    for wire in (*open_, again):
        wire.close()


def test_an_id_in_use_is_refused_and_the_connection_closed(place: SimulatedGateway) -> None:
    first = Wire(place.api_port, 9)
    first.ask(b"")
    second = Wire(place.api_port, 9)
    assert second.read()[0] == "178"
    text = "Unable to connect as the client id is already in use. Retry with a unique client id."
    assert second.read() == ["4", "2", "-1", "326", text, ""]
    assert second.stream.read() == b""
    first.close()
    second.close()


def test_a_wedged_api_leaves_connections_open_and_unread(place: SimulatedGateway) -> None:
    """Old and new ones; what was sent is answered once that is over."""
    old, waiting = Wire(place.api_port, 9), Wire(place.api_port, 10)
    old.ask(b"")
    waiting.ask(b"")
    place.control.scenario("api-wedged")
    new = Wire(place.api_port, 11)
    old.socket.sendall(TIME)
    for wire in (old, new):
        wire.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            wire.socket.recv(1)
    server = place.server
    assert server is not None
    until(lambda: not any(client.transport.is_reading() for client in server.clients))
    assert len(server.clients) == 3
    waiting.close()  # nobody notices
    place.control.clear()
    until(lambda: "remove Client 10" in place.log)
    for wire, first in ((old, "49"), (new, "178")):
        wire.socket.settimeout(5)
        (length,) = struct.unpack(">I", wire.socket.recv(4))
        assert wire.socket.recv(length).split(b"\0")[0].decode() == first
        wire.close()


def test_a_wedged_gateway_can_be_stopped(place: SimulatedGateway) -> None:
    place.control.scenario("api-wedged")
    with socket.create_connection(("127.0.0.1", place.api_port), timeout=2):
        pass  # the fixture stops it


def test_the_delay_is_of_each_answer_and_may_change(place: SimulatedGateway) -> None:
    """Also for what has already arrived."""
    wire = Wire(place.api_port, 9)
    wire.ask(b"")
    place.control.scenario("slow:3600")
    wire.socket.sendall(TIME * 5)
    wire.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        wire.socket.recv(1)
    wire.close()
    wire = Wire(place.api_port, 10)  # its handshake waits, too
    wire.socket.sendall(TIME * 5)
    place.control.clear()
    assert [answer[0] for answer in wire.ask(b"") if answer[0] == "49"] == ["49"] * 5
    wire.close()


def test_a_client_that_does_not_read_is_let_go(place: SimulatedGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here after what the kernel takes and 100 kB more."""
    monkeypatch.setattr(clients, "MOST_UNREAD", 100_000)
    wire = Wire(place.api_port, 9)
    wire.ask(b"")
    server = place.server
    assert server is not None

    async def talk() -> None:
        for _ in range(1000):
            server.notice(2104, "x" * 10_000)

    place.run(talk())
    until(lambda: "remove Client 9" in place.log)
    wire.close()


def test_many_requests_of_many_connections_are_all_answered(place: SimulatedGateway) -> None:
    wires = [Wire(place.api_port, number) for number in range(25)]
    for wire in wires:
        wire.ask(b"")
    for wire in wires:
        wire.socket.sendall(frame(b"62\x001\x005\0All\0NetLiquidation\0") + frame(b"63\x001\x005\0") + TIME * 8)
    for wire in wires:
        answers = wire.ask(b"")
        assert [answer[0] for answer in answers] == ["63", "64", *["49"] * 8]
        wire.close()


@pytest.mark.parametrize(
    ("sent", "now", "wait"),
    [
        ([0.0] * 49, 0.5, 0.0),
        ([0.0] * 50, 0.5, 0.5),
        ([0.0] * 50, 1.0, 0.0),
        ([index / 50 for index in range(50)], 1.0, 0.0),
        ([0.0] * 25 + [0.9] * 25, 0.95, 0.05),
    ],
)
def test_fifty_messages_in_any_second(sent: list[float], now: float, wait: float) -> None:
    """TWS API reference, Pacing Limitations: half of a hundred market data lines."""
    pacer = Pacer()
    for at in sent:
        pacer.let_through(at)
    assert pacer.wait(now) == pytest.approx(wait)


def test_the_third_violation_ends_the_connection(place: SimulatedGateway) -> None:
    """TWS API reference, Pacing Behavior. Each is told once, with how many it was."""
    assert place.server is not None
    place.server.reject_over_rate = True
    wire = Wire(place.api_port, 9)
    wire.ask(b"")
    told = []
    for _ in range(3):
        wire.socket.sendall(frame(b"17\x001\0") * 120)
        while (fields := wire.read())[0] != "4":
            pass
        told.append(fields[4])
        if len(told) < 3:
            time.sleep(1.05)
    assert [text.split(" ")[-1] for text in told] == ["(1)", "(2)", "(3)"]
    assert wire.stream.read() == b""
    assert "API client 9 sent too fast 3 times" in place.log
    wire.close()
