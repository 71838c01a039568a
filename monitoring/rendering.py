"""The files of `monitoring/rendered`, and the runbook, as text. A test keeps them current."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import yaml

from deployment.description import MONITORING_PORT
from healthcheck import runbook
from healthcheck.monitoring.metrics import JOB
from monitoring import dashboard, objective
from monitoring.alerts import ALERTS, SEVERITIES, Alert, Severity, anchor, inhibitions

FOLDER = "monitoring/rendered"
RULES, PROMETHEUS, ALERTMANAGER = (f"{FOLDER}/{name}.yaml" for name in ("alerts", "prometheus", "alertmanager"))
DASHBOARD = f"{FOLDER}/dashboard.json"
RUNBOOK = "docs/runbook.md"
_MADE = "# Written by `make reference` from monitoring/alerts.py.\n"
_WHOLE = "# A whole configuration; into one of your own, take what it lacks. Addresses in capitals are yours.\n"

SCRAPING: Mapping[str, Any] = {
    # What is told within the prober's interval and 5 s: 2 s until it is scraped, 1 s until the rules are asked, 1 s in
    # which Alertmanager gathers what one cause makes fire.
    "global": {"scrape_interval": "15s", "evaluation_interval": "1s"},
    "rule_files": ["alerts.yaml"],
    "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["ALERTMANAGER:9093"]}]}]},
    "scrape_configs": [
        {
            "job_name": JOB,
            "scrape_interval": "2s",
            "scrape_timeout": "2s",
            "static_configs": [{"targets": [f"ibgw-paper.watcher:{MONITORING_PORT}"]}],
        }
    ],
}
ROUTING: Mapping[str, Any] = {
    "route": {
        "receiver": "somebody",
        "group_by": ["alertname", "stack", "gateway"],
        "group_wait": "1s",
        "group_interval": "1m",
        "repeat_interval": "4h",
        "routes": [
            {"receiver": "nobody", "matchers": [f'severity="{Severity.INFO}"']},
            {"receiver": "somebody-at-once", "matchers": [f'severity="{Severity.CRITICAL}"', 'mode!="paper"']},
        ],
    },
    "receivers": [
        {"name": "nobody"},
        {"name": "somebody", "webhook_configs": [{"url": "https://CHAT.invalid/"}]},
        {"name": "somebody-at-once", "webhook_configs": [{"url": "https://PAGER.invalid/"}]},
    ],
}


def rendered() -> dict[str, str]:
    """The text of each file, by its path in the project's folder."""
    return {
        RULES: _MADE + _yaml(rules()),
        PROMETHEUS: _MADE + _WHOLE + _yaml(SCRAPING),
        ALERTMANAGER: _MADE + _WHOLE + _yaml({**ROUTING, "inhibit_rules": inhibitions()}),
        DASHBOARD: dashboard.render(),
        RUNBOOK: runbook.render() + "".join(_runbook(ALERTS)),
    }


def rules(alerts: Iterable[Alert] = ALERTS, faster: float = 1.0) -> dict[str, Any]:
    """Prometheus' rules. `faster`: by what a test divides how long each condition has to last."""
    alerting = {"name": "ibgw", "rules": [_rule(alert, alert.lasts / faster) for alert in alerts]}
    return {"groups": [alerting, *objective.groups()]}


def _rule(alert: Alert, lasts: timedelta) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expression,
        **({"for": duration(lasts)} if lasts else {}),
        "labels": {"severity": alert.severity.value},
        "annotations": {"summary": alert.summary, "description": alert.impact, "runbook": anchor(alert)},
    }


def duration(length: timedelta) -> str:
    """As Prometheus writes one, in whole seconds."""
    seconds = round(length.total_seconds())
    return f"{seconds}s" if seconds % 60 else f"{seconds // 60}m"


class _Dumper(yaml.SafeDumper):
    """Without anchors, and with a list's items set in."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def _yaml(document: Mapping[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=118, allow_unicode=True)


def _runbook(alerts: Iterable[Alert]) -> Iterator[str]:
    yield (
        "\n# Alerts\n\nOne section an alert of `monitoring/` (docs/monitoring.md). The reason that an alert or the "
        "first\ncommand shows has its own section above.\n\n| Severity | Means |\n|---|---|\n"
    )
    yield from (f"| {severity} | {meaning} |\n" for severity, meaning in SEVERITIES.items())
    for alert in alerts:
        lasts = f", after {duration(alert.lasts)}" if alert.lasts else ", at once"
        yield (
            f"\n## {alert.name}\n\n{alert.severity.capitalize()}{lasts}. {alert.impact}\n\n"
            f"First: `{alert.first}`.\n\nWhen to stop: {alert.stop}\n"
        )
