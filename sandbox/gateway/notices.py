"""Codes and texts of the API's messages that concern the connection, not one request.

Source: TWS API reference, Message Codes (system messages and warnings); the farm names are those of a US login.
"""

from typing import NamedTuple


class Notice(NamedTuple):
    code: int
    text: str


LOST = Notice(1100, "Connectivity between IBKR and Trader Workstation has been lost.")
RESTORED_DATA_LOST = Notice(
    1101,
    "Connectivity between IBKR and Trader Workstation has been restored - data lost. "
    "All data farms are connected: usfarm; ushmds; secdefil.",
)
RESTORED = Notice(
    1102,
    "Connectivity between IBKR and Trader Workstation has been restored - data maintained. "
    "All data farms are connected: usfarm; ushmds; secdefil.",
)
SERVER_BROKEN = Notice(
    2110, "Connectivity between Trader Workstation and server is broken. It will be restored automatically."
)
MARKET_FARM_BROKEN = Notice(2103, "Market data farm connection is broken:usfarm")
MARKET_FARM_OK = Notice(2104, "Market data farm connection is OK:usfarm")
HISTORY_FARM_BROKEN = Notice(2105, "HMDS data farm connection is broken:ushmds")
HISTORY_FARM_OK = Notice(2106, "HMDS data farm connection is OK:ushmds")
DEFINITION_FARM_BROKEN = Notice(2157, "Sec-def data farm connection is broken:secdefil")
DEFINITION_FARM_OK = Notice(2158, "Sec-def data farm connection is OK:secdefil")
# To the client whose subscription to account updates has ended: its own doing, or it asked for another account.
UNSUBSCRIBED = Notice(2100, "API client has been unsubscribed from account data.")
# To one request, not to all: what a session without live data of its own gets while another of the user has it.
COMPETING = Notice(10197, "No market data during competing live session")
