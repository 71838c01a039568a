"""The pool of connections, against the simulated gateway's API server."""

import asyncio
import errno
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ib_async import IB, Stock

from client import ConnectionLost, NoConnection, Pool
from client import pool as pool_module
from tests.helpers import until
from tests.unit.counting_proxy import CountingProxy
from tests.unit.simulated_gateway import SimulatedGateway, simulated_gateway

ROOT = Path(__file__).resolve().parents[2]
SPY = Stock("SPY", "SMART", "USD", conId=756733)
SECONDS = 30  # for what must happen soon


@pytest.fixture(scope="module")
def shared() -> Iterator[SimulatedGateway]:
    with simulated_gateway() as running:
        yield running


@pytest.fixture
def gateway(shared: SimulatedGateway) -> Iterator[SimulatedGateway]:
    yield shared
    shared.control.clear()
    until(lambda: session_of(shared) == "normal")
    until(lambda: connected_ids(shared) == [])


def session_of(gateway: SimulatedGateway) -> str:
    assert gateway.session is not None
    return gateway.session.state.api


def scenario(gateway: SimulatedGateway, name: str, api: str) -> None:
    """Sets the broker's scenario and waits until the gateway's API behaves so."""
    gateway.control.scenario(name)
    until(lambda: session_of(gateway) == api)


def connected_ids(gateway: SimulatedGateway) -> list[int]:
    assert gateway.server is not None
    return sorted(client.client_id for client in gateway.server.clients if client.client_id is not None)


def stop(gateway: SimulatedGateway) -> None:
    assert gateway.server is not None
    gateway.run(gateway.server.stop())


def start(gateway: SimulatedGateway) -> None:
    assert gateway.server is not None
    gateway.run(gateway.server.start("127.0.0.1", gateway.api_port))


def notice(gateway: SimulatedGateway, code: int, text: str) -> None:
    async def tell() -> None:
        assert gateway.server is not None
        gateway.server.notice(code, text)

    gateway.run(tell())


def pool_of(gateway: SimulatedGateway, size: int, ids: range = range(100, 110)) -> Pool:
    return Pool("127.0.0.1", gateway.api_port, ids, size=size)


async def fill(pool: Pool, size: int) -> list[IB]:
    """All connections of a pool, borrowed at once and given back."""
    found: list[IB] = []
    all_borrowed = asyncio.Barrier(size)

    async def borrow() -> None:
        async with pool.connection(SECONDS) as ib:
            found.append(ib)
            await all_borrowed.wait()

    await asyncio.gather(*(borrow() for _ in range(size)))
    return found


def test_each_connection_has_an_id_of_its_own_and_closing_disconnects_all(gateway: SimulatedGateway) -> None:
    async def work() -> None:
        async with pool_of(gateway, 3) as pool:
            assert sorted(ib.client.clientId for ib in await fill(pool, 3)) == [100, 101, 102]
            assert connected_ids(gateway) == [100, 101, 102]
            async with pool.connection() as ib:
                # The simulated broker's user of these tests.
                assert ib.managedAccounts() == ["DU1111111"]

    asyncio.run(work())
    until(lambda: connected_ids(gateway) == [])


def test_a_connection_is_used_again_when_its_borrower_left_in_peace(gateway: SimulatedGateway) -> None:
    async def work() -> None:
        async with pool_of(gateway, 1) as pool:
            async with pool.connection() as first:
                await first.reqCurrentTimeAsync()
            async with pool.connection() as second:
                assert second is first

    asyncio.run(work())


def test_an_id_that_somebody_else_uses_is_passed_over(gateway: SimulatedGateway) -> None:
    async def work() -> None:
        other = IB()
        await other.connectAsync("127.0.0.1", gateway.api_port, clientId=100)
        try:
            async with pool_of(gateway, 2) as pool:
                assert sorted(ib.client.clientId for ib in await fill(pool, 2)) == [101, 102]
                assert other.isConnected()
        finally:
            other.disconnect()

    asyncio.run(work())


