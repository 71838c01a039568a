"""Every alert, a row each: when it fires, whom it wakes, what it means and what it makes superfluous. Pure.

`python -m monitoring` renders them. An expression asks for the watcher's metrics (docs/metrics.md), under the job
`ib_gateway`, and leaves out a gateway in a planned window or a pause.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from healthcheck.monitoring import metrics
from healthcheck.reasons import Reason

JOB = f'job="{metrics.JOB}"'
GATEWAY = "stack, gateway, mode"
"""The labels that an alert about one gateway has."""

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

SECRET_DAYS = 90
"""As `ibgw credentials check` has it."""
IMAGE_DAYS = 180
"""A new version of IBKR's program comes about each month, and old ones are refused one day."""
MEMORY_MB = 2048
MEMORY_SHARE = 0.85
"""Of the container's limit: the default one is lower than MEMORY_MB."""


class Severity(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


SEVERITIES: Mapping[Severity, str] = {
    Severity.CRITICAL: "wake somebody: no trader can trade, or money is at risk",
    Severity.WARNING: "look at it today",
    Severity.INFO: "to know; wakes nobody",
}


@dataclass(frozen=True)
class Alert:
    """`lasts`: for how long the condition holds before it fires. `silences`: alerts about the same gateway that follow
    from it (of the same stack where it is about a stack). `impact`, `first`, `stop`: for the runbook: what it means for
    a trader, the first command, and at which point to stop and leave it to a person or to time."""

    name: str
    severity: Severity
    expression: str
    summary: str
    impact: str
    first: str
    stop: str
    lasts: timedelta = timedelta()
    silences: tuple[str, ...] = ()
    same: tuple[str, ...] = ("stack", "gateway")


def _reasons(*reasons: Reason, check: str = "") -> str:
    """Gateways with one of these reasons, once for each reason: several checks may give the same."""
    check = f'check="{check}",' if check else ""
    return f'max by ({GATEWAY}, reason) (ibgw_check_reason{{{JOB},{check}reason=~"{"|".join(reasons)}"}}) == 1'


def of_gateway(metric: str, labels: str = "") -> str:
    """A metric of the watcher's by gateway, without the labels that a scrape adds."""
    return f"max by ({GATEWAY}) ({metric}{{{JOB}{labels and f',{labels}'}}})"


def outside(expression: str) -> str:
    """But for gateways that may be away with nobody at fault."""
    return f'({expression}) unless on (stack, gateway) ibgw_gateway_window{{{JOB},window!="none"}} == 1'


_DOWN = outside(f"{of_gateway('ib_gateway_up')} == 0")

_MEMORY, _LIMIT = of_gateway("ib_gateway_memory_mb"), of_gateway("ibgw_gateway_memory_limit_mb")

DOWN = "IBGatewayDown"
MARKET_DATA = "IBGatewayMarketDataDegraded"
GUARD_HOLDS = "IBGatewayGuardHolds"
LOGIN_FAILED = "IBGatewayLoginFailed"
COMPETING = "IBGatewayCompetingSession"
FACTOR = "IBGatewaySecondFactorPending"
CONNECTIVITY = "IBGatewayConnectivityLost"
RESTART_MISSED = "IBGatewayPlannedRestartMissed"
WEDGED = "IBGatewayWedged"
LOOP = "IBGatewayRestartLoop"
MEMORY_TREND = "IBGatewayMemoryTrend"
WEEKLY_MISSED = "IBGatewayWeeklyLoginMissed"

_LOGS = "ibgw logs --stack STACK --gateway GATEWAY"
_DOCTOR = "ibgw doctor --stack STACK --gateway GATEWAY"
_STATUS = "ibgw status --stack STACK"
_VERIFY = "ibgw verify --stack STACK --gateway GATEWAY"

ALERTS: tuple[Alert, ...] = (
    Alert(
        DOWN,
        Severity.CRITICAL,
        _DOWN,
        "No trader can trade through {{ $labels.gateway }} of {{ $labels.stack }}",
        "Bots get no answer or no session; open orders stay at IBKR and cannot be changed from here.",
        _DOCTOR,
        "Where the report names a second factor, a password or another session, stop: a restart does not help, and "
        "each one is another attempt to log in.",
        lasts=2 * MINUTE,
        silences=(MARKET_DATA,),
    ),
    Alert(
        "IBGatewayFleetDown",
        Severity.CRITICAL,
        f"(count by (stack) ({_DOWN}) >= 2)"
        f" and (count by (stack) ({_DOWN}) >= 0.5 * count by (stack) ({of_gateway('ib_gateway_up')}))",
        "Half of the gateways of {{ $labels.stack }} or more are down: look for one cause",
        "The Docker host, its way out or IBKR itself is at fault, rather than each gateway.",
        _STATUS,
        "Where IBKR's system status page tells of a fault, stop: they come back by themselves.",
        # Before what it silences, though the prober sees the one gateway up to an interval after the other.
        lasts=MINUTE / 2,
        silences=(DOWN, CONNECTIVITY, LOGIN_FAILED, GUARD_HOLDS, COMPETING, WEDGED, LOOP, RESTART_MISSED, MARKET_DATA),
        same=("stack",),
    ),
    Alert(
        LOGIN_FAILED,
        Severity.CRITICAL,
        _reasons(
            Reason.LOGIN_FAILED, Reason.LOGIN_ERROR, Reason.LOGIN_ENDED, Reason.LOCKED_OUT, Reason.TOKEN_REFUSED,
            Reason.VERSION_REFUSED, Reason.DIALOG_BLOCKING, Reason.SECOND_FACTOR_DENIED, Reason.SECOND_FACTOR_TIMEOUT,
            Reason.SECOND_FACTOR_CODE, Reason.SECOND_FACTOR_DEVICE, Reason.SECOND_FACTOR_UNTYPED,
            Reason.SECOND_FACTOR_HELD,
        ),
        "{{ $labels.gateway }} of {{ $labels.stack }} could not log in: {{ $labels.reason }}",
        "The gateway has no session. It tries a limited number of times, and then holds.",
        _LOGS,
        "Never try passwords: after the attempts that are left the user is locked out at IBKR.",
        lasts=MINUTE,
        silences=(DOWN, LOOP, MARKET_DATA, WEEKLY_MISSED),
    ),
    Alert(
        GUARD_HOLDS,
        Severity.CRITICAL,
        f"max by ({GATEWAY}, hold) (ibgw_gateway_held{{{JOB},"
        'hold=~"attempts|logins|volume|unwritable|automation"}) == 1',
        "{{ $labels.gateway }} of {{ $labels.stack }} makes no login any more: {{ $labels.hold }}",
        "Its start guard holds it, so that the user is not locked out; it stays down until somebody acts.",
        _DOCTOR,
        "Do not have it log in again before the cause is put right: the guard has counted to its limit.",
        lasts=MINUTE,
        silences=(DOWN, LOGIN_FAILED, LOOP, MARKET_DATA, WEEKLY_MISSED),
    ),
    Alert(
        FACTOR,
        Severity.CRITICAL,
        f"{of_gateway('ibgw_gateway_second_factor_timestamp_seconds')} > 0",
        "Approve the login of {{ $labels.gateway }} of {{ $labels.stack }} in IBKR Mobile, within three minutes",
        "The gateway waits for a person; without one the login ends, and counts as an attempt.",
        _STATUS,
        "Where you did not expect a login, deny it and ask who restarted the gateway.",
        silences=(DOWN, MARKET_DATA, WEEKLY_MISSED),
    ),
    Alert(
        WEDGED,
        Severity.CRITICAL,
        outside(_reasons(Reason.WEDGED, Reason.HALF_OPEN, Reason.TOO_SLOW, Reason.START_STUCK)),
        "{{ $labels.gateway }} of {{ $labels.stack }} takes connections and does not answer: {{ $labels.reason }}",
        "Bots hang rather than fail. The gateway restarts itself once if it may (session.heal).",
        _DOCTOR,
        "After one restart that did not help, stop, keep the logs, and look at the host's load and memory.",
        lasts=MINUTE,
        silences=(DOWN, MARKET_DATA),
    ),
    Alert(
        COMPETING,
        Severity.CRITICAL,
        _reasons(Reason.COMPETING_SESSION, Reason.SESSION_TAKEN_OVER),
        "Somebody else is logged in as the user of {{ $labels.gateway }} of {{ $labels.stack }}",
        "IBKR allows one session a user. This gateway gave way, and stays logged out while the other one lasts.",
        _DOCTOR,
        "Do not take the session back by force: the other one may be a person who is closing a position.",
        lasts=MINUTE,
        silences=(DOWN, LOGIN_FAILED, GUARD_HOLDS, MARKET_DATA, WEEKLY_MISSED),
    ),
    Alert(
        "IBGatewayWrongAccount",
        Severity.CRITICAL,
        _reasons(Reason.WRONG_ACCOUNT, Reason.ACCOUNT_KIND_MISMATCH, Reason.ACCOUNT_MISSING),
        "{{ $labels.gateway }} of {{ $labels.stack }} is or was in an account that it must not be in",
        "Orders would reach another account than the one that is meant.",
        "ibgw stop --stack STACK --gateway GATEWAY",
        "Stop bots first. Start nothing again before the secret's user is known to be the right one.",
        silences=(DOWN, LOGIN_FAILED, GUARD_HOLDS, MARKET_DATA, WEEKLY_MISSED),
    ),
    Alert(
        "IBGatewayStranger",
        Severity.CRITICAL,
        # Only a verification sees Docker, so these come by whatever job collects its file.
        f"max by ({GATEWAY}, reason) (ibgw_check_reason{{"
        f'check="isolation",reason=~"{Reason.UNDECLARED_CLIENT}|{Reason.GATEWAY_SHARED}|{Reason.EXPOSED}"}}) == 1',
        "Somebody who is not declared can reach the API of {{ $labels.gateway }} of {{ $labels.stack }}",
        "The API asks for no password: whoever is attached can trade.",
        _VERIFY,
        "Where nobody knows whose it is, detach it and stop the gateway; look at what it did before anything else.",
    ),
    Alert(
        MARKET_DATA,
        Severity.WARNING,
        outside(
            f"max by ({GATEWAY}) ("
            + _reasons(
                Reason.COMPETING_MARKET_DATA, Reason.FARM_BROKEN, Reason.NO_QUOTE, Reason.DATA_LINES_USED,
                check="market_data",
            )
            + f" or ibgw_gateway_farms_lost{{{JOB}}} > 0)"
        ),
        "Market data of {{ $labels.gateway }} of {{ $labels.stack }} is degraded",
        "Orders and accounts work; prices are missing or old, and a bot may decide by them.",
        _VERIFY,
        "Where IBKR's system status page tells of a fault of its data farms, stop and wait.",
        lasts=5 * MINUTE,
    ),
    Alert(
        CONNECTIVITY,
        Severity.CRITICAL,
        outside(_reasons(Reason.CONNECTIVITY_LOST, Reason.SERVER_UNREACHABLE, Reason.SYSTEM_UNAVAILABLE)),
        "{{ $labels.gateway }} of {{ $labels.stack }} has lost IBKR, outside of the hours of its resets",
        "The API answers and no order gets through.",
        _DOCTOR,
        "Do not restart it: it connects again by itself, and a restart costs a login.",
        lasts=MINUTE,
        silences=(DOWN, MARKET_DATA),
    ),
    Alert(
        RESTART_MISSED,
        Severity.WARNING,
        f"({of_gateway('ibgw_gateway_last_planned_timestamp_seconds')}"
        f" > {of_gateway('ibgw_gateway_last_planned_done_timestamp_seconds')})"
        f" and (time() - {of_gateway('ibgw_gateway_last_planned_timestamp_seconds')} > 900)",
        "The planned restart of {{ $labels.gateway }} of {{ $labels.stack }} did not happen",
        "A gateway that does not restart each day loses its session when IBKR ends it.",
        _VERIFY,
        "Restart it by hand once, outside of the trading hours; where it misses the next one too, read its logs.",
    ),
    Alert(
        LOOP,
        Severity.CRITICAL,
        f"(sum by ({GATEWAY}) (increase(ibgw_gateway_restarts_total{{{JOB}}}[1h])) > 2.5)"
        f" or ({of_gateway('ibgw_gateway_short_logins')} >= 3)",
        "{{ $labels.gateway }} of {{ $labels.stack }} starts again and again",
        "Each start may be a login, and IBKR locks a user that logs in too often.",
        _LOGS,
        "Stop the gateway where the cause is not found at once.",
        silences=(DOWN,),
    ),
    Alert(
        "IBGatewayNoClient",
        Severity.WARNING,
        # An average, since a verification is a client for some seconds. One of them is the prober.
        f"(max by ({GATEWAY}) (avg_over_time(ibgw_gateway_clients{{{JOB}}}[15m])) < 1.5)"
        f" and ({of_gateway('ibgw_gateway_clients_expected')} > 0)"
        f" and (min by ({GATEWAY}) (min_over_time(ib_gateway_up{{{JOB}}}[15m])) == 1)"
        f" and on (stack) (min by (stack) (min_over_time(ibgw_trading_hours{{{JOB}}}[15m])) == 1)",
        "No client of {{ $labels.gateway }} of {{ $labels.stack }} has been connected for 15 minutes of trading hours",
        "The gateway is well, and the bots that the stack's file declares for it trade nothing.",
        _VERIFY,
        "Touch no gateway: look at the bots.",
    ),
    Alert(
        "IBGatewayHighMemory",
        Severity.WARNING,
        f"({_MEMORY} > {MEMORY_MB}) or ({_MEMORY} > {MEMORY_SHARE} * {_LIMIT})",
        '{{ $labels.gateway }} of {{ $labels.stack }} uses {{ $value | printf "%.0f" }} MiB',
        "At its limit the kernel ends it, without a logout.",
        _DOCTOR,
        "Do not restart it in the trading hours for this alone.",
        lasts=5 * MINUTE,
        silences=(MEMORY_TREND,),
    ),
    Alert(
        MEMORY_TREND,
        Severity.WARNING,
        f"(max by ({GATEWAY}) (predict_linear(ib_gateway_memory_mb{{{JOB}}}[1h], 14400)) > {_LIMIT})"
        f" and ({_MEMORY} > 0.6 * {_LIMIT})",
        "{{ $labels.gateway }} of {{ $labels.stack }} will reach its memory's limit within four hours",
        "It grows as a gateway with a leak does, or with a client that asks for more and more.",
        _DOCTOR,
        "Where its planned restart comes before, that is enough.",
        lasts=30 * MINUTE,
    ),
    Alert(
        "IBGatewayUncleanStop",
        Severity.WARNING,
        f"time() - ({of_gateway('ibgw_gateway_unclean_timestamp_seconds')} > 0) < 3600",
        "{{ $labels.gateway }} of {{ $labels.stack }} was ended without a logout, and has started again",
        "Its session may have stayed open at IBKR, and the next login may have met it.",
        _DOCTOR,
        "Once the gateway is logged in there is nothing to do but to find out who or what ended it.",
    ),
    Alert(
        WEEKLY_MISSED,
        Severity.CRITICAL,
        outside(
            f"({of_gateway('ibgw_gateway_login_timestamp_seconds')}"
            f" < {of_gateway('ibgw_gateway_last_weekly_login_timestamp_seconds')})"
            f" and (time() - {of_gateway('ibgw_gateway_last_weekly_login_timestamp_seconds')} > 1800)"
            f" and (time() - {of_gateway('ibgw_gateway_last_weekly_login_timestamp_seconds')} < 86400)"
        ),
        "The weekly login of {{ $labels.gateway }} of {{ $labels.stack }} did not take place",
        "IBKR ends each session at the weekend: without a new login there is none when the markets open.",
        _DOCTOR,
        "Where it waits for a second factor, take the phone first; each login that nobody approves is an attempt.",
        silences=(DOWN, RESTART_MISSED),
    ),
    Alert(
        "IBGatewayWeeklyLoginNear",
        Severity.INFO,
        f"{of_gateway('ibgw_gateway_next_weekly_login_timestamp_seconds')} - time() < 3600",
        "{{ $labels.gateway }} of {{ $labels.stack }} logs in anew within an hour",
        "Where the user has a second factor, somebody has to approve it in IBKR Mobile.",
        _STATUS,
        "Nothing is wrong.",
    ),
    Alert(
        "IBGatewayDisk",
        Severity.WARNING,
        f"max by (stack) (ibgw_host_disk_free_bytes{{{JOB}}}) / max by (stack) (ibgw_host_disk_size_bytes{{{JOB}}})"
        " < 0.1",
        "The disk with Docker's data, below {{ $labels.stack }}, has less than a tenth left",
        "Without room a gateway counts no attempt, and so makes no login.",
        "ibgw doctor --stack STACK",
        "Remove no volume: the settings volumes are among them.",
        lasts=10 * MINUTE,
    ),
    Alert(
        "IBGatewayClock",
        Severity.WARNING,
        f"abs({of_gateway('ibgw_clock_offset_seconds')}) > 5",
        "The clock of the Docker host of {{ $labels.stack }} is off by {{ $value | printf \"%.0f\" }} s",
        "Planned restarts, offline hours and everything with a time in it happen at the wrong moment.",
        "ibgw doctor --stack STACK",
        "Put the host's time synchronisation right; touch no gateway.",
        lasts=5 * MINUTE,
    ),
    Alert(
        "IBGatewaySecretOld",
        Severity.WARNING,
        f"time() - {of_gateway('ibgw_gateway_secret_timestamp_seconds')} > {SECRET_DAYS} * 86400",
        "The password of {{ $labels.gateway }} of {{ $labels.stack }} was not changed for long",
        "Whoever saw it once in all that time can still log in as the user.",
        "ibgw credentials check --stack STACK --gateway GATEWAY",
        "Rotate it outside of the trading hours (docs/credentials.md): it costs a login.",
        lasts=HOUR,
    ),
    Alert(
        "IBGatewayImageOld",
        Severity.WARNING,
        f"time() - max by (stack) (ibgw_image_timestamp_seconds{{{JOB}}}) > {IMAGE_DAYS} * 86400",
        "The image of the gateways of {{ $labels.stack }} is old",
        "IBKR refuses the login of versions that it no longer supports.",
        "ibgw plan --stack STACK",
        "On paper name a newer version in `ibgw:image`, outside of the trading hours: it costs a login. Live takes it "
        "by `ibgw promote`.",
        lasts=HOUR,
    ),
    Alert(
        "IBGatewayWatcherMissing",
        Severity.CRITICAL,
        # The third is of a Pushgateway, which keeps what was pushed last.
        f"(up{{{JOB}}} == 0) or (ibgw_monitoring_fresh{{{JOB}}} == 0)"
        f" or (time() - push_time_seconds{{{JOB}}} > 120) or absent(ibgw_monitoring_fresh{{{JOB}}})",
        "Nothing is known of the gateways any more: the watcher or the prober is silent",
        "They may be well or not: no other alert can fire.",
        "ibgw doctor --stack STACK",
        "The gateways themselves need nothing: an update puts the two containers back without touching them.",
        lasts=2 * MINUTE,
    ),
)  # fmt: skip


def anchor(alert: Alert) -> str:
    return f"docs/runbook.md#{alert.name.lower()}"


def inhibitions(alerts: Iterable[Alert] = ALERTS) -> list[dict[str, object]]:
    """Alertmanager's `inhibit_rules`: one cause, one page."""
    return [
        {
            "source_matchers": [f'alertname="{alert.name}"'],
            "target_matchers": [f'alertname=~"{"|".join(alert.silences)}"'],
            "equal": list(alert.same),
        }
        for alert in alerts
        if alert.silences
    ]
