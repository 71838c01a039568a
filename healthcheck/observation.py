"""What a check gives back, whether it asked the API or Docker."""

from dataclasses import dataclass, field

from pydantic import JsonValue

from healthcheck.reasons import Reason


@dataclass(frozen=True)
class Observation:
    """`reason` is None for a pass; `note` goes behind the reason's remedy."""

    seen: str
    reason: Reason | None = None
    data: dict[str, JsonValue] = field(default_factory=dict)
    note: str = ""
