"""A Docker host in memory with gateways and verifiers on it, in the shapes of `docker inspect` (Docker API 1.41)."""

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from deployment.tables import Kind
from healthcheck.docker_host import Conflict, DockerError, Inspected, NotFound
from healthcheck.events import read_attempt
from tests.unit.fake_docker import FakeDocker

STARTED = "2026-11-22T18:00:00.123456789Z"
GATEWAY_IMAGE = "sha256:" + "1" * 64
SETTINGS = "/home/ibgateway/tws_settings"
VOLUME = "ibgw-paper-main-settings"
MOUNT = {"Type": "volume", "Name": VOLUME, "Source": f"/var/lib/docker/volumes/{VOLUME}/_data", "Destination": SETTINGS}
PROBE = ["python3", "-m", "healthcheck.probe"]


VERIFIER_IMAGE = {
    "Entrypoint": ["python3", "-m", "healthcheck"],
    "Env": ["PYTHONUNBUFFERED=1"],
    "WorkingDir": "/opt/ibgw",
    "Healthcheck": None,
}
"""`Config` of the verifier's image (healthcheck/Dockerfile)."""


class FakeContainer:
    def __init__(
        self,
        host: "FakeHost",
        name: str,
        *,
        container_id: str,
        status: str = "running",
        exit_code: int = 0,
        restarts: int = 0,
        oom: bool = False,
        networks: tuple[str, ...] = (),
        labels: dict[str, str] | None = None,
        log: str = "",
        created: str = STARTED,
        finished: str = STARTED,
        ports: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
        host_config: dict[str, Any] | None = None,
        owner: tuple[int, int] = (1000, 1000),
        mounts: list[dict[str, Any]] | None = None,
    ) -> None:
        self.id = container_id
        self.name = name
        self.labels = labels or {}
        self.log = log
        self.owner = owner
        self.stopped_with: list[int | None] = []
        self.joins = list(networks)
        """What Docker's list says that it is attached to, or will be when it is started."""
        self.attrs: dict[str, Any] = {
            "Id": container_id,
            "Name": f"/{name}",
            "Created": created,
            "RestartCount": restarts,
            "State": {
                "Status": status,
                "Running": status in ("running", "restarting", "paused"),
                "ExitCode": exit_code,
                "OOMKilled": oom,
                "StartedAt": STARTED,
                "FinishedAt": finished,
            },
            "Image": GATEWAY_IMAGE,
            "Mounts": ([MOUNT] if name == "ibgw-paper-main" else []) if mounts is None else mounts,
            "Config": {
                "StopTimeout": 75,
                "Env": ["TRADING_MODE=paper", "TWS_PASSWORD_FILE=/run/secrets/tws_password"],
                "Labels": self.labels,
                "Entrypoint": None,
                "Cmd": ["/home/ibgateway/scripts/run.sh"],
                "Healthcheck": {"Test": ["CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/4002"]},
            }
            | (config or {}),
            "HostConfig": {
                "NetworkMode": networks[0] if networks else "default",
                "PortBindings": ports or {},
                "PublishAllPorts": False,
                "Privileged": False,
                "CapAdd": None,
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges:true"],
                "Memory": 1536 * 2**20,
                "MemorySwap": 1536 * 2**20,
                "RestartPolicy": {"Name": "unless-stopped"},
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "5"}},
            }
            | (host_config or {}),
            "NetworkSettings": {
                "Networks": {name: {"IPAddress": host.address(name)} for name in networks},
                "Ports": {},
            },
        }


class FakeVerifier(FakeContainer):
    """A container of the verifier's image, or a probe's. It stays until it is stopped, or ends at once."""

    def __init__(self, host: "FakeHost", name: str, options: dict[str, Any]) -> None:
        number = len(host.probes) if options["entrypoint"] else 16**64 - 1 - len(host.verifiers)
        super().__init__(host, name, container_id=f"{number:064x}", status="created", labels=options["labels"])
        self.options = options
        self.connected: list[str] = []
        """Networks that it was connected to after it was created."""
        self.ended = threading.Event()
        self.probed: list[list[str]] = []
        """What it was asked about, each time."""
        words = pairwise(options["command"])
        self.gateways = [json.loads(text) for word, text in words if word == "--gateway-json"]

    @property
    def networks(self) -> list[str]:
        return [self.options["network"], *self.connected]


