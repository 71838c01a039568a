"""`ibgw verify`: runs the verification and keeps its report; and an update, with the report that its own leaves."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from deployment.description import Deployment
from deployment.kept import keep
from deployment.paths import find_project, kept_file, pictures, project_folder, reports, update_report
from healthcheck.observation import CheckName
from healthcheck.report import Report
from healthcheck.runner import look, verify
from operations.commands.shared import say
from operations.stack import Stack


def run(
    deployment: Deployment,
    gateways: Sequence[str],
    *,
    checks: Collection[CheckName] | None,
    wait: float | None,
    watch: float,
    strict: bool,
    show_accounts: bool,
    progress: Callable[[str], None],
    looking: bool = False,
    note: str | None = None,
) -> Report:
    """Verifies, and writes the report beside Pulumi.yaml where there is one: a deployment may be read from a file
    anywhere. `wait` and `watch` in seconds, a `wait` of None fits what is wrong; `checks`: None for all; `looking`: no
    gateway is stopped; `note`: for the report.

    Raises IbgwError when it could not run at all.
    """
    project = find_project()
    report = (look if looking else verify)(
        deployment,
        gateways=gateways,
        wait=wait,
        watch=watch,
        checks=checks,
        progress=progress,
        show_accounts=show_accounts,
        recorded=Stack(deployment.stack).recorded_ids,
        pictures=None if project is None else pictures(project, deployment.stack),
    )
    report = report.model_copy(update={"note": note})
    if strict:
        report = report.strict()
    if project is not None:
        report.write(reports(project) / f"{deployment.stack}.json", progress)
    return report


def update(stack: Stack, *, targets: Sequence[str] = (), project: Path | None = None) -> tuple[bool, Report | None]:
    """Runs `pulumi up`, of these resources or of all: whether it succeeded, and the report of the verification at its
    end; None where it did not get there. `project`: where Pulumi finds the program, if not here."""
    kept = update_report(project_folder(), stack.name)
    path = kept if project is None else update_report(project, stack.name)
    path.unlink(missing_ok=True)
    succeeded = stack.up(targets)
    if project is not None and (left := kept_file(project, stack.name)).exists():
        keep(Deployment.model_validate_json(left.read_bytes()), project_folder())
    if not path.exists():
        return succeeded, None
    report = Report.model_validate_json(path.read_bytes())
    if path != kept:
        report.write(kept, say)
    return succeeded, report
