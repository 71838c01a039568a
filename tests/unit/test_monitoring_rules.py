"""Each alert fires where it should and nowhere else, by promtool's own evaluation; what is rendered is current."""

import json
import re
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from healthcheck.monitoring import metrics
from infra.settings import Monitoring
from monitoring import dashboard, objective
from monitoring.alerts import ALERTS, inhibitions
from monitoring.rendering import ALERTMANAGER, DASHBOARD, PROMETHEUS, rendered
from sandbox import packages
from sandbox.environment import ROOT, default_cache
from tests.unit.prometheus import Series, complaints, fired, named, of_main, seen, series


def because(reason: str, check: str = "authenticated") -> Series:
    """The gateway is down for that reason, from the third minute on."""
    return {
        of_main("ib_gateway_up"): "1 1 0x1000",
        of_main("ibgw_check_reason", check=check, reason=reason): "_ _ 1x1000",
    }


@dataclass(frozen=True)
class Case:
    """`changes`: series that differ from a stack that is well. `at`: when it is asked what fires. `also`: what fires
    beside it; the routes leave that out."""

    changes: Series
    at: str
    also: tuple[str, ...] = ()
    absent: bool = False


DOWN = {of_main("ib_gateway_up"): "1 1 0x1000"}
SECOND = {named("ib_gateway_up", stack="paper", gateway="second", mode="paper"): "1 1 0x1000"}
WINDOW = {of_main("ibgw_gateway_window", window="planned_restart"): "0 0 1x1000"}
FACTOR = of_main("ibgw_gateway_second_factor_timestamp_seconds")
DUE = of_main("ibgw_gateway_last_planned_timestamp_seconds")
DONE = of_main("ibgw_gateway_last_planned_done_timestamp_seconds")
RESTARTS = of_main("ibgw_gateway_restarts_total")
MEMORY = of_main("ib_gateway_memory_mb")
UNCLEAN = of_main("ibgw_gateway_unclean_timestamp_seconds")
CLIENTS, EXPECTED = of_main("ibgw_gateway_clients"), of_main("ibgw_gateway_clients_expected")
TRADING = named("ibgw_trading_hours", stack="paper")
SECRET = of_main("ibgw_gateway_secret_timestamp_seconds")
IMAGE = named("ibgw_image_timestamp_seconds", stack="paper")
PUSHED = named("push_time_seconds")
LAST_WEEKLY = of_main("ibgw_gateway_last_weekly_login_timestamp_seconds")
NEXT_WEEKLY = of_main("ibgw_gateway_next_weekly_login_timestamp_seconds")
LOGIN = of_main("ibgw_gateway_login_timestamp_seconds")
DISK = named("ibgw_host_disk_free_bytes", stack="paper")
CLOCK = of_main("ibgw_clock_offset_seconds")
LOST = of_main("ibgw_gateway_farms_lost", kind="market_data")
UP = ("IBGatewayDown",)
INTERVAL = Monitoring().interval
STRANGER = named("ibgw_check_reason", stack="paper", gateway="main", mode="paper", check="isolation",
                 reason="undeclared_client").replace("ib_gateway", "node")  # fmt: skip

