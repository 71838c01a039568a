"""A bot that borrows its connections. Needs ib_async, tenacity, and the folder `client` beside it."""

import asyncio

from ib_async import Stock

from client import Pool


async def show(pool: Pool, symbol: str) -> None:
    async with pool.connection(timeout=60) as ib:
        ib.reqMarketDataType(4)  # real-time where subscribed, else delayed, else the last known price
        [ticker] = await ib.reqTickersAsync(*await ib.qualifyContractsAsync(Stock(symbol, "SMART", "USD")))
        print(f"{symbol}: {ticker.marketPrice()}")


async def main() -> None:
    async with Pool.from_environment(size=2) as pool:
        await asyncio.gather(*(show(pool, symbol) for symbol in ("SPY", "QQQ", "AAPL")))


asyncio.run(main())