@dataclass(eq=False)
class FakeHost(FakeDocker):
    """Containers that it makes itself are verifiers, or probes where they have an entry point."""

    images_known: set[str] = field(default_factory=set)
    network_records: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[tuple[str, str], str] = field(default_factory=dict)
    """What answers, by the network that is asked from (`throwaway` for a bridge made for it) and the address."""
    logged_at: str | None = None
    """When the lines of its containers' logs were written; None for just now."""
    probes_say: list[str] | None = None
    """What a probe prints instead of its answers."""
    digests: list[str] = field(default_factory=list)
    verifier_lines: list[str] = field(default_factory=list)
    verifier_stderr: str = ""
    verifier_stays: bool = False
    start_fails: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        self.objects[Kind.NETWORK] = self.network_records
        self.objects[Kind.IMAGE] = {
            name: {"Id": name, "RepoDigests": self.digests, "Config": dict(VERIFIER_IMAGE)}
            for name in (*self.images_known, GATEWAY_IMAGE)
        }
        self.all: list[FakeContainer] = []
        self.verifiers: list[FakeVerifier] = []
        self.probes: list[FakeVerifier] = []

    @property
    def removed(self) -> list[str]:
        """The names of containers and networks that were removed, in this order."""
        return [name for what, name, *_ in self.done if what in ("remove", "remove_network")]

    @staticmethod
    def address(network: str) -> str:
        """Of every container on a network."""
        return f"10.213.{sum(network.encode()) % 256}.2"

    def answers_of(self, networks: list[str], addresses: list[str]) -> list[str]:
        return [json.dumps({"address": address, "answer": self.answer(networks, address)}) for address in addresses]

    def answer(self, networks: list[str], address: str) -> str:
        """Of a container that is attached to these."""
        for network in networks:
            known = network if network in self.network_records and "-verifier-" not in network else "throwaway"
            if (known, address) in self.answers:
                return self.answers[known, address]
        return "unreachable"

    def get(self, name: str) -> FakeContainer:
        for container in self.all:
            if name in (container.name, container.id):
                return container
        raise NotFound(f"no container {name}")

    def _own(self, name: str) -> FakeVerifier:
        container = self.get(name)
        assert isinstance(container, FakeVerifier)
        return container

    # --- looking ------------------------------------------------------------------------------------------------------

    def there(self, kind: Kind, name: str) -> dict[str, Any]:
        if kind is Kind.CONTAINER:
            self._look("there", kind, name)
            return self.get(name).attrs
        found = super().there(kind, name)
        if kind is Kind.NETWORK:
            attached = [one for one in self.all if name in one.attrs["NetworkSettings"]["Networks"]]
            plain = {"Internal": True, "Driver": "bridge", "Options": {}, "IPAM": {"Config": []}}
            return plain | {"Containers": {one.id: {"Name": one.name} for one in attached}} | found
        return found

    def find(self, kind: Kind, labels: Mapping[str, str] | None = None, *, network: str = "") -> list[Inspected]:
        if kind is Kind.CONTAINER:
            return [
                {"Id": one.id, "NetworkSettings": {"Networks": {key: {"NetworkID": ""} for key in one.joins}}}
                for one in list(self.all)
                if (labels or {}).items() <= one.labels.items()
            ]
        found = super().find(kind, labels)
        if kind is Kind.NETWORK:
            named = {id(record): name for name, record in self.network_records.items()}
            return [{"Name": named[id(record)], "Id": named[id(record)]} | dict(record) for record in found]
        return found

    def log(self, container: str, **options: Any) -> list[str]:
        self._look("log", container, options)
        found = self.get(container)
        if found in self.probes:
            probe = self._own(container)
            return (
                self.answers_of(probe.networks, probe.options["command"])
                if self.probes_say is None
                else self.probes_say
            )
        lines = (self.verifier_stderr if found in self.verifiers else found.log).splitlines()
        if options.get("timestamps"):
            lines = [f"{self.logged_at or self.time} {line}" for line in lines]
        return lines[-(options.get("tail") or len(lines)) :]

    def follow(self, container: str, **options: Any) -> Iterator[str]:
        verifier = self._own(container)
        yield from self.verifier_lines
        # A real one stays after all of its attempts as well, and gives none only when it dies.
        attempts = [read_attempt(line) for line in self.verifier_lines if line.startswith("{")]
        whole = {attempt.gateway for attempt in attempts if attempt.last} >= {one["name"] for one in verifier.gateways}
        if self.verifier_stays or whole:
            verifier.ended.wait()
        verifier.ended.set()

    def owner(self, container: str, path: str) -> tuple[int, int] | None:
        assert path == SETTINGS
        self._look("owner", container, path)
        return self.get(container).owner

    # --- changing -----------------------------------------------------------------------------------------------------

    def create(self, image: str, command: Any = None, **options: Any) -> str:
        self._do("create", image, options)
        made = FakeVerifier(self, options["name"], options | {"image": image, "command": command})
        self.all.append(made)
        (self.probes if options["entrypoint"] else self.verifiers).append(made)
        return made.id

    def connect(self, network: str, container: str, aliases: Any = ()) -> None:
        self._own(container).connected.append(network)

    def start(self, container: str) -> None:
        if self.start_fails:
            raise DockerError("cannot start")
        super().start(container)

    def run(self, container: str, command: Any, *, stderr: bool = False) -> str:
        if command[0] in ("cat", "timeout"):
            return super().run(container, command)
        verifier = self._own(container)
        if verifier.ended.is_set():
            raise Conflict("is not running")
        assert command[:3] == PROBE
        verifier.probed.append(command[3:])
        networks = [one["api"]["network"] for one in verifier.gateways]
        return "\n".join(self.answers_of(networks, command[3:]))

    def stop(self, container: str, *, grace: int) -> None:
        super().stop(container, grace=grace)
        stopped = self.get(container)
        stopped.stopped_with.append(grace)
        if isinstance(stopped, FakeVerifier):
            stopped.ended.set()

    def remove(self, container: str) -> None:
        self._do("remove", container)
        gone = self.get(container)
        self.all.remove(gone)
        if isinstance(gone, FakeVerifier):
            gone.ended.set()