def test_when_all_ids_are_taken_it_says_so_and_takes_the_first_that_comes_free(gateway: SimulatedGateway) -> None:
    async def work() -> None:
        others = [IB(), IB()]
        for client_id, other in enumerate(others, 100):
            await other.connectAsync("127.0.0.1", gateway.api_port, clientId=client_id)
        try:
            async with pool_of(gateway, 1, range(100, 102)) as pool:
                # TWS API reference, Message Codes.
                refused = r"1 not connected \(not yet\); connecting fails: 326 .*client id is already in use"
                with pytest.raises(NoConnection, match=refused):
                    async with pool.connection(timeout=1.0):
                        pass
                others[1].disconnect()
                async with pool.connection(SECONDS) as ib:
                    assert ib.client.clientId == 101
        finally:
            for other in others:
                other.disconnect()

    asyncio.run(work())


def test_after_a_restart_of_the_gateway_all_are_back_under_their_ids(
    gateway: SimulatedGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """Borrowers hear of it, one that waits for an answer as well as one that asks afterwards; twice in a row."""

    async def work() -> None:
        async with pool_of(gateway, 3) as pool:
            before = await fill(pool, 3)
            for _ in range(2):
                waiting, borrowed = asyncio.Event(), asyncio.Event()

                async def wait_for_an_answer(waiting: asyncio.Event = waiting) -> None:
                    async with pool.connection(SECONDS) as ib:
                        scenario(gateway, "api-wedged", "wedged")
                        answer = ib.reqCurrentTimeAsync()
                        waiting.set()
                        await answer

                async def ask_too_late(borrowed: asyncio.Event = borrowed) -> None:
                    async with pool.connection(SECONDS) as ib:
                        borrowed.set()
                        await until_disconnected(ib)
                        await ib.reqCurrentTimeAsync()

                lost = [asyncio.create_task(ask_too_late()), asyncio.create_task(wait_for_an_answer())]
                await borrowed.wait()
                await waiting.wait()
                stop(gateway)
                for error in await asyncio.gather(*lost, return_exceptions=True):
                    assert isinstance(error, ConnectionLost)
                    assert "was lost while it was borrowed" in str(error)
                for ib in before:
                    await until_disconnected(ib)
                # What ended them stays the reason, whatever comes of the attempts to connect again.
                closed = "3 not connected (the gateway closed the connection)"
                assert closed in await until_refused(pool, "no connection")
                assert closed in await until_refused(pool, "; connecting fails: [Errno 111] Connect call failed")
                scenario(gateway, "normal", "normal")
                start(gateway)
                after = await fill(pool, 3)
                assert sorted(ib.client.clientId for ib in after) == [100, 101, 102]
                assert connected_ids(gateway) == [100, 101, 102]
                assert not set(after) & set(before)
                before = after

    asyncio.run(work())
    assert "326" not in caplog.text


def reset(gateway: SimulatedGateway) -> None:
    """Ends the connections as a host does that has thrown them away."""

    async def reset_all() -> None:
        assert gateway.server is not None
        for client in gateway.server.clients:
            linger = struct.pack("ii", 1, 0)
            client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.writer.transport.abort()

    gateway.run(reset_all())


@pytest.mark.parametrize("end", [stop, reset])
def test_a_close_is_a_close_however_it_arrives(
    gateway: SimulatedGateway, end: Callable[[SimulatedGateway], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        async with pool_of(gateway, 1) as pool:
            [ib] = await fill(pool, 1)
            end(gateway)
            await until_disconnected(ib)
            assert [record.message for record in caplog.records if "disconnected:" in record.message] == [
                "client id 100: disconnected: the gateway closed the connection"
            ]

    asyncio.run(work())
    if end is stop:
        start(gateway)


def test_a_broken_network_is_no_close(gateway: SimulatedGateway, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with pool_of(gateway, 1) as pool:
            [ib] = await fill(pool, 1)
            connection: Any = ib.client.conn
            transport = connection.transport
            connection.connection_lost(TimeoutError(errno.ETIMEDOUT, "Connection timed out"))
            transport.abort()
            assert "client id 100: disconnected: [Errno 110] Connection timed out" in caplog.text

    asyncio.run(work())


async def until_refused(pool: Pool, words: str) -> str:
    """Borrows until that is refused with these words; returns the refusal."""
    deadline, said = time.monotonic() + SECONDS, "nothing was refused"
    while words not in said:
        assert time.monotonic() < deadline, said
        try:
            async with pool.connection(timeout=0.05):
                pass
        except NoConnection as refusal:
            said = str(refusal)
    return said


async def until_disconnected(ib: IB) -> None:
    deadline = time.monotonic() + SECONDS
    while ib.isConnected():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def test_a_gateway_that_is_not_there_yet_is_waited_for(gateway: SimulatedGateway) -> None:
    async def work() -> None:
        async with pool_of(gateway, 1) as pool:
            refused = "free within 0.05 s: 1 not connected (not yet); connecting fails: [Errno 111] Connect call failed"
            assert refused in await until_refused(pool, "fails")
            start(gateway)
            async with pool.connection(SECONDS) as ib:
                assert ib.isConnected()

    stop(gateway)
    asyncio.run(work())


# 1100, 1101, 1102 and 2110: TWS API reference, Message Codes.
@pytest.mark.parametrize(("lost", "restored"), [(1100, 1102), (2110, 1101)])
def test_none_is_lent_while_the_gateway_is_cut_off_from_ibkr(
    gateway: SimulatedGateway, lost: int, restored: int
) -> None:
    async def work() -> None:
        async with pool_of(gateway, 1) as pool:
            async with pool.connection() as ib:
                notice(gateway, lost, "Connectivity has been lost.")
                await ib.reqCurrentTimeAsync()  # answers come in order: the notice has been read
            with pytest.raises(NoConnection, match=f"1 cut off from IBKR .{lost} Connectivity has been lost"):
                async with pool.connection(timeout=0.2):
                    pass

            async def borrow() -> IB:
                async with pool.connection(SECONDS) as again:
                    return again

            borrowing = asyncio.create_task(borrow())
            notice(gateway, restored, "Connectivity has been restored.")
            assert await borrowing is ib

    asyncio.run(work())


def test_one_that_connects_to_a_gateway_that_is_cut_off_is_not_lent(gateway: SimulatedGateway) -> None:
    async def work() -> None:
        async with pool_of(gateway, 1) as pool:
            await until_refused(pool, ": 1 cut off from IBKR (2110")
            gateway.control.scenario("connectivity-restored")
            async with pool.connection(SECONDS) as ib:
                await ib.reqCurrentTimeAsync()

    gateway.control.scenario("connectivity-lost")
    assert gateway.session is not None
    session = gateway.session
    until(lambda: not session.state.connected)
    asyncio.run(work())


def test_exhaustion_says_how_many_are_lent(gateway: SimulatedGateway) -> None:
    async def work() -> None:
        async with pool_of(gateway, 2) as pool, pool.connection(), pool.connection():
            with pytest.raises(NoConnection, match=r"127.0.0.1:\d+ was free within 0.1 s: 2 lent$"):
                async with pool.connection(timeout=0.1):
                    pass

    asyncio.run(work())


def test_borrowers_come_in_the_order_in_which_they_asked(gateway: SimulatedGateway) -> None:
    """Not even one that asks again at once gets ahead; and one that gave up takes nobody's place."""

    async def work() -> None:
        order: list[int] = []

        async def borrow(number: int) -> None:
            async with pool.connection(SECONDS):
                order.append(number)
                await asyncio.sleep(0)

        async with pool_of(gateway, 1) as pool:
            async with pool.connection():
                waiting = [asyncio.create_task(borrow(number)) for number in range(4)]
                await asyncio.sleep(0)
                waiting[1].cancel()
            await borrow(4)
            await asyncio.gather(*waiting, return_exceptions=True)
        assert order == [0, 2, 3, 4]

    asyncio.run(work())


def test_one_that_is_cancelled_as_it_is_served_loses_nothing(gateway: SimulatedGateway) -> None:
    async def work() -> None:
        async with pool_of(gateway, 1) as pool:

            async def borrow() -> None:
                async with pool.connection(SECONDS):
                    raise AssertionError

            async with pool.connection() as ib:
                waiting = asyncio.create_task(borrow())
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            async with pool.connection(SECONDS) as again:
                assert again is ib

    asyncio.run(work())


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_what_a_dead_borrower_left_open_is_gone_for_the_next(gateway: SimulatedGateway, how: str) -> None:
    async def work() -> None:
        async with pool_of(gateway, 1) as pool:
            subscribed = asyncio.Event()
            dead: list[IB] = []

            async def die() -> None:
                async with pool.connection() as ib:
                    dead.append(ib)
                    ib.reqMktData(SPY)
                    await ib.reqCurrentTimeAsync()
                    subscribed.set()
                    if how == "failed":
                        raise LookupError
                    await asyncio.sleep(SECONDS)

            dying = asyncio.create_task(die())
            await subscribed.wait()
            dying.cancel()
            with pytest.raises((asyncio.CancelledError, LookupError)):
                await dying
            async with pool.connection(SECONDS) as ib:
                assert ib.tickers() == []
                assert ib not in dead
                assert not dead[0].isConnected()
                assert connected_ids(gateway) == [ib.client.clientId]

    asyncio.run(work())


def test_a_wedged_gateway_is_found_out_while_nobody_borrows(
    gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pool_module, "IDLE_CHECK", 0.05)
    monkeypatch.setattr(pool_module, "ANSWER", 0.2)
    monkeypatch.setattr(pool_module, "CONNECT", 0.5)

    async def work() -> None:
        async with pool_of(gateway, 2) as pool:
            await fill(pool, 2)
            scenario(gateway, "api-wedged", "wedged")
            # Not by borrowing: what is lent is not asked.
            deadline = time.monotonic() + SECONDS
            while caplog.text.count("disconnected: no answer within 0.2 s") < 2:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)
            refusal = await until_refused(pool, "connecting fails")
            assert refusal.endswith(
                "2 not connected (no answer within 0.2 s); connecting fails: no answer within 0.5 s"
            )
            scenario(gateway, "normal", "normal")
            await fill(pool, 2)

    asyncio.run(work())


def test_closing_sends_what_waits_and_tells_who_still_borrows(gateway: SimulatedGateway) -> None:
    async def work(proxy: CountingProxy) -> None:
        async with Pool("127.0.0.1", proxy.port, range(100, 110), size=2) as pool:
            before = len(await fill(pool, 2)) and len(proxy.arrivals)
            borrowed = asyncio.Event()

            async def hold_on() -> None:
                async with pool.connection() as ib:
                    borrowed.set()
                    while True:
                        await ib.reqCurrentTimeAsync()

            holding = asyncio.create_task(hold_on())
            await borrowed.wait()
            async with pool.connection() as ib:
                for _ in range(20):
                    ib.reqMarketDataType(1)
        with pytest.raises(ConnectionLost):
            await holding
        assert len(proxy.arrivals) - before >= 20
        with pytest.raises(RuntimeError, match="the pool is not open"):
            async with pool.connection():
                pass

    with CountingProxy(("127.0.0.1", gateway.api_port)) as proxy:
        asyncio.run(work(proxy))


def test_the_environment_of_a_bot_describes_the_pool(gateway: SimulatedGateway) -> None:
    # As `ibgw env` prints it (docs/clients.md).
    environ = {
        "IBGW_HOST": "127.0.0.1",
        "IBGW_PORT": str(gateway.api_port),
        "IBGW_READ_ONLY": "false",
        "IBGW_CLIENT_ID_MIN": "198",
        "IBGW_CLIENT_ID_MAX": "199",
    }

    async def work() -> None:
        async with Pool.from_environment(environ, size=2) as pool:
            assert sorted(ib.client.clientId for ib in await fill(pool, 2)) == [198, 199]

    asyncio.run(work())
    for name in environ:
        with pytest.raises(ValueError, match=f"{name}' is not in the environment; `ibgw env` prints it"):
            Pool.from_environment({key: value for key, value in environ.items() if key != name})
    with pytest.raises(ValueError, match="3 connections need as many client ids, and there are 2"):
        Pool.from_environment(environ, size=3)


def test_the_example_runs_and_the_readme_shows_it(gateway: SimulatedGateway) -> None:
    example = ROOT / "docs" / "examples" / "pool.py"
    [shown] = re.findall(r"```python\n(async def .*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL)
    assert example.read_text().endswith(shown)
    environ = {
        "PYTHONPATH": str(ROOT),
        "IBGW_HOST": "127.0.0.1",
        "IBGW_PORT": str(gateway.api_port),
        "IBGW_READ_ONLY": "false",
        "IBGW_CLIENT_ID_MIN": "100",
        "IBGW_CLIENT_ID_MAX": "199",
    }
    done = subprocess.run([sys.executable, example], env=environ, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    assert sorted(line.split(":")[0] for line in done.stdout.splitlines()) == ["AAPL", "QQQ", "SPY"]
    assert all(float(line.split(":")[1]) > 0 for line in done.stdout.splitlines())
