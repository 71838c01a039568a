"""What was seen of a gateway, over the API and in Docker. What follows from it is `healthcheck.verdict`'s business."""

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import JsonValue

from healthcheck.reasons import Reason, Retry

HELD = "held"
"""In an observation's data: the gateway holds back until somebody does something."""

UNTIL = "until"
"""There too: when that ends by itself, as `timestamp` writes it."""

STRANGERS = "attached_strangers"
"""In the data of an isolation check: the names of those who are attached to the api network still and not declared."""

SHARING = "sharing"
"""There too: the names of those who have what is the gateway's own."""


class CheckName(StrEnum):
    """In the order in which they run and are shown."""

    REACHABLE = "reachable"
    CONNECTED = "connected"
    AUTHENTICATED = "authenticated"
    ACCOUNT_ACCESS = "account_access"
    MARKET_DATA = "market_data"
    ORDER_CAPABILITY = "order_capability"
    ISOLATION = "isolation"
    HYGIENE = "hygiene"


_SESSION = (CheckName.REACHABLE, CheckName.CONNECTED, CheckName.AUTHENTICATED)

NEEDS: dict[CheckName, tuple[CheckName, ...]] = {
    CheckName.REACHABLE: (),
    CheckName.CONNECTED: (CheckName.REACHABLE,),
    CheckName.AUTHENTICATED: (CheckName.REACHABLE, CheckName.CONNECTED),
    CheckName.ACCOUNT_ACCESS: _SESSION,
    CheckName.MARKET_DATA: _SESSION,
    CheckName.ORDER_CAPABILITY: (*_SESSION, CheckName.ACCOUNT_ACCESS),
}
"""The checks over the API, in their order; each runs only after a pass or a warning of all that it needs. What is left
of CheckName looks at Docker."""


@dataclass(frozen=True)
class Observation:
    """`reason` is None for a pass; `note` goes behind its remedy. `because`: what led to it, to be put right first.
    `retry`: how the gateway is had to log in once more."""

    seen: str
    reason: Reason | None = None
    data: dict[str, JsonValue] = field(default_factory=dict)
    note: str = ""
    because: Reason | None = None
    retry: Retry = Retry.RESTART

    def by(self, name: CheckName, duration_ms: int = 0) -> "CheckObservation":
        own = {field.name: getattr(self, field.name) for field in fields(Observation)}
        return CheckObservation(**own, name=name, duration_ms=duration_ms)


@dataclass(frozen=True, kw_only=True)
class CheckObservation(Observation):
    """What a check saw, or why it was not run. `skipped_because`: the check before it that did not pass."""

    name: CheckName
    skipped_because: CheckName | None = None
    duration_ms: int = 0


def skipped(name: CheckName, because: CheckName) -> CheckObservation:
    return CheckObservation(f"not run, since {because} did not pass", name=name, skipped_because=because)


@dataclass(frozen=True)
class Attempt:
    """The checks of a gateway, each at most once. `last`: no other attempt follows.

    `waited_ms` passed until it began, at `started_at`; `duration_ms` is its own time.
    """

    gateway: str
    started_at: str
    waited_ms: int
    duration_ms: int
    last: bool
    checks: tuple[CheckObservation, ...]


def timestamp(moment: datetime) -> str:
    """UTC, whole seconds, as every time in observations and reports is written."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
