"""The smallest client: who am I, and what does SPY cost? Its settings are what `ibgw env` prints."""

import os

from ib_async import IB, Stock

ib = IB()
ib.connect(
    os.environ["IBGW_HOST"],
    int(os.environ["IBGW_PORT"]),
    clientId=int(os.environ["IBGW_CLIENT_ID_MIN"]),
    readonly=os.environ["IBGW_READ_ONLY"] == "true",
)
try:
    print("accounts:", ", ".join(ib.managedAccounts()))
    ib.reqMarketDataType(4)  # real-time where subscribed, else delayed, else the last known price
    [ticker] = ib.reqTickers(*ib.qualifyContracts(Stock("SPY", "SMART", "USD")))
    print("SPY:", ticker.marketPrice())
finally:
    ib.disconnect()
