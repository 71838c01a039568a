"""Whether IBKR refuses an instrument to this user, or has none such, whatever is asked about it."""

import re
from datetime import UTC, datetime

from deployment.description import QuoteContract
from healthcheck.api_client import ApiError
from healthcheck.reasons import Reason

NO_CONTRACT = 200
"""No security definition has been found, or several (TWS API reference, Message Codes)."""

NOT_AVAILABLE = 203
"""The security is not available or allowed for this account (TWS API reference, Message Codes)."""

# IBKR has no code for it, and puts it into the text of others: without a key information document in his language a
# retail customer of the EU or the UK may not buy a packaged product (PRIIPs Regulation, 1286/2014).
NO_KID = re.compile(r"\bKIDs?\b|key information document|\bPRIIP", re.IGNORECASE)


def unknown(wanted: QuoteContract) -> Reason:
    """Why IBKR knows no such contract."""
    return Reason.CONTRACT_EXPIRED if wanted.is_over(datetime.now(UTC)) else Reason.CONTRACT_UNKNOWN


def not_permitted(error: ApiError) -> bool:
    return error.code == NOT_AVAILABLE or lacks_document(error.message)


def lacks_document(text: str) -> bool:
    return NO_KID.search(text) is not None
