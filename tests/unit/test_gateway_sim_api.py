"""What ib_async alone shows of the API: its start-up, the fields of its objects, and a link that breaks.

What each request is answered: test_gateway_sim_clients. What each scenario changes: test_verification_scenarios, and
test_gateway_sim_login for those in which nobody gets as far as the API.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import ib_async
import pytest
from ib_async import LimitOrder, Stock

from sandbox.gateway.program import GatewaySession
from tests.unit.simulated_gateway import SimulatedGateway, simulated_gateway


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
    place: SimulatedGateway, work: Callable[[Recorder], Awaitable[None]], *, client_id: int = 7, readonly: bool = False
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


def test_synchronisation_with_a_read_only_gateway_needs_readonly(caplog: pytest.LogCaptureFixture) -> None:
    """Without it, its requests for orders are refused with 321 and time out (gnzsnz #267)."""

    async def work(recorder: Recorder) -> None:
        await recorder.ib.connectAsync("127.0.0.1", place.api_port, clientId=7, timeout=0.5)
        assert recorder.codes.count(321) == 2
        recorder.ib.disconnect()

    with simulated_gateway(ReadOnlyApi="yes") as place, caplog.at_level(logging.INFO, logger="ib_async"):
        asyncio.run(work(Recorder()))
        timed_out = [record.message for record in caplog.records if "timed out" in record.message]
        assert timed_out == ["open orders request timed out", "completed orders request timed out"]
        caplog.clear()
        as_client(place, nothing, readonly=True)
        assert "Synchronization complete" in caplog.text
        assert "timed out" not in caplog.text


def test_live_mode_sees_live_accounts() -> None:
    async def work(recorder: Recorder) -> None:
        assert recorder.ib.managedAccounts() == ["U1111111"]

    with simulated_gateway(TradingMode="live") as place:
        as_client(place, work)


def test_each_value_is_in_its_field() -> None:
    async def work(recorder: Recorder) -> None:
        ib = recorder.ib
        assert {value.tag for value in ib.accountValues()} >= {"AvailableFunds", "BuyingPower", "MaintMarginReq"}
        (details,) = await ib.reqContractDetailsAsync(spy())
        assert details.contract is not None
        assert (details.contract.primaryExchange, details.stockType) == ("ARCA", "COMMON")
        assert details.liquidHours.count(";") == 5
        ticker = ib.reqMktData(spy())
        await recorder.until(lambda: ticker.bid > 0 and ticker.last > 0)
        assert 500 < ticker.bid < ticker.ask < 700
        assert ticker.bidSize > 0
        assert ticker.volume > 0
        evening = datetime(2026, 11, 20, 22, tzinfo=UTC)
        bars = await ib.reqHistoricalDataAsync(spy(), evening, "1 D", "1 hour", "TRADES", useRTH=True, formatDate=2)
        assert all(bar.low <= bar.open <= bar.high for bar in bars)
        state = await ib.whatIfOrderAsync(spy(), LimitOrder("BUY", 10, 300.0))
        assert (state.equityWithLoanBefore, state.commission, state.commissionCurrency) == ("1000000.00", 1.0, "USD")
        assert ib.openTrades() == []

    with simulated_gateway() as place:
        as_client(place, work)
        status = place.control.status()["users"]["trader"]
    assert (status["what_ifs"], status["orders"]) == (1, 0)


def test_lost_broker_is_1100_and_comes_back_with_the_session() -> None:
    async def work(recorder: Recorder) -> None:
        for link in list(place.broker._sessions.values()):
            place.loop.call_soon_threadsafe(link.writer.close)
        await recorder.until(lambda: 1100 in recorder.codes)
        await recorder.until(lambda: 1102 in recorder.codes)
        assert len(await recorder.ib.reqContractDetailsAsync(spy())) == 1

    with simulated_gateway() as place:
        as_client(place, work)
        status = place.control.status()["users"]["trader"]
    assert (status["logins"], status["soft_logins"]) == (1, 1)


def test_clients_are_cut_off_while_a_session_is_taken_over(capsys: pytest.CaptureFixture[str]) -> None:
    """ExistingSessionDetectedDialogHandler, scenario 5 (IBC#54, IBC#45)."""

    async def work(recorder: Recorder) -> None:
        recorder.told.clear()
        await asyncio.to_thread(place.control.scenario, "session-taken-over")
        await recorder.until(lambda: len(recorder.told) == 2)
        assert recorder.codes == [1100, 1102]

    with simulated_gateway() as place:
        as_client(place, work)
    printed = capsys.readouterr().out
    order = ["Re-login is required", "Re-login to session", "Existing session detected", "(scenario 5)"]
    assert sorted(order, key=printed.index) == order


def test_a_paper_session_has_no_data_while_the_user_s_live_session_is_open() -> None:
    """QuantConnect/Lean.Brokerages.InteractiveBrokers#140, extrange/ibkr-docker#64 and #102: the paper session loses,
    and gets its data back."""

    async def work(recorder: Recorder) -> None:
        live = await asyncio.to_thread(place.run, place.automation(TradingMode="live").log_in())
        ticker = recorder.ib.reqMktData(spy())
        await recorder.until(lambda: 10197 in recorder.codes)
        assert not ticker.bid > 0
        await asyncio.to_thread(place.run, live.link.close())
        await recorder.until(lambda: not place.broker.status()["users"]["trader"]["sessions"][1:])
        again = recorder.ib.reqMktData(Stock("IBM", "SMART", "USD", conId=8314))
        await recorder.until(lambda: again.bid > 0)

    with simulated_gateway() as place:
        as_client(place, work)


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
    with simulated_gateway() as place:
        place.control.scenario("competing-live-session")
        as_client(place, work)
