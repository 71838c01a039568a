"""What is kept of an open screen, and what follows once somebody had their hands on it.

What they may have changed is held against the configuration.

The gateway encrypts most of its settings (`ibg.xml`). What cannot be read is said, and a login writes it anew.
"""

import os
import pwd
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from deployment.description import Deployment, Gateway
from deployment.errors import ExitCode, IbgwError
from deployment.paths import writable_again
from healthcheck.credential_files import redactor_of
from healthcheck.docker_host import DockerError, DockerHost, docker_errors
from healthcheck.exposure_run import exposures
from healthcheck.redact import Redactor
from healthcheck.remedies import names
from healthcheck.report import Model
from healthcheck.screen.display import ScreenError
from healthcheck.screen_run import screen_of
from healthcheck.text import Text, clean
from infra.spec import SETTINGS_PATH
from operations.forward import require_running
from operations.screen_viewer import Say, serve

EVERY = 1.0
"""Seconds between two looks at the windows of a screen that is operated."""
_SETTINGS = re.compile(r"config|setting|preference", re.IGNORECASE)
"""In the title of the gateway's own settings' window."""


class Opening(Model):
    """A line of the record. `ended`: null where this is its beginning, or why it ended."""

    at: Text
    who: Text
    stack: Text
    gateway: Text
    control: bool
    ended: Text | None = None
    windows: tuple[Text, ...] = ()


def somebody() -> str:
    """Who runs this, by the system's word, and where."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return clean(f"{name}@{socket.gethostname()}")


def record(file: Path, opening: Opening) -> None:
    """Adds a line. Raises IbgwError: what cannot be recorded is not opened."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8") as opened:
            opened.write(f"{opening.as_line()}\n")
    except OSError as error:
        raise IbgwError(
            f"{file}: {error.strerror}, and whoever opens a screen is recorded there; {writable_again(error)}.",
            exit_code=ExitCode.COULD_NOT_RUN,
        ) from None


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Titles:
    """Of the windows that were shown meanwhile. `problem`: why they were not followed to the end."""

    seen: set[str] = field(default_factory=set)
    problem: str | None = None


@contextmanager
def followed(docker: DockerHost, container: str, redactor: Redactor) -> Iterator[Titles]:
    titles, over = Titles(), threading.Event()

    def follow() -> None:
        try:
            with screen_of(docker, container) as screen:
                while True:
                    titles.seen |= {redactor.text(window.title) for window in screen.windows() if window.title}
                    if over.wait(EVERY):
                        return
        except (DockerError, ScreenError, OSError) as error:
            titles.problem = redactor.text(str(error))

    thread = threading.Thread(target=follow, name="follow-windows", daemon=True)
    thread.start()
    try:
        yield titles
    finally:
        over.set()
        thread.join()


def opened(
    docker: DockerHost,
    deployment: Deployment,
    gateway: Gateway,
    file: Path,
    *,
    port: int,
    control: bool,
    say: Say,
) -> Titles:
    """Has it open for one viewer, and recorded in `file`: the titles of its windows meanwhile, where it is operated.
    Ctrl-C ends it as the viewer does. Raises IbgwError."""
    require_running(docker, deployment, gateway)
    who = somebody()
    line = Opening(at=now(), who=who, stack=deployment.stack, gateway=gateway.name, control=control)
    titles, ended = Titles(), "the command was ended"
    with docker_errors(f"Container {gateway.container.name} on {docker.url}", "try again"), ExitStack() as stack:
        redactor = redactor_of(docker, gateway, show_accounts=False)
        record(file, line)
        if control:
            titles = stack.enter_context(followed(docker, gateway.container.id, redactor))
        try:
            ended = serve(docker, gateway.container.id, port=port, control=control, who=who, say=say)
        except KeyboardInterrupt:
            ended = "Ctrl-C"
        finally:
            stack.close()
            seen = tuple(sorted(titles.seen))
            record(file, line.model_copy(update={"at": now(), "ended": ended, "windows": seen}))
    say(f"The screen is closed: {ended}.")
    return titles


@dataclass(frozen=True)
class Compared:
    """`found`: None where it cannot be known."""

    setting: str
    configured: str
    found: str | None

    @property
    def differs(self) -> bool:
        return self.found is not None and self.found != self.configured

    def __str__(self) -> str:
        found = "cannot be read" if self.found is None else f"found {clean(self.found)}"
        mark = "DIFFERS" if self.differs else "?" if self.found is None else "ok"
        return f"  {mark:<7}  {self.setting}: configured {self.configured}, {found}"


def compared(docker: DockerHost, deployment: Deployment, gateway: Gateway) -> list[Compared]:
    """The API's settings that can be read, in jts.ini and over the API. Raises DockerError."""
    text = docker.read_file(gateway.container.name, f"{SETTINGS_PATH}/jts.ini") or ""
    kept = dict(reversed([line.strip().split("=", 1) for line in text.splitlines() if "=" in line]))
    return [
        # From where a client is let in without a question; the image's relay and the probes are here.
        Compared("TrustedIPs (jts.ini)", "127.0.0.1", kept.get("TrustedIPs")),
        Compared("ApiOnly (jts.ini)", "true", kept.get("ApiOnly")),
        Compared("session.timeZone (jts.ini)", gateway.schedule.time_zone, kept.get("TimeZone")),
        Compared("api.readOnly", str(gateway.read_only).lower(), _read_only(docker, deployment, gateway)),
    ]


def _read_only(docker: DockerHost, deployment: Deployment, gateway: Gateway) -> str | None:
    """By whether the API tells of working orders. One that is read-only opens a dialog at that: where it should be, it
    is not asked."""
    if gateway.read_only:
        return None
    [told] = exposures(docker, deployment, [gateway])
    if told.orders is not None:
        return "false"
    return "true" if told.unread and "Read-Only" in told.unread else None


def check(docker: DockerHost, deployment: Deployment, gateway: Gateway, titles: Titles) -> tuple[str, bool]:
    """What was compared and what to do about it; whether all that could be read is as configured. Raises IbgwError."""
    with docker_errors(f"Container {gateway.container.name} on {docker.url}", "try again"):
        rows = compared(docker, deployment, gateway)
    lines = ["The API's settings that can be read:", *map(str, rows)]
    lines.append(f"Windows meanwhile: {', '.join(sorted(titles.seen)) or 'none'}")
    if titles.problem is not None:
        lines.append(f"They were not followed to the end: {titles.problem}")
    login = names(gateway, deployment.stack, deployment.docker_host)["login"]
    if any(map(_SETTINGS.search, titles.seen)) or titles.problem is not None:
        lines.append(f"Settings may have been changed, and not all can be read; a login writes them anew: {login}")
    elif any(row.differs for row in rows):
        lines.append(f"A login writes api.readOnly and the time zone anew: {login}")
    return "\n".join(lines), not any(row.differs for row in rows)
