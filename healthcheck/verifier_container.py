"""Containers of the verifier's image: created on a network, read, and always removed."""

import json
import queue
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Self

from deployment.description import Deployment, Gateway
from deployment.names import Label, Names, Role, labels
from deployment.tables import Kind
from healthcheck import owner
from healthcheck.attachments import OWN
from healthcheck.docker_host import CONFINED, Conflict, DockerError, DockerHost, Inspected, NotFound, moment
from healthcheck.events import read_attempt
from healthcheck.neighbours import JOINS
from healthcheck.observation import Attempt, CheckName
from healthcheck.probe import Answer
from healthcheck.redact import Redactor
from healthcheck.text import clean
from healthcheck.verdict import may_heal

# What the container may use. Python with numpy (through ib_async) needs about 60 MiB.
MEMORY = "256m"
PROCESSES = 64
USER = "65534:65534"

ENTRY_POINT = ["python3", "-m", "healthcheck"]
"""The image's (healthcheck/Dockerfile)."""

PROBE = ["python3", "-m", "healthcheck.probe"]
"""Not `healthcheck probe`, which is the same and loads the API client first."""

FIRST_TO_END = ("sh", "-c", 'echo 1000 >/proc/self/oom_score_adj; exec "$@"', "sh")
"""Begins a command beside the prober: where the memory that both have is short, the kernel ends this and not that."""

PROBE_SECONDS = 30
"""How long a probe's container may take; its attempts themselves take two seconds at most."""

ADDED = (
    *("CapAdd", "DeviceCgroupRules", "DeviceRequests", "Devices", "ExtraHosts", "GroupAdd", "Links", "PidMode"),
    *("PortBindings", "Privileged", "Tmpfs", "UTSMode", "VolumesFrom"),
)
"""Of `HostConfig`: what ours have none of, beside mounts."""

NO_ROUTER = {"net.ipv4.ip_forward": "0"}
"""On several gateways' networks it must be no way from one to another."""

MOST_TOGETHER = 16
"""Gateways that one container serves. Each one's network costs a tenth of a second, a container of its own a second."""

BUDGET = 120
"""Seconds beyond the time to wait after which a verifier counts as hung; for so long it stays after its attempts."""

GRACE = timedelta(minutes=1)
"""How long its owner may need to remove what has ended or outlived its time."""


RUN = owner.this_process()
"""This process, on all that it makes (Label.RUN)."""

LEFT: set[str] = set()
"""Names of the containers and networks that this process has made, or asked for, and not removed yet."""


class VerifierFailed(Exception):
    """A container of the verifier's image ran, and did not tell what it should."""


class Verifier:
    """A running container that observes gateways, attached to the api networks of all of them.

    It stays afterwards, for whoever asks what answers from there, until it is removed.
    """

    def __init__(
        self,
        docker: DockerHost,
        deployment: Deployment,
        gateways: Sequence[Gateway],
        checks: Iterable[CheckName],
        *,
        wait: float,
        show_accounts: bool,
    ) -> None:
        """Starts it. Raises DockerError."""
        # Also after a single attempt: what answers from inside is asked of it when that may be long over.
        command = asking(gateways, checks, wait=wait, stay=BUDGET, show_accounts=show_accounts)
        networks = [gateway.api.network for gateway in gateways]
        self._attempts: dict[str, queue.Queue[Attempt | None]] = {gateway.name: queue.Queue() for gateway in gateways}
        self._unfinished = set(self._attempts)
        self._unreadable = ""
        name = gateways[0].name if len(gateways) == 1 else None
        self._docker = docker
        self._container = start(docker, deployment, networks, command, name, wait=wait)
        threading.Thread(target=self._follow, name=f"follow-{self._container}", daemon=True).start()

    def attempt(self, gateway: str, timeout: float) -> Attempt | None:
        """The next attempt at one of its gateways, or None after `timeout` seconds.

        Raises VerifierFailed where no other comes, and DockerError.
        """
        try:
            attempt = self._attempts[gateway].get(timeout=timeout)
        except queue.Empty:
            return None
        if attempt is None:
            raise VerifierFailed(f"the verifier gave no report: {self._complaint()}")
        return attempt

    def probe(self, addresses: Sequence[str]) -> dict[str, Answer]:
        """What answers at addresses (`HOST:PORT`), as seen from where it is. Raises DockerError and VerifierFailed.

        Attaching another container there would cost more than all the rest.
        """
        return probe_in(self._docker, self._container, addresses)

    def by_prober(self, _gateway: str) -> bool:
        """Whether it is not by this container that the gateway was asked."""
        return False

    def remove(self) -> str:
        """What Docker said if it could not be removed, else nothing."""
        try:
            # One that is through with all has disconnected from all.
            remove(self._docker, self._container, at_once=not self._unfinished)
        except DockerError as error:
            return f"{self._container} could not be removed, which the next run does: {error}"
        return ""

    def _complaint(self) -> str:
        """What it wrote beside its lines, and how it ended."""
        text = " ".join(self._docker.log(self._container, only="stderr", tail=5))
        code = self._docker.there(Kind.CONTAINER, self._container)["State"]["ExitCode"]
        return "; ".join(part for part in (f"exit code {code}", self._unreadable, " ".join(text.split())) if part)

    def _follow(self) -> None:
        """Hands on what it prints, in a thread."""
        try:
            for line in self._docker.follow(self._container, only="stdout"):
                self._take(line)
        except DockerError as error:
            self._unreadable = f"its output broke off ({error})"
        for attempts in self._attempts.values():
            attempts.put(None)

    def _take(self, line: str) -> None:
        try:
            attempt = read_attempt(line)
            if attempt.last:
                self._unfinished.discard(attempt.gateway)
            self._attempts[attempt.gateway].put(attempt)
        except (ValueError, KeyError):
            self._unreadable = "it printed a line that is no event"


