"""What is open at IBKR under a gateway's login: working orders and positions, as a verifier's container tells them.

No check, and no part of a verification: asked for before something on live ends a session. What could not be read is
said and never counts as nothing.
"""

from collections.abc import Iterator, Sequence

from healthcheck.report import Model
from healthcheck.text import clean

COMMAND = "exposure"
"""Of `python -m healthcheck`."""

TOLD_AT_MOST = 20
"""Orders and positions of a gateway that are named one by one."""


class Order(Model):
    """A working order, as the API tells it."""

    account: str
    action: str
    quantity: float
    symbol: str
    kind: str
    status: str

    def __str__(self) -> str:
        return f"{self.action} {self.quantity:g} {self.symbol} {self.kind} {self.status}  {self.account}"


class Position(Model):
    account: str
    quantity: float
    symbol: str

    def __str__(self) -> str:
        return f"{self.quantity:+g} {self.symbol}  {self.account}"


class Exposure(Model):
    """Of one gateway. None for what could not be read; `unread`: why."""

    gateway: str
    orders: tuple[Order, ...] | None = None
    positions: tuple[Position, ...] | None = None
    unread: str | None = None

    def lines(self) -> Iterator[str]:
        """For people, without control characters, whatever the API sent."""
        yield f"{self.gateway}: {_count(self.orders, 'working order')}, {_count(self.positions, 'position')}"
        named = [*map(str, self.orders or ()), *map(str, self.positions or ())]
        yield from (f"  {clean(line)}" for line in named[:TOLD_AT_MOST])
        if len(named) > TOLD_AT_MOST:
            yield f"  and {len(named) - TOLD_AT_MOST} more"
        if self.unread is not None:
            yield f"  could not be read: {clean(self.unread)}"


def _count(listed: Sequence[Order] | Sequence[Position] | None, what: str) -> str:
    if listed is None:
        return f"{what}s unknown"
    return f"{len(listed)} {what}{'' if len(listed) == 1 else 's'}"
