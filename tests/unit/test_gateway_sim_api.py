"""The API as ib_async speaks it: what each request is answered, and what each scenario of the broker changes.

Codes and texts are those of the TWS API reference (Message Codes); tick types of its table Available Tick Types.
"""

import asyncio
import logging
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import ib_async
import pytest
from ib_async import LimitOrder, MarketOrder, Stock

from sandbox.gateway.program import GatewaySession
from tests.unit.gateway_sim_world import World, world


def spy() -> Stock:
    """With the conId that IBKR publishes for it: ib_async keeps tickers by conId."""
    return Stock("SPY", "SMART", "USD", conId=756733)


class Recorder:
    """A connected ib_async client that keeps every error and notice it is told."""

    def __init__(self) -> None:
        self.ib = ib_async.IB()
        self.told: list[tuple[int, int, str]] = []
        self.ib.errorEvent += lambda id_, code, text, contract: self.told.append((id_, code, text))

    @property
    def codes(self) -> list[int]:
        return [code for _, code, _ in self.told]

    async def until(self, condition: Callable[[], object], seconds: float = 5.0) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, f"still not so; told {self.told}"
            await asyncio.sleep(0.02)


def as_client(
    place: World, work: Callable[[Recorder], Awaitable[None]], *, client_id: int = 7, readonly: bool = False
) -> Recorder:
    """Runs `work` with a client that went through ib_async's whole start-up synchronisation."""
    recorder = Recorder()

    async def main() -> None:
        await recorder.ib.connectAsync("127.0.0.1", place.api_port, clientId=client_id, readonly=readonly, timeout=3)
        try:
            await work(recorder)
        finally:
            recorder.ib.disconnect()

    asyncio.run(main())
    return recorder


async def nothing(recorder: Recorder) -> None:
    pass


def test_full_synchronisation_has_no_timeout(caplog: pytest.LogCaptureFixture) -> None:
    with world() as place, caplog.at_level(logging.INFO, logger="ib_async"):
        recorder = as_client(place, nothing)
    assert "Synchronization complete" in caplog.text
    assert "timed out" not in caplog.text
    assert recorder.told == [
        (-1, 2104, "Market data farm connection is OK:usfarm"),
        (-1, 2106, "HMDS data farm connection is OK:ushmds"),
        (-1, 2158, "Sec-def data farm connection is OK:secdefil"),
    ]


def test_synchronisation_with_a_read_only_gateway_needs_readonly(caplog: pytest.LogCaptureFixture) -> None:
    """Without it, its requests for orders are refused with 321 and time out (gnzsnz #267)."""

    async def work(recorder: Recorder) -> None:
        await recorder.ib.connectAsync("127.0.0.1", place.api_port, clientId=7, timeout=0.5)
        assert recorder.codes.count(321) == 2
        recorder.ib.disconnect()

    with world(ReadOnlyApi="yes") as place, caplog.at_level(logging.INFO, logger="ib_async"):
        asyncio.run(work(Recorder()))
        timed_out = [record.message for record in caplog.records if "timed out" in record.message]
        assert timed_out == ["open orders request timed out", "completed orders request timed out"]
        caplog.clear()
        as_client(place, nothing, readonly=True)
        assert "Synchronization complete" in caplog.text
        assert "timed out" not in caplog.text


def test_session_requests() -> None:
    async def work(recorder: Recorder) -> None:
        ib = recorder.ib
        assert ib.client.serverVersion() == 178
        assert ib.managedAccounts() == ["DU1111111"]
        assert (await ib.reqCurrentTimeAsync()).year >= 2026
        summary = {value.tag: value for value in await ib.accountSummaryAsync()}
        assert float(summary["NetLiquidation"].value) == 1_000_000
        assert summary["NetLiquidation"].currency == "USD"
        assert summary["AccountType"].value == "INDIVIDUAL"
        assert {value.tag for value in ib.accountValues()} >= {"AvailableFunds", "BuyingPower", "MaintMarginReq"}

    with world() as place:
        as_client(place, work)


def test_live_mode_sees_live_accounts() -> None:
    async def work(recorder: Recorder) -> None:
        assert recorder.ib.managedAccounts() == ["U1111111"]

    with world(TradingMode="live") as place:
        as_client(place, work)


def test_contract_details_and_unknown_contract() -> None:
    async def work(recorder: Recorder) -> None:
        (details,) = await recorder.ib.reqContractDetailsAsync(spy())
        assert details.contract is not None
        assert (details.contract.conId, details.contract.primaryExchange) == (756733, "ARCA")
        assert (details.minTick, details.stockType, details.timeZoneId) == (0.01, "COMMON", "US/Eastern")
        assert details.liquidHours.count(";") == 5
        assert await recorder.ib.reqContractDetailsAsync(Stock("NOSUCH9", "SMART", "USD")) == []
        assert recorder.told[-1][1:] == (200, "No security definition has been found for the request")

    with world() as place:
        as_client(place, work)


