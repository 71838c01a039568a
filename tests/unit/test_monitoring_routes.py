"""What a real Prometheus and a real Alertmanager make of what a watcher tells, with the project's rules and routes.

The right alert reaches the receiver, no other does, and it resolves. On a running stack: tests/engine/test_alerts.py.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from healthcheck.monitoring import handover
from healthcheck.monitoring.handover import GatewaySeen
from healthcheck.reasons import Reason
from tests.engine.alerting import DOWN_FOR_LONG, Alerting, alerting
from tests.helpers import until
from tests.unit.monitored import SUPERVISED, gateway_seen, seen, told_of

MEBIBYTES = 2**20
AHEAD = 3600.0
"""Seconds, so that what is written stays fresh."""


@dataclass(frozen=True)
class Stack:
    """What is told: in `file`, of the gateways `main` and `spare`."""

    alerts: Alerting
    file: Path

    def tell(self, *gateways: GatewaySeen, written: float = AHEAD) -> None:
        known = {gateway.gateway for gateway in gateways}
        well = [gateway_seen(name) for name in ("main", "spare") if name not in known]
        handover.write(seen(*gateways, *well, written=time.time() + written), self.file)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("routes")
    file = folder / "seen.json"
    with told_of(file) as target, alerting(folder, target) as alerts:
        made = Stack(alerts, file)
        made.tell()
        until(lambda: len(alerts.values("ib_gateway_up == 1")) == 2, "both are scraped")
        yield made


def supervised(**changes: Any) -> dict[str, Any]:
    return {"supervised": SUPERVISED.model_copy(update=changes), "memory_limit": 1536}


def because(reason: Reason, **more: Any) -> Callable[[Stack], None]:
    return lambda stack: stack.tell(gateway_seen(reason=reason, **more))


def at_main(alert: str) -> set[tuple[str, str]]:
    return {(f"IBGateway{alert}", "main")}


FAULTS: dict[str, tuple[Callable[[Stack], None], set[tuple[str, str]]]] = {
    "connectivity lost": (because(Reason.CONNECTIVITY_LOST), at_main("ConnectivityLost")),
    "both lost it": (
        lambda stack: stack.tell(*(gateway_seen(name, Reason.CONNECTIVITY_LOST) for name in ("main", "spare"))),
        {("IBGatewayFleetDown", "")},
    ),
    "planned restart": (because(Reason.PLANNED_RESTART, window="planned_restart"), set()),
    "away": (because(Reason.PORT_CLOSED), at_main("Down")),
    "login failed": (because(Reason.LOGIN_FAILED), at_main("LoginFailed")),
    "held": (because(Reason.GUARD_HELD, **supervised(hold="attempts")), at_main("GuardHolds")),
    "second factor": (
        because(Reason.SECOND_FACTOR_PENDING, **supervised(factor=1.0)), at_main("SecondFactorPending")
    ),
    "taken over": (because(Reason.SESSION_TAKEN_OVER), at_main("CompetingSession")),
    "wrong account": (because(Reason.ACCOUNT_KIND_MISMATCH), at_main("WrongAccount")),
    "wedged": (because(Reason.WEDGED), at_main("Wedged")),
    "farm broken": (because(Reason.FARM_BROKEN, warns=True), at_main("MarketDataDegraded")),
    "ends again and again": (because(Reason.STARTING, **supervised(logins=3)), at_main("RestartLoop")),
    "much memory": (
        lambda stack: stack.tell(gateway_seen(**supervised(memory=1400 * MEBIBYTES))), at_main("HighMemory")
    ),
    "prober silent": (lambda stack: stack.tell(written=-AHEAD), {("IBGatewayWatcherMissing", "")}),
    "pause": (because(Reason.PAUSED, window="paused"), set()),
    "IBKR resets": (because(Reason.CONNECTIVITY_LOST, window="maintenance"), set()),
}  # fmt: skip
EACH_TIME = {"connectivity lost", "both lost it", "planned restart"}


@pytest.mark.parametrize(
    "name", [name if name in EACH_TIME else pytest.param(name, marks=pytest.mark.exhaustive) for name in FAULTS]
)
def test_the_right_alert_comes_and_no_other_and_is_over(name: str, stack: Stack) -> None:
    happens, fires = FAULTS[name]
    stack.alerts.hook.took.clear()
    happens(stack)
    until(
        lambda: stack.alerts.told("firing") >= fires if fires else stack.alerts.values(DOWN_FOR_LONG),
        lambda: f"{fires}\n{stack.alerts.told('firing')}",
    )
    until(
        lambda: not stack.alerts.values('count_over_time(ALERTS{alertstate="pending"}[5s])'),
        lambda: str(stack.alerts.values("ALERTS")),
    )
    assert stack.alerts.told("firing") == fires
    stack.tell()
    until(lambda: not stack.alerts.values("ALERTS or ib_gateway_up == 0"), lambda: str(stack.alerts.values("ALERTS")))
    until(lambda: stack.alerts.told("resolved") == fires, lambda: f"{fires}\n{stack.alerts.told('resolved')}")
