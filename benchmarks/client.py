"""How much the client library gets through to a gateway, against ib_async's own throttle.

Run: `python -m benchmarks.client [--seconds 10] [--rounds 3]`; it needs no sandbox. Each contender asks for the time as
often as it may; the messages are counted where they arrive, at a proxy before a simulated gateway, by the kernel's
time. The rounds take turns, and the ratio of medians counts.
"""

import argparse
import asyncio
import logging
import statistics
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from ib_async import IB

from benchmarks.console import say
from client import Pool
from tests.unit.counting_proxy import CountingProxy, most_in_a_second
from tests.unit.simulated_gateway import simulated_gateway

SIZE = 5  # the guide's pool
GATEWAY_MAXIMUM = 50

Contender = Callable[[int], AbstractAsyncContextManager[list[IB]]]


@asynccontextmanager
async def pool(port: int) -> AsyncIterator[list[IB]]:
    async with Pool("127.0.0.1", port, range(100, 200), size=SIZE) as made, AsyncExitStack() as borrowed:
        yield [await borrowed.enter_async_context(made.connection()) for _ in range(SIZE)]


@asynccontextmanager
async def ib_async(port: int, size: int = 1) -> AsyncIterator[list[IB]]:
    clients = [IB() for _ in range(size)]
    for client_id, ib in enumerate(clients, 100):
        await ib.connectAsync("127.0.0.1", port, clientId=client_id)
    yield clients
    for ib in clients:
        ib.disconnect()


def ib_async_times_five(port: int) -> AbstractAsyncContextManager[list[IB]]:
    return ib_async(port, SIZE)


CONTENDERS: dict[str, Contender] = {
    f"client.Pool, {SIZE} connections": pool,
    "ib_async, 1 connection": ib_async,
    f"ib_async, {SIZE} connections": ib_async_times_five,
}


async def measure(contender: Contender, proxy: CountingProxy, seconds: float) -> tuple[float, int]:
    """Messages a second while there is always more to send, and the most that arrived within one second."""
    async with contender(proxy.port) as clients:
        await asyncio.sleep(1.1)  # the start-up messages are out of every window
        proxy.arrivals.clear()
        for _ in range(int((seconds + 2) * GATEWAY_MAXIMUM)):
            for ib in clients:
                ib.client.reqCurrentTime()  # type: ignore[no-untyped-call]
        await asyncio.sleep(seconds + 1.2)
        arrivals = sorted(proxy.arrivals)
    begin = arrivals[0] + 1.0  # what leaves at once in the beginning is no rate
    return sum(begin <= at < begin + seconds for at in arrivals) / seconds, most_in_a_second(arrivals)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    logging.getLogger("client").setLevel(logging.ERROR)  # each round closes with messages unsent
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in CONTENDERS}
    for _ in range(arguments.rounds):
        for name, contender in CONTENDERS.items():
            with simulated_gateway() as gateway, CountingProxy(("127.0.0.1", gateway.api_port)) as proxy:
                found[name].append(asyncio.run(measure(contender, proxy, arguments.seconds)))
    medians = {name: statistics.median(rate for rate, _ in results) for name, results in found.items()}
    for name, results in found.items():
        say(f"{name}: {medians[name]:.2f} messages a second, at most {max(most for _, most in results)} in one second")
    ours, theirs, _ = medians.values()
    say(f"ratio of a pool to one throttled connection: {ours / theirs:.3f}")


if __name__ == "__main__":
    main()
