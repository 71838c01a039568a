"""The project's folder, and where in it ibgw writes: `.ibgw` beside Pulumi.yaml, which git ignores.

What ibgw reads of its own lies in its packages, which may be installed anywhere and are never written.
"""

import errno
import os
import shlex
from collections.abc import Callable
from pathlib import Path

from deployment.errors import IbgwError

RELEASES = "releases"
"""The folder of the records, in the project's own; git has it."""


def find_project() -> Path | None:
    """Where Pulumi.yaml lies, as the CLI finds it: from the working directory (or the one that `--cwd` has been given
    by PULUMI_OPTION_CWD) upwards."""
    start = Path(os.environ.get("PULUMI_OPTION_CWD") or ".").resolve()
    return next((folder for folder in (start, *start.parents) if (folder / "Pulumi.yaml").exists()), None)


def project_folder() -> Path:
    """The same. Raises IbgwError where there is none."""
    folder = find_project()
    if folder is None:
        raise IbgwError(
            "No Pulumi project here: run this in the folder that holds Pulumi.yaml (a clone of ibgw's repository), "
            "or below it."
        )
    return folder


def written(project: Path) -> Path:
    return project / ".ibgw"


def reports(project: Path) -> Path:
    """The reports of `ibgw verify`: one file a stack, the latest."""
    return written(project) / "reports"


def update_report(project: Path, stack: str) -> Path:
    """Where `pulumi up` leaves its report. Apart from the others: a promotion must take no other for it."""
    return reports(project) / f"{stack}.update.json"


def picture_file(project: Path, stack: str, gateway: str) -> Path:
    """What a gateway's screen showed: the latest of `ibgw screen`."""
    return written(project) / "screens" / f"{stack}.{gateway}.png"


def pictures(project: Path, stack: str) -> Callable[[str], Path]:
    """Where a verification keeps what a gateway showed when it failed, by the gateway's name: beside its report."""
    return lambda gateway: reports(project) / f"{stack}.{gateway}.png"


def screen_record(project: Path, stack: str) -> Path:
    """Who opened the screen of one of its gateways, and when: two lines each time."""
    return reports(project) / f"{stack}.screen.jsonl"


def kept_file(project: Path, stack: str) -> Path:
    """What a stack's last update exported (deployment.kept)."""
    return written(project) / "descriptions" / f"{stack}.json"


def progress_file(project: Path, stack: str, command: str) -> Path:
    """How far a command over several gateways came (operations.batches.Progress)."""
    return written(project) / "batches" / f"{stack}.{command}.json"


def backups(project: Path) -> Path:
    """One archive for each `ibgw reset-settings`."""
    return written(project) / "backups"


def writable_again(error: OSError) -> str:
    """What to do about a file that could not be written."""
    if error.errno not in (errno.EACCES, errno.EPERM) or error.filename is None:
        return "expected a place with room that you may use"
    path = Path(error.filename)
    ours = next((folder for folder in (path, *path.parents) if folder.name == ".ibgw"), path.parent)
    return f"it is another user's, as after a run with sudo; `sudo chown -R $USER {shlex.quote(str(ours))}`"
