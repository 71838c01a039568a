"""What a watcher tells of a stack that is well, as promtool's input, and promtool itself over the project's rules."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from deployment.description import Mode
from deployment.trading import ToldHours
from healthcheck.monitoring import metrics
from healthcheck.monitoring.handover import CheckSeen, Disk, Farms, GatewaySeen, Planned, Seen, Supervised, Weekly
from healthcheck.observation import CheckName
from healthcheck.schedule import Event
from healthcheck.verdict import CheckVerdict, GatewayVerdict
from monitoring.alerts import ALERTS
from monitoring.rendering import RULES, rendered
from sandbox import packages
from sandbox.environment import default_cache

DAY = 86_400
HOURS = ToldHours(time_zone="UTC", days=("thu",), open="00:00", close="00:30")
"""Within them as promtool begins, at the epoch."""

Series = dict[str, str]
"""Values in promtool's notation, by the series."""


def seen(name: str = "main", **changes: Any) -> GatewaySeen:
    """A gateway that is well. Times are as promtool has them: the tests begin at 0."""
    supervised = Supervised(
        hold="none", until=0, started=0, login=0, attempts=0, limit=2, logins=0, factor=0, event="auto_restart", due=0,
        done=0, heals=0, memory=900 * 2**20, clients=3, restarts=0, stopped="clean",
    )  # fmt: skip
    passed = tuple(
        CheckSeen(name=check, verdict=CheckVerdict.PASS, reason=None, duration_ms=20)
        for check in (CheckName.AUTHENTICATED, CheckName.MARKET_DATA)
    )
    well: dict[str, Any] = {
        "gateway": name, "mode": Mode.PAPER, "verdict": GatewayVerdict.VERIFIED, "since": 0, "looked": 0, "verified": 0,
        "checks": passed, "session": True, "connectivity": True, "farms": Farms(), "clock": 0.4, "window": "none",
        "planned": Planned(event=Event.AUTO_RESTART, at=DAY), "weekly": Weekly(last=0, coming=7 * DAY),
        "memory_limit": 1536, "expected": 2, "supervised": supervised,
    }  # fmt: skip
    return GatewaySeen(**{**well, **changes})


def series(*gateways: GatewaySeen) -> Series:
    """As a scrape labels them; each value for good."""
    gateways = gateways or (seen(),)
    told = Seen(stack="paper", interval=15, written=0, disk=Disk(size=100, free=50), gateways=gateways)
    return {"up{job='ib_gateway'}": "1x1000"} | {
        named(metric.name, **dict(zip(metric.labels, labels, strict=True))): f"{value:g}x1000"
        for metric, labels, value in metrics.of_seen(told, 0, metrics.Configured(HOURS, {"main": 0}))
    }


def named(metric: str, **labels: str) -> str:
    listed = ",".join(f"{name}='{value}'" for name, value in {"job": "ib_gateway", **labels}.items())
    return f"{metric}{{{listed}}}"


def of_main(metric: str, **labels: str) -> str:
    return named(metric, stack="paper", gateway="main", mode="paper", **labels)


def complaints(folder: Path, inputs: Mapping[str, str], **expected: Any) -> str:
    """What promtool says against what is expected of the rules (as the source has them now, rendered or not) under
    these inputs; empty for nothing. `expected`: as in a test of promtool's."""
    packages.provide(packages.PROMETHEUS, default_cache(), print)
    (folder / "rules.yaml").write_text(rendered()[RULES], encoding="utf-8")
    listed = [{"series": one, "values": values} for one, values in inputs.items()]
    test = {"interval": "1m", "input_series": listed, **expected}
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
    (folder / "test.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    ran = subprocess.run(["promtool", "test", "rules", "test.yaml"], cwd=folder, capture_output=True, text=True)
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


def fired(folder: Path, inputs: Mapping[str, str], at: str) -> set[str]:
    """The alerts that fire at that moment, as promtool complains of them where none may."""
    none = [{"eval_time": at, "alertname": alert.name} for alert in ALERTS]
    said = complaints(folder, inputs, alert_rule_test=none)
    found = {*re.findall(r"alertname: ?(\w+), time:", said)}
    assert bool(said) == bool(found), said
    return found
