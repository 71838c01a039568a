"""Every metric of ibgw's, a row each, and the text format that Prometheus reads. Pure.

`docs/metrics.md` is generated from the rows. A verdict is a state set: one series a possible value, 1 for the one that
holds.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol, get_args

from deployment.description import Mode
from deployment.tables import MIB
from deployment.trading import Hours, trading
from healthcheck.monitoring.handover import Farms, Seen, Supervised, Window
from healthcheck.observation import CheckName
from healthcheck.reasons import Reason
from healthcheck.report import Report
from healthcheck.verdict import CheckVerdict, GatewayVerdict

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

JOB = "ib_gateway"
"""Prometheus' label of whatever is told here."""
WHOSE = ("stack", "gateway", "mode")
"""The labels of whatever is told of one gateway."""

Whose = tuple[str, str, Mode]
"""Their values."""

UP = (GatewayVerdict.VERIFIED, GatewayVerdict.VERIFIED_WITH_WARNINGS)
"""The verdicts with which a trader could trade."""


class Type(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"


class Source(StrEnum):
    """Where a metric's value comes from."""

    CHECKS = "the checks"
    VERIFICATION = "a verification"
    PROBER = "the prober"
    SUPERVISOR = "the gateway's first process"
    WATCHER = "the watcher"


@dataclass(frozen=True)
class Metric:
    """`unit`: of its value, empty for a plain number or 0 and 1. `labels` begin with WHOSE, but for what is of no one
    gateway."""

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


def _row(
    name: str,
    source: Source,
    unit: str,
    meaning: str,
    *labels: str,
    type: Type = Type.GAUGE,
    whose: tuple[str, ...] = WHOSE,
) -> Metric:
    metric = Metric(name, type, unit, (*whose, *labels), meaning, source)
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


# --- what a prober sees ---------------------------------------------------------------------------------------------

_EPOCH = "seconds since the epoch"
_FRESH = _row(
    "ibgw_monitoring_fresh",
    Source.WATCHER,
    "",
    "1 while the prober hands over what it sees. At 0 nothing is known of any gateway, and no other metric is there.",
    whose=(),
)
_TRADING = _row(
    "ibgw_trading_hours",
    Source.WATCHER,
    "",
    "1 within the stack's trading hours (ibgw:tradingHours); exchanges' holidays are not known.",
    whose=("stack",),
)
_SINCE = _row("ibgw_gateway_verdict_since_timestamp_seconds", Source.PROBER, _EPOCH, "Since when the verdict holds.")
_LOOKED = _row("ibgw_gateway_looked_timestamp_seconds", Source.PROBER, _EPOCH, "When the prober last looked.")
_VERIFIED = _row(
    "ibgw_gateway_verified_timestamp_seconds", Source.PROBER, _EPOCH, "When all checks were last passed; 0 for never."
)
_SESSION = _row("ibgw_gateway_session", Source.PROBER, "", "1 while the gateway is logged in, with accounts.")
_CONNECTIVITY = _row(
    "ibgw_gateway_connectivity", Source.PROBER, "", "1 while the gateway has its connection to IBKR's servers."
)
_FARMS = _row("ibgw_gateway_farms_lost", Source.PROBER, "", "IBKR's data farms that the gateway has lost.", "kind")
_CLOCK = _row("ibgw_clock_offset_seconds", Source.PROBER, "seconds", "IBKR's clock less the Docker host's.")
_WINDOW = _row(
    "ibgw_gateway_window",
    Source.PROBER,
    "",
    "1 while it may be away with nobody at fault: for a planned restart, IBKR's reset, offline hours or a pause.",
    "window",
)
_NEXT = _row(
    "ibgw_gateway_next_planned_timestamp_seconds", Source.PROBER, _EPOCH, "The next planned restart or logoff.", "event"
)

_LAST_WEEKLY = _row(
    "ibgw_gateway_last_weekly_login_timestamp_seconds",
    Source.PROBER,
    _EPOCH,
    "When the week's full login was due last.",
)
_NEXT_WEEKLY = _row(
    "ibgw_gateway_next_weekly_login_timestamp_seconds", Source.PROBER, _EPOCH, "When the next one is due."
)
_IMAGE = _row(
    "ibgw_image_timestamp_seconds",
    Source.WATCHER,
    _EPOCH,
    "When the gateways' image was built, as it says itself; not there where it does not.",
    whose=("stack",),
)
_SECRET = _row(
    "ibgw_gateway_secret_timestamp_seconds",
    Source.WATCHER,
    _EPOCH,
    "When its secret's version was made, as deployed.",
)
_MEMORY_LIMIT = _row(
    "ibgw_gateway_memory_limit_mb",
    Source.PROBER,
    "MiB",
    "At which use the kernel ends the gateway, as deployed; not there for none.",
)
_DISK_SIZE = _row(
    "ibgw_host_disk_size_bytes", Source.PROBER, "bytes", "Size of the disk with containers' logs.", whose=("stack",)
)
_DISK_FREE = _row("ibgw_host_disk_free_bytes", Source.PROBER, "bytes", "Room that is left on it.", whose=("stack",))

# --- what only the inside of a gateway knows ------------------------------------------------------------------------

_MEMORY = _row("ib_gateway_memory_mb", Source.SUPERVISOR, "MiB", "Memory that the gateway's container uses.")
_HELD = _row(
    "ibgw_gateway_held", Source.SUPERVISOR, "", "1 while no login is made, by why: attempts, logins, pause, ...", "hold"
)
_ATTEMPTS = _row("ibgw_gateway_login_attempts", Source.SUPERVISOR, "", "Logins tried since the last that succeeded.")
_LIMIT = _row("ibgw_gateway_login_attempts_limit", Source.SUPERVISOR, "", "At how many of them no other is made.")
_LOGINS = _row(
    "ibgw_gateway_short_logins", Source.SUPERVISOR, "", "Full logins within an hour that ended by themselves."
)
_LOGIN = _row("ibgw_gateway_login_timestamp_seconds", Source.SUPERVISOR, _EPOCH, "When it logged in; 0 for not.")
_STARTED = _row("ibgw_gateway_started_timestamp_seconds", Source.SUPERVISOR, _EPOCH, "When its process started.")
_RESTARTS = _row(
    "ibgw_gateway_restarts_total",
    Source.SUPERVISOR,
    "",
    "Starts of its process since the prober began, but for the first.",
    type=Type.COUNTER,
)
_UNCLEAN = _row(
    "ibgw_gateway_unclean_timestamp_seconds",
    Source.SUPERVISOR,
    _EPOCH,
    "When it was started after a session that ended without a logout; 0 where the last start was not such a one.",
)
_HEALS = _row("ibgw_gateway_heals", Source.SUPERVISOR, "", "Restarts within a day that were to heal it.")
_FACTOR = _row(
    "ibgw_gateway_second_factor_timestamp_seconds",
    Source.SUPERVISOR,
    _EPOCH,
    "Since when a second factor is awaited; 0 while none is.",
)
_DUE = _row(
    "ibgw_gateway_last_planned_timestamp_seconds",
    Source.SUPERVISOR,
    _EPOCH,
    "When the last planned restart or logoff was due.",
)
_DONE = _row(
    "ibgw_gateway_last_planned_done_timestamp_seconds",
    Source.SUPERVISOR,
    _EPOCH,
    "When it took place; 0 for not.",
)
_STOPPED = _row(
    "ibgw_gateway_last_stop",
    Source.SUPERVISOR,
    "",
    "1 for how the session before this one ended; killed and stranded are without a logout.",
    "stop",
)
_CLIENTS = _row("ibgw_gateway_clients", Source.SUPERVISOR, "", "Connections of clients, the prober's among them.")
_EXPECTED = _row(
    "ibgw_gateway_clients_expected", Source.PROBER, "", "Clients that the stack's file declares for it (`clients`)."
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


def of_checks(whose: Whose, verdict: GatewayVerdict, checks: Iterable[Check]) -> Iterator[Sample]:
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


@dataclass(frozen=True)
class Configured:
    """What no look shows. `hours`: the stack's trading hours. `secrets_made`: when the version of each gateway's secret
    was, in seconds since the epoch. `image_made`: when their image was built, 0 where it does not say."""

    hours: Hours | None = None
    secrets_made: Mapping[str, float] = field(default_factory=dict)
    image_made: float = 0.0


def of_seen(seen: Seen | None, now: float, configured: Configured) -> Iterator[Sample]:
    """What a prober has handed over; None where that is too old to say anything. `now`: seconds since the epoch."""
    yield Sample(_FRESH, (), seen is not None and seen.fresh(now))
    if seen is None:
        return
    if configured.image_made:
        yield Sample(_IMAGE, (seen.stack,), configured.image_made)
    if configured.hours is not None:
        yield Sample(_TRADING, (seen.stack,), trading(configured.hours, datetime.fromtimestamp(now, UTC)))
    yield Sample(_DISK_SIZE, (seen.stack,), seen.disk.size)
    yield Sample(_DISK_FREE, (seen.stack,), seen.disk.free)
    for gateway in seen.gateways:
        whose = (seen.stack, gateway.gateway, gateway.mode)
        yield from of_checks(whose, gateway.verdict, gateway.checks)
        yield Sample(_SINCE, whose, gateway.since)
        yield Sample(_LOOKED, whose, gateway.looked)
        yield Sample(_VERIFIED, whose, gateway.verified)
        yield Sample(_SESSION, whose, gateway.session)
        yield Sample(_CONNECTIVITY, whose, gateway.connectivity)
        for kind in Farms.model_fields:
            yield Sample(_FARMS, (*whose, kind), getattr(gateway.farms, kind))
        if gateway.clock is not None:
            yield Sample(_CLOCK, whose, gateway.clock)
        for window in get_args(Window):
            yield Sample(_WINDOW, (*whose, window), window == gateway.window)
        if gateway.planned is not None:
            yield Sample(_NEXT, (*whose, gateway.planned.event), gateway.planned.at)
        if gateway.weekly is not None:
            yield Sample(_LAST_WEEKLY, whose, gateway.weekly.last)
            yield Sample(_NEXT_WEEKLY, whose, gateway.weekly.coming)
        if gateway.gateway in configured.secrets_made:
            yield Sample(_SECRET, whose, configured.secrets_made[gateway.gateway])
        if gateway.memory_limit:
            yield Sample(_MEMORY_LIMIT, whose, gateway.memory_limit)
        yield Sample(_EXPECTED, whose, gateway.expected)
        if gateway.supervised is not None:
            yield from _supervised(whose, gateway.supervised)


def _supervised(whose: Whose, told: Supervised) -> Iterator[Sample]:
    yield Sample(_MEMORY, whose, told.memory / MIB)
    yield Sample(_HELD, (*whose, told.hold), told.hold != "none")
    yield Sample(_ATTEMPTS, whose, told.attempts)
    yield Sample(_LIMIT, whose, told.limit)
    yield Sample(_LOGINS, whose, told.logins)
    yield Sample(_LOGIN, whose, told.login)
    yield Sample(_STARTED, whose, told.started)
    yield Sample(_RESTARTS, whose, told.restarts)
    yield Sample(_UNCLEAN, whose, told.unclean)
    yield Sample(_HEALS, whose, told.heals)
    yield Sample(_FACTOR, whose, told.factor)
    yield Sample(_DUE, whose, told.due)
    yield Sample(_DONE, whose, told.done)
    yield Sample(_STOPPED, (*whose, told.stopped), 1)
    yield Sample(_CLIENTS, whose, told.clients)


def registry(samples: Iterable[Sample]) -> "CollectorRegistry":
    """Them for prometheus_client; a metric without a sample is left out."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.core import Metric as Family
    from prometheus_client.registry import Collector

    kinds = {Type.GAUGE: GaugeMetricFamily, Type.COUNTER: CounterMetricFamily}
    families: dict[Metric, GaugeMetricFamily | CounterMetricFamily] = {}
    for metric, labels, value in samples:
        if metric not in families:
            families[metric] = kinds[metric.type](metric.name, metric.meaning, labels=metric.labels)
        families[metric].add_metric([*labels], float(value))

    class Told(Collector):
        def collect(self) -> Iterator[Family]:
            return iter(families.values())

    made = CollectorRegistry()
    made.register(Told())
    return made


def exposition(samples: Iterable[Sample]) -> str:
    """Prometheus' text format. Ends with a line's end."""
    from prometheus_client import generate_latest

    return generate_latest(registry(samples)).decode()


def documented() -> Iterator[str]:
    """The table of `docs/metrics.md`, a line each."""
    yield from ("| Metric | Type | Unit | Labels | Meaning | From |", "|---|---|---|---|---|---|")
    for metric in TABLE:
        labels = ", ".join(f"`{label}`" for label in metric.labels if label not in WHOSE)
        yield f"| `{metric.name}` | {metric.type} | {metric.unit} | {labels} | {metric.meaning} | {metric.source} |"
