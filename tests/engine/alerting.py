"""A real Prometheus and a real Alertmanager beside a watched stack, and what they tell a webhook of ours.

Both run with the project's own files (`monitoring/rendered`) on loopback ports. Whatever a rule waits for is divided by
FASTER, in its `for`, its ranges and where it compares with `time()`, and all are evaluated each second. Nothing else is
changed.
"""

import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from monitoring.alerts import ALERTS
from monitoring.rendering import ALERTMANAGER, PROMETHEUS, rendered, rules
from tests.helpers import free_port, until
from tests.unit.monitored import Webhook, webhook

FASTER = 30
MACHINE = {"IBGatewayDisk"}
"""About the machine that the tests run on, whatever they do."""
DOWN_FOR_LONG = "count_over_time((ib_gateway_up == 0)[8s:1s]) >= 8"
"""A gateway was down for twice as long as its alert waits with FASTER."""
UNITS = {"m": 60, "h": 3600}


def fetched(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


@dataclass(frozen=True)
class Alerting:
    prometheus: str
    hook: Webhook

    def told(self, status: str) -> set[tuple[str, str]]:
        """Alert and gateway of whatever the webhook got in that status ("firing" or "resolved")."""
        return {
            (alert["labels"]["alertname"], alert["labels"].get("gateway", ""))
            for _, _, body in [*self.hook.took]
            for alert in body["alerts"]
            if alert["status"] == status
        }

    def values(self, query: str) -> list[dict[str, Any]]:
        """Prometheus' answer to an instant query."""
        answer = fetched(f"{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}")
        return list(answer["data"]["result"])


def waits(name: str, faster: int = FASTER) -> float:
    """Seconds for which that alert's condition has to last here."""
    return round(next(alert.lasts for alert in ALERTS if alert.name == name).total_seconds() / faster)


@contextmanager
def process(command: Sequence[str], ready: str, folder: Path) -> Iterator[None]:
    log = folder / f"{command[0]}.log"
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output, cwd=folder) as running:
        try:
            until(lambda: answers(ready), lambda: f"{command[0]} answers\n{log.read_text()}", seconds=60)
            yield
        finally:
            running.terminate()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def faster_rules(faster: int) -> dict[str, Any]:
    document = rules([alert for alert in ALERTS if alert.name not in MACHINE], faster=faster)
    for group in document["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule["expr"] = quicker(rule["expr"], faster)
    return document


def quicker(expression: str, by: int) -> str:
    ranges = re.sub(r"\[(\d+)([mh])\]", lambda of: f"[{int(of[1]) * UNITS[of[2]] // by}s]", expression)
    if "time()" not in ranges:
        return ranges
    return re.sub(r"([<>]) (\d{3,})\b", lambda of: f"{of[1]} {int(of[2]) / by:g}", ranges)


@contextmanager
def alerting(folder: Path, target: str, faster: int = FASTER) -> Iterator[Alerting]:
    """`target`: host and port of a watcher. `faster`: by what all waiting is divided."""
    files = {path: yaml.safe_load(text) for path, text in rendered().items() if path in (ALERTMANAGER, PROMETHEUS)}
    with ExitStack() as running:
        hook = running.enter_context(webhook())
        ports = free_port(), free_port()
        scraping, routing = files[PROMETHEUS], files[ALERTMANAGER]
        scraping["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
        scraping["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{ports[1]}"]}]
        for receiver in routing["receivers"]:
            receiver["webhook_configs"] = [{"url": f"http://{hook.url}/{receiver['name']}"}]
        routing["route"]["group_interval"] = "1s"  # else what is over is told some minutes later
        for name, document in (("prometheus.yaml", scraping), ("alertmanager.yaml", routing)):
            (folder / name).write_text(yaml.safe_dump(document))
        (folder / "alerts.yaml").write_text(yaml.safe_dump(faster_rules(faster)))
        made = Alerting(f"http://127.0.0.1:{ports[0]}", hook)
        running.enter_context(
            process(
                [
                    *("prometheus-alertmanager", "--config.file=alertmanager.yaml", "--storage.path=alertmanager"),
                    *(f"--web.listen-address=127.0.0.1:{ports[1]}", "--cluster.listen-address="),
                ],
                f"http://127.0.0.1:{ports[1]}/-/ready",
                folder,
            )
        )
        running.enter_context(
            process(
                [
                    *("prometheus", "--config.file=prometheus.yaml", "--storage.tsdb.path=prometheus"),
                    f"--web.listen-address=127.0.0.1:{ports[0]}",
                ],
                f"{made.prometheus}/-/ready",
                folder,
            )
        )
        yield made
