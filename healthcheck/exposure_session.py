"""Working orders and positions over the API: what the verifier's container runs for `healthcheck.exposure`.

A connection of its own, which may send three reading requests more than a verification's and no order at all.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from deployment.description import Gateway
from healthcheck.checks import client_ids
from healthcheck.exposure import Exposure
from healthcheck.session import Session, SessionFailure, Timeouts, Unanswered

T = TypeVar("T")


async def look(gateway: Gateway, timeouts: Timeouts | None = None) -> Exposure:
    """What is open, or why that cannot be read. Raises nothing that a gateway can cause."""
    session = Session(
        gateway.api.host, gateway.api.port, client_ids(gateway), what_if=False, exposure=True, timeouts=timeouts
    )
    async with session:
        try:
            await session.open()
        except SessionFailure as failure:
            return Exposure(gateway=gateway.name, unread=failure.seen)
        if not await session.ready():
            return Exposure(gateway=gateway.name, unread="the gateway is not logged in")
        positions, no_positions = await _told(session.positions)
        orders, no_orders = None, READ_ONLY
        if not gateway.read_only:
            orders, no_orders = await _told(session.working_orders)
    return Exposure(
        gateway=gateway.name,
        orders=None if orders is None else tuple(orders),
        positions=None if positions is None else tuple(positions),
        unread="; ".join(filter(None, (no_positions, no_orders))) or None,
    )


READ_ONLY = "working orders: not asked for, since the API is read-only, where that opens a dialog that nobody clicks"


async def _told(ask: Callable[[], Awaitable[T]]) -> tuple[T | None, str]:
    try:
        return await ask(), ""
    except (SessionFailure, Unanswered) as error:
        return None, str(error)
