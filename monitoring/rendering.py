"""The files of `monitoring/rendered`, and the runbook, as text. A test keeps them current."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import yaml

from healthcheck import runbook
from monitoring.alerts import ALERTS, SEVERITIES, Alert, anchor, inhibitions

FOLDER = "monitoring/rendered"
RUNBOOK = "docs/runbook.md"
_MADE = "# Written by `make reference` from monitoring/alerts.py.\n"


def rendered() -> dict[str, str]:
    """The text of each file, by its path in the project's folder."""
    return {
        f"{FOLDER}/alerts.yaml": _MADE + _yaml(rules()),
        f"{FOLDER}/alertmanager.yaml": _MADE
        + "# One cause, one page: take these into your alertmanager.yml.\n"
        + _yaml({"inhibit_rules": inhibitions()}),
        RUNBOOK: runbook.render() + "".join(_runbook(ALERTS)),
    }


def rules(alerts: Iterable[Alert] = ALERTS, faster: float = 1.0) -> dict[str, Any]:
    """Prometheus' rules. `faster`: by what a test divides how long each condition has to last."""
    return {"groups": [{"name": "ibgw", "rules": [_rule(alert, alert.lasts / faster) for alert in alerts]}]}


def _rule(alert: Alert, lasts: timedelta) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expression,
        **({"for": f"{round(lasts.total_seconds() * 1000)}ms"} if lasts.total_seconds() % 60 else _minutes(lasts)),
        "labels": {"severity": alert.severity.value},
        "annotations": {"summary": alert.summary, "description": alert.impact, "runbook": anchor(alert)},
    }


def _minutes(lasts: timedelta) -> Mapping[str, str]:
    return {"for": f"{lasts // timedelta(minutes=1)}m"} if lasts else {}


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
        lasts = f", after {alert.lasts // timedelta(minutes=1)} min" if alert.lasts else ", at once"
        yield (
            f"\n## {alert.name}\n\n{alert.severity.capitalize()}{lasts}. {alert.impact}\n\n"
            f"First: `{alert.first}`.\n\nWhen to stop: {alert.stop}\n"
        )
