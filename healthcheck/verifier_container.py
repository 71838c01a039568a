"""Containers of the verifier's image: created on a network, read, and always removed."""

import json
import queue
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

import docker
from docker.errors import APIError
from docker.models.containers import Container
from docker.models.networks import Network
from docker.types import LogConfig
from pydantic import ValidationError

from deployment.description import Deployment, Gateway
from deployment.names import Label, Names, Role, labels
from healthcheck.attachments import OWN
from healthcheck.docker_host import FAILURES, moment
from healthcheck.events import EVENT, ProbeEvent, ProgressEvent, ReportEvent
from healthcheck.probe import Answer
from healthcheck.report import CheckName

T = TypeVar("T")

# What the container may use. Python with numpy (through ib_async) needs about 60 MiB.
MEMORY = "256m"
PROCESSES = 64
USER = "65534:65534"

PROBE_SECONDS = 30
"""How long a probe's container may take; its attempts themselves take two seconds at most."""

PROBE_AGAIN = 0.5
"""Seconds after which a verifier that may not have heard is asked again what answers."""

MOST_TOGETHER = 16
"""Gateways that one container serves. Each one's network costs a tenth of a second, a container of its own a second."""

BUDGET = 120
"""Seconds beyond the time to wait after which a verifier counts as hung; for so long it stays after its reports."""

GRACE = timedelta(minutes=1)
"""How long its owner may need to remove what has ended or outlived its time."""


