"""The verifier's container: created on a gateway's api network, read, and always removed."""

import queue
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import docker
from docker.errors import APIError
from docker.models.containers import Container
from docker.types import LogConfig
from pydantic import ValidationError

from contract.names import Label, Names, Role, labels
from contract.target import Contract, Gateway
from healthcheck.docker_host import FAILURES, moment
from healthcheck.events import EVENT, ProgressEvent, ReportEvent

# What the container may use. Python with numpy (through ib_async) needs about 60 MiB.
MEMORY = "256m"
PROCESSES = 64
USER = "65534:65534"

# Leftovers of runs that were killed: ended a moment ago may still be read by its owner.
ENDED_FOR = timedelta(minutes=1)
OLDEST = timedelta(hours=1)


class VerifierRun:
    """A running verifier. Its events come through `next_event`."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._events: queue.Queue[ProgressEvent | ReportEvent | None] = queue.Queue()
        self.unreadable = ""
        self.over = False
        self._reader = threading.Thread(target=self._follow, name=f"follow-{container.name}", daemon=True)
        self._reader.start()

    def next_event(self, timeout: float) -> ProgressEvent | ReportEvent | None:
        """The next event, or None after `timeout` seconds or at the end (`over`)."""
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        if event is None:
            self.over = True
        return event

    def complaint(self) -> str:
        """What it wrote beside events, and how it ended; for a verifier that gave no report."""
        text = self._container.logs(stdout=False, stderr=True, tail=5).decode("utf-8", "replace").strip()
        self._container.reload()
        code = self._container.attrs["State"]["ExitCode"]
        return "; ".join(part for part in (f"exit code {code}", self.unreadable, " ".join(text.split())) if part)

    def _follow(self) -> None:
        buffered = b""
        try:
            for chunk in self._container.logs(stdout=True, stderr=False, stream=True, follow=True):
                *lines, buffered = (buffered + chunk).split(b"\n")
                for line in lines:
                    self._take(line)
        except (*FAILURES, OSError) as error:
            self.unreadable = f"its output broke off ({type(error).__name__})"
        self._events.put(None)

    def _take(self, line: bytes) -> None:
        try:
            self._events.put(EVENT.validate_json(line))
        except ValidationError:
            self.unreadable = "it printed a line that is no event"


@contextmanager
def verifier(
    client: docker.DockerClient, contract: Contract, gateway: Gateway, *, wait: float, show_accounts: bool
) -> Iterator[VerifierRun]:
    """Run the verifier beside a gateway; the container is removed whatever happens. Raises FAILURES."""
    base = Names(contract.name_prefix, contract.stack).gateway(gateway.name)
    command = ["verify", "--stack", contract.stack, "--wait", f"{wait:g}", "--gateway-json", gateway.model_dump_json()]
    if show_accounts:
        command.append("--show-accounts")
    container = client.containers.create(
        contract.verifier.image_id,
        command,
        name=f"{base}-verifier-{secrets.token_hex(4)}",
        labels=labels(
            prefix=contract.name_prefix,
            project=contract.project,
            stack=contract.stack,
            mode=contract.mode,
            role=Role.VERIFIER,
            gateway=gateway.name,
        ),
        network=gateway.api.network,
        user=USER,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
        read_only=True,
        mem_limit=MEMORY,
        memswap_limit=MEMORY,
        pids_limit=PROCESSES,
        # Its output is read back through Docker, which not every log driver can.
        log_config=LogConfig(type=LogConfig.types.JSON),
    )
    try:
        container.start()
        yield VerifierRun(container)
    finally:
        remove(container)


def remove(container: Container) -> None:
    """SIGTERM first, so that it disconnects from the gateway, then remove it. Somebody else may do so meanwhile."""
    try:
        container.stop(timeout=3)
        container.remove(force=True)
    except APIError as error:
        if error.status_code not in (404, 409):
            raise


def sweep(client: docker.DockerClient, contract: Contract) -> int:
    """Remove what earlier, killed runs of this stack left; how many there were."""
    now = moment(client.info()["SystemTime"])
    wanted = {
        Label.PREFIX: contract.name_prefix,
        Label.STACK: contract.stack,
        Label.ROLE: Role.VERIFIER.value,
    }
    found = client.containers.list(
        all=True, filters={"label": [f"{key}={value}" for key, value in wanted.items()]}, ignore_removed=True
    )
    leftovers = [container for container in found if _left_over(container, now)]
    for container in leftovers:
        remove(container)
    return len(leftovers)


def _left_over(container: Container, now: datetime) -> bool:
    age = now - moment(container.attrs["Created"])
    return age > OLDEST or (container.status != "running" and age > ENDED_FOR)
