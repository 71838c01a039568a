"""A pool of ib_async connections to a gateway, under one rate limit, for a trading bot.

    async with Pool.from_environment(size=3) as pool:
        async with pool.connection(timeout=10) as ib:
            [spy] = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))

- `Pool.from_environment()` reads what `ibgw env` prints: where the gateway is, and the range of client ids for bots. An
  id that somebody else uses (error 326) is passed over; no two connections of a pool have the same.
- `pool.connection()` lends a connection to one borrower at a time, in the order in which they came, and only one that
  is connected, logged in, and not cut off from IBKR (after 1100 or 2110, until 1101 or 1102). It waits for one, and
  when the time is up raises `NoConnection`, which says what is the matter.
- When the gateway goes away, a borrower gets `ConnectionLost`, and the pool connects again by itself, with growing,
  random pauses of at most 30 s, under the same client ids. It never sends a request again: whether an order that was on
  its way has arrived, only the gateway knows. After 1101 subscribe again to what you had.
- All connections together send at most 49 messages a second, evenly, those of the start included, so that the gateway
  never receives more than 50 in a second; see `client.limiter` for what that can and cannot bear. Requests beyond wait
  their turn; `ib.client.throttleStart` and `throttleEnd` say so.

Needs ib_async and tenacity, and nothing else of this repository: copy the folder beside the bot.
"""

from client.limiter import Limiter
from client.pool import ConnectionLost, NoConnection, Pool

__all__ = ["ConnectionLost", "Limiter", "NoConnection", "Pool"]
