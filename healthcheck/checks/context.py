"""What a check over the API gets."""

from dataclasses import dataclass

from deployment.description import Gateway
from healthcheck.session import Session


@dataclass
class Context:
    """The gateway, the connection, and what earlier checks learned."""

    gateway: Gateway
    session: Session
    # Of the configured contract, for a limit far from the market.
    price: float | None = None
    tick: float = 0.01
    """The smallest step of its price."""