def test_streaming_and_snapshot_quotes() -> None:
    async def work(recorder: Recorder) -> None:
        ticker = recorder.ib.reqMktData(spy())
        await recorder.until(lambda: ticker.bid > 0 and ticker.last > 0)
        assert ticker.bid < ticker.ask
        assert 500 < ticker.last < 700
        assert ticker.marketDataType == 1
        assert ticker.bidSize > 0
        assert ticker.volume > 0
        recorder.ib.cancelMktData(spy())
        (snapshot,) = await recorder.ib.reqTickersAsync(Stock("IBM", "SMART", "USD", conId=8314))
        assert snapshot.bid > 0

    with world() as place:
        as_client(place, work)


def test_historical_bars() -> None:
    async def work(recorder: Recorder) -> None:
        evening = datetime(2026, 11, 20, 22, tzinfo=UTC)
        bars = await recorder.ib.reqHistoricalDataAsync(
            spy(), evening, "1 D", "1 hour", "TRADES", useRTH=True, formatDate=2
        )
        assert len(bars) == 7  # 09:30 to 10:00, and the six hours until 16:00
        assert all(bar.low <= bar.open <= bar.high for bar in bars)
        # ib_async takes error 321 for a warning, and would wait for its whole timeout.
        bad = await recorder.ib.reqHistoricalDataAsync(
            spy(), "", "1 D", "5 fortnights", "TRADES", useRTH=True, timeout=0.3
        )
        assert list(bad) == []
        assert recorder.codes[-1] == 321

    with world() as place:
        as_client(place, work)


def test_what_if_order_places_nothing() -> None:
    async def work(recorder: Recorder) -> None:
        state = await recorder.ib.whatIfOrderAsync(spy(), LimitOrder("BUY", 10, 300.0))
        # Reg T: half of 10 x 300 initially, a quarter to maintain; IBKR's minimum commission is one dollar.
        assert (state.initMarginChange, state.maintMarginChange) == ("1500.00", "750.00")
        assert state.equityWithLoanBefore == "1000000.00"
        assert (state.commission, state.commissionCurrency) == (1.0, "USD")
        assert recorder.ib.openTrades() == []

    with world() as place:
        as_client(place, work)
        status = place.control.status()["users"]["trader"]
    assert (status["what_ifs"], status["orders"]) == (1, 0)


def test_real_order_is_counted_filled_and_remembered() -> None:
    async def work(recorder: Recorder) -> None:
        trade = recorder.ib.placeOrder(spy(), MarketOrder("BUY", 10))
        await recorder.until(lambda: trade.orderStatus.status == "Filled" and trade.fills)
        assert (trade.fills[0].execution.side, trade.fills[0].execution.shares) == ("BOT", 10)
        waiting = recorder.ib.placeOrder(spy(), LimitOrder("BUY", 5, 100.0))
        await recorder.until(lambda: waiting.orderStatus.status == "Submitted")
        recorder.ib.cancelOrder(waiting.order)
        await recorder.until(lambda: waiting.orderStatus.status == "Cancelled")

    async def later(recorder: Recorder) -> None:
        (position,) = recorder.ib.positions()
        assert (position.contract.symbol, position.position) == ("SPY", 10)
        assert [fill.execution.shares for fill in recorder.ib.fills()] == [10]
        completed = await recorder.ib.reqCompletedOrdersAsync(False)
        assert sorted(trade.orderStatus.status for trade in completed) == ["Cancelled", "Filled"]
        assert recorder.ib.client.getReqId() > 2

    with world() as place:
        as_client(place, work)
        as_client(place, later)
        assert place.control.status()["users"]["trader"]["orders"] == 2


def test_master_client_hears_of_other_clients_orders() -> None:
    master = Recorder()

    async def work(recorder: Recorder) -> None:
        await master.ib.connectAsync("127.0.0.1", recorder.ib.client.port, clientId=50, timeout=3)
        recorder.ib.placeOrder(spy(), LimitOrder("BUY", 5, 100.0))
        await master.until(lambda: master.ib.openTrades())
        master.ib.disconnect()

    with world(OverrideTwsMasterClientID="50") as place:
        as_client(place, work)


