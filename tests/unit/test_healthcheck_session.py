"""One API connection: client ids, disconnect, and what never leaves it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from deployment.description import QuoteContract
from healthcheck.api_client import DataType, Inbox
from healthcheck.session import Session, SessionFailure, Timeouts
from healthcheck.write_filter import TradingRefused
from tests.helpers import until
from tests.unit.tws_server import Script, TwsServer, serving, silent

SPY = QuoteContract(symbol="SPY", sec_type="STK", exchange="SMART", currency="USD")


def session(server: TwsServer, ids: range = range(999, 996, -1), what_if: bool = True) -> Session:
    return Session("127.0.0.1", server.port, ids, what_if=what_if)


def test_the_next_lower_client_id_is_tried_when_one_is_taken() -> None:
    async def run(server: TwsServer) -> int | None:
        async with session(server) as one:
            await one.open()
            assert await one.ready()
            return one.client_id

    with serving(Script(taken={999, 998})) as server:
        assert asyncio.run(run(server)) == 997
        assert [message[2] for message in server.messages if message[0] == "71"] == ["999", "998", "997"]
        until(lambda: server.open_connections == 0, "all three connections are closed")


def test_when_all_are_taken_it_says_so() -> None:
    async def run(server: TwsServer) -> None:
        async with session(server) as one:
            await one.open()

    with serving(Script(taken={999, 998, 997})) as server:
        with pytest.raises(SessionFailure, match="326 for each of the client ids 999 to 997") as failure:
            asyncio.run(run(server))
        assert failure.value.reason == "client_id_in_use"


def test_leaving_always_disconnects_cleanly() -> None:
    async def run(server: TwsServer) -> None:
        async with session(server) as one:
            await one.open()
            await one.server_time()  # its answer comes last, so nothing is on its way when we leave
            raise LookupError

    with serving() as server:
        with pytest.raises(LookupError):
            asyncio.run(run(server))
        until(lambda: server.ended_cleanly == [True], "the server sees the end of the stream, not a reset")


def test_a_cancelled_session_disconnects_too() -> None:
    async def run(server: TwsServer) -> None:
        async def verify() -> None:
            async with session(server) as one:
                await one.open()
                await asyncio.sleep(60)

        task = asyncio.ensure_future(verify())
        while not server.messages:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with serving() as server:
        asyncio.run(run(server))
        until(lambda: server.open_connections == 0, "the connection is closed")


@pytest.mark.parametrize("steps", range(4))
def test_a_cancellation_that_arrives_together_with_an_answer_is_not_lost(steps: int) -> None:
    """At whichever step of the loop after the answer it comes."""

    async def run() -> None:
        inbox = Inbox()
        waiting = asyncio.create_task(inbox.wait_until(lambda: inbox.next_id is not None, 60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        inbox.nextValidId(1)
        for _ in range(steps):
            await asyncio.sleep(0)
        if waiting.cancel():
            await asyncio.wait([waiting])
            assert waiting.cancelled()

    asyncio.run(run())


def test_a_wedged_gateway_holds_no_connection_of_ours_afterwards() -> None:
    async def run(server: TwsServer) -> None:
        async with Session("127.0.0.1", server.port, [999], what_if=False, timeouts=Timeouts(handshake=0.2)) as one:
            await one.open()

    with serving(talk=silent) as server:
        for _ in range(3):
            with pytest.raises(SessionFailure, match="did not answer the handshake"):
                asyncio.run(run(server))
            until(lambda: server.open_connections == 0, "no half-open connection is left")


def test_where_the_check_is_off_an_order_never_leaves() -> None:
    """Decision 13: on live, with orders off, nothing at all that could trade; the bytes are the server's record."""

    async def run(server: TwsServer) -> None:
        async with session(server, what_if=False) as one:
            await one.open()
            assert await one.ready()
            with pytest.raises(TradingRefused, match="off"):
                await one.what_if(SPY, "U1234567", 1.0)
            await one.server_time()

    with serving(Script(accounts=["U1234567"])) as server:
        asyncio.run(run(server))
        assert [message[0] for message in server.messages] == ["71", "49"]


def test_an_order_without_the_flag_never_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the code above the socket does: here the order loses its flag on the way."""
    from ib_async import order

    class Forgetful(order.LimitOrder):
        def __init__(self, *args: object, **fields: object) -> None:
            super().__init__(*args, **(fields | {"whatIf": False}))  # type: ignore[arg-type]

    monkeypatch.setattr("healthcheck.session.LimitOrder", Forgetful)

    async def run(server: TwsServer) -> None:
        async with session(server) as one:
            await one.open()
            assert await one.ready()
            with pytest.raises(TradingRefused, match="what-if"):
                await one.what_if(SPY, "DU1234567", 1.0)
            await one.server_time()

    with serving() as server:
        asyncio.run(run(server))
        assert server.orders == []


REQUESTS: dict[str, Callable[[Session], Awaitable[object]]] = {
    "time": lambda one: one.server_time(),
    "summary": lambda one: one.account_summary(["NetLiquidation"]),
    "one account": lambda one: one.account_values("DU1234567"),
    "one account by the older request": lambda one: one.account_updates("DU1234567"),
    "details": lambda one: one.contract_details(SPY),
    "quote": lambda one: one.quote(SPY, DataType.LIVE, timeout=1),
    "what-if": lambda one: one.what_if(SPY, "DU1234567", 1.0),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_a_request_on_a_closed_connection_says_that_it_is_closed(
    request_: Callable[[Session], Awaitable[object]],
) -> None:
    """A server that closes right after its accounts and next id: a bare ConnectionError ended the verifier."""

    async def run(server: TwsServer) -> None:
        async with session(server) as one:
            await one.open()
            assert await one.ready()
            with pytest.raises(SessionFailure):
                await one.server_time()  # which the server answers by closing
            await request_(one)

    with serving(Script(drop_on="49")) as server:
        with pytest.raises(SessionFailure, match="closed the connection") as failure:
            asyncio.run(run(server))
        assert failure.value.reason == "connection_dropped"
