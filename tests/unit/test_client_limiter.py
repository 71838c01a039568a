"""The limiter: its rate on a clock of its own, and what arrives at a receiver over real sockets."""
# mypy: allow-untyped-calls
# (ib_async annotates its data and not its methods.)

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest
from ib_async import IB, Stock
from ib_async.client import Client
from ib_async.connection import Connection

from client import Limiter, Pool
from tests.unit.counting_proxy import CountingProxy, most_in_a_second
from tests.unit.simulated_gateway import simulated_gateway

SPY = Stock("SPY", "SMART", "USD")


class Skipping(selectors.DefaultSelector):
    """Waits for nothing: the time that it should have waited has passed at once, and `late()` seconds more."""

    def __init__(self, late: Callable[[], float]) -> None:
        super().__init__()
        self.now = 0.0
        self.late = late

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout + self.late() if timeout else 1e-6  # time never stands still
        return super().select(0)


def on_a_fake_clock(work: Coroutine[Any, Any, None], late: Callable[[], float] = lambda: 0.0) -> None:
    selector = Skipping(late)
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()


class Wire:
    """In the place of a connection's transport. `slow()`: seconds that pass in a call, before and after the message
    is the kernel's."""

    def __init__(self, sent: list[float], slow: Callable[[], tuple[float, float]] | None = None) -> None:
        self.sent = sent
        self.written: list[bytes] = []
        self._slow = slow

    def write(self, message: bytes) -> None:
        before, after = self._slow() if self._slow else (0.0, 0.0)
        selector: Skipping = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        selector.now += before
        self.sent.append(selector.now)
        self.written.append(message)
        selector.now += after

    def write_eof(self) -> None: ...

    def close(self) -> None: ...


def connected(limiter: Limiter, wire: Wire) -> Connection:
    """The connection of an ib_async client under the limiter, without a socket."""
    ib = IB()
    limiter.pace(ib)
    ib.client.conn.transport = wire
    return ib.client.conn


def saturate(
    count: int, late: Callable[[], float] = lambda: 0.0, slow: Callable[[], tuple[float, float]] | None = None
) -> list[float]:
    """When each of `count` messages left, all asked for at once over four connections."""
    sent: list[float] = []

    async def work() -> None:
        limiter = Limiter()
        clients = [connected(limiter, Wire(sent, slow)) for _ in range(4)]
        for at in range(count):
            clients[at % 4].sendMsg(b"49")
        while len(sent) < count:
            await asyncio.sleep(1)

    on_a_fake_clock(work(), late)
    return sent


def test_it_reaches_49_a_second() -> None:
    sent = saturate(2000)
    assert len([at for at in sent if at < 40.0]) >= 49 * 40


def test_it_reaches_49_a_second_on_a_loop_that_wakes_late() -> None:
    """Not quite 49, since the bound counts from what has happened: 3 ms in 1020 at most."""
    chance = random.Random(1)
    sent = saturate(2000, late=lambda: chance.uniform(0.0, 0.003))
    assert len([at for at in sent if at < 40.0]) >= 48.8 * 40


@pytest.mark.parametrize("often", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("seed", range(5))
def test_a_receiver_that_gets_some_20_ms_late_never_sees_more_than_50_in_a_second(seed: int, often: float) -> None:
    """However often the loop wakes late, or the process is held up while it writes, before or after."""
    chance = random.Random(seed)

    def late() -> float:
        return chance.uniform(0.0, 0.3) if chance.random() < often else 0.0

    def slow() -> tuple[float, float]:
        return (chance.uniform(0.0, 0.08), chance.uniform(0.0, 0.08)) if chance.random() < often else (0.0, 0.0)

    sent = saturate(1000, late=late, slow=slow)
    assert most_in_a_second([at + chance.choice((0.0, 0.020)) for at in sent]) <= 50


def test_ib_asyncs_own_throttle_does_not_hold_one_client_back() -> None:
    sent: list[float] = []

    async def work() -> None:
        ib = IB()
        Limiter().pace(ib)
        ib.client.conn.transport = Wire(sent)
        ib.client.connState = Client.CONNECTED
        for _ in range(600):
            ib.client.reqCurrentTime()
        await asyncio.sleep(11)
        ib.client.connState = Client.DISCONNECTED

    on_a_fake_clock(work())
    assert len([at for at in sent if at < 10.0]) >= 490


def test_a_lower_rate_bears_more() -> None:
    """client/limiter.py: 45 a second leaves 111 ms (50 / 45 - 1)."""
    sent: list[float] = []

    async def work() -> None:
        ib = connected(Limiter(45), Wire(sent))
        for _ in range(500):
            ib.sendMsg(b"49")
        await asyncio.sleep(15)

    on_a_fake_clock(work())
    assert len(sent) == 500
    assert most_in_a_second([at + (0.111 if index % 2 else 0.0) for index, at in enumerate(sent)]) <= 50


@pytest.mark.parametrize("rate", [0, 50, -1])
def test_a_rate_that_the_gateway_would_not_bear_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=f"the rate is {rate} messages a second"):
        Limiter(rate)