def test_client_id_in_use_is_refused_and_freed_by_a_clean_disconnect() -> None:
    second = Recorder()

    async def work(recorder: Recorder) -> None:
        with pytest.raises((ConnectionError, asyncio.TimeoutError)):
            await second.ib.connectAsync("127.0.0.1", recorder.ib.client.port, clientId=7, timeout=1)

    async def once_free(recorder: Recorder) -> None:
        assert recorder.ib.client.clientId == 7
        assert "remove Client 7" in place.log

    with world() as place:
        as_client(place, work)
        as_client(place, once_free)
    assert (
        -1,
        326,
        "Unable to connect as the client id is already in use. Retry with a unique client id.",
    ) in second.told


def test_unsupported_requests_are_answered_and_logged_by_name() -> None:
    async def work(recorder: Recorder) -> None:
        assert await recorder.ib.reqHistogramDataAsync(spy(), True, "1 day") in (None, [])
        assert recorder.told[-1][1:] == (505, "Fatal Error: Unknown message id.")
        assert recorder.told[-1][0] > 0
        recorder.ib.client.sendMsg("4711\x001\x00")
        await recorder.until(lambda: recorder.told[-1][0] == -1 and recorder.told[-1][1] == 505)

    with world() as place:
        as_client(place, work)
        assert "API client 7: reqHistogramData is not implemented" in place.log
        assert "API client 7: message 4711 is not implemented" in place.log


def test_read_only_gateway_refuses_orders_but_not_data() -> None:
    async def work(recorder: Recorder) -> None:
        recorder.ib.placeOrder(spy(), MarketOrder("BUY", 1))
        await recorder.until(lambda: 321 in recorder.codes)
        assert "The API interface is currently in Read-Only mode." in recorder.told[-1][2]
        assert len(await recorder.ib.reqContractDetailsAsync(spy())) == 1

    with world(ReadOnlyApi="yes") as place:
        as_client(place, work, readonly=True)
        assert place.control.status()["users"]["trader"]["orders"] == 0


# Scenarios: name, and what a client then sees.


async def _accounts(recorder: Recorder) -> Any:
    return recorder.ib.managedAccounts()


async def _net_liquidation(recorder: Recorder) -> Any:
    return [value.value for value in await recorder.ib.accountSummaryAsync() if value.tag == "NetLiquidation"]


async def _what_if(recorder: Recorder) -> Any:
    """The change of the initial margin, or None. ib_async waits for ever when there are no figures, and on error 321,
    which it takes for a warning."""
    try:
        state = await asyncio.wait_for(recorder.ib.whatIfOrderAsync(spy(), LimitOrder("BUY", 1, 300.0)), 0.5)
    except TimeoutError:
        return None
    return float(state.initMarginChange) if state else None


async def _quote(recorder: Recorder, kind: int, wait: float = 0.4) -> Any:
    """Whether ticks came, and of which market data type, when asking for type `kind`."""
    recorder.ib.reqMarketDataType(kind)
    ticker = recorder.ib.reqMktData(spy())
    deadline = time.monotonic() + wait
    while not ticker.bid > 0 and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    seen = ticker.bid > 0, ticker.marketDataType
    recorder.ib.cancelMktData(spy())
    return seen


async def _live(recorder: Recorder) -> Any:
    return await _quote(recorder, 1)


async def _frozen(recorder: Recorder) -> Any:
    return await _quote(recorder, 2)


async def _delayed(recorder: Recorder) -> Any:
    return await _quote(recorder, 3)


GREEN = [
    (_accounts, ["DU1111111"]),
    (_net_liquidation, ["1000000.00"]),
    (_live, (True, 1)),
    (_what_if, 150.0),
]


@pytest.mark.parametrize(
    ("scenario", "look", "seen", "code"),
    [
        ("account-kind-swapped", _accounts, ["U1111111"], None),
        ("summary-empty", _net_liquidation, [], None),
        ("summary-insane", _net_liquidation, ["-1.00"], None),
        ("no-entitlement", _live, (False, 1), 354),
        ("no-entitlement", _delayed, (False, 1), 354),
        ("delayed-only", _live, (False, 1), 354),
        ("delayed-only", _delayed, (True, 3), 10167),
        ("competing-live-session", _live, (False, 1), 10197),
        ("market-closed", _live, (False, 1), None),
        ("market-closed", _frozen, (True, 2), None),
        ("farm-broken", _live, (False, 1), 2103),
        ("farm-broken", _frozen, (False, 2), 2103),
        ("order-rejected", _what_if, None, 201),
        ("order-no-margin", _what_if, None, None),
        ("read-only", _what_if, None, 321),
        ("connectivity-lost", _accounts, ["DU1111111"], 2110),
    ],
)
def test_scenario_is_seen_by_a_client(
    scenario: str, look: Callable[[Recorder], Awaitable[Any]], seen: Any, code: int | None
) -> None:
    found: list[Any] = []

    async def work(recorder: Recorder) -> None:
        found.append(await look(recorder))

    with world() as place:
        place.control.scenario(scenario)
        recorder = as_client(place, work, readonly=True)
    assert found == [seen]
    notices = {2104, 2106, 2158}
    assert set(recorder.codes) - notices == ({code} if code else set())


