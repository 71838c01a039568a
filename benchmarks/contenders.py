"""Runs inside the verifier's container, as `python3 -c TEXT`: the API checks, and a bare ib_async script, in turns.

The image holds `contract` and `healthcheck` and no benchmarks, so this file is passed as a text and imports nothing of
`benchmarks`. Each contender has a process of its own in each round, as the verifier has: what Python does at its first
connection is in both. Prints one JSON object: the contender -> its milliseconds from connect to disconnect.
"""

# mypy: allow-untyped-calls
# (ib_async annotates its data and not its methods.)

import asyncio
import json
import subprocess
import sys
import time
from typing import Any

OURS, BARE, ROUNDS = "ours", "bare", "rounds"

TAGS = "NetLiquidation,TotalCashValue,BuyingPower,AvailableFunds"


async def ours(gateway: dict[str, Any]) -> float:
    from deployment.description import Gateway
    from healthcheck.checks import checks_over, session_for

    target = Gateway.model_validate(gateway)
    began = time.perf_counter()
    async with session_for(target) as session:
        results = await checks_over(session, target)
    seconds = time.perf_counter() - began
    assert all(result.reason is None for result in results), results
    return seconds


async def bare(gateway: dict[str, Any]) -> float:
    """The requests that the checks make, one after the other, with ib_async as anybody would use it."""
    from ib_async import IB, Contract, LimitOrder
    from ib_async.ib import StartupFetchNONE

    ib, wanted = IB(), gateway["checks"]["market_data"]["contract"]
    contract = Contract(
        symbol=wanted["symbol"], secType=wanted["sec_type"], exchange=wanted["exchange"], currency=wanted["currency"]
    )
    api, client_id = gateway["api"], gateway["client_ids"]["testing"][0]
    began = time.perf_counter()
    await ib.connectAsync(api["host"], api["port"], clientId=client_id, fetchFields=StartupFetchNONE)
    await ib.reqCurrentTimeAsync()
    summary = ib.client.getReqId()
    answered = ib.wrapper.startReq(summary)
    ib.client.reqAccountSummary(summary, "All", TAGS)
    await answered
    ib.client.cancelAccountSummary(summary)
    found = await ib.reqContractDetailsAsync(contract)
    known = found[0].contract  # ib_async asks for no quote of a contract that it has not looked up
    assert known is not None
    await ib.reqCurrentTimeAsync()
    ib.reqMarketDataType(1)
    ticker = ib.reqMktData(known)
    while not ticker.marketPrice() > 0:
        await ticker.updateEvent
    ib.cancelMktData(known)
    account = ib.managedAccounts()[0]
    order = LimitOrder("BUY", 1, round(ticker.marketPrice() / 2, 2), account=account, tif="DAY")
    assert (await ib.whatIfOrderAsync(known, order)).initMarginChange
    ib.disconnect()
    return time.perf_counter() - began


def rounds(count: int, gateway: str) -> dict[str, list[float]]:
    text = sys.orig_argv[sys.orig_argv.index("-c") + 1]
    found: dict[str, list[float]] = {OURS: [], BARE: []}
    for _ in range(count):
        for contender, times in found.items():
            done = subprocess.run(
                [sys.executable, "-c", text, contender, gateway], stdout=subprocess.PIPE, text=True, check=True
            )
            times.append(float(done.stdout))
    return found


def main(what: str, *arguments: str) -> None:
    if what == ROUNDS:
        count, gateway = arguments
        result: object = rounds(int(count), gateway)
    else:
        (gateway,) = arguments
        contender = {OURS: ours, BARE: bare}[what]
        result = 1000 * asyncio.run(contender(json.loads(gateway)))
    sys.stdout.write(f"{json.dumps(result)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
