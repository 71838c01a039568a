"""The lines that the verifier's container prints and the runner reads: one JSON object each."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from healthcheck.report import CheckResult, GatewayReport, Model


class ProgressEvent(Model):
    """An attempt failed and will be repeated."""

    event: Literal["progress"] = "progress"
    gateway: str
    elapsed_ms: int
    checks: tuple[CheckResult, ...]


class ReportEvent(Model):
    """The last line."""

    event: Literal["report"] = "report"
    report: GatewayReport


Event = Annotated[ProgressEvent | ReportEvent, Field(discriminator="event")]
EVENT: TypeAdapter[ProgressEvent | ReportEvent] = TypeAdapter(Event)