@pytest.mark.parametrize(
    ("scenario", "red"),
    [
        ("summary-empty", 1),
        ("summary-insane", 1),
        ("no-entitlement", 2),
        ("delayed-only", 2),
        ("competing-live-session", 2),
        ("market-closed", 2),
        ("farm-broken", 2),
        ("order-rejected", 3),
        ("order-no-margin", 3),
        ("read-only", 3),
    ],
)
def test_scenario_leaves_the_rest_alone(scenario: str, red: int) -> None:
    """Each state breaks one thing only: accounts, summary, market data and what-if, in the order of the checks."""

    async def work(recorder: Recorder) -> None:
        for number, (look, seen) in enumerate(GREEN):
            if number == red == 3 and scenario == "read-only":
                continue  # a refused what-if order has no answer but the error 321, which ib_async takes for a warning
            assert (await look(recorder) == seen) is (number != red), f"{look.__name__} under {scenario}"

    with world() as place:
        place.control.scenario(scenario)
        as_client(place, work, readonly=True)
        place.control.clear()
        as_client(place, lambda recorder: _all_green(recorder))


async def _all_green(recorder: Recorder) -> None:
    for look, seen in GREEN:
        assert await look(recorder) == seen


def test_connectivity_is_told_to_connected_clients_at_once() -> None:
    async def work(recorder: Recorder) -> None:
        for scenario, code in [
            ("connectivity-lost", 1100),
            ("connectivity-restored", 1102),
            ("connectivity-lost", 1100),
            ("connectivity-restored-data-lost", 1101),
            ("farm-broken", 2103),
            ("normal", 2104),
        ]:
            recorder.told.clear()
            await asyncio.to_thread(control.scenario, scenario)
            await recorder.until(lambda: recorder.told)
            assert recorder.codes == [code], scenario

    with world() as place:
        control = place.control
        as_client(place, work)


def test_lost_broker_is_1100_and_comes_back_with_the_session() -> None:
    async def work(recorder: Recorder) -> None:
        for link in list(place.broker._sessions.values()):
            place.loop.call_soon_threadsafe(link.writer.close)
        await recorder.until(lambda: 1100 in recorder.codes)
        await recorder.until(lambda: 1102 in recorder.codes)
        assert len(await recorder.ib.reqContractDetailsAsync(spy())) == 1

    with world() as place:
        as_client(place, work)
        status = place.control.status()["users"]["trader"]
    assert (status["logins"], status["soft_logins"]) == (1, 1)


def test_half_open_api_sends_accounts_and_no_next_id() -> None:
    with world() as place:
        place.control.scenario("api-half-open")
        ids = _message_ids(place.api_port, extra=[["49", "1"], ["61", "1"]])
    assert ids == ["178", "15", "49"]


def test_empty_account_list_keeps_the_next_id() -> None:
    with world() as place:
        place.control.scenario("account-list-empty")
        assert _message_ids(place.api_port)[:3] == ["178", "15", "9"]


def _message_ids(port: int, extra: list[list[str]] | None = None, seconds: float = 0.5) -> list[str]:
    """A hand-made client: the first field of all that comes until nothing does for half a second."""
    found: list[str] = []
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as client:
        client.sendall(b"API\0" + struct.pack(">I", 9) + b"v100..178")
        for message in [["71", "2", "33", ""], *(extra or [])]:
            payload = "".join(part + "\0" for part in message).encode()
            client.sendall(struct.pack(">I", len(payload)) + payload)
        received = b""
        try:
            while chunk := client.recv(65536):
                received += chunk
        except TimeoutError:
            pass
    while len(received) >= 4:
        (length,) = struct.unpack(">I", received[:4])
        found.append(received[4 : 4 + length].split(b"\0")[0].decode())
        received = received[4 + length :]
    return found


def test_an_error_is_told_once_though_the_broker_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tick looks at every stream: also at one whose first answer is still on its way."""
    ask = GatewaySession.ask

    async def slowly(session: GatewaySession, what: str, **request: Any) -> dict[str, Any]:
        if what == "quote":
            await asyncio.sleep(1.2)  # longer than a tick
        return await ask(session, what, **request)

    async def work(recorder: Recorder) -> None:
        recorder.ib.reqMktData(spy())
        await recorder.until(lambda: 10197 in recorder.codes)
        await asyncio.sleep(1.5)
        assert recorder.codes.count(10197) == 1

    monkeypatch.setattr(GatewaySession, "ask", slowly)
    with world() as place:
        place.control.scenario("competing-live-session")
        as_client(place, work)
