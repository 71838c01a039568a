"""One table of what the API does, each row with two independent clients: ib_async and IBKR's own ibapi.

Expected values are written out; where they come from stands beside each row: [ref] the TWS API reference (the page's
name), [rec] messages recorded at real gateways in 2025 and 2026 and published (transcripts of ThomasMarcelis/ibkr-go,
error texts in users' threads), [own] nothing but this simulator's own market and accounts.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest.mock import ANY

import pytest

from sandbox.broker.users import User
from sandbox.gateway import market_requests, pacing
from sandbox.gateway.clients import Timing
from sandbox.gateway.clock import CLOCK
from tests.unit.api_clients import KINDS, ApiClient, Event, Filter, Instrument, Ticket, connected, wait_for
from tests.unit.simulated_gateway import SimulatedGateway, simulated_gateway

SPY = Instrument("SPY")
IBM = Instrument("IBM")
EUR = Instrument("EUR", "CASH", "IDEALPRO")
ACCOUNT = "DU1111111"
UNSET = "1.7976931348623157E308"

Requests = list[tuple[Any, ...]]

# Requests, as both clients name them.
DAY_OF_HOURS: tuple[Any, ...] = (
    "reqHistoricalData", 20, SPY, "20261121 20:00:00 UTC", "1 D", "1 hour", "TRADES", 1, 1, False, [],
)  # fmt: skip


def quotes(request_id: int, contract: Instrument, *, snapshot: bool = False) -> tuple[Any, ...]:
    return ("reqMktData", request_id, contract, "", snapshot, False, [])


def bars(
    request_id: int, contract: Instrument, size: str, show: str, end: str = "", duration: str = "1 D"
) -> tuple[Any, ...]:
    return ("reqHistoricalData", request_id, contract, end, duration, size, show, 1, 1, False, [])


def order(order_id: int, ticket: Ticket, contract: Instrument = SPY) -> tuple[Any, ...]:
    return ("placeOrder", order_id, contract, ticket)


@dataclass(frozen=True)
class Row:
    """`seen`: what comes, in this order; of the callbacks named in it nothing else comes, nor of those in `never`."""

    name: str
    requests: Requests
    seen: list[Event]
    source: str
    scenario: str = "normal"
    never: tuple[str, ...] = ()
    only: int | str | None = None  # looks only at callbacks whose first value is this


def error(request_id: int, code: int, text: Any) -> Event:
    return ("error", request_id, code, text)


def refused(
    name: str, request: tuple[Any, ...], code: int, text: Any, source: str, *, scenario: str = "normal", never: str = ""
) -> Row:
    """One request, whose id comes back with one error; `never`: a callback that would have come without it."""
    never_ = (never,) if never else ()
    return Row(name, [request], [error(request[1], code, text)], source, scenario=scenario, never=never_)


def opened(order_id: int, kind: str, status: str, symbol: str = "SPY") -> Event:
    return ("openOrder", order_id, symbol, kind, False, status, UNSET, UNSET, "")


def status(order_id: int, *words: str, held: bool = False) -> list[Event]:
    """What is told of an order for ten, one after the other; `held`: as a child that waits for its parent."""
    return [
        ("orderStatus", order_id, word, *((10.0, 0.0) if word == "Filled" else (0.0, 10.0)), *["child"] * held)
        for word in words
    ]


def executed(side: str) -> Event:
    return ("execDetails", -1, "SPY", side, 10.0, 7)


def cancelled(order_id: int) -> Event:
    return error(order_id, 202, "Order Canceled - reason:")


DUPLICATE_TICKER = "Error processing request.-'bQ' : cause - Duplicate ticker id"
READ_ONLY = "Error validating request.-'bI' : cause - The API interface is currently in Read-Only mode."
NOT_SUBSCRIBED = (
    "Requested market data is not subscribed. Check API status by selecting the Account menu then under Management "
    "choose Market Data Subscription Manager and/or availability of delayed data."
)
BAR_SIZES = (
    "1 secs, 5 secs, 10 secs, 15 secs, 30 secs, 1 min, 2 mins, 3 mins, 5 mins, 10 mins, 15 mins, 20 mins, 30 mins, "
    "1 hour, 2 hours, 3 hours, 4 hours, 8 hours, 1 day, 1W, 1M"
)
HOURS = [f"20261120 {hour}:00 US/Eastern" for hour in ("09:30", "10:00", "11:00", "12:00", "13:00", "14:00", "15:00")]
WRONG_TIME = (
    "End Date/Time: The date, time, or time-zone entered is invalid. The correct format is yyyymmdd hh:mm:ss xx/xxxx "
    "where yyyymmdd and xx/xxxx are optional. E.g.: 20031126 15:59:00 US/Eastern  Note that there is a space between "
    "the date and time, and between the time and time-zone.  If no date is specified, current date is assumed. If no "
    "time-zone is specified, local time-zone is assumed(deprecated).  You can also provide yyyymmddd-hh:mm:ss time is "
    "in UTC. Note that there is a dash between the date and time in UTC notation."
)
IMPLIED_ZONE = (
    "Warning: You submitted request with date-time attributes without explicit time zone. Please switch to use "
    "yyyymmdd-hh:mm:ss in UTC or use instrument time zone, like US/Eastern. Implied time zone functionality will be "
    "removed in the next API release"
)
UNSUBSCRIBED = "API client has been unsubscribed from account data."
LIVE = [("tickPrice", 5, kind, ANY) for kind in (1, 2, 4, 6, 7, 9, 14)]
LATE = [("tickPrice", 5, kind, ANY) for kind in (66, 67, 68, 72, 73, 75, 76)]

ROWS = [
    # session
    Row("next id", [("reqIds", 1)], [("nextValidId", 1)], "[ref] reqIds"),
    Row(
        "next id is above the client's own",
        [order(41, Ticket("LMT", limit=100.0)), ("reqIds", 1)],
        [("nextValidId", 42)],
        "[ref] Next Valid Identifier",
    ),

    Row(
        "advisors' data",
        [("requestFA", 1)],
        [error(-1, 321, "Error validating request.-'bE' : cause - FA data operations ignored for non FA customers")],
        "[rec] requestFA; the letters between the quotes differ by version",
    ),
    Row(
        "auto-bind by another client than 0",
        [("reqAutoOpenOrders", True)],
        [
            error(
                -1, 321, "Error validating request.-'b1' : cause - Only the default client (i.e 0) can auto bind orders"
            )
        ],
        "[rec] users' threads",
    ),
    Row("market rule", [("reqMarketRule", 26)], [("marketRule", 26, 1)], "[ref] reqMarketRule"),
    # accounts
    Row(
        "account summary",
        [("reqAccountSummary", 9, "All", "NetLiquidation,AccountType"), ("cancelAccountSummary", 9)],
        [
            ("accountSummary", 9, ACCOUNT, "NetLiquidation", "1000000.00", "USD"),
            ("accountSummary", 9, ACCOUNT, "AccountType", "INDIVIDUAL", ""),
            ("accountSummaryEnd", 9),
        ],
        "[ref] reqAccountSummary; [own] a new account holds a million",
    ),
    Row(
        "a third account summary",
        [("reqAccountSummary", number, "All", "Cushion") for number in (1, 2, 3)],
        [
            error(
                3,
                322,
                "Error processing request.-'Q' : cause - Maximum number of account summary requests exceeded; "
                "desubscribe to previous request first",
            )
        ],
        "[ref] reqAccountSummary, only two at a time; [rec] its text",
    ),
    Row(
        "account updates",
        [("reqAccountUpdates", True, ACCOUNT)],
        [("updateAccountTime", ANY), ("accountDownloadEnd", ACCOUNT)],
        "[ref] reqAccountUpdates",
        never=("updatePortfolio",),
    ),
    Row(
        "account updates begin with the account",
        [("reqAccountUpdates", False, ACCOUNT), ("reqAccountUpdates", True, ACCOUNT)],
        [("updateAccountValue", "AccountCode", ACCOUNT, "", ACCOUNT)],
        "[rec] account_updates",
        only="AccountCode",
    ),
    *(
        Row(
            name,
            [("reqAccountUpdates", True, ACCOUNT), *[("reqAccountUpdates", False, ACCOUNT)] * times],
            [error(-1, 2100, UNSUBSCRIBED)],
            "[rec] users' threads",
        )
        for name, times in [("account updates are ended", 1), ("account updates are ended twice", 2)]
    ),
    Row(
        "account updates of somebody else's account",
        [("reqAccountUpdates", True, "DU9")],
        [error(-1, 321, "Error validating request.-'bS' : cause - Invalid account code")],
        "[rec] users' threads",
        never=("accountDownloadEnd",),
    ),
    Row("no positions", [("reqPositions",)], [("positionEnd",)], "[ref] reqPositions", never=("position",)),
    Row(
        "a position",
        [("cancelPositions",), order(1, Ticket("MKT", quantity=3)), ("reqPositions",)],
        [("position", ACCOUNT, "SPY", 3.0, ANY), ("positionEnd",)],
        "[ref] reqPositions",
    ),
    Row(
        "a position in the portfolio",
        [
            ("reqAccountUpdates", False, ACCOUNT),
            order(1, Ticket("MKT", quantity=3)),
            ("reqAccountUpdates", True, ACCOUNT),
        ],
        [("updatePortfolio", "SPY", 3.0, ANY, ANY, ANY, ANY, 0.0, ACCOUNT), ("accountDownloadEnd", ACCOUNT)],
        "[ref] reqAccountUpdates",
    ),
    Row(
        "positions of several",
        [order(1, Ticket("MKT", quantity=3)), ("reqPositionsMulti", 8, ACCOUNT, "")],
        [("positionMulti", 8, ACCOUNT, "", "SPY", 3.0, ANY), ("positionMultiEnd", 8)],
        "[ref] reqPositionsMulti",
    ),
    Row(
        "profit and loss",
        [("reqPnL", 8, ACCOUNT, ""), ("cancelPnL", 8), ("cancelPnL", 8)],
        [("pnl", 8, 0.0, 0.0, 0.0), error(8, 10185, "Failed to cancel PNL (not subscribed)")],
        "[ref] reqPnL; [rec] the error",
    ),
    Row(
        "profit and loss of a position that is not held",
        [("reqPnLSingle", 8, ACCOUNT, "", 756733), ("cancelPnLSingle", 8)],
        [("pnlSingle", 8, 0.0, 0.0, 0.0, 0.0, 0.0)],
        "[ref] reqPnLSingle",
    ),
    # contracts
    Row(
        "contract details of a currency pair",
        [("reqContractDetails", 4, EUR)],
        [
            ("contractDetails", 4, 12087792, "European Monetary Union Euro", 0.00005, "US/Eastern"),
            ("contractDetailsEnd", 4),
        ],
        "[rec] contract_details_eurusd_cash",
    ),
    refused(
        "no such contract", ("reqContractDetails", 4, Instrument("NOSUCH9")), 200,
        "No security definition has been found for the request", "[rec] contract_details_not_found",
        never="contractDetailsEnd",
    ),
    # market data
    Row(
        "streaming quotes",
        [quotes(5, SPY), ("cancelMktData", 5)],
        [("marketDataType", 5, 1), ("tickReqParams", 5, 0.01, "9c0001", 3), *LIVE],
        "[ref] reqMktData, Available Tick Types",
    ),
    Row(
        "a snapshot",
        [quotes(5, SPY, snapshot=True)],
        [("marketDataType", 5, 1), *LIVE, ("tickSnapshotEnd", 5)],
        "[ref] Snapshots",
    ),
    Row(
        "quotes of a currency pair",
        [quotes(5, EUR), ("cancelMktData", 5)],
        [("tickPrice", 5, kind, ANY) for kind in (1, 2, 6, 7, 9, 14)],
        "[own] a pair has no last trade",
    ),
    Row(
        "delayed data where live data is to be had",
        [("reqMarketDataType", 3), quotes(5, SPY), ("cancelMktData", 5)],
        [("marketDataType", 5, 1), *LIVE],
        "[ref] Market Data Types",
    ),
    Row(
        "delayed data",
        [("reqMarketDataType", 3), quotes(5, SPY), ("cancelMktData", 5)],
        [
            error(5, 10167, "Requested market data is not subscribed. Displaying delayed market data."),
            ("marketDataType", 5, 3),
            *LATE,
        ],
        "[rec] api_duplicate_quote_subscriptions_aapl; the tick types [ref]",
        scenario="delayed-only",
    ),
    Row(
        "live data without a subscription, delayed data to be had",
        [quotes(5, SPY), ("cancelMktData", 5)],
        [
            error(5, 354, NOT_SUBSCRIBED + "Delayed market data is available.SPY ARCA/TOP/ALL"),
            error(5, 300, "Can't find EId with tickerId:5"),
        ],
        "[rec] users' threads: 354, then 300 for its cancellation",
        scenario="delayed-only",
        never=("tickPrice",),
    ),
    refused(
        "live data without the subscription for the API", quotes(5, Instrument("AAPL")), 10089,
        "Requested market data requires additional subscription for API. See link in 'Market Data Connections' dialog "
        "for more details.Delayed market data is available.AAPL NASDAQ.NMS/TOP/ALL",
        "[rec] api_order_rejects_aapl", scenario="extra-subscription", never="tickPrice",
    ),
    refused(
        "no subscription at all", quotes(5, SPY), 354, NOT_SUBSCRIBED + "SPY ARCA/TOP/ALL", "[rec] users' threads",
        scenario="no-entitlement", never="tickPrice",
    ),
    refused(
        "quotes without an exchange", quotes(5, Instrument("SPY", exchange="")), 321,
        "Error validating request.-'bQ' : cause - Please enter exchange", "[rec] users' threads",
    ),
    refused(
        "a snapshot with generic ticks", ("reqMktData", 5, SPY, "233", True, False, []), 321,
        "Error validating request.-'bQ' : cause - Snapshot market data subscription is not applicable to generic ticks",
        "[rec] users' threads",
    ),
    *(
        Row(
            f"{name} quotes: {scenario}",
            [("reqMarketDataType", wanted), quotes(5, SPY), ("cancelMktData", 5)],
            [("marketDataType", 5, wanted), *ticks],
            "[ref] Market Data Types; Message Codes, 2103",
            scenario=scenario,
            never=("tickPrice",),
        )
        for name, wanted, scenario, ticks in [
            ("live", 1, "market-closed", []),
            ("frozen", 2, "market-closed", LIVE),
            ("delayed-frozen", 4, "market-closed", LATE),
            ("live", 1, "farm-broken", []),
        ]
    ),
    Row(
        "a snapshot of a closed market ends without data",
        [quotes(5, SPY, snapshot=True)],
        [("marketDataType", 5, 1), ("tickSnapshotEnd", 5)],
        "[ref] Snapshots: after eleven seconds, here shortened",
        scenario="market-closed",
        never=("tickPrice",),
    ),
    Row(
        "a request id twice",
        [quotes(5, SPY), quotes(5, SPY), ("cancelMktData", 5)],
        [error(5, 322, DUPLICATE_TICKER)],
        "[rec] users' threads",
    ),
    # historical bars
    Row(
        "bars of an hour",
        [DAY_OF_HOURS],
        [*(("historicalData", 20, start) for start in HOURS), ("historicalDataEnd", 20, HOURS[0], HOURS[-1])],
        "[ref] Historical Bar Data: regular hours, the last trading day before a Saturday",
    ),
    Row(
        "a bar of a day",
        [("reqHistoricalData", 20, SPY, "20261121 20:00:00 UTC", "2 D", "1 day", "TRADES", 1, 2, False, [])],
        [("historicalData", 20, "20261119"), ("historicalData", 20, "20261120"), ("historicalDataEnd", 20, ANY, ANY)],
        "[ref] Historical Bar Data: days as dates, whatever formatDate says",
    ),
    *(
        Row(f"bars until {end}", [bars(20, SPY, "1 hour", "TRADES", end)], [*seen], source)
        for seen, source, ends in [
            (
                [("historicalDataEnd", 20, HOURS[0], HOURS[-1])],
                "[ref] Historical Bar Data: a zone with its place, or UTC, also with a dash",
                [
                    "20261121 15:00:00 US/Eastern",
                    "20261121 20:00:00 Europe/London",
                    "20261121 20:00:00 UTC",
                    "20261121-20:00:00",
                ],
            ),
            (
                [error(20, 10314, WRONG_TIME)],
                "[rec] users' threads",
                [
                    "20261121 20:00:00 GMT",
                    "20261121 15:00:00 EST",
                    "20261121 15:00:00 America/Nowhere",
                    "20261121 15:00:00 America/Argentina",
                    "20261121-20:00:00 UTC",
                    "2026-11-21 20:00:00 UTC",
                    "20261121 20:00 UTC",
                    "20261121",
                    "20261321 20:00:00 UTC",
                    "yesterday",
                ],
            ),
        ]
        for end in ends
    ),
    refused(
        "no such bar size", bars(20, SPY, "5 fortnights", "TRADES"), 321,
        "Error validating request.-'bS' : cause - Historical data bar size setting is invalid. Legal ones are: "
        + BAR_SIZES,
        "[rec] users' threads",
    ),
    refused(
        "adjusted bars until a time", bars(20, SPY, "1 day", "ADJUSTED_LAST", "20261121-20:00:00"), 321,
        "Error validating request.-'bS' : cause - End date not supported with adjusted last",
        "[rec] users' threads", never="historicalData",
    ),
    refused(
        "trades of a currency pair", bars(20, EUR, "1 hour", "TRADES"), 162,
        "Historical Market Data Service error message:No historical market data for EUR/CASH@IDEALPRO Last 3600",
        "[rec] users' threads",
    ),
    refused(
        "the history farm is down", bars(20, SPY, "1 hour", "TRADES"), 165,
        "Historical Market Data Service query message:HMDS server disconnect occurred.  Attempting reconnection...",
        "[rec] users' threads", scenario="farm-broken:history", never="historicalData",
    ),
    Row(
        "adjusted bars until now",
        [bars(20, SPY, "1 day", "ADJUSTED_LAST")],
        [("historicalData", 20, ANY), ("historicalDataEnd", 20, ANY, ANY)],
        "[rec] users' threads",
    ),
    *(
        refused(
            f"bars of {duration}", bars(20, SPY, "1 day", "TRADES", duration=duration), 321,
            f"Error validating request.-'bS' : cause - {cause}", "[rec] users' threads", never="historicalData",
        )
        for duration, cause in [
            ("366 D", "Historical data requests for durations longer than 365 days must be made in years."),
            ("53 W", "Historical data request for durations longer than 52 weeks must be made in years."),
            ("13 M", "Historical data request for durations longer than 12 months must be made in years."),
            ("86401 S", "Historical data request for greater than 86400 seconds rejected."),
            ("0 D", "Historical data requested duration is invalid."),
            (
                "1 fortnight",
                "When specifying a unit, historical data request duration format is integer{SPACE}unit (S|D|W|M|Y).",
            ),
        ]
    ),
    *(
        Row(
            f"bars of {duration} are to be had",
            [bars(20, SPY, "1 day", "TRADES", duration=duration)],
            [("historicalDataEnd", 20, ANY, ANY)],
            "[ref] Historical Bar Data",
        )
        for duration in ("365 D", "52 W", "12 M", "2 Y", "86400 S", "3600")
    ),
    Row(
        "bars cancelled too late",
        [DAY_OF_HOURS, ("cancelHistoricalData", 20)],
        [error(20, 366, "No historical data query found for ticker id:20")],
        "[rec] users' threads",
    ),
    # orders
    Row(
        "a what-if order",
        [order(1, Ticket("LMT", limit=300.0, what_if=True)), ("reqAllOpenOrders",)],
        [("openOrder", 1, "SPY", "LMT", True, "PreSubmitted", "1500.00", "750.00", ""), ("openOrderEnd",)],
        "[ref] Margin; [own] Reg T: a half of 10 x 300, and a quarter",
        never=("orderStatus",),
    ),
    Row(
        "a market order is filled",
        [order(1, Ticket("MKT"))],
        [
            opened(1, "MKT", "PreSubmitted"),
            *status(1, "PreSubmitted"),
            opened(1, "MKT", "Submitted"),
            *status(1, "Submitted"),
            executed("BOT"),
            opened(1, "MKT", "Filled"),
            *status(1, "Filled"),
            ("commissionReport", 1.0, "USD", None),
        ],
        "[rec] api_order_fill_aapl, its second order; [own] the minimum commission is a dollar",
    ),
    Row(
        "a position is closed with a profit or loss",
        [order(1, Ticket("MKT")), order(2, Ticket("MKT", "SELL"))],
        [("commissionReport", 1.0, "USD", None), ("commissionReport", 1.0, "USD", ANY)],
        "[ref] CommissionReport, realizedPNL",
    ),
    Row(
        "a limit order waits, and is cancelled",
        [order(1, Ticket("LMT", limit=100.0)), ("cancelOrder", 1)],
        [
            opened(1, "LMT", "PreSubmitted"),
            *status(1, "PreSubmitted"),
            opened(1, "LMT", "Submitted"),
            *status(1, "Submitted", "Cancelled"),
            cancelled(1),
        ],
        "[rec] api_order_rest_cancel_aapl",
    ),
    Row(
        "a limit order is changed until it is filled",
        [order(1, Ticket("LMT", limit=100.0)), order(1, Ticket("LMT", limit=900.0))],
        [*status(1, "PreSubmitted", "Submitted", "Submitted", "Filled")],
        "[ref] Modifying Orders",
    ),
    Row(
        "an order for a closed market waits",
        [order(1, Ticket("MKT", quantity=1), Instrument("AAPL"))],
        [
            ("orderStatus", 1, "PreSubmitted", 0.0, 1.0),
            error(1, 399, ANY),
            ("orderStatus", 1, "PreSubmitted", 0.0, 1.0),
        ],
        "[rec] api_order_rest_cancel_aapl",
        scenario="market-closed",
        never=("execDetails",),
    ),
    Row(
        "an order that is not to be transmitted",
        [order(1, Ticket("MKT", transmit=False)), ("reqAllOpenOrders",), ("reqIds", 1), order(1, Ticket("MKT"))],
        [("openOrderEnd",), ("nextValidId", 2), *status(1, "PreSubmitted", "Submitted", "Filled")],
        "[rec] api_transmit_false_then_transmit_aapl: nothing is told of it before",
    ),
    Row(
        "an order that was never transmitted is cancelled",
        [
            order(1, Ticket("MKT", transmit=False)),
            order(2, Ticket("LMT", "SELL", limit=900.0, parent=1, transmit=False)),
            ("cancelOrder", 1),
            order(2, Ticket("LMT", "SELL", limit=900.0)),
        ],
        [
            *status(1, "Cancelled"),
            error(1, 202, "Order Canceled - reason:Order was discarded."),
            error(2, 103, "Duplicate order id"),
        ],
        "[rec] api_bracket_trailing_stop_aapl: not a word of its child",
    ),
    Row(
        "a bracket goes out with its last child, the parent first",
        [
            order(1, Ticket("MKT", transmit=False)),
            order(2, Ticket("LMT", "SELL", limit=900.0, parent=1, transmit=False)),
            order(3, Ticket("LMT", "SELL", limit=950.0, parent=1)),
        ],
        [
            *status(1, "PreSubmitted"),
            *status(2, "PreSubmitted", held=True),
            *status(3, "PreSubmitted", held=True),
            *status(1, "Submitted"),
            executed("BOT"),
            *status(1, "Filled"),
            *status(2, "Submitted"),
            *status(3, "Submitted"),
        ],
        "[ref] Bracket Orders; [rec] api_bracket_place_aapl, whyHeld",
    ),
    Row(
        "a child waits for its parent, whatever the market",
        [
            order(1, Ticket("LMT", limit=100.0, transmit=False)),
            order(2, Ticket("MKT", "SELL", parent=1)),
            ("reqAllOpenOrders",),
            order(1, Ticket("LMT", limit=900.0)),
        ],
        [
            *status(1, "PreSubmitted"),
            *status(2, "PreSubmitted", held=True),
            *status(1, "Submitted", "Submitted"),
            *status(2, "PreSubmitted", held=True),
            *status(1, "Submitted"),
            executed("BOT"),
            *status(1, "Filled"),
            *status(2, "Submitted"),
            executed("SLD"),
            *status(2, "Filled"),
        ],
        "[ref] Bracket Orders, Attaching Orders",
    ),
    Row(
        "a cancelled parent takes its children along",
        [
            order(1, Ticket("LMT", limit=100.0, transmit=False)),
            order(2, Ticket("LMT", "SELL", limit=900.0, parent=1)),
            ("cancelOrder", 1),
        ],
        [
            *status(1, "PreSubmitted"),
            *status(2, "PreSubmitted", held=True),
            *status(1, "Submitted", "Cancelled"),
            cancelled(1),
            *status(2, "Cancelled"),
            cancelled(2),
        ],
        "[rec] api_bracket_place_aapl",
    ),
    Row(
        "a child that is filled ends its siblings",
        [
            order(1, Ticket("MKT", transmit=False)),
            order(2, Ticket("LMT", "SELL", limit=900.0, parent=1, transmit=False)),
            order(3, Ticket("LMT", "SELL", limit=100.0, parent=1)),
        ],
        [executed("BOT"), executed("SLD"), cancelled(2)],
        "[rec] api_bracket_place_aapl: children are one OCA group",
    ),
    Row(
        "a child comes after its parent was filled",
        [order(1, Ticket("MKT")), order(2, Ticket("LMT", "SELL", limit=900.0, parent=1))],
        [error(2, 201, "Order rejected - reason:Parent order is being cancelled.")],
        "[rec] users' threads",
    ),
    Row(
        "a child is changed after its parent was filled",
        [
            order(1, Ticket("MKT", transmit=False)),
            order(2, Ticket("LMT", "SELL", limit=900.0, parent=1)),
            order(2, Ticket("LMT", "SELL", limit=901.0, parent=1)),
            order(2, Ticket("LMT", "SELL", limit=100.0)),
        ],
        [executed("BOT"), error(2, 135, "Can't find order with id = 1"), executed("SLD")],
        "[rec] users' threads: without its parent's id it is taken",
    ),
    Row(
        "a parent beyond the account's means takes its children along",
        [
            order(1, Ticket("LMT", quantity=100_000, limit=100.0, transmit=False)),
            order(2, Ticket("LMT", "SELL", limit=900.0, parent=1)),
        ],
        [error(1, 201, ANY), error(2, 201, "Order rejected - reason:Parent order is being cancelled.")],
        "[ref] Bracket Orders; [rec] users' threads, the text",
        never=("openOrder",),
    ),
    Row(
        "an immediate order that cannot be filled",
        [order(1, Ticket("LMT", limit=100.0, tif="IOC"))],
        [*status(1, "PreSubmitted", "Submitted", "Cancelled")],
        "[ref] Time in Force",
    ),
    *(
        refused(name, order(1, ticket), code, text, source, never="openOrder")
        for name, ticket, code, text, source in [
            ("a price between two steps", Ticket("LMT", limit=100.001), 110,
             "The price does not conform to the minimum price variation for this contract.", "[ref] Message Codes"),
            ("no such order type", Ticket("FEELINGS"), 321,
             "Error validating request.-'v' : cause - Invalid order type was entered", "[rec] api_order_rejects_aapl"),
            ("an order type that the sandbox lacks", Ticket("STP"), 387,
             "Unsupported order type for this exchange and security type.", "[ref] Message Codes"),
            ("an order for nothing", Ticket("MKT", quantity=0), 434,
             "The order size cannot be zero.", "[ref] Message Codes"),
            ("an allocation", Ticket("MKT", group="Everyone"), 505,
             "Fatal Error: Unknown message id.", "[own] groups of accounts are not known here"),
            ("a child of no order", Ticket("MKT", "SELL", parent=7), 135,
             "Can't find order with id = 7", "[rec] users' threads"),
            ("an order beyond the account's means", Ticket("LMT", quantity=100_000, limit=100.0), 201,
             "Order rejected - reason:YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION YOUR EQUITY "
             "WITH LOAN VALUE [999500.00 USD] MUST EXCEED THE INITIAL MARGIN [5000000.00 USD]",
             "[rec] users' threads; [own] half a cent a share of commission"),
        ]
    ),
    refused(
        "an order for no known contract", order(1, Ticket("MKT"), Instrument("ZZZZNONE")), 200,
        "No security definition has been found for the request", "[rec] api_order_rejects_aapl",
    ),
    refused(
        "a rejected order", order(1, Ticket("MKT")), 201,
        "Order rejected - reason:Your account is not permitted to open positions.", "[ref] Message Codes, 201",
        scenario="order-rejected", never="openOrder",
    ),
    Row(
        "an order id twice",
        [order(1, Ticket("MKT")), order(1, Ticket("MKT"))],
        [error(1, 104, "Can't modify a filled order.")],
        "[ref] Message Codes",
    ),
    Row(
        "the id of a cancelled order",
        [order(1, Ticket("LMT", limit=100.0)), ("cancelOrder", 1), order(1, Ticket("MKT"))],
        [cancelled(1), error(1, 103, "Duplicate order id")],
        "[ref] Message Codes",
    ),
    Row(
        "cancelling a filled order",
        [order(1, Ticket("MKT")), ("cancelOrder", 1)],
        [error(1, 10148, "OrderId 1 that needs to be cancelled can not be cancelled, state: Filled.")],
        "[rec] users' threads",
    ),
    Row(
        "cancelling everything",
        [order(1, Ticket("LMT", limit=100.0)), order(2, Ticket("LMT", limit=101.0)), ("reqGlobalCancel",)],
        [cancelled(1), cancelled(2)],
        "[ref] reqGlobalCancel",
    ),
    Row(
        "open orders",
        [order(1, Ticket("LMT", limit=100.0)), ("reqOpenOrders",)],
        [
            opened(1, "LMT", "PreSubmitted"),
            opened(1, "LMT", "Submitted"),
            opened(1, "LMT", "Submitted"),
            ("openOrderEnd",),
        ],
        "[ref] reqOpenOrders",
    ),
    Row(
        "completed orders",
        [
            order(1, Ticket("MKT")),
            order(2, Ticket("LMT", limit=100.0)),
            ("cancelOrder", 2),
            ("reqCompletedOrders", False),
        ],
        [
            ("completedOrder", "SPY", "MKT", False, "Filled", ANY, ANY, "Filled Size: 10"),
            ("completedOrder", "SPY", "LMT", False, "Cancelled", ANY, ANY, "Cancelled by Trader"),
            ("completedOrdersEnd",),
        ],
        "[ref] reqCompletedOrders; [rec] the statuses",
    ),
    Row(
        "executions and their commissions",
        [order(1, Ticket("MKT")), order(2, Ticket("MKT", "SELL", 4)), ("reqExecutions", 6, Filter())],
        [
            ("execDetails", 6, "SPY", "BOT", 10.0, 7),
            ("execDetails", 6, "SPY", "SLD", 4.0, 7),
            ("execDetailsEnd", 6),
        ],
        "[ref] reqExecutions",
        only=6,
    ),
    Row(
        "some executions",
        [
            order(1, Ticket("MKT")),
            order(2, Ticket("MKT"), IBM),
            order(3, Ticket("MKT", "SELL", 1), IBM),
            ("reqExecutions", 6, Filter("IBM", "SELL")),
        ],
        [("execDetails", 6, "IBM", "SLD", 1.0, 7), ("execDetailsEnd", 6)],
        "[ref] ExecutionFilter",
        only=6,
    ),
    # a read-only API
    Row(
        "a read-only API refuses orders, and to read them",
        [
            order(1, Ticket("MKT")),
            ("reqOpenOrders",),
            ("reqCompletedOrders", False),
            ("reqIds", 1),
            ("reqExecutions", 6, Filter()),
        ],
        [
            error(1, 321, READ_ONLY),
            error(-1, 321, READ_ONLY),
            error(-1, 321, READ_ONLY),
            error(-1, 321, READ_ONLY),
            ("execDetailsEnd", 6),
        ],
        "[rec] req_ids, open_orders_empty and completed_orders; gnzsnz #267",
        scenario="read-only",
        never=("openOrder", "openOrderEnd", "completedOrdersEnd", "nextValidId"),
    ),
    Row(
        "what needs the broker's servers while they are out of reach",
        [quotes(5, SPY), ("reqManagedAccts",)],
        [error(5, 504, "Not connected"), ("managedAccounts", ACCOUNT)],
        "[ref] Message Codes, 504",
        scenario="connectivity-lost",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def place() -> Iterator[SimulatedGateway]:
    with simulated_gateway() as found:
        assert found.server is not None
        found.server.timing = Timing(tick=0.02, accounts=3600, snapshot=0.05)
        yield found


def clear(place: SimulatedGateway, scenario: str = "normal") -> None:
    """A market and an account as on the first day."""
    place.control.clear()

    async def work() -> None:
        place.broker.states["trader"].accounts.clear()

    place.run(work())
    place.control.scenario(scenario)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row(place: SimulatedGateway, kind: str, row: Row) -> None:
    clear(place, row.scenario)
    with connected(kind, place.api_port, readonly=row.scenario == "read-only") as client:
        fence(client)
        before = len(client.events)
        for request in row.requests:
            client.request(*request)
        names = {event[0] for event in row.seen} | set(row.never)

        def seen() -> list[Event]:
            found = [event for event in list(client.events[before:]) if event[0] in names]
            return found if row.only is None else [event for event in found if event[1] == row.only]

        wait_for(lambda: len(seen()) >= len(row.seen))
        fence(client)
        assert seen() == row.seen, row.source


def fence(client: ApiClient) -> None:
    """Waits until everything that was sent has been answered."""
    count = _times(client)
    client.request("reqCurrentTime")
    assert wait_for(lambda: _times(client) > count)


def _times(client: ApiClient) -> int:
    return sum(event[0] == "currentTime" for event in list(client.events))


# What takes two clients, a moment, or a connection of its own.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("readonly", [False, True])
def test_connects_and_is_told_who_and_what(place: SimulatedGateway, kind: str, readonly: bool) -> None:
    """The lower of both versions is used: ib_async ends at 178, ibapi offers up to 223."""
    clear(place)
    with connected(kind, place.api_port, readonly=readonly) as client:
        fence(client)
        assert client.server_version() == 178
        told = [event for event in client.events if event[0] in ("managedAccounts", "nextValidId", "error")]
        assert told == [
            ("managedAccounts", ACCOUNT),
            ("nextValidId", 1),
            error(-1, 2104, "Market data farm connection is OK:usfarm"),
            error(-1, 2106, "HMDS data farm connection is OK:ushmds"),
            error(-1, 2158, "Sec-def data farm connection is OK:secdefil"),
        ]


# Each version at which a field of these messages came or went (ibapi, server_versions.py), and the one before.
VERSIONS = (157, 158, 160, 162, 163, 164, 165, 166, 169, 170, 175, 176, 177, 178)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", VERSIONS)
def test_older_clients_are_spoken_to_in_their_version(place: SimulatedGateway, kind: str, version: int) -> None:
    """Messages whose fields depend on the version: a field too many or too few breaks a client's decoder."""
    clear(place)
    with connected(kind, place.api_port, newest=version) as client:
        assert client.server_version() == version
        client.request("reqContractDetails", 4, SPY)
        client.request(*order(1, Ticket("LMT", limit=300.0, what_if=True)))
        client.request(*order(2, Ticket("MKT")))
        client.request("reqExecutions", 6, Filter())
        client.request("reqCompletedOrders", False)
        client.request("reqMatchingSymbols", 3, "SP")
        fence(client)
        client.request("cancelMktData", 99)
        assert wait_for(lambda: error(99, 300, "Can't find EId with tickerId:99") in client.events)
        for event in [
            ("contractDetails", 4, 756733, "SPDR S&P 500 ETF TRUST", 0.01, "US/Eastern"),
            ("openOrder", 1, "SPY", "LMT", True, "PreSubmitted", "1500.00", "750.00", ""),
            opened(2, "MKT", "Filled"),
            ("execDetails", 6, "SPY", "BOT", 10.0, 7),
            ("completedOrder", "SPY", "MKT", False, "Filled", ANY, ANY, "Filled Size: 10"),
            ("symbolSamples", 3, 1),
        ]:
            assert event in client.events


