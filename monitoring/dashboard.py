"""The Grafana dashboard of a watched stack, as code: a row each panel. Pure.

Each query returns something on a stack that is well, so that an empty panel means that nothing is known.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.dashboard import Panel as PanelModel

from monitoring.alerts import GATEWAY, JOB
from monitoring.objective import BUDGET, MONTH, OBJECTIVE, SHARE

UID = "ibgw"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHT = 7
"""Of a panel, in Grafana's units, of which its width has 24."""
CHOSEN = 'stack=~"$stack",gateway=~"$gateway"'
NAMED = "{{stack}}/{{gateway}}"

Kind = Literal["stat", "timeline", "lines"]


@dataclass(frozen=True)
class Panel:
    """`queries`: by the legend. `bad_below`, `bad_above`: where a number turns red. `words`: for 0 and 1."""

    title: str
    description: str
    kind: Kind
    queries: dict[str, str]
    unit: str = "none"
    width: int = 8
    bad_below: float | None = None
    bad_above: float | None = None
    words: tuple[str, str] | None = None


def of(metric: str, labels: str = "") -> str:
    """A metric of the gateways that are chosen, without the labels that a scrape adds."""
    return f"max by ({GATEWAY}) ({metric}{{{JOB},{CHOSEN}{labels and f',{labels}'}}})"


def _by(label: str, metric: str) -> str:
    return f"max by ({GATEWAY}, {label}) ({metric}{{{JOB},{CHOSEN}}})"


def _recorded(name: str, labels: str = "") -> str:
    return f"{name}{{{CHOSEN}{labels and f',{labels}'}}}"


def _since(metric: str) -> str:
    """Seconds since a time, 0 where there is none."""
    return f"(time() - {of(metric)}) * ({of(metric)} > bool 0)"


_REASONS = (
    f"({_by('reason', 'ibgw_check_reason')} == 1)"
    f' or on (stack, gateway) label_replace({of("ib_gateway_up")}, "reason", "none", "", "")'
)
_CHECKS = f"max by ({GATEWAY}, check, verdict) (ibgw_check_verdict{{{JOB},{CHOSEN}}}) == 1"

ROWS: dict[str, tuple[Panel, ...]] = {
    "Now": (
        Panel(
            "Could trade", "Whether a trader could trade: what `ibgw verify` calls verified.", "stat",
            {NAMED: of("ib_gateway_up")}, bad_below=1, words=("no", "yes"),
        ),
        Panel(
            "Alerts that fire", "Those of monitoring/rendered/alerts.yaml.", "stat",
            {"alerts": 'count(ALERTS{alertname=~"IBGateway.*",alertstate="firing"}) or vector(0)'},
            width=4, bad_above=1,
        ),
        Panel(
            "Trading hours in which a trader could trade", f"Of {MONTH}; the objective is {OBJECTIVE:.1%}.", "stat",
            {NAMED: _recorded(SHARE, f'window="{MONTH}"')}, "percentunit", width=6, bad_below=OBJECTIVE,
        ),
        Panel(
            "Error budget that is left", f"Of {MONTH}'s; below 0 it is spent.", "stat",
            {NAMED: _recorded(BUDGET)}, "percentunit", width=6, bad_below=0,
        ),
        Panel(
            "Why not", "The reasons for which checks did not pass; docs/runbook.md has a section for each.", "timeline",
            {f"{NAMED} {{{{reason}}}}": _REASONS}, width=12,
        ),
        Panel(
            "Whether it may be away", "Planned restart, IBKR's reset, offline hours or a pause; else none.", "timeline",
            {f"{NAMED} {{{{window}}}}": _by("window", "ibgw_gateway_window") + " == 1"}, width=12,
        ),
    ),
    "Login": (
        Panel(
            "Session and connection to IBKR", "", "timeline",
            {f"{NAMED} session": of("ibgw_gateway_session"), f"{NAMED} IBKR": of("ibgw_gateway_connectivity")},
            width=12, words=("no", "yes"), bad_below=1,
        ),
        Panel(
            "Attempts to log in", "Since the last that succeeded; at the limit the start guard holds.", "lines",
            {f"{NAMED}": of("ibgw_gateway_login_attempts"), f"{NAMED} limit": of("ibgw_gateway_login_attempts_limit")},
            width=12,
        ),
        Panel(
            "Second factor awaited", "A person has three minutes.", "stat",
            {NAMED: _since("ibgw_gateway_second_factor_timestamp_seconds")}, "s", bad_above=1,
        ),
        Panel(
            "Next planned restart", "", "stat",
            {f"{NAMED} {{{{event}}}}": _by("event", "ibgw_gateway_next_planned_timestamp_seconds") + " - time()"}, "s",
        ),
        Panel(
            "Next weekly login", "With a second factor, somebody has to approve it.", "stat",
            {NAMED: f"{of('ibgw_gateway_next_weekly_login_timestamp_seconds')} - time()"}, "s",
        ),
    ),
    "Checks": (
        Panel(
            "Verdict of each check", "", "timeline", {f"{NAMED} {{{{check}}}} {{{{verdict}}}}": _CHECKS}, width=12,
        ),
        Panel(
            "Time that each check took", "", "lines",
            {f"{NAMED} {{{{check}}}}": _by("check", "ibgw_check_duration_seconds")}, "s", width=12,
        ),
    ),
    "Gateway and host": (
        Panel(
            "Memory", "At the limit the kernel ends the gateway.", "lines",
            {NAMED: of("ib_gateway_memory_mb"), f"{NAMED} limit": of("ibgw_gateway_memory_limit_mb")}, "mbytes",
        ),
        Panel("Clients", "The prober's connection among them.", "lines", {NAMED: of("ibgw_gateway_clients")}),
        Panel(
            "Restarts in a day", "", "lines",
            {NAMED: f"max by ({GATEWAY}) (increase(ibgw_gateway_restarts_total{{{JOB},{CHOSEN}}}[1d]))"},
        ),
        Panel(
            "Data farms lost", "", "lines", {f"{NAMED} {{{{kind}}}}": _by("kind", "ibgw_gateway_farms_lost")},
        ),
        Panel("Clock", "IBKR's less the Docker host's.", "lines", {NAMED: of("ibgw_clock_offset_seconds")}, "s"),
        Panel(
            "Docker's disk that is free", "", "lines",
            {
                "{{stack}}": f'max by (stack) (ibgw_host_disk_free_bytes{{{JOB},stack=~"$stack"}})'
                f' / max by (stack) (ibgw_host_disk_size_bytes{{{JOB},stack=~"$stack"}})'
            }, "percentunit", bad_below=0.1,
        ),
    ),
}  # fmt: skip


