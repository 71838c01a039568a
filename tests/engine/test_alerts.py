"""Faults of a running stack, to a webhook: the right alert comes, no other does, and it resolves. With the project's
rules in a real Prometheus, and its routes in a real Alertmanager (tests/engine/alerting.py). In `make test`:
tests/unit/test_monitoring_routes.py, without a stack."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from deployment.description import MONITORING_PORT
from deployment.errors import ExitCode
from deployment.names import Names
from healthcheck.maintenance import reset_at
from monitoring import dashboard
from monitoring.alerts import ALERTS
from tests.engine.alerting import DOWN_FOR_LONG, FASTER, Alerting, alerting
from tests.engine.conftest import Tools
from tests.engine.deployed import Deployed
from tests.engine.stacks import DAYS, StackUnderTest
from tests.helpers import until

pytestmark = pytest.mark.exhaustive

STACK = "paper-alerts"
SETTLED = "10s"
"""Two of the prober's looks."""
SLOWER = 4


def zone() -> str:
    """Of a region that IBKR does not reset while this runs, where there is one: not at the weekend's reset of all."""
    now = datetime.now(UTC)
    zones = ("America/New_York", "Europe/Zurich", "Asia/Hong_Kong")
    soon = [now + timedelta(minutes=minutes) for minutes in (0, 15, 30)]
    return next((name for name in zones if not any(reset_at(moment, name) for moment in soon)), zones[0])


ZONE = zone()


def session() -> dict[str, str]:
    """Of a gateway for which nothing is planned for hours."""
    local = datetime.now(ZoneInfo(ZONE))
    later = {"autoRestart": timedelta(hours=12), "coldRestart": timedelta(hours=9)}
    return {"timeZone": ZONE} | {key: f"{local + length:%H:%M}" for key, length in later.items()}


class Watched:
    """The stack under test, with a gateway `main` to which things happen, and `spare`, to which nothing does."""

    def __init__(self, stack: StackUnderTest) -> None:
        self.stack = stack
        self.broker = stack.sandbox.broker()
        self.main, self.spare = (
            Deployed(stack.sandbox, STACK, stack.client, self.broker, gateway) for gateway in ("main", "spare")
        )
        names = Names(stack.sandbox.prefix, STACK)
        self.prober, self.watcher = (stack.client.containers.get(name) for name in (names.prober, names.watcher))
        self.target = f"{self.watcher.attrs['NetworkSettings']['Networks'][names.monitoring]['IPAddress']}"

    def again(self, scenario: str) -> None:
        """A login in that scenario."""
        self.main.scenario(scenario)
        self.main.container.restart(timeout=60)

    def killed(self) -> None:
        self.main.container.kill()
        self.main.container.start()

    def grows(self) -> None:
        """To above what a rule allows, and then hardly any more."""

        def used() -> int:
            return int(self.stack.client.api.stats(self.main.name, stream=False)["memory_stats"]["usage"])

        self.main.scenario("memory-growth:48")
        until(lambda: used() > 1320 * 2**20, "it uses much memory")
        self.main.scenario("memory-growth:1")

    def logged_in_again(self) -> None:
        self.main.forget()
        self.main.container.start()
        self.main.until_logged_in()


DOWN = ("IBGatewayDown", "main")


@dataclass(frozen=True)
class Fault:
    """`fires`: what the webhook gets, by alert and gateway; nothing where the gateway is only seen to be down. `shows`:
    what the runbook's first command then says. `waits`: nothing fires of it while IBKR resets its servers. `faster`:
    where a login belongs to it, which takes its seconds, the rules may not be so quick that another comes first."""

    happens: Callable[[Watched], object]
    fires: set[tuple[str, str]]
    shows: str
    over: Callable[[Watched], object]
    waits: bool = False
    faster: int = FASTER


def at_main(alert: str) -> set[tuple[str, str]]:
    return {(f"IBGateway{alert}", "main")}


def of_all(alert: str) -> set[tuple[str, str]]:
    return {(f"IBGateway{alert}", "")}


def scenario(name: str, alert: str, shows: str, *, over: str = "normal", waits: bool = False) -> Fault:
    """One that needs no login."""
    return Fault(
        lambda it: it.main.scenario(name), at_main(alert), shows, lambda it: it.main.scenario(over), waits=waits
    )


def login(name: str, alert: str, shows: str) -> Fault:
    return Fault(lambda it: it.again(name), at_main(alert), shows, lambda it: it.logged_in_again(), faster=SLOWER)