FIRES: dict[str, Case] = {
    "IBGatewayDown": Case(DOWN, "4m"),
    "IBGatewayFleetDown": Case(DOWN | SECOND, "3m30s"),
    "IBGatewayLoginFailed": Case(because("login_failed"), "3m30s"),
    "IBGatewayGuardHolds": Case({of_main("ibgw_gateway_held", hold="attempts"): "0 0 1x1000"}, "3m30s"),
    "IBGatewaySecondFactorPending": Case({FACTOR: "0 0 120x1000"}, "2m"),
    "IBGatewayWedged": Case(because("wedged"), "5m", UP),
    "IBGatewayCompetingSession": Case(because("session_taken_over"), "5m", UP),
    "IBGatewayWrongAccount": Case(because("account_kind_mismatch"), "2m"),
    "IBGatewayStranger": Case({STRANGER: "_ _ 1x1000"}, "2m"),
    "IBGatewayMarketDataDegraded": Case({LOST: "0 0 1x1000"}, "7m"),
    "IBGatewayConnectivityLost": Case(because("connectivity_lost"), "3m30s"),
    "IBGatewayPlannedRestartMissed": Case({DUE: "0 0 120x1000"}, "18m"),
    "IBGatewayRestartLoop": Case({RESTARTS: "0+1x10 10x1000"}, "6m"),
    "IBGatewayNoClient": Case({CLIENTS: "3 3 1x1000"}, "25m"),
    "IBGatewayHighMemory": Case({MEMORY: "900 900 1400x1000"}, "7m"),
    "IBGatewayMemoryTrend": Case({MEMORY: "900+4x100"}, "70m"),
    "IBGatewayUncleanStop": Case({UNCLEAN: "0 0 120x1000"}, "10m"),
    "IBGatewayWeeklyLoginMissed": Case({LAST_WEEKLY: "-604800 -604800 120x1000"}, "40m"),
    "IBGatewayWeeklyLoginNear": Case({NEXT_WEEKLY: "7200x1000"}, "61m"),
    "IBGatewayDisk": Case({DISK: "50 9x1000"}, "12m"),
    "IBGatewayClock": Case({CLOCK: "0 0 -9x1000"}, "7m"),
    "IBGatewaySecretOld": Case({SECRET: f"{-90 * 86400}x1000"}, "62m"),
    "IBGatewayImageOld": Case({IMAGE: f"{-180 * 86400}x1000"}, "62m"),
    "IBGatewayWatcherMissing": Case({}, "4m", absent=True),
}
SILENT: dict[str, Case] = {
    "IBGatewayDown": Case(DOWN | WINDOW, "20m"),
    "IBGatewayFleetDown": Case(DOWN, "5m", UP),
    "IBGatewayLoginFailed": Case(
        {of_main("ibgw_check_reason", check="authenticated", reason="starting"): "1x1000"}, "9m"
    ),
    "IBGatewayGuardHolds": Case({of_main("ibgw_gateway_held", hold="paused"): "1x1000"} | WINDOW, "9m"),
    "IBGatewaySecondFactorPending": Case({FACTOR: "0 0 120 0x1000"}, "4m"),
    "IBGatewayWedged": Case(because("wedged") | WINDOW, "9m"),
    "IBGatewayCompetingSession": Case(
        {of_main("ibgw_check_reason", check="authenticated", reason="competing_session"): "_ 1 stale"}, "5m"
    ),
    "IBGatewayWrongAccount": Case(
        {of_main("ibgw_check_reason", check="account_access", reason="implausible_summary"): "1x1000"}, "9m"
    ),
    "IBGatewayStranger": Case(
        {of_main("ibgw_check_reason", check="isolation", reason="isolation_unproven"): "1x1000"}, "9m"
    ),
    "IBGatewayMarketDataDegraded": Case(
        {LOST: "0 0 1x4 0x1000", of_main("ibgw_check_reason", check="market_data", reason="market_closed"): "1x1000"},
        "9m",
    ),
    "IBGatewayConnectivityLost": Case(because("connectivity_lost") | WINDOW, "9m"),
    "IBGatewayPlannedRestartMissed": Case({DUE: "0 0 120x1000", DONE: "0x5 300x1000"}, "20m"),
    "IBGatewayRestartLoop": Case({RESTARTS: "0 0 1 1 1 2x1000"}, "20m"),
    # A trader's bot that comes back; nobody expects one (test_no_client_is_no_news has the others).
    "IBGatewayNoClient": Case({CLIENTS: "3 1x9 2x1000"}, "20m"),
    "IBGatewayHighMemory": Case({MEMORY: "900 2049 2049 2049 900x1000"}, "9m"),
    "IBGatewayMemoryTrend": Case({MEMORY: "900+2x30 960x1000"}, "90m"),
    "IBGatewayUncleanStop": Case({UNCLEAN: "0 0 120x1000"}, "63m"),
    "IBGatewayWeeklyLoginMissed": Case({LAST_WEEKLY: "-604800 -604800 120x1000", LOGIN: "0x5 360x1000"}, "40m"),
    "IBGatewayWeeklyLoginNear": Case({NEXT_WEEKLY: "7200x1000"}, "59m"),
    "IBGatewayDisk": Case({DISK: "50 9x5 50x1000"}, "12m"),
    "IBGatewayClock": Case({CLOCK: "4x1000"}, "9m"),
    "IBGatewaySecretOld": Case({SECRET: f"{-89 * 86400}x1000"}, "70m"),
    "IBGatewayImageOld": Case({IMAGE: f"{-179 * 86400}x1000"}, "70m"),
    "IBGatewayWatcherMissing": Case({named("up"): "1 0 1x1000", PUSHED: "0+60x1000"}, "9m"),
}


def inputs(case: Case) -> Series:
    if case.absent:
        return {"other": "1x1000"}
    gateways = (seen(), seen("second"))
    return series(*gateways) | case.changes


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    names = [alert.name for alert in ALERTS]
    assert names == [*FIRES] == [*SILENT]
    assert len({*names}) == len(names)


@pytest.mark.parametrize("name", FIRES)
def test_it_fires_and_nothing_else_does(name: str, tmp_path: Path) -> None:
    case = FIRES[name]
    assert fired(tmp_path, inputs(case), case.at) == {name, *case.also}


@pytest.mark.parametrize("name", SILENT)
def test_it_stays_silent(name: str, tmp_path: Path) -> None:
    case = SILENT[name]
    assert fired(tmp_path, inputs(case), case.at) == {*case.also}