def test_five_leave_at_once_and_the_others_evenly() -> None:
    sent = saturate(40)
    assert sent[:5] == [sent[0]] * 5
    gaps = [later - earlier for earlier, later in pairwise(sent[4:])]
    assert gaps == pytest.approx([1 / 49] * 35, rel=1e-3)


def test_connections_take_turns() -> None:
    async def work() -> None:
        limiter = Limiter()
        order: list[float] = []
        download, trader = connected(limiter, Wire([])), connected(limiter, Wire(order))
        for _ in range(1000):
            download.sendMsg(b"49")
        trader.sendMsg(b"49")
        await asyncio.sleep(1)
        assert order[0] < 3 / 49

    on_a_fake_clock(work())


def test_throttling_is_told_as_ib_async_does() -> None:
    async def work() -> None:
        told: list[str] = []
        ib = IB()
        Limiter().pace(ib)
        ib.client.conn.transport = Wire([])
        ib.client.throttleStart += lambda: told.append("start")
        ib.client.throttleEnd += lambda: told.append("end")
        for _ in range(5):
            ib.client.conn.sendMsg(b"49")
        assert told == []
        for _ in range(5):
            ib.client.conn.sendMsg(b"49")
        assert told == ["start"]
        await asyncio.sleep(1)
        assert told == ["start", "end"]

    on_a_fake_clock(work())


def test_what_waited_for_a_lost_connection_is_never_sent_and_takes_no_turn() -> None:
    async def work() -> None:
        limiter = Limiter()
        wire, other_wire = Wire([]), Wire([])
        lost, other = connected(limiter, wire), connected(limiter, other_wire)
        for _ in range(100):
            lost.sendMsg(b"49")
        lost.connection_lost(None)
        lost.transport = wire
        other.sendMsg(b"49")
        await asyncio.sleep(0.03)
        assert (len(wire.written), len(other_wire.written)) == (5, 1)
        await asyncio.sleep(5)
        assert len(wire.written) == 5

    on_a_fake_clock(work())


def test_a_receiver_never_sees_more_than_50_in_a_second_from_a_whole_pool() -> None:
    """Handshakes and ib_async's start-up requests included, over real sockets."""

    async def work(proxy: CountingProxy) -> None:
        async with Pool("127.0.0.1", proxy.port, range(100, 108), size=8) as pool:
            all_borrowed = asyncio.Barrier(8)

            async def load() -> None:
                async with pool.connection() as ib:
                    await all_borrowed.wait()
                    await asyncio.gather(*(ib.reqContractDetailsAsync(contract) for contract in [SPY] * 20))

            await asyncio.gather(*(load() for _ in range(8)))

    with simulated_gateway() as gateway, CountingProxy(("127.0.0.1", gateway.api_port)) as proxy:
        asyncio.run(work(proxy))
        # Eight connections: a handshake, startApi, and ib_async's six requests for positions, open and completed
        # orders, account updates (two kinds) and executions (ib_async/ib.py, connectAsync); then 20 each.
        assert len(proxy.arrivals) == 8 * (8 + 20)
        assert most_in_a_second(proxy.arrivals) <= 50