def asking(
    gateways: Sequence[Gateway], checks: Iterable[CheckName], *, wait: float, stay: float, show_accounts: bool
) -> list[str]:
    """What the image is told, for these gateways."""
    command = ["verify", "--wait", f"{wait:g}", "--stay", f"{stay:g}"]
    for gateway in gateways:
        command += ["--gateway-json", gateway.model_dump_json()]
    command += ["--checks", ",".join(checks)]
    return [*command, "--show-accounts"] if show_accounts else command


class BesideProber:
    """Gateways that are asked once, by a process beside the stack's prober, which is attached to them already: nothing
    is made and no network attached for it. For those who may become well a verifier is started, which waits.

    Whoever asks it sees a `Verifier`.
    """

    def __init__(
        self,
        docker: DockerHost,
        deployment: Deployment,
        prober: str,
        gateways: Sequence[Gateway],
        checks: Sequence[CheckName],
        *,
        wait: float,
        show_accounts: bool,
    ) -> None:
        """Asks, in a thread. `prober`: its container's id. `wait`: seconds; 0 is this one attempt."""
        self._docker, self._deployment, self._prober = docker, deployment, prober
        self._gateways, self._checks, self._wait, self._show_accounts = gateways, checks, wait, show_accounts
        self._attempts: dict[str, Attempt] = {}
        self._verifier: Verifier | None = None
        self._failure: DockerError | None = None
        self._asked, self._changing, self._removed = threading.Event(), threading.Lock(), False
        threading.Thread(target=self._ask, name="beside-the-prober", daemon=True).start()

    def attempt(self, gateway: str, timeout: float) -> Attempt | None:
        """As `Verifier.attempt`."""
        if not self._asked.wait(timeout):
            return None
        if self._failure is not None:
            raise self._failure
        if self._verifier is not None and gateway not in self._attempts:
            return self._verifier.attempt(gateway, timeout)
        return self._attempts.get(gateway)

    def by_prober(self, gateway: str) -> bool:
        """Whether what `attempt` gave was seen from there."""
        return gateway in self._attempts

    def probe(self, addresses: Sequence[str]) -> dict[str, Answer]:
        """As `Verifier.probe`."""
        return probe_in(self._docker, self._prober, addresses)

    def remove(self) -> str:
        """As `Verifier.remove`. What asks ends by itself."""
        with self._changing:
            self._removed = True
            return self._verifier.remove() if self._verifier is not None else ""

    def _ask(self) -> None:
        try:
            attempts = self._answers()
            waiting = [gateway for gateway in self._gateways if not self._settled(gateway, attempts)]
            self._attempts = {name: one for name, one in attempts.items() if name not in {one.name for one in waiting}}
            with self._changing:
                if waiting and not self._removed:
                    self._verifier = Verifier(
                        self._docker,
                        self._deployment,
                        waiting,
                        self._checks,
                        wait=self._wait,
                        show_accounts=self._show_accounts,
                    )
        except DockerError as error:
            self._failure = error
        finally:
            self._asked.set()

    def _answers(self) -> dict[str, Attempt]:
        """Empty where the process told nothing that can be read, such as one of another version."""
        command = asking(self._gateways, self._checks, wait=0, stay=0, show_accounts=self._show_accounts)
        try:
            lines = self._docker.run(self._prober, [*FIRST_TO_END, *ENTRY_POINT, *command]).splitlines()
            attempts = {attempt.gateway: attempt for attempt in map(read_attempt, lines)}
        except (DockerError, ValueError):
            # A verifier tells why.
            return {}
        return {name: attempt for name, attempt in attempts.items() if attempt.last}

    def _settled(self, gateway: Gateway, attempts: Mapping[str, Attempt]) -> bool:
        attempt = attempts.get(gateway.name)
        return attempt is not None and not (self._wait and may_heal(attempt.checks, gateway))


