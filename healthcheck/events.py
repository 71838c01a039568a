"""The lines that the verifier's container prints: one JSON object each.

For `ibgw verify`, which judges, an `AttemptEvent` after each attempt. For whoever runs `python -m healthcheck verify`
by hand, progress and a report, judged there by the same rules.
"""

import json
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from healthcheck.observation import Attempt
from healthcheck.report import CheckResult, GatewayReport, Model


class AttemptEvent(Model):
    event: Literal["attempt"] = "attempt"
    attempt: Attempt


class ProgressEvent(Model):
    """An attempt failed and will be repeated."""

    event: Literal["progress"] = "progress"
    gateway: str
    elapsed_ms: int
    checks: tuple[CheckResult, ...]


class ReportEvent(Model):
    """The last line of a gateway."""

    event: Literal["report"] = "report"
    report: GatewayReport


Event = AttemptEvent | ProgressEvent | ReportEvent
EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
_ATTEMPT = TypeAdapter(Attempt)


def read_attempt(line: str | bytes) -> Attempt:
    """What a line of the verifier's tells. Raises ValueError where it is none.

    The image is the one that the stack was deployed with, which may be an earlier version's: that prints progress and a
    report for us as well. What it saw counts, and not what it made of that.
    """
    match json.loads(line):
        case {"event": "attempt", "attempt": attempt}:
            return _ATTEMPT.validate_python(attempt)
        case {"event": "progress", "gateway": gateway, "checks": checks, "elapsed_ms": waited}:
            fields = {"gateway": gateway, "checks": checks, "waited_ms": waited, "started_at": "", "duration_ms": 0}
            return _ATTEMPT.validate_python(fields | {"last": False})
        case {"event": "report", "report": dict(report)}:
            return _ATTEMPT.validate_python(report | {"last": True})
    raise ValueError("no event")
