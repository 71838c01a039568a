"""Requests about contracts, market data and historical bars."""

import asyncio
import re
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from . import messages
from .clients import Api, Client, Stream
from .messages import Json
from .wire import Fields

LINES = 100  # market data lines of a user without booster packs, shared by all clients
TOO_MANY_LINES = (101, "Max number of tickers has been reached")
DUPLICATE = (322, "Error processing request.-'bQ' : cause - Duplicate ticker id")
NO_EXCHANGE = (321, "Error validating request.-'bQ' : cause - Please enter exchange")
NO_GENERIC_TICKS = (
    321,
    "Error validating request.-'bQ' : cause - Snapshot market data subscription is not applicable to generic ticks",
)
DELAYED = (3, 4)  # market data types
STOCK_RULE, PAIR_RULE = (26, 0.01), (239, 0.00005)  # market rules: number, smallest step of a price

# What the gateway says of a time that it cannot read (atreyuxtrading/atreyu-backtrader-api #14), and of one without a
# zone (pst-group/pysystemtrade #1028).
WRONG_TIME = (
    10314,
    "End Date/Time: The date, time, or time-zone entered is invalid. The correct format is yyyymmdd hh:mm:ss xx/xxxx "
    "where yyyymmdd and xx/xxxx are optional. E.g.: 20031126 15:59:00 US/Eastern  Note that there is a space between "
    "the date and time, and between the time and time-zone.  If no date is specified, current date is assumed. If no "
    "time-zone is specified, local time-zone is assumed(deprecated).  You can also provide yyyymmddd-hh:mm:ss time is "
    "in UTC. Note that there is a dash between the date and time in UTC notation.",
)
IMPLIED_ZONE = (
    2174,
    "Warning: You submitted request with date-time attributes without explicit time zone. Please switch to use "
    "yyyymmdd-hh:mm:ss in UTC or use instrument time zone, like US/Eastern. Implied time zone functionality will be "
    "removed in the next API release",
)

DAY = 86_400  # seconds
# What the gateway answers to any other size; some of those that it takes are missing in its list.
BAR_SIZES = {
    **{f"{number} secs": number for number in (1, 5, 10, 15, 30)},
    "1 min": 60,
    **{f"{number} mins": number * 60 for number in (2, 3, 5, 10, 15, 20, 30)},
    "1 hour": 3600,
    **{f"{number} hours": number * 3600 for number in (2, 3, 4, 8)},
    "1 day": DAY,
    "1W": 7 * DAY,
    "1M": 30 * DAY,
}
ALSO_TAKEN = {"1 week": 7 * DAY, "1 month": 30 * DAY}
WRONG_BAR_SIZE = (
    321,
    "Error validating request.-'bS' : cause - Historical data bar size setting is invalid. Legal ones are: "
    + ", ".join(BAR_SIZES),
)
# The longest span of a duration by its unit, and what it is called (wboayue/rust-ibapi #837 for seconds and days, tried
# on a paper gateway; ib-api-reloaded/ib_async #229; weeks and months as in deepentropy/ibx).
LONGEST = {"D": (365, "days"), "W": (52, "weeks"), "M": (12, "months")}
MOST_SECONDS = 86_400


