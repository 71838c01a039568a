"""Every metric of ibgw's, a row each, and the text format that Prometheus reads. Pure.

`docs/metrics.md` is generated from the rows. A verdict is a state set: one series a possible value, 1 for the one that
holds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from deployment.description import Mode
from healthcheck.observation import CheckName
from healthcheck.reasons import Reason
from healthcheck.report import Report
from healthcheck.verdict import CheckVerdict, GatewayVerdict

WHOSE = ("stack", "gateway", "mode")
"""The labels of whatever is told of one gateway."""

UP = (GatewayVerdict.VERIFIED, GatewayVerdict.VERIFIED_WITH_WARNINGS)
"""The verdicts with which a trader could trade."""


class Type(StrEnum):
    GAUGE = "gauge"


class Source(StrEnum):
    """Where a metric's value comes from."""

    CHECKS = "the checks"
    VERIFICATION = "a verification"


@dataclass(frozen=True)
class Metric:
    """`unit`: of its value, empty for a plain number or 0 and 1. `labels` come behind WHOSE."""

    name: str
    type: Type
    unit: str
    labels: tuple[str, ...]
    meaning: str
    source: Source


class Sample(NamedTuple):
    """`labels`: the values, in the order of the metric's."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


TABLE: list[Metric] = []
"""In the order of `docs/metrics.md`."""


def _row(name: str, source: Source, unit: str, meaning: str, *labels: str, type: Type = Type.GAUGE) -> Metric:
    metric = Metric(name, type, unit, (*WHOSE, *labels), meaning, source)
    TABLE.append(metric)
    return metric


# --- what the checks say, in a verification and while a stack is watched --------------------------------------------

_UP = _row("ib_gateway_up", Source.CHECKS, "", "1 while a trader could trade: the verdict is verified.")
_VERDICT = _row(
    "ibgw_gateway_verdict", Source.CHECKS, "", "Verdict of the gateway, 1 for the one that holds.", "verdict"
)
_CHECK = _row(
    "ibgw_check_verdict", Source.CHECKS, "", "Verdict of each check, 1 for the one that holds.", "check", "verdict"
)
_REASON = _row(
    "ibgw_check_reason", Source.CHECKS, "", "1 for the reason for which a check did not pass.", "check", "reason"
)
_CHECK_TIME = _row("ibgw_check_duration_seconds", Source.CHECKS, "seconds", "Time that a check took.", "check")

# --- a verification's own -------------------------------------------------------------------------------------------

_TIME = _row(
    "ibgw_verification_duration_seconds",
    Source.VERIFICATION,
    "seconds",
    "Time that the last attempt's checks took.",
)
_WAITED = _row(
    "ibgw_verification_waited_seconds",
    Source.VERIFICATION,
    "seconds",
    "Time that passed until the last attempt began.",
)
_WHEN = _row(
    "ibgw_verification_timestamp_seconds",
    Source.VERIFICATION,
    "seconds since the epoch",
    "When the last attempt began.",
)


class Check(Protocol):
    """A check with its verdict, as a report has it, or whoever else judges."""

    @property
    def name(self) -> CheckName: ...
    @property
    def verdict(self) -> CheckVerdict: ...
    @property
    def reason(self) -> Reason | None: ...
    @property
    def duration_ms(self) -> int: ...


def of_checks(whose: tuple[str, str, Mode], verdict: GatewayVerdict, checks: Iterable[Check]) -> Iterator[Sample]:
    """`whose`: the values of WHOSE."""
    yield Sample(_UP, whose, verdict in UP)
    for known in GatewayVerdict:
        yield Sample(_VERDICT, (*whose, known), known is verdict)
    for check in checks:
        for state in CheckVerdict:
            yield Sample(_CHECK, (*whose, check.name, state), state is check.verdict)
        if check.reason is not None:
            yield Sample(_REASON, (*whose, check.name, check.reason), 1)
        yield Sample(_CHECK_TIME, (*whose, check.name), check.duration_ms / 1000)


def of_report(report: Report) -> Iterator[Sample]:
    """What a verification found."""
    for gateway in report.gateways:
        whose = (report.stack, gateway.gateway, gateway.mode)
        yield from of_checks(whose, gateway.verdict, gateway.checks)
        yield Sample(_TIME, whose, gateway.duration_ms / 1000)
        yield Sample(_WAITED, whose, gateway.waited_ms / 1000)
        yield Sample(_WHEN, whose, datetime.fromisoformat(gateway.started_at).timestamp())


def exposition(samples: Iterable[Sample]) -> str:
    """Prometheus' text format; a metric without a sample is left out. Ends with a line's end."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.core import Metric as Family
    from prometheus_client.registry import Collector

    families: dict[Metric, GaugeMetricFamily] = {}
    for metric, labels, value in samples:
        if metric not in families:
            families[metric] = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
        families[metric].add_metric([*labels], float(value))

    class Told(Collector):
        def collect(self) -> Iterator[Family]:
            return iter(families.values())

    registry = CollectorRegistry()
    registry.register(Told())
    return generate_latest(registry).decode()


def documented() -> Iterator[str]:
    """The table of `docs/metrics.md`, a line each."""
    yield from ("| Metric | Type | Unit | Labels | Meaning | From |", "|---|---|---|---|---|---|")
    for metric in TABLE:
        labels = ", ".join(f"`{label}`" for label in metric.labels if label not in WHOSE)
        yield f"| `{metric.name}` | {metric.type} | {metric.unit} | {labels} | {metric.meaning} | {metric.source} |"
