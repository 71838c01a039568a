"""What the verifier may put on the wire, decided on the very bytes, whatever the code above believes.

A closed list of reading requests may leave. An order may leave only as a what-if, and only where the check of order
capability is on; nothing else that trades exists here. Text protocol only, as the session negotiates it (TWS API
reference, EClient; server versions below 201).
"""

from dataclasses import dataclass
from enum import IntEnum


class Outgoing(IntEnum):
    """The requests that the verifier makes (OUT of the TWS API reference)."""

    REQ_MKT_DATA = 1
    CANCEL_MKT_DATA = 2
    PLACE_ORDER = 3
    REQ_ACCOUNT_UPDATES = 6
    REQ_IDS = 8
    REQ_CONTRACT_DATA = 9
    REQ_MANAGED_ACCTS = 17
    REQ_CURRENT_TIME = 49
    REQ_MARKET_DATA_TYPE = 59
    REQ_ACCOUNT_SUMMARY = 62
    CANCEL_ACCOUNT_SUMMARY = 63
    START_API = 71
    REQ_ACCOUNT_UPDATES_MULTI = 76
    CANCEL_ACCOUNT_UPDATES_MULTI = 77
    REQ_ALL_OPEN_ORDERS = 16
    REQ_POSITIONS = 61
    CANCEL_POSITIONS = 64


EXPOSURE = frozenset({Outgoing.REQ_ALL_OPEN_ORDERS, Outgoing.REQ_POSITIONS, Outgoing.CANCEL_POSITIONS})
"""They change nothing. A verification has no use for them, and on a read-only API the first opens a dialog."""

READING = frozenset(Outgoing) - EXPOSURE - {Outgoing.PLACE_ORDER}

# Positions in a placeOrder message of a plain order (EClient.placeOrder). Before server version 177 one more field,
# faProfile, stands after faPercentage (41).
SEC_TYPE = 4
AFTER_FA_PERCENTAGE = 42
DELTA_NEUTRAL_ORDER_TYPE = 22
SCALE_PRICE_INCREMENT = 30
HEDGE_TYPE = 34
DELTA_NEUTRAL_CONTRACT = 39
ALGO_STRATEGY = 40
WHAT_IF = 42
FA_PROFILE_REMOVED = 177


class TradingRefused(Exception):
    """A message was not sent because it could trade. A bug above, never a verdict about a gateway."""


@dataclass
class WriteFilter:
    """Looks at every message before it is written. `what_if` allows orders that carry the what-if flag, `exposure`
    asking which orders work and what is held."""

    what_if: bool
    exposure: bool = False
    server_version: int = 0

    def check(self, data: bytes) -> None:
        """Raise TradingRefused unless every message in `data` may be sent."""
        rest = data
        if rest.startswith(b"API\0"):
            # The greeting: the marker and one message with the versions that we speak.
            rest = rest[4:]
            greeting, rest = _frame(rest)
            if not greeting.startswith(b"v") or b"\0" in greeting:
                raise TradingRefused("a greeting that is not a version range")
        while rest:
            message, rest = _frame(rest)
            self._check_message(message)

    def _check_message(self, message: bytes) -> None:
        fields = message.split(b"\0")[:-1]
        if not fields or not fields[0].isdigit():
            raise TradingRefused("a message without a readable id")
        number = int(fields[0])
        if number in READING or (self.exposure and number in EXPOSURE):
            return
        if number != Outgoing.PLACE_ORDER:
            raise TradingRefused(f"message {number} is not one that the verifier needs")
        if not self.what_if:
            raise TradingRefused("an order, where the order check is off")
        if not is_what_if(fields, self.server_version):
            raise TradingRefused("an order without the what-if flag")


def is_what_if(fields: list[bytes], server_version: int) -> bool:
    """True only for a plain order whose what-if flag is certainly set.

    Options that move the flag's place in the message (combinations, scales, hedges, algorithms, delta neutral orders)
    are never used here, so an order that carries one is refused rather than parsed.
    """
    start = AFTER_FA_PERCENTAGE + (1 if server_version < FA_PROFILE_REMOVED else 0)
    if len(fields) <= start + WHAT_IF or fields[SEC_TYPE] == b"BAG":
        return False
    plain = (
        fields[start + DELTA_NEUTRAL_ORDER_TYPE] == b""
        and fields[start + SCALE_PRICE_INCREMENT] == b""
        and fields[start + HEDGE_TYPE] == b""
        and fields[start + DELTA_NEUTRAL_CONTRACT] == b"0"
        and fields[start + ALGO_STRATEGY] == b""
    )
    return plain and fields[start + WHAT_IF] == b"1"


def _frame(data: bytes) -> tuple[bytes, bytes]:
    """One message without its length, and what follows it."""
    size = int.from_bytes(data[:4], "big")
    if len(data) < 4 + size or size == 0:
        raise TradingRefused("a message that is not whole")
    return data[4 : 4 + size], data[4 + size :]
