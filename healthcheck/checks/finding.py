"""What a check gets and what it gives back."""

from dataclasses import dataclass, field

from pydantic import JsonValue

from contract.target import Gateway
from healthcheck.reasons import Reason
from healthcheck.session import Session


@dataclass
class Context:
    """The gateway, the connection, and what earlier checks learned."""

    gateway: Gateway
    session: Session
    price: float | None = None  # of the configured contract, for a limit far from the market


@dataclass(frozen=True)
class Finding:
    """`reason` is None for a pass; `note` goes behind the reason's remedy."""

    seen: str
    reason: Reason | None = None
    data: dict[str, JsonValue] = field(default_factory=dict)
    note: str = ""