Asker = Verifier | BesideProber


class Verifiers:
    """The verifiers of a run, each started and removed in a thread of its own; all are gone when the context ends."""

    def __init__(self, docker: DockerHost, deployment: Deployment, progress: Callable[[str], None]) -> None:
        self.starting: dict[str, Future[Asker]] = {}
        """By the names of the gateways that need them."""
        self.beside: frozenset[str] = frozenset()
        """The names of those that are asked beside the prober first."""
        self._docker = docker
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
            verifier: Future[Asker] = self._pool.submit(
                Verifier, self._docker, self._deployment, group, checks, wait=wait, show_accounts=show_accounts
            )
            self.starting |= {gateway.name: verifier for gateway in group}

    def ask_beside(
        self,
        prober: str,
        gateways: Sequence[Gateway],
        checks: Sequence[CheckName],
        *,
        wait: float,
        show_accounts: bool,
    ) -> None:
        """These beside the prober, whose container's id it is. All in one process: they share its memory."""
        asker: Future[Asker] = self._pool.submit(
            BesideProber,
            self._docker,
            self._deployment,
            prober,
            gateways,
            checks,
            wait=wait,
            show_accounts=show_accounts,
        )
        self.starting |= {gateway.name: asker for gateway in gateways}
        self.beside = frozenset(gateway.name for gateway in gateways)

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

    def _remove(self, starting: Future[Asker]) -> None:
        if not starting.cancel() and starting.exception() is None and (complaint := starting.result().remove()):
            self._progress(clean(Redactor().text(complaint)))


def run_probe(docker: DockerHost, deployment: Deployment, network: str, addresses: Sequence[str]) -> dict[str, Answer]:
    """What answers at addresses (`HOST:PORT`) as seen from a container of its own on a network, or, by `container:ID`,
    from where that container is.

    Raises DockerError, and VerifierFailed when the container ran and gave no answers.
    """
    container = start(docker, deployment, [network], [*addresses], entrypoint=PROBE)
    try:
        code = docker.wait(container, timeout=PROBE_SECONDS)
        output = docker.log(container)
    finally:
        remove(docker, container)
    return _answers(output, addresses, f"a probe from {network} ended with exit code {code}")


def probe_in(docker: DockerHost, container: str, addresses: Sequence[str]) -> dict[str, Answer]:
    """What answers at addresses (`HOST:PORT`) as seen from a container of the verifier's image that runs. Raises
    DockerError and VerifierFailed."""
    output = docker.run(container, [*PROBE, *addresses], stderr=True)
    return _answers(output.splitlines(), addresses, f"a probe in {container}")


def _answers(output: Sequence[str], addresses: Iterable[str], what: str) -> dict[str, Answer]:
    try:
        told = [json.loads(line) for line in output]
        answers = {line["address"]: Answer(line["answer"]) for line in told}
        return {address: answers[address] for address in addresses}
    except (ValueError, KeyError, TypeError):
        text = "\n".join(output)
        raise VerifierFailed(f"{what}: {text.strip()[-200:]}") from None


@contextmanager
def throwaway_bridge(docker: DockerHost, deployment: Deployment) -> Iterator[str]:
    """The id of a plain bridge network, as anybody may make one; removed whatever happens. Raises DockerError."""
    name = _name(deployment)
    LEFT.add(name)
    try:
        yield docker.create_network(name, _labels(deployment))
    finally:
        # Also where it could not be told that it was made.
        with suppress(NotFound):
            docker.remove_network(name)
        LEFT.discard(name)


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
    return common | {str(Label.LIFETIME): f"{wait + BUDGET:.0f}", str(Label.RUN): RUN}


def start(
    docker: DockerHost,
    deployment: Deployment,
    networks: Sequence[str],
    command: list[str],
    gateway: str | None = None,
    wait: float = 0,
    entrypoint: Sequence[str] | None = None,
) -> str:
    """The name of a running container of the verifier's image, as confined as can be. Raises DockerError and leaves
    nothing then.

    `wait`: seconds for which it may wait for a gateway, beyond those that it needs itself.
    """
    first, *others = networks
    name = _name(deployment, gateway)
    OWN.add(name)
    LEFT.add(name)
    try:
        container_id = docker.create(
            deployment.verifier.image_id,
            command,
            name=name,
            labels=_labels(deployment, gateway, wait),
            user=USER,
            entrypoint=entrypoint,
            network=first,
            read_only=True,
            memory=MEMORY,
            processes=PROCESSES,
            # Somebody else's network namespace stays as it is.
            sysctls=None if first.startswith(JOINS) else NO_ROUTER,
        )
        OWN.add(container_id)
        for network in others:
            docker.connect(network, name)
        docker.start(name)
    except DockerError:
        # It may have been made without its being told.
        remove(docker, name)
        raise
    return name