def together(items: Sequence[T]) -> list[Sequence[T]]:
    """In groups of at most MOST_TOGETHER, about equal."""
    groups = -(-len(items) // MOST_TOGETHER)
    return [items[start::groups] for start in range(groups)]


class Verifier:
    """A running container that verifies gateways, attached to the api networks of all of them.

    It stays for whoever asks what answers from there, until it has been left by all of its gateways.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        deployment: Deployment,
        gateways: Sequence[Gateway],
        checks: Iterable[CheckName],
        *,
        wait: float,
        show_accounts: bool,
    ) -> None:
        """Starts it. Raises FAILURES."""
        command = ["verify", "--stack", deployment.stack, "--wait", f"{wait:g}", "--stay", f"{BUDGET}"]
        for gateway in gateways:
            command += ["--gateway-json", gateway.model_dump_json()]
        command += ["--checks", ",".join(checks)]
        if show_accounts:
            command.append("--show-accounts")
        networks = [gateway.api.network for gateway in gateways]
        self._runs = {gateway.name: VerifierRun() for gateway in gateways}
        self._not_left = set(self._runs)
        self._without_report = set(self._runs)
        self._probes: queue.Queue[Mapping[str, Mapping[str, Answer]]] = queue.Queue()
        self._probing = threading.Lock()
        self._removal: threading.Thread | None = None
        self._failure = ""
        self._lock = threading.Lock()
        name = gateways[0].name if len(gateways) == 1 else None
        self._container = start(client, deployment, networks, command, name, wait=wait)
        threading.Thread(target=self._follow, name=f"follow-{self._container.name}", daemon=True).start()

    def run(self, gateway: str) -> "VerifierRun":
        """What it tells of one of its gateways."""
        return self._runs[gateway]

    def probe(self) -> Mapping[str, Mapping[str, Answer]]:
        """What answers at the client ports of its gateways, by their names and addresses, as seen from where it is.

        Attaching another container there would cost more than all the rest. Raises FAILURES and ProbeFailed.
        """
        with self._probing:
            while not self._probes.empty():
                self._probes.get()
            # A signal that comes before Python has its handler is lost: process 1 has no default ones.
            for _ in range(round(PROBE_SECONDS / PROBE_AGAIN)):
                self._container.kill("SIGUSR1")
                try:
                    return self._probes.get(timeout=PROBE_AGAIN)
                except queue.Empty:
                    continue
        raise ProbeFailed(f"the verifier did not tell within {PROBE_SECONDS} s what answers from inside")

    def leave(self, *gateways: str) -> None:
        """These need it no longer. After the last it is removed, beside what goes on: Docker is slow at it."""
        with self._lock:
            self._not_left.difference_update(gateways)
            if self._not_left or self._removal is not None:
                return
            self._removal = threading.Thread(target=self._remove, name=f"remove-{self._container.name}")
            self._removal.start()

    def gone(self) -> str:
        """Waits until it is removed, after it has been left by all. What Docker said if it is not, else nothing."""
        if self._removal is not None:
            self._removal.join()
        return self._failure

    def _remove(self) -> None:
        try:
            # One that has reported on all has disconnected from all.
            remove(self._container, at_once=not self._without_report)
        except FAILURES as error:
            self._failure = f"{self._container.name} could not be removed, which the next run does: {error}"

    def complaint(self, run: "VerifierRun") -> str:
        """What it wrote beside events, and how it ended; for a verifier that gave no report."""
        text = self._container.logs(stdout=False, stderr=True, tail=5).decode("utf-8", "replace").strip()
        self._container.reload()
        code = self._container.attrs["State"]["ExitCode"]
        return "; ".join(part for part in (f"exit code {code}", run.unreadable, " ".join(text.split())) if part)

    def _follow(self) -> None:
        buffered = b""
        try:
            for chunk in self._container.logs(stdout=True, stderr=False, stream=True, follow=True):
                *lines, buffered = (buffered + chunk).split(b"\n")
                for line in lines:
                    self._take(line)
        except (*FAILURES, OSError) as error:
            self._complain(f"its output broke off ({type(error).__name__})")
        for run in self._runs.values():
            run.put(None)

    def _take(self, line: bytes) -> None:
        try:
            event = EVENT.validate_json(line)
            if isinstance(event, ProbeEvent):
                self._probes.put(event.answers)
                return
            gateway = event.gateway if isinstance(event, ProgressEvent) else event.report.gateway
            if isinstance(event, ReportEvent):
                self._without_report.discard(gateway)
            self._runs[gateway].put(event)
        except (ValidationError, KeyError):
            self._complain("it printed a line that is no event")

    def _complain(self, what: str) -> None:
        for run in self._runs.values():
            run.unreadable = what


class VerifierRun:
    """The events of one gateway."""

    def __init__(self) -> None:
        self._events: queue.Queue[ProgressEvent | ReportEvent | None] = queue.Queue()
        self.unreadable = ""
        self.over = False

    def put(self, event: ProgressEvent | ReportEvent | None) -> None:
        """None is the end."""
        self._events.put(event)

    def next_event(self, timeout: float) -> ProgressEvent | ReportEvent | None:
        """The next event, or None after `timeout` seconds or at the end (`over`)."""
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        if event is None:
            self.over = True
        return event


def run_probe(
    client: docker.DockerClient, deployment: Deployment, networks: Sequence[str], addresses: Iterable[str]
) -> dict[str, Answer]:
    """What answers at addresses (`HOST:PORT`) as seen from a container that is attached to these networks.

    Raises FAILURES, and ProbeFailed when the container ran and gave no answers.
    """
    asked = [*addresses]
    # Not `healthcheck probe`, which is the same and loads the API client first.
    container = start(client, deployment, networks, asked, entrypoint=["python3", "-m", "healthcheck.probe"])
    try:
        code = container.wait(timeout=PROBE_SECONDS)["StatusCode"]
        output = container.logs(stdout=True, stderr=True).decode("utf-8", "replace")
    finally:
        remove(container)
    try:
        lines = [json.loads(line) for line in output.splitlines()]
        answers = {line["address"]: Answer(line["answer"]) for line in lines}
        return {address: answers[address] for address in asked}
    except (ValueError, KeyError, TypeError):
        raise ProbeFailed(
            f"a probe from {', '.join(networks)} ended with exit code {code}: {output.strip()[-200:]}"
        ) from None


class ProbeFailed(Exception):
    """A container ran and did not tell what answers."""


@contextmanager
def throwaway_bridge(client: docker.DockerClient, deployment: Deployment) -> Iterator[str]:
    """The id of a plain bridge network, as anybody may make one; removed whatever happens. Raises FAILURES."""
    network = client.networks.create(_name(deployment), driver="bridge", labels=_labels(deployment))
    try:
        yield str(network.id)
    finally:
        network.remove()


def _name(deployment: Deployment, gateway: str | None = None) -> str:
    names = Names(deployment.name_prefix, deployment.stack)
    return f"{names.base if gateway is None else names.gateway(gateway)}-verifier-{secrets.token_hex(4)}"


def _labels(deployment: Deployment, gateway: str | None = None, wait: float = 0) -> dict[str, str]:
    found = labels(
        prefix=deployment.name_prefix,
        project=deployment.project,
        stack=deployment.stack,
        mode=deployment.mode,
        role=Role.VERIFIER,
        gateway=gateway,
    )
    return found | {str(Label.LIFETIME): f"{wait + BUDGET:.0f}"}


def start(
    client: docker.DockerClient,
    deployment: Deployment,
    networks: Sequence[str],
    command: list[str],
    gateway: str | None = None,
    wait: float = 0,
    **options: Any,
) -> Container:
    """A running container of the verifier's image, as confined as can be. Raises FAILURES and leaves nothing then.

    `wait`: seconds for which it may wait for a gateway, beyond those that it needs itself.
    """
    first, *others = networks
    container = client.containers.create(
        deployment.verifier.image_id,
        command,
        name=_name(deployment, gateway),
        labels=_labels(deployment, gateway, wait),
        network=first,
        user=USER,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
        read_only=True,
        mem_limit=MEMORY,
        memswap_limit=MEMORY,
        pids_limit=PROCESSES,
        # On several gateways' networks it must be no way from one to another.
        sysctls={"net.ipv4.ip_forward": "0"},
        # Its output is read back through Docker, which not every log driver can.
        log_config=LogConfig(type=LogConfig.types.JSON),
        **options,
    )
    OWN.update((str(container.id), str(container.name)))
    try:
        for network in others:
            client.api.connect_container_to_network(str(container.id), network)
        container.start()
    except FAILURES:
        remove(container)
        raise
    return container


def remove(container: Container, *, at_once: bool = False) -> None:
    """Unless `at_once`, SIGTERM first, so that it disconnects from the gateway. Somebody else may do so meanwhile."""
    try:
        if not at_once:
            container.stop(timeout=3)
        container.remove(force=True)
    except APIError as error:
        if error.status_code not in (404, 409):
            raise


def sweep(client: docker.DockerClient, deployment: Deployment) -> int:
    """Remove what earlier, killed runs of this stack left; how many containers and networks there were.

    What another run is using right now stays: each object says how long its owner may need it.
    """
    now = moment(client.info()["SystemTime"])
    wanted = {
        Label.PREFIX: deployment.name_prefix,
        Label.STACK: deployment.stack,
        Label.ROLE: Role.VERIFIER.value,
    }
    filters: dict[str, str | list[str] | bool] = {"label": [f"{key}={value}" for key, value in wanted.items()]}
    containers = [
        container
        for container in client.containers.list(all=True, filters=filters, ignore_removed=True)
        if _outlived(container.attrs["Created"], container.labels, now) or _ended(container, now)
    ]
    for container in containers:
        remove(container)
    networks = [
        network
        for network in client.networks.list(filters=filters)
        if _outlived(network.attrs["Created"], network.attrs["Labels"], now) and _removed(network)
    ]
    return len(containers) + len(networks)


def _outlived(created: str, found: Mapping[str, str], now: datetime) -> bool:
    return now - moment(created) > timedelta(seconds=float(found.get(Label.LIFETIME, 0))) + GRACE


def _ended(container: Container, now: datetime) -> bool:
    """Its owner reads what it says while it runs, and removes it as soon as it has ended."""
    return container.status == "exited" and now - moment(container.attrs["State"]["FinishedAt"]) > GRACE


def _removed(network: Network) -> bool:
    """Removes a network unless something is attached, which Docker refuses (403), or somebody else did (404)."""
    try:
        network.remove()
    except APIError as error:
        if error.status_code not in (403, 404):
            raise
        return False
    return True