def queries() -> list[str]:
    return [query for panels in ROWS.values() for panel in panels for query in panel.queries.values()]


def render() -> str:
    """Grafana's JSON."""
    made = (
        dashboard.Dashboard("IB Gateway")
        .uid(UID)
        .tags(["ibgw"])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-24h", "now")
        .refresh("30s")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for name, query in (
        ("stack", f"label_values(ib_gateway_up{{{JOB}}}, stack)"),
        ("gateway", f'label_values(ib_gateway_up{{{JOB},stack=~"$stack"}}, gateway)'),
    ):
        made = made.with_variable(
            dashboard.QueryVariable(name)
            .datasource(SOURCE)
            .query(query)
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .current(VariableOption(selected=True, text="All", value="$__all"))
        )
    for title, panels in ROWS.items():
        made = made.with_row(dashboard.Row(title))
        for panel in panels:
            made = made.with_panel(_panel(panel))
    built = made.build()
    for drawn in built.panels or ():
        if isinstance(drawn, PanelModel):
            drawn.options = drawn.options or {}
    return json.dumps(built, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


Drawn = stat.Panel | statetimeline.Panel | timeseries.Panel
KINDS: Mapping[Kind, Callable[[], Drawn]] = {
    "stat": stat.Panel,
    "timeline": statetimeline.Panel,
    "lines": timeseries.Panel,
}


def _panel(panel: Panel) -> Drawn:
    made = KINDS[panel.kind]()
    made.title(panel.title).description(panel.description).datasource(SOURCE)
    made.unit(panel.unit).span(panel.width).height(HEIGHT)
    for number, (legend, query) in enumerate(panel.queries.items()):
        target = prometheus.Dataquery().expr(query).legend_format(legend).ref_id("ABC"[number]).datasource(SOURCE)
        made.with_target(target.instant() if panel.kind == "stat" else target.range())
    if panel.words is not None:
        named = {str(value): ValueMappingResult(text=word) for value, word in enumerate(panel.words)}
        made.mappings([ValueMap(options=named)])
    if panel.bad_below is not None:
        made.thresholds(_turns("red", panel.bad_below, "green"))
    elif panel.bad_above is not None:
        made.thresholds(_turns("green", panel.bad_above, "red"))
    return made


def _turns(below: str, at: float, above: str) -> dashboard.ThresholdsConfig:
    steps = [Threshold(value=None, color=below), Threshold(value=at, color=above)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
