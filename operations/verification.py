"""`ibgw verify`: runs the verification and keeps its report."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from contract.target import Contract
from healthcheck.report import CheckName, Report
from healthcheck.runner import REPORTS, verify, write_report


def run(
    contract: Contract,
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
        contract,
        gateways=gateways,
        wait=wait,
        watch=watch,
        checks=checks,
        progress=progress,
        show_accounts=show_accounts,
    )
    if strict:
        report = report.strict()
    write_report(report, reports / f"{contract.stack}.json")
    return report
