"""`ibgw verify`: runs the verification, keeps its report, and says it for people or for programs."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from contract.target import Contract
from healthcheck.report import Report, render_human
from healthcheck.runner import REPORTS, verify, write_report


def run(
    contract: Contract,
    gateways: Sequence[str],
    *,
    wait: float,
    strict: bool,
    show_accounts: bool,
    progress: Callable[[str], None],
    reports: Path = REPORTS,
) -> Report:
    """Verifies and writes the report to `reports`. `wait` in seconds. Raises IbgwError when it could not run at all."""
    report = verify(contract, gateways=gateways, wait=wait, progress=progress, show_accounts=show_accounts)
    if strict:
        report = report.strict()
    write_report(report, reports / f"{contract.stack}.json")
    return report


def as_json(report: Report) -> str:
    return json.dumps(report.model_dump(mode="json", by_alias=True), indent=2, ensure_ascii=False)


def as_text(report: Report) -> str:
    """Coloured for a terminal, plain in a pipe and where NO_COLOR is set (no-color.org)."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return render_human(report)
    from rich.style import Style

    return render_human(report, lambda text, style: Style.parse(style).render(text))
