"""The lines that the verifier's container prints and the runner reads: one JSON object each."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from healthcheck.probe import Answer
from healthcheck.report import CheckResult, GatewayReport, Model


class ProgressEvent(Model):
    """An attempt failed and will be repeated."""

    event: Literal["progress"] = "progress"
    gateway: str
    elapsed_ms: int
    checks: tuple[CheckResult, ...]


class ProbeEvent(Model):
    """After SIGUSR1: what answers at each gateway's client port, by the gateway's name and its address at present."""

    event: Literal["probe"] = "probe"
    answers: dict[str, dict[str, Answer]]


class ReportEvent(Model):
    """The last line of a gateway."""

    event: Literal["report"] = "report"
    report: GatewayReport


Event = Annotated[ProgressEvent | ProbeEvent | ReportEvent, Field(discriminator="event")]
EVENT: TypeAdapter[ProgressEvent | ProbeEvent | ReportEvent] = TypeAdapter(Event)
