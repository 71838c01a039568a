"""Containers of the verifier's image: created on a network, read, and always removed."""

import json
import queue
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Self

import docker
from docker.errors import APIError
from docker.models.containers import Container
from docker.models.networks import Network
from docker.types import LogConfig

from deployment.description import Deployment, Gateway
from deployment.names import Label, Names, Role, labels
from healthcheck.attachments import OWN
from healthcheck.docker_host import FAILURES, moment
from healthcheck.events import read_attempt
from healthcheck.observation import Attempt, CheckName
from healthcheck.probe import Answer
from healthcheck.redact import Redactor

# What the container may use. Python with numpy (through ib_async) needs about 60 MiB.
MEMORY = "256m"
PROCESSES = 64
USER = "65534:65534"

PROBE = ["python3", "-m", "healthcheck.probe"]
"""Not `healthcheck probe`, which is the same and loads the API client first."""

PROBE_SECONDS = 30
"""How long a probe's container may take; its attempts themselves take two seconds at most."""

MOST_TOGETHER = 16
"""Gateways that one container serves. Each one's network costs a tenth of a second, a container of its own a second."""

BUDGET = 120
"""Seconds beyond the time to wait after which a verifier counts as hung; for so long it stays after its attempts."""

GRACE = timedelta(minutes=1)
"""How long its owner may need to remove what has ended or outlived its time."""


class VerifierFailed(Exception):
    """A container of the verifier's image ran, and did not tell what it should."""