@pytest.mark.parametrize("changes", [{EXPECTED: "0x1000"}, {TRADING: "1x20 0x1000"}, {TRADING: "0x15 1x1000"}, DOWN])
def test_no_client_is_no_news_where_none_is_expected_nor_outside_of_the_hours_nor_while_down(
    changes: Series, tmp_path: Path
) -> None:
    assert "IBGatewayNoClient" not in fired(tmp_path, inputs(Case({CLIENTS: "1x1000"} | changes, "")), "25m")


def test_a_watcher_that_was_killed_is_missing_from_a_pushgateway_too(tmp_path: Path) -> None:
    """Which keeps what it was given last, and says how old that is."""
    assert fired(tmp_path, inputs(Case({PUSHED: "0 60 120x1000"}, "")), "8m") == {"IBGatewayWatcherMissing"}


def test_a_stack_that_is_well_fires_nothing(tmp_path: Path) -> None:
    assert fired(tmp_path, series(), "10h") == set()


def test_what_fires_beside_its_cause_is_silenced_by_it() -> None:
    alerts = {alert.name: alert for alert in ALERTS}
    for name, case in FIRES.items():
        assert {*case.also} <= {*alerts[name].silences}, name


def test_what_silences_comes_before_what_it_silences() -> None:
    """Of several gateways the prober sees the last an interval after the first."""
    alerts = {alert.name: alert for alert in ALERTS}
    for alert in ALERTS:
        for silenced in (alerts[name] for name in alert.silences):
            spread = timedelta() if "gateway" in alert.same else INTERVAL
            assert not silenced.lasts or alert.lasts + spread <= silenced.lasts, (alert.name, silenced.name)


def test_nothing_silences_what_is_a_danger_of_its_own_and_nothing_silences_each_other() -> None:
    names = {alert.name for alert in ALERTS}
    silences = {alert.name: {*alert.silences} for alert in ALERTS}
    assert set().union(*silences.values()) <= names
    assert not set().union(*silences.values()) & {
        "IBGatewayWrongAccount", "IBGatewayStranger", "IBGatewaySecondFactorPending", "IBGatewayWatcherMissing",
    }  # fmt: skip
    assert not [name for name in names for other in silences[name] if name in silences[other]]
    assert len(inhibitions()) == sum(map(bool, silences.values()))


def test_the_objective_counts_observed_trading_hours_alone(tmp_path: Path) -> None:
    """30 minutes of them: for two the gateway was down, for ten the watcher was away. After them it is down."""
    hours = {of_main("ib_gateway_up"): "1x9 0 0 1x7 stale _x9 0x1000", TRADING: "1x29 0x1000"}
    wanted = {f'{objective.SHARE}{{window="{window}"}}': 0.9 for window in objective.WINDOWS} | {objective.BUDGET: -19}
    tests = [
        {
            "expr": f"round(max by (gateway) ({one}), 0.001)",
            "eval_time": "2h",
            "exp_samples": [{"labels": '{gateway="main"}', "value": value}],
        }
        for one, value in wanted.items()
    ]
    assert complaints(tmp_path, series(seen()) | hours, promql_expr_test=tests) == ""


@pytest.mark.parametrize(
    ("path", "command"),
    [(ALERTMANAGER, ("amtool", "check-config")), (PROMETHEUS, ("promtool", "check", "config"))],
)
def test_the_examples_are_whole_configurations(path: str, command: tuple[str, ...]) -> None:
    """And so are the rules, which the second one names."""
    packages.provide(packages.PROMETHEUS, default_cache(), print)
    checked = subprocess.run([*command, ROOT / path], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("path", sorted(rendered()))
def test_what_is_rendered_is_current(path: str) -> None:
    assert (ROOT / path).read_text() == rendered()[path], "run make reference"


def test_every_metric_and_label_that_is_asked_for_is_in_the_table() -> None:
    known = {metric.name: {*metric.labels} for metric in metrics.TABLE}
    for expression in (*(alert.expression for alert in ALERTS), *dashboard.queries()):
        asked = re.findall(r"(?<!:)\b(ibg?w?_\w+)\{([^}]*)\}", expression)
        assert asked or "gateway:ibgw_" in expression or "ALERTS{" in expression, expression
        for metric, matchers in asked:
            assert metric in known, (expression, metric)
            assert {*re.findall(r"(\w+)!?=", matchers)} <= {"job", *known[metric]}, (expression, metric)


def test_the_dashboard_has_each_query_of_its_table_for_the_gateways_that_are_chosen() -> None:
    document = json.loads(rendered()[DASHBOARD])
    panels = [panel for panel in document["panels"] if panel["type"] != "row"]
    assert [target["expr"] for panel in panels for target in panel["targets"]] == dashboard.queries()
    assert {variable["name"] for variable in document["templating"]["list"]} == {"datasource", "stack", "gateway"}
    assert len({panel["title"] for panel in panels}) == len(panels) == sum(map(len, dashboard.ROWS.values()))
    for query in dashboard.queries():
        assert 'stack=~"$stack"' in query or "ALERTS{" in query, query
