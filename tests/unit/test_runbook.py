"""Every reason has its section in the runbook, which a report's link leads to."""

from pathlib import Path

from healthcheck.reasons import Reason, runbook
from monitoring.alerts import ALERTS, anchor
from monitoring.rendering import RUNBOOK, rendered

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "runbook.md"


def test_the_runbook_is_what_the_table_of_reasons_says() -> None:
    assert DOCUMENT.read_text() == rendered()[RUNBOOK], "run make reference"


def test_every_link_of_a_report_leads_to_a_section() -> None:
    sections = {line.removeprefix("## ") for line in DOCUMENT.read_text().splitlines() if line.startswith("## ")}
    for reason in Reason:
        path, _, anchor = runbook(reason).partition("#")
        assert path == "docs/runbook.md"
        assert anchor in sections


def test_every_link_of_an_alert_leads_to_a_section() -> None:
    sections = {line.removeprefix("## ") for line in DOCUMENT.read_text().splitlines() if line.startswith("## ")}
    for alert in ALERTS:
        assert alert.name in sections
        # As GitHub makes anchors of headings.
        assert anchor(alert) == f"docs/runbook.md#{alert.name.lower()}"