FAULTS: dict[str, Fault] = {
    "connectivity lost": scenario(
        "connectivity-lost", "ConnectivityLost", "connectivity_lost", over="connectivity-restored", waits=True
    ),
    "watcher stopped": Fault(
        lambda it: it.watcher.stop(timeout=5),
        of_all("WatcherMissing"),
        ".watcher is exited",
        lambda it: it.watcher.start(),
    ),
    "pause": Fault(
        lambda it: it.stack.ibgw(f"stop --stack {STACK} --gateway main --for 10m"),
        set(),
        "",
        lambda it: it.stack.ibgw(f"start --stack {STACK} --gateway main"),
    ),
    "prober stopped": Fault(
        lambda it: it.prober.stop(timeout=5),
        of_all("WatcherMissing"),
        ".prober is exited",
        lambda it: it.prober.start(),
    ),
    "IBKR away from all": Fault(
        lambda it: it.broker.scenario("connectivity-lost"),
        of_all("FleetDown"),
        "connectivity_lost",
        lambda it: it.broker.scenario("connectivity-restored"),
        waits=True,
    ),
    "farm broken": scenario("farm-broken", "MarketDataDegraded", "farm_broken"),
    "wedged": scenario("api-wedged", "Wedged", "wedged"),
    "half open": scenario("api-half-open", "Wedged", "half_open"),
    "stopped by somebody": Fault(
        lambda it: it.main.container.stop(timeout=60), {DOWN}, "is exited", lambda it: it.main.container.start()
    ),
    "killed": Fault(
        lambda it: it.killed(),
        at_main("UncleanStop"),
        "",
        lambda it: it.main.container.restart(timeout=60),
        faster=SLOWER,
    ),
    "wrong account": Fault(
        lambda it: it.main.scenario("account-kind-swapped"),
        at_main("WrongAccount"),
        "main stopped",
        lambda it: it.logged_in_again(),
    ),
    "wrong password": login("wrong-password", "LoginFailed", "Unrecognized Username or Password"),
    "unknown dialog": login("dialog-blocking", "LoginFailed", "dialog"),
    "guard holds": login("login-failed-restart", "GuardHolds", "held"),
    "somebody else is logged in": login("competing-session", "CompetingSession", "competing_session"),
    "session taken over": Fault(
        lambda it: it.main.scenario("session-taken-over"),
        at_main("CompetingSession"),
        "session",
        lambda it: it.logged_in_again(),
        faster=SLOWER,
    ),
    "second factor": Fault(
        lambda it: it.again("push-pending"),
        at_main("SecondFactorPending"),
        "second_factor",
        lambda it: it.broker.approve(it.main.user),
        faster=SLOWER,
    ),
    "memory": Fault(
        lambda it: it.grows(),
        at_main("HighMemory"),
        "memory",
        lambda it: it.logged_in_again(),
    ),
}


@pytest.fixture(scope="module")
def stack(tools: Tools) -> Iterator[StackUnderTest]:
    gateways = {name: {"session": session()} for name in ("main", "spare")}
    always = {"days": DAYS, "open": "00:00", "close": "23:59"}
    watching = {"enabled": True, "interval": "5s"}
    made = StackUnderTest(tools, tools.project(STACK, gateways=gateways, monitoring=watching, tradingHours=always))
    made.up()
    yield made
    made.leave()


@pytest.fixture
def watched(stack: StackUnderTest) -> Watched:
    return Watched(stack)


@contextmanager
def seen_by_prometheus(watched: Watched, folder: Path, faster: int = FASTER) -> Iterator[Alerting]:
    """Beginning anew: what happened to the gateway before counts in no rule."""
    with alerting(folder, f"{watched.target}:{MONITORING_PORT}", faster) as alerts:
        until(lambda: both_are_up(alerts), lambda: str(alerts.values("ib_gateway_up")))
        yield alerts


def both_are_up(alerts: Alerting) -> bool:
    return len(alerts.values("ib_gateway_up == 1")) == 2


def test_every_query_of_the_dashboard_returns_something(watched: Watched, tmp_path: Path) -> None:
    with seen_by_prometheus(watched, tmp_path) as alerts:
        for query in dashboard.queries():
            chosen = query.replace("$stack", STACK).replace("$gateway", ".*")
            until(lambda chosen=chosen: alerts.values(chosen), query)  # type: ignore[misc]


@pytest.mark.parametrize("name", FAULTS)
def test_the_right_alert_comes_and_no_other_and_is_over(name: str, watched: Watched, tmp_path: Path) -> None:
    fault = FAULTS[name]
    fires = set() if fault.waits and reset_at(datetime.now(UTC), ZONE) else fault.fires
    with seen_by_prometheus(watched, tmp_path, fault.faster) as alerts:
        try:
            fault.happens(watched)
            until(
                lambda: alerts.told("firing") >= fires if fires else alerts.values(DOWN_FOR_LONG),
                lambda: f"{fires}\n{alerts.told('firing')}",
            )
            until(
                lambda: not alerts.values(f'count_over_time(ALERTS{{alertstate="pending"}}[{SETTLED}])'),
                lambda: f"nothing is pending\n{alerts.values('ALERTS')}",
            )
            assert alerts.told("firing") == fires
            for first in (alert.first for alert in ALERTS if fires & {(alert.name, "main"), (alert.name, "")}):
                followed = first.removeprefix("ibgw ").replace("STACK", STACK).replace("GATEWAY", "main")
                done = watched.stack.ibgw(followed, code=None)
                assert done.returncode in (ExitCode.OK, ExitCode.FAILED), done.stderr
                assert fault.shows in done.stdout + done.stderr
        finally:
            fault.over(watched)
        if name != "killed":  # of which is told for an hour
            until(lambda: alerts.told("resolved") >= fires, lambda: f"{fires}\n{alerts.told('resolved')}")
        until(lambda: both_are_up(alerts), lambda: str(alerts.values("ib_gateway_up")))
        # What silenced it is over before the new login is done.
        assert alerts.told("firing") <= fires | {DOWN}
