"""`ibgw logs --files`: what gateways wrote into their own log files, where debugging is on."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from deployment.description import Deployment, Gateway
from deployment.errors import ExitCode, IbgwError
from healthcheck.automation import launcher
from healthcheck.credential_files import redactor_of
from healthcheck.docker_host import DockerHost, File, docker_errors
from healthcheck.logs import without_stamp
from healthcheck.redact import Redactor
from healthcheck.text import clean
from infra.spec import LOGS_PATH
from operations.logs import Line

LAST = 2**20
"""Bytes of each file, from its end."""

ENCRYPTED = (".ibenc", ".ibgzenc")
"""How the names end of those that only IBKR can read."""


def read(
    docker: DockerHost,
    deployment: Deployment,
    gateways: Sequence[Gateway],
    *,
    tail: int,
    since: timedelta | None,
    known: bool,
    show_accounts: bool,
) -> tuple[list[Line], list[str]]:
    """The last `tail` lines of each gateway's files, in the order of their times, and a note for each gateway with what
    is there besides. `known`, `since`: as for the log.

    Raises IbgwError: REFUSED where a gateway keeps no such files, could not run where Docker fails.
    """
    lines, notes = [], []
    for gateway in gateways:
        if gateway.volumes.logs is None:
            raise IbgwError(
                f"The gateway {gateway.container.name} keeps no files of its logs: set ibgw:gateways.{gateway.name}"
                f".debug.enabled to true and run `pulumi up --stack {deployment.stack}`, which logs in again.",
                exit_code=ExitCode.REFUSED,
            )
        with docker_errors(f"Container {gateway.container.name} on {deployment.docker_host}", "try again"):
            files = docker.list_folder(
                gateway.container.name, LOGS_PATH, wanted=lambda name: not name.endswith(ENCRYPTED), last=LAST
            )
            oldest = docker.now() - since if since is not None else datetime.min.replace(tzinfo=UTC)
            redactor = redactor_of(docker, gateway, show_accounts=show_accounts)
        found = sorted((line for file in files for line in _lines(file, gateway, redactor)), key=lambda line: line.at)
        found = [line for line in found if line.at >= oldest and (line.state is not None or not known)]
        lines += found[len(found) - min(tail, len(found)) :]
        notes.append(_note(gateway, files))
    return sorted(lines, key=lambda line: line.at), notes


def _lines(file: File, gateway: Gateway, redactor: Redactor) -> Iterator[Line]:
    """A line without a time of its own has the one before it; before the first, the file's."""
    zone = ZoneInfo(gateway.schedule.time_zone)
    at = file.modified
    for raw in (file.text or "").splitlines():
        state, told = None, launcher.line(raw)
        if told is not None:
            at, state = told[0].replace(tzinfo=zone), told[1]
        yield Line(at, gateway.name, state, clean(f"{file.name}: {redactor.text(without_stamp(raw))}"))


def _note(gateway: Gateway, files: Sequence[File]) -> str:
    encrypted = [file for file in files if file.text is None]
    if not files:
        return f"{gateway.name}: nothing yet in {gateway.volumes.logs}; the gateway's files come within half a minute."
    if not encrypted:
        return f"{gateway.name}: read {', '.join(sorted(clean(file.name) for file in files))}."
    size = sum(file.size for file in encrypted) / 2**20
    return (
        f"{gateway.name}: {len(files)} files. {len(encrypted)} of them ({size:.1f} MiB, the newest "
        f"{clean(max(encrypted, key=lambda file: file.modified).name)}) are encrypted, for IBKR's support to read: "
        f"{LOGS_PATH} in {gateway.container.name}."
    )