class Refused(Exception):
    """A request that the gateway refuses: code and text of the error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


def _bars_refused(cause: str) -> Refused:
    return Refused(321, f"Error validating request.-'bS' : cause - {cause}")


class MarketRequests:
    def __init__(self, api: Api) -> None:
        self._api = api

    async def refresh(self) -> None:
        """Sends every stream's news. Raises LinkLost."""
        for client in list(self._api.clients):
            for request_id in list(client.streams):
                await self._look(client, request_id)

    # contracts

    async def contract_details(self, client: Client, fields: Fields) -> None:
        fields.skip(1)
        request_id = fields.integer()
        answer = await self._api.ask(client, request_id, "contract", contract=messages.read_contract(fields))
        if answer is not None:
            client.send(messages.contract_details(request_id, answer, client.version))
            client.send([52, 1, request_id])

    async def matching_symbols(self, client: Client, fields: Fields) -> None:
        request_id = fields.integer()
        answer = await self._api.ask(client, request_id, "matching", pattern=fields.text())
        if answer is not None:
            client.send(messages.symbol_samples(request_id, answer["contracts"], client.version))

    async def market_rule(self, client: Client, fields: Fields) -> None:
        wanted = fields.integer()
        rules = dict([STOCK_RULE, PAIR_RULE])
        if wanted in rules:
            client.send([93, wanted, 1, 0, rules[wanted]])
        else:
            client.error(-1, 321, "Error validating request.-'cQ' : cause - Invalid market rule id")

    # market data

    async def data_type(self, client: Client, fields: Fields) -> None:
        fields.skip(1)
        client.market_data_type = fields.integer()

    async def data(self, client: Client, fields: Fields) -> None:
        fields.skip(1)
        request_id = fields.integer()
        contract = messages.read_contract(fields)
        if contract["sec_type"] == "BAG":
            fields.skip(4 * fields.integer())
        if fields.flag():  # delta neutral contract
            fields.skip(3)
        generic_ticks, snapshot = fields.text(), fields.flag()
        if request_id in client.streams:
            client.error(request_id, *DUPLICATE)
        elif not contract["exchange"]:
            client.error(request_id, *NO_EXCHANGE)
        elif snapshot and generic_ticks:
            client.error(request_id, *NO_GENERIC_TICKS)
        elif sum(len(other.streams) for other in self._api.clients) >= LINES:
            client.error(request_id, *TOO_MANY_LINES)
        else:
            now = asyncio.get_running_loop().time()
            until = now + self._api.timing.snapshot if snapshot else None
            client.streams[request_id] = Stream(contract, until)
            await self._look(client, request_id)

    async def cancel_data(self, client: Client, fields: Fields) -> None:
        fields.skip(1)
        request_id = fields.integer()
        if client.streams.pop(request_id, None) is None:
            client.error(request_id, 300, f"Can't find EId with tickerId:{request_id}")

    async def _look(self, client: Client, request_id: int) -> None:
        stream = client.streams[request_id]
        if stream.asked:
            return  # what comes answers this too: an error must reach the client once
        stream.asked = True
        try:
            answer = await self._api.ask(
                client, request_id, "quote", contract=stream.contract, type=client.market_data_type
            )
        finally:
            stream.asked = False
        if client.streams.get(request_id) is not stream:
            return  # cancelled meanwhile
        if answer is None:
            del client.streams[request_id]
            return
        self._announce(client, request_id, stream, answer)
        rows = messages.ticks(request_id, answer["ticks"], delayed=answer["type"] in DELAYED) if answer["ticks"] else []
        for row in rows:
            if tuple(row) not in stream.sent:
                client.send(row)
        stream.sent = {tuple(row) for row in rows}
        if stream.until is not None and (rows or asyncio.get_running_loop().time() > stream.until):
            del client.streams[request_id]
            client.send([57, 1, request_id])

    def _announce(self, client: Client, request_id: int, stream: Stream, answer: Json) -> None:
        """Which type of market data comes, where that is new."""
        if stream.announced == answer["type"]:
            return
        if answer["warning"]:
            client.error(request_id, *answer["warning"])
        client.send([58, 1, request_id, answer["type"]])
        if stream.announced is None:
            client.send([81, request_id, 0.01, "9c0001", 3])
        stream.announced = answer["type"]

    # historical bars

    async def bars(self, client: Client, fields: Fields) -> None:
        request_id = fields.integer()
        contract = messages.read_contract(fields)
        fields.skip(1)  # includeExpired
        end, size, duration = fields.text(), fields.text(), fields.text()
        regular, what, as_seconds = fields.flag(), fields.text(), fields.integer() == 2
        if contract["sec_type"] == "BAG":
            fields.skip(4 * fields.integer())
        if fields.flag() or what == "SCHEDULE":
            self._api.refuse(client, request_id, "reqHistoricalData with keepUpToDate or SCHEDULE")
            return
        if not contract["exchange"]:
            client.error(request_id, *NO_EXCHANGE)
            return
        until = read_time(client, request_id, end, self._api.now())
        number, unit = span(duration)
        if what == "ADJUSTED_LAST" and until is not None:
            raise _bars_refused("End date not supported with adjusted last")
        seconds = (BAR_SIZES | ALSO_TAKEN).get(size)
        if seconds is None:
            client.error(request_id, *WRONG_BAR_SIZE)
            return
        answer = await self._api.ask(
            client,
            request_id,
            "bars",
            contract=contract,
            end=until,
            size=seconds,
            number=number,
            unit=unit,
            regular=regular,
            show=what,
        )
        if answer is not None:
            daily = bool(answer["daily"])
            client.send(messages.bars(request_id, answer["bars"], daily=daily, as_seconds=as_seconds))

    async def cancel_bars(self, client: Client, fields: Fields) -> None:
        """Too late always: bars are sent as soon as they are asked for."""
        fields.skip(1)
        request_id = fields.integer()
        client.error(request_id, 366, f"No historical data query found for ticker id:{request_id}")