def is_verifier(container: Inspected, image: Inspected) -> bool:
    """Whether a container is one that `start` made, in this or another run, by what it is: labels anybody can set.

    `image`: the recorded one, as Docker inspects it.
    """
    config, host, made = container["Config"], container["HostConfig"], image["Config"]
    # Only a probe looks from where somebody else is (`ibgw doctor --from`).
    own = ("IpcMode",) if config["Entrypoint"] == PROBE else ("NetworkMode", "IpcMode")
    return (
        container["Image"] == image["Id"]
        # Whatever its command: what is in the image reads, and does nothing else.
        and config["Entrypoint"] in (made["Entrypoint"], PROBE)
        and config["User"] == USER
        and not container["Mounts"]
        and sorted(config["Env"] or ()) == sorted(made["Env"] or ())
        and all(config.get(key) == made.get(key) for key in ("WorkingDir", "Healthcheck"))
        and host["ReadonlyRootfs"]
        and host["CapDrop"] == ["ALL"]
        and host.get("SecurityOpt") == [*CONFINED]
        and (host.get("Sysctls") or {}) == ({} if str(host.get("NetworkMode")).startswith(JOINS) else NO_ROUTER)
        and not any(host.get(key) for key in ADDED)
        and host.get("NetworkMode") != "host"
        and not any(str(host.get(key) or "").startswith((JOINS, "host")) for key in own)
    )


def remove(docker: DockerHost, container: str, *, at_once: bool = False) -> None:
    """Unless `at_once`, SIGTERM first, so that it disconnects from the gateway. Somebody else may do so meanwhile."""
    with suppress(NotFound, Conflict):
        if not at_once:
            docker.stop(container, grace=3)
        docker.remove(container)
    LEFT.discard(container)


def remove_run(docker: DockerHost, run: str) -> int:
    """Remove what a process has left that is gone; how many containers and networks there were. Raises DockerError."""
    made = {str(Label.RUN): run}
    containers, networks = docker.find(Kind.CONTAINER, made), docker.find(Kind.NETWORK, made)
    for container in containers:
        remove(docker, container["Id"], at_once=True)
    for network in networks:
        _removed(docker, network["Id"])
    return len(containers) + len(networks)


def sweep(docker: DockerHost, prefix: str, stack: str, *, running: bool = False) -> int:
    """Remove what earlier, killed runs of this stack left; how many containers and networks there were.

    What another run is using right now stays, unless `running`: each object says which process owns it, which can be
    seen on the same machine, and how long that may need it. What only has our labels stays as well, and is named by the
    isolation check.
    """
    now = docker.now()
    ours: dict[str, str] = {Label.PREFIX: prefix, Label.STACK: stack, Label.ROLE: Role.VERIFIER.value}
    inspected = [docker.inspect(Kind.CONTAINER, entry["Id"]) for entry in docker.find(Kind.CONTAINER, ours)]
    containers = [
        container["Id"]
        for container in inspected
        if container is not None
        and container["Config"]["Entrypoint"] in (ENTRY_POINT, PROBE)
        and not container["Mounts"]
        and (running or _forsaken(container["Created"], container["Config"]["Labels"], now) or _ended(container, now))
    ]
    for container in containers:
        remove(docker, container)
    networks = [
        network
        for network in docker.find(Kind.NETWORK, ours)
        if (running or _forsaken(network["Created"], network["Labels"], now)) and _removed(docker, network["Id"])
    ]
    return len(containers) + len(networks)


def _forsaken(created: str, labels_: Mapping[str, str], now: datetime) -> bool:
    return owner.is_gone(labels_.get(Label.RUN, "")) or _outlived(created, labels_, now)


def _outlived(created: str, labels_: Mapping[str, str], now: datetime) -> bool:
    return now - moment(created) > timedelta(seconds=float(labels_.get(Label.LIFETIME, 0))) + GRACE


def _ended(container: Inspected, now: datetime) -> bool:
    """Its owner reads what it says while it runs, and removes it as soon as it has ended."""
    state = container["State"]
    return state["Status"] == "exited" and now - moment(state["FinishedAt"]) > GRACE


def _removed(docker: DockerHost, network: str) -> bool:
    """Removes a network unless something is attached, which Docker refuses, or somebody else did."""
    try:
        docker.remove_network(network)
    except (NotFound, Conflict):
        return False
    return True