class Verifier:
    """A running container that observes gateways, attached to the api networks of all of them.

    It stays afterwards, for whoever asks what answers from there, until it is removed.
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
        command = ["verify", "--wait", f"{wait:g}", "--stay", f"{BUDGET}"]
        for gateway in gateways:
            command += ["--gateway-json", gateway.model_dump_json()]
        command += ["--checks", ",".join(checks)]
        if show_accounts:
            command.append("--show-accounts")
        networks = [gateway.api.network for gateway in gateways]
        self._attempts: dict[str, queue.Queue[Attempt | None]] = {gateway.name: queue.Queue() for gateway in gateways}
        self._unfinished = set(self._attempts)
        self._unreadable = ""
        name = gateways[0].name if len(gateways) == 1 else None
        self._container = start(client, deployment, networks, command, name, wait=wait)
        threading.Thread(target=self._follow, name=f"follow-{self._container.name}", daemon=True).start()

    def attempt(self, gateway: str, timeout: float) -> Attempt | None:
        """The next attempt at one of its gateways, or None after `timeout` seconds.

        Raises VerifierFailed where no other comes, and FAILURES.
        """
        try:
            attempt = self._attempts[gateway].get(timeout=timeout)
        except queue.Empty:
            return None
        if attempt is None:
            raise VerifierFailed(f"the verifier gave no report: {self._complaint()}")
        return attempt

    def probe(self, addresses: Sequence[str]) -> dict[str, Answer]:
        """What answers at addresses (`HOST:PORT`), as seen from where it is. Raises FAILURES and VerifierFailed.

        Attaching another container there would cost more than all the rest.
        """
        code, output = self._container.exec_run([*PROBE, *addresses])
        assert isinstance(output, bytes)  # nothing is streamed
        return _answers(output, addresses, f"a probe in {self._container.name} ended with exit code {code}")

    def remove(self) -> str:
        """What Docker said if it could not be removed, else nothing."""
        try:
            # One that is through with all has disconnected from all.
            remove(self._container, at_once=not self._unfinished)
        except FAILURES as error:
            return f"{self._container.name} could not be removed, which the next run does: {error}"
        return ""

    def _complaint(self) -> str:
        """What it wrote beside its lines, and how it ended."""
        text = self._container.logs(stdout=False, stderr=True, tail=5).decode("utf-8", "replace").strip()
        self._container.reload()
        code = self._container.attrs["State"]["ExitCode"]
        return "; ".join(part for part in (f"exit code {code}", self._unreadable, " ".join(text.split())) if part)

    def _follow(self) -> None:
        """Hands on what it prints, in a thread."""
        buffered = b""
        try:
            for chunk in self._container.logs(stdout=True, stderr=False, stream=True, follow=True):
                *lines, buffered = (buffered + chunk).split(b"\n")
                for line in lines:
                    self._take(line)
        except (*FAILURES, OSError) as error:
            self._unreadable = f"its output broke off ({type(error).__name__})"
        for attempts in self._attempts.values():
            attempts.put(None)

    def _take(self, line: bytes) -> None:
        try:
            attempt = read_attempt(line)
            if attempt.last:
                self._unfinished.discard(attempt.gateway)
            self._attempts[attempt.gateway].put(attempt)
        except (ValueError, KeyError):
            self._unreadable = "it printed a line that is no event"


class Verifiers:
    """The verifiers of a run, each started and removed in a thread of its own; all are gone when the context ends."""

    def __init__(self, client: docker.DockerClient, deployment: Deployment, progress: Callable[[str], None]) -> None:
        self.starting: dict[str, Future[Verifier]] = {}
        """By the names of the gateways that need them."""
        self._client = client
        self._deployment = deployment
        self._progress = progress
        self._pool = ThreadPoolExecutor(max_workers=100, thread_name_prefix="verifier")
        self._leaving = threading.Lock()
        self._removals: list[Future[None]] = []

    def start(
        self, gateways: Sequence[Gateway], checks: Iterable[CheckName], *, wait: float, show_accounts: bool
    ) -> None:
        """For gateways in groups of at most MOST_TOGETHER, about equal."""
        groups = -(-len(gateways) // MOST_TOGETHER)
        for group in (gateways[at::groups] for at in range(groups)):
            verifier = self._pool.submit(
                Verifier, self._client, self._deployment, group, checks, wait=wait, show_accounts=show_accounts
            )
            self.starting |= {gateway.name: verifier for gateway in group}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._pool:
            self.leave(*self.starting)
            for removal in self._removals:
                removal.result()

    def leave(self, *gateways: str) -> None:
        """These need theirs no longer. One that nobody needs is removed beside what goes on: Docker is slow at it."""
        with self._leaving:
            left = {self.starting.pop(gateway) for gateway in gateways if gateway in self.starting}
            for starting in left.difference(self.starting.values()):
                self._removals.append(self._pool.submit(self._remove, starting))

    def _remove(self, starting: Future[Verifier]) -> None:
        if not starting.cancel() and starting.exception() is None and (complaint := starting.result().remove()):
            self._progress(Redactor().text(complaint))


def run_probe(
    client: docker.DockerClient, deployment: Deployment, network: str, addresses: Sequence[str]
) -> dict[str, Answer]:
    """What answers at addresses (`HOST:PORT`) as seen from a container of its own on a network.

    Raises FAILURES, and VerifierFailed when the container ran and gave no answers.
    """
    container = start(client, deployment, [network], [*addresses], entrypoint=PROBE)
    try:
        code = container.wait(timeout=PROBE_SECONDS)["StatusCode"]
        output = container.logs(stdout=True, stderr=True)
    finally:
        remove(container)
    return _answers(output, addresses, f"a probe from {network} ended with exit code {code}")


def _answers(output: bytes, addresses: Iterable[str], what: str) -> dict[str, Answer]:
    text = output.decode("utf-8", "replace")
    try:
        lines = [json.loads(line) for line in text.splitlines()]
        answers = {line["address"]: Answer(line["answer"]) for line in lines}
        return {address: answers[address] for address in addresses}
    except (ValueError, KeyError, TypeError):
        raise VerifierFailed(f"{what}: {text.strip()[-200:]}") from None


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
    common = labels(
        prefix=deployment.name_prefix,
        project=deployment.project,
        stack=deployment.stack,
        mode=deployment.mode,
        role=Role.VERIFIER,
        gateway=gateway,
    )
    return common | {str(Label.LIFETIME): f"{wait + BUDGET:.0f}"}


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


def _outlived(created: str, labels_: Mapping[str, str], now: datetime) -> bool:
    return now - moment(created) > timedelta(seconds=float(labels_.get(Label.LIFETIME, 0))) + GRACE


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