@pytest.mark.parametrize("kind", KINDS)
def test_a_returning_client_is_sent_its_open_orders_first(place: SimulatedGateway, kind: str) -> None:
    """Recorded at gateways from 2026 on: api_reconnect_active_order_aapl."""
    clear(place)
    with connected(kind, place.api_port, 8) as client:
        client.request(*order(5, Ticket("LMT", limit=100.0)))
        fence(client)
    with connected(kind, place.api_port, 9) as other:
        fence(other)
        assert "openOrder" not in {event[0] for event in other.events}
    with connected(kind, place.api_port, 8) as client:
        fence(client)
        names = ("openOrder", "orderStatus", "openOrderEnd", "managedAccounts", "nextValidId")
        assert [event[:2] for event in client.events if event[0] in names][:5] == [
            ("openOrder", 5),
            ("orderStatus", 5),
            ("openOrderEnd",),
            ("managedAccounts", ACCOUNT),
            ("nextValidId", 6),
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_clients_hear_of_their_own_orders_and_the_master_of_all(kind: str) -> None:
    """[ref] Master Client ID. Client 0 is like any other, and nobody can cancel somebody else's order: [rec]
    api_client_id0_order_observation_aapl, api_cross_client_cancel_aapl."""
    with ExitStack() as stack:
        place = stack.enter_context(simulated_gateway(OverrideTwsMasterClientID="50"))
        master, owner, other = (stack.enter_context(connected(kind, place.api_port, number)) for number in (50, 8, 0))
        owner.request(*order(5, Ticket("LMT", limit=100.0)))
        owner.request(*order(6, Ticket("MKT")))
        fence(owner)
        other.request("cancelOrder", 5)
        other.request("reqOpenOrders")
        other.request("reqExecutions", 1, Filter())
        fence(other)
        assert "openOrder" not in {event[0] for event in other.events}
        assert "execDetails" not in {event[0] for event in other.events}
        assert error(5, 10147, "OrderId 5 that needs to be cancelled is not found.") in other.events
        other.request("reqAllOpenOrders")
        fence(other)
        assert [event[1] for event in other.events if event[0] == "openOrder"] == [5]
        fence(master)
        statuses = [event[1:3] for event in master.events if event[0] == "orderStatus"]
        assert [status for order_id, status in statuses if order_id == 6] == ["PreSubmitted", "Submitted", "Filled"]
        assert ("execDetails", -1, "SPY", "BOT", 10.0, 8) in master.events


@pytest.mark.parametrize("kind", KINDS)
def test_a_fill_reaches_those_who_watch_the_account(place: SimulatedGateway, kind: str) -> None:
    """[ref] reqPositions, reqAccountSummary and reqPnL: what has changed is sent again, unasked."""
    clear(place)
    with connected(kind, place.api_port, 7) as client:
        client.request("reqPositions")
        client.request("reqAccountSummary", 9, "All", "GrossPositionValue,AccountType")
        client.request("reqPnL", 10, ACCOUNT, "")
        fence(client)
        before = len(client.events)
        client.request(*order(1, Ticket("MKT")))
        client.request(*order(2, Ticket("MKT", "SELL")))
        fence(client)
        news = client.events[before:]
        assert [event[2:4] for event in news if event[0] == "position"] == [("SPY", 10.0), ("SPY", 0.0)]
        assert {event[3] for event in news if event[0] == "accountSummary"} == {"GrossPositionValue"}
        assert wait_for(lambda: any(event[0] == "pnl" and event[2] < 0 for event in client.events))


@pytest.mark.parametrize("kind", KINDS)
def test_an_order_is_filled_once_the_exchange_opens(place: SimulatedGateway, kind: str) -> None:
    """By the broker's clock: Saturday noon, then Monday 09:30 in New York."""
    clear(place, "market-hours")
    try:
        place.broker.clock.set(at=1_795_280_400.0)  # 2026-11-21 12:00 in New York
        with connected(kind, place.api_port) as client:
            client.request(*order(1, Ticket("MKT")))
            fence(client)
            told = [event[3] for event in client.events if event[0] == "error" and event[2] == 399]
            assert told == [
                "Order Message:\nBUY 10 SPY ARCA\nWarning: Your order will not be placed at the exchange until "
                "2026-11-23 09:30:00 US/Eastern."
            ]
            assert "execDetails" not in {event[0] for event in client.events}
            place.broker.clock.set(at=1_795_444_201.0)  # 2026-11-23 09:30:01
            assert wait_for(lambda: ("orderStatus", 1, "Filled", 10.0, 0.0) in client.events)
    finally:
        place.broker.clock.real()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("scenario", "line"),
    [
        ("farm-broken:definition", "API client 7: request 4 is left unanswered: the definition farm is broken"),
        ("api-half-open", "API client 7: reqContractDetails is left unanswered (half-open)"),
    ],
)
def test_what_is_left_unanswered_is_in_the_log(place: SimulatedGateway, kind: str, scenario: str, line: str) -> None:
    clear(place)
    place.log.clear()
    with connected(kind, place.api_port) as client:
        place.control.scenario(scenario)
        client.request("reqContractDetails", 4, SPY)
        fence(client)
        assert line in place.log
        assert not {"contractDetails", "contractDetailsEnd"} & {event[0] for event in client.events}