def span(duration: str) -> tuple[int, str]:
    """`1 D` to its parts; seconds without a unit. Raises Refused for what the gateway does not take."""
    match = re.fullmatch(r"(\d+)(?: ([SDWMY]))?", duration)
    if match is None:
        raise _bars_refused(
            "When specifying a unit, historical data request duration format is integer{SPACE}unit (S|D|W|M|Y)."
        )
    number, unit = int(match[1]), match[2] or "S"
    if number == 0:
        raise _bars_refused("Historical data requested duration is invalid.")
    if unit == "S" and number > MOST_SECONDS:
        raise _bars_refused(f"Historical data request for greater than {MOST_SECONDS} seconds rejected.")
    longest, units = LONGEST.get(unit, (number, ""))
    if number > longest:
        requests = "requests" if unit == "D" else "request"
        raise _bars_refused(
            f"Historical data {requests} for durations longer than {longest} {units} must be made in years."
        )
    return number, unit


def read_time(client: Client, request_id: int, text: str, now: float) -> float | None:
    """The time of a request to seconds since the epoch; None where it has none.

    `20261123 14:30:00 US/Eastern`, or `20261123-14:30:00`, which is UTC; without a date, today. Without a zone it is
    the gateway's own, and the client is warned. Raises Refused for what the gateway does not take.
    """
    if not text:
        return None
    match = re.fullmatch(r"(?:(\d{8})([ -]))?(\d\d:\d\d:\d\d)(?: (\S+))?", text)
    if match is None or (match[2] == "-" and match[4]):
        raise Refused(*WRONG_TIME)
    zone = UTC if match[2] == "-" else _zone(match[4]) if match[4] else None
    day = match[1] or f"{datetime.fromtimestamp(now, zone):%Y%m%d}"
    try:
        found = datetime.strptime(f"{day} {match[3]}", "%Y%m%d %H:%M:%S").replace(tzinfo=zone).timestamp()
    except ValueError as problem:
        raise Refused(*WRONG_TIME) from problem
    if zone is None:
        client.error(request_id, *IMPLIED_ZONE)
    return found


def _zone(name: str) -> tzinfo:
    """UTC, or a zone with a place in its name, as the gateway asks for: `xx/xxxx`. GMT is refused
    (atreyuxtrading/atreyu-backtrader-api #14), and EST, which was its example once, with it. Raises Refused."""
    if name == "UTC":
        return UTC
    if name == messages.EXCHANGE_ZONE:  # a name that not every zone database has
        return messages.ZONE
    if "/" not in name:
        raise Refused(*WRONG_TIME)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as problem:
        raise Refused(*WRONG_TIME) from problem
