"""What a check over the API gets."""

from dataclasses import dataclass

from deployment.description import Gateway
from healthcheck.session import Session


@dataclass
class Context:
    """The gateway, the connection, and what earlier checks learned."""

    gateway: Gateway
    session: Session
    price: float | None = None  # of the configured contract, for a limit far from the market