@pytest.mark.parametrize("kind", KINDS)
def test_quotes_go_on_streaming(place: SimulatedGateway, kind: str) -> None:
    clear(place)
    with connected(kind, place.api_port) as client:
        client.request(*quotes(5, SPY))
        assert wait_for(lambda: sum(event[:3] == ("tickPrice", 5, 4) for event in list(client.events)) > 1)


@pytest.mark.parametrize("kind", KINDS)
def test_streams_end_when_data_was_lost(place: SimulatedGateway, kind: str) -> None:
    """1100, then 1101: requests for market data have to be made again ([ref] System Message Codes)."""
    clear(place)
    with connected(kind, place.api_port) as client:
        client.request(*quotes(5, SPY))
        fence(client)
        place.control.scenario("connectivity-lost")
        place.control.scenario("connectivity-restored-data-lost")
        assert wait_for(lambda: {1100, 1101} <= {event[2] for event in list(client.events) if event[0] == "error"})
        client.request("cancelMktData", 5)
        assert wait_for(lambda: error(5, 300, "Can't find EId with tickerId:5") in client.events)


@pytest.mark.parametrize("kind", KINDS)
def test_requests_above_the_rate_wait(place: SimulatedGateway, kind: str) -> None:
    """The gateway's default: nothing is lost or rejected ([ref] Pacing Limitations)."""
    clear(place)
    with connected(kind, place.api_port) as client:
        fence(client)
        before = len(client.events)
        for number in range(80):
            client.request("reqMarketRule", 26 if number % 2 else 239)
        assert wait_for(lambda: len(client.events) - before >= 80)
        assert {event[0] for event in client.events[before:]} == {"marketRule"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", ["", "+PACEAPI"])
def test_requests_above_the_rate_are_rejected_where_the_gateway_is_set_so(
    kind: str, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Error 100, and at the third time the connection ends ([ref] Pacing Limitations; [rec] the text). Not for a client
    that asks for pacing."""
    if not options:
        # A busy machine does not send sixty messages in a second.
        monkeypatch.setattr(pacing, "WINDOW", 60.0)
    with simulated_gateway() as place, connected(kind, place.api_port, options=options) as client:
        fence(client)
        assert place.server is not None
        place.server.reject_over_rate = True
        before = len(client.events)
        for number in range(1, 61):
            client.request("reqAccountUpdatesMulti", number, ACCOUNT, "", False)

        def told(name: str) -> list[Event]:
            return [event for event in list(client.events[before:]) if event[0] == name]

        if options:
            assert wait_for(lambda: len(told("accountUpdateMultiEnd")) == 60)
            assert told("error") == []
            return
        assert wait_for(lambda: told("error"))
        ((_, request_id, code, text),) = told("error")
        assert (request_id > 0, code) == (True, 100)
        assert text.startswith("Max rate of messages per second has been exceeded:max=50 rec=")
        assert text.endswith(" (1)")
        assert client.connected()


@pytest.mark.parametrize("kind", KINDS)
def test_market_data_lines_are_shared_by_all_clients(
    place: SimulatedGateway, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred by default, here three ([ref] Market Data Lines; Message Codes, 101)."""
    clear(place)
    monkeypatch.setattr(market_requests, "LINES", 3)
    with connected(kind, place.api_port, 7) as client, connected(kind, place.api_port, 8) as other:
        for number in (1, 2):
            client.request(*quotes(number, SPY))
        fence(client)
        other.request(*quotes(1, SPY))
        other.request(*quotes(2, SPY))
        fence(other)
        assert [event for event in other.events if event[0] == "error" and event[1] > 0] == [
            error(2, 101, "Max number of tickers has been reached")
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_time_without_a_zone_is_the_gateways_own(
    place: SimulatedGateway, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2174, and never UTC ([rec] users' threads). Here the gateway's clock is New York's, five hours behind UTC."""
    clear(place)
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        with connected(kind, place.api_port) as client:
            fence(client)
            client.request(*bars(20, SPY, "1 hour", "TRADES", "20261120 13:00:00"))
            fence(client)
            assert ("historicalDataEnd", 20, HOURS[0], HOURS[3]) in client.events
            place.control.clock(at=1_795_203_000.0)  # 2026-11-20 14:30 in New York: today, where no date is given
            assert wait_for(lambda: abs(CLOCK.now() - 1_795_203_000.0) < 60)
            client.request(*bars(21, SPY, "1 hour", "TRADES", "13:00:00"))
            client.request(*order(1, Ticket("MKT")))
            client.request("reqExecutions", 22, Filter(since="20261120 14:29:00"))
            client.request("reqExecutions", 23, Filter(since="20261120 14:40:00"))
            client.request("reqExecutions", 24, Filter(since="20261120 14:29:00 EST"))
            fence(client)
            assert ("historicalDataEnd", 21, HOURS[0], HOURS[3]) in client.events
            assert [event[1] for event in client.events if event[0] == "execDetails" and event[1] > 0] == [22]
            assert error(24, 10314, WRONG_TIME) in client.events
            warned = [event for event in client.events if event[0] == "error" and event[2] == 2174]
            assert warned == [error(number, 2174, IMPLIED_ZONE) for number in (20, 21, 22, 23)]
    finally:
        monkeypatch.undo()
        time.tzset()
        place.control.clock(real=True)
        assert wait_for(lambda: abs(CLOCK.now() - time.time()) < 60)


TWO = User("trader", "right", (), ("DU1111111", "DU1111112"))
# The master is named last: the login is told of it first.
ADVISER = User("trader", "right", (), ("DU1111111", "DU1111112", "DF9999999"))


@pytest.mark.parametrize("kind", KINDS)
def test_account_updates_are_of_one_account_for_all_clients(kind: str) -> None:
    """[ref] Message Codes, 2100 and 2101; [rec] the text of 2101, which names the clients that are in the way."""
    with ExitStack() as stack:
        place = stack.enter_context(simulated_gateway(TWO))
        leaving = stack.enter_context(ExitStack())
        first, third = (
            stack.enter_context(connected(kind, place.api_port, number, readonly=True)) for number in (5, 7)
        )
        second = leaving.enter_context(connected(kind, place.api_port, 6, readonly=True))
        for client in (first, second, third):  # whatever they asked for when they connected
            client.request("reqAccountUpdates", False, "")
            fence(client)
            client.events.clear()

        def told(client: ApiClient) -> list[Event]:
            fence(client)
            names = ("error", "accountDownloadEnd")
            found = [event for event in client.events if event[0] in names]
            client.events.clear()
            return found

        first.request("reqAccountUpdates", True, "DU1111112")
        assert told(first) == [("accountDownloadEnd", "DU1111112")]
        in_the_way = "Unable subscribe to account as the following clients are subscribed to a different account."
        second.request("reqAccountUpdates", True, "DU1111111")
        assert told(second) == [error(-1, 2101, in_the_way + "{5}")]
        second.request("reqAccountUpdates", True, "DU1111112")
        assert told(second) == [("accountDownloadEnd", "DU1111112")]
        third.request("reqAccountUpdates", True, "")  # the first account
        assert told(third) == [error(-1, 2101, in_the_way + "{5, 6}")]
        # Who has a subscription is refused another account too, as long as somebody else shares the first.
        first.request("reqAccountUpdates", True, "DU1111111")
        assert told(first) == [error(-1, 2101, in_the_way + "{6}")]
        leaving.close()
        assert wait_for(lambda: place.server is not None and len(place.server.clients) == 2)
        first.request("reqAccountUpdates", True, "DU1111111")
        assert told(first) == [error(-1, 2100, UNSUBSCRIBED), ("accountDownloadEnd", "DU1111111")]
        third.request("reqAccountUpdates", True, "")
        assert told(third) == [("accountDownloadEnd", "DU1111111")]


@pytest.mark.parametrize("kind", KINDS)
def test_an_order_names_its_account_where_there_are_several(kind: str) -> None:
    """[rec] users' threads."""
    with simulated_gateway(TWO) as place, connected(kind, place.api_port) as client:
        client.request(*order(1, Ticket("MKT")))
        client.request(*order(2, Ticket("MKT", account="DU1111112")))
        fence(client)
        text = "Error validating request.-'v' : cause - You must specify an account."
        assert error(1, 321, text) in client.events
        assert ("orderStatus", 2, "Filled", 10.0, 0.0) in client.events


@pytest.mark.parametrize("kind", KINDS)
def test_an_advisers_orders_are_for_clients_accounts(kind: str) -> None:
    """[ref] Message Codes, 436; [rec] users' threads. What-if orders are orders in this. What the sandbox lacks of an
    adviser's means it refuses by name."""
    with simulated_gateway(ADVISER) as place, connected(kind, place.api_port) as client:
        assert ("managedAccounts", "DF9999999,DU1111111,DU1111112") in client.events
        client.request(*order(1, Ticket("MKT")))
        client.request(*order(2, Ticket("MKT", account="DF9999999")))
        client.request(*order(3, Ticket("LMT", limit=300.0, what_if=True, account="DF9999999")))
        client.request(*order(4, Ticket("LMT", limit=300.0, what_if=True, account="DU1111112")))
        client.request(*order(5, Ticket("MKT", account="DU1111112")))
        client.request(*order(6, Ticket("MKT", account="DF1")))
        client.request("requestFA", 1)
        fence(client)
        text = "You must specify an allocation (either a single account, group, or profile)."
        refused = [event for event in client.events if event[0] == "error" and event[2] in (436, 321, 505)]
        assert refused == [
            error(1, 436, text),
            error(2, 436, text),
            error(3, 436, text),
            error(6, 321, "Error validating request.-'v' : cause - Invalid account code"),
            error(-1, 505, "Fatal Error: Unknown message id."),
        ]
        assert ("openOrder", 4, "SPY", "LMT", True, "PreSubmitted", "1500.00", "750.00", "") in client.events
        assert ("orderStatus", 5, "Filled", 10.0, 0.0) in client.events
        assert "API client 7: requestFA of an adviser is not implemented" in place.log
