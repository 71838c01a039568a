"""`ibgw verify`: runs the verification and keeps its report; and an update, with the report that its own leaves."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from deployment.description import Deployment
from healthcheck.report import CheckName, Report
from healthcheck.runner import REPORTS, update_report, verify, write_report
from operations.stack import Stack


def run(
    deployment: Deployment,
    gateways: Sequence[str],
    *,
    checks: Collection[CheckName] | None,
    wait: float,
    watch: float,
    strict: bool,
    show_accounts: bool,
    progress: Callable[[str], None],
    reports: Path = REPORTS,
) -> Report:
    """Verifies and writes the report to `reports`. `wait` and `watch` in seconds; `checks`: None for all.

    Raises IbgwError when it could not run at all.
    """
    report = verify(
        deployment,
        gateways=gateways,
        wait=wait,
        watch=watch,
        checks=checks,
        progress=progress,
        show_accounts=show_accounts,
    )
    if strict:
        report = report.strict()
    write_report(report, reports / f"{deployment.stack}.json")
    return report


def update(stack: Stack, *, targets: Sequence[str] = (), reports: Path = REPORTS) -> tuple[bool, Report | None]:
    """Runs `pulumi up`, of these resources or of all: whether it succeeded, and the report of the verification at its
    end; None where it did not get there. `reports`: where that program leaves it."""
    kept = update_report(stack.name)
    path = reports / kept.name
    path.unlink(missing_ok=True)
    succeeded = stack.up(targets)
    if not path.exists():
        return succeeded, None
    report = Report.model_validate_json(path.read_bytes())
    if path != kept:
        write_report(report, kept)
    return succeeded, report
