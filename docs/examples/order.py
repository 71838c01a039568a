"""Places an order far from the market on a paper account, sees it, and cancels it; refuses any other account.

Needs ib_async and the variables of `ibgw env`.
"""

import os
import sys

from ib_async import IB, LimitOrder, Stock

PATIENCE = 30  # seconds
OPEN = ("PreSubmitted", "Submitted")

if os.environ["IBGW_MODE"] != "paper":
    sys.exit(f"{os.environ['IBGW_STACK']} is not paper: nothing was sent")

ib = IB()
ib.connect(
    os.environ["IBGW_HOST"], int(os.environ["IBGW_PORT"]), clientId=int(os.environ["IBGW_CLIENT_ID_DEVELOPMENT_MIN"])
)
try:
    accounts = ib.managedAccounts()
    if not accounts or not all(account.startswith("D") for account in accounts):
        sys.exit("this login has an account that is not a paper account: nothing was sent")
    ib.reqMarketDataType(4)  # real-time where subscribed, else delayed, else the last known price
    [spy] = ib.qualifyContracts(Stock("SPY", "SMART", "USD"))
    [ticker] = ib.reqTickers(spy)
    limit = round(ticker.marketPrice() / 2, 2)
    trade = ib.placeOrder(spy, LimitOrder("BUY", 1, limit, account=accounts[0], tif="DAY"))
    try:
        list(ib.loopUntil(lambda: trade.orderStatus.status in OPEN or trade.isDone(), timeout=PATIENCE))
        print(f"buy 1 SPY at {limit}: {trade.orderStatus.status}")
        seen = trade.orderStatus.status in OPEN
    finally:
        if not trade.isDone():
            ib.cancelOrder(trade.order)
            list(ib.loopUntil(trade.isDone, timeout=PATIENCE))
    print(f"afterwards: {trade.orderStatus.status}")
    if not seen or trade.orderStatus.status not in ("Cancelled", "ApiCancelled"):
        sys.exit("the order was not seen open and then cancelled: look at it in IBKR's portal")
finally:
    ib.disconnect()
