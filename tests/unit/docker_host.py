"""A Docker host in memory, as far as the runner uses one, in the shapes of `docker inspect` (Docker API 1.41)."""

import io
import json
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from docker.errors import APIError, ImageNotFound, NotFound

from healthcheck.events import read_attempt

STARTED = "2026-11-22T18:00:00.123456789Z"
GATEWAY_IMAGE = "sha256:" + "1" * 64
SETTINGS = "/home/ibgateway/tws_settings"


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
    ) -> None:
        self._host = host
        self.id = container_id
        self.name = name
        self.labels = labels or {}
        self.log = log
        self.owner = owner
        self.stopped_with: list[int | None] = []
        self.connected: list[str] = []
        """Networks that it was connected to after it was created."""
        self.attrs: dict[str, Any] = {
            "Id": container_id,
            "Created": created,
            "RestartCount": restarts,
            "State": {
                "Status": status,
                "ExitCode": exit_code,
                "OOMKilled": oom,
                "StartedAt": STARTED,
                "FinishedAt": finished,
            },
            "Image": GATEWAY_IMAGE,
            "Mounts": [{"Type": "volume", "Name": "ibgw-paper-main-settings", "Destination": SETTINGS}],
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

    @property
    def status(self) -> str:
        return str(self.attrs["State"]["Status"])

    def reload(self) -> None:
        return None

    def logs(self, **options: Any) -> Any:
        return self.log.encode()

    def stop(self, timeout: int | None = None) -> None:
        self.stopped_with.append(timeout)
        self.attrs["State"]["Status"] = "exited"

    def get_archive(self, path: str, chunk_size: int) -> tuple[Iterator[bytes], dict[str, Any]]:
        """A folder with one file in it, in pieces that are shorter than asked for."""
        assert path == SETTINGS
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            folder = tarfile.TarInfo("tws_settings/")
            folder.type = tarfile.DIRTYPE
            folder.uid, folder.gid = self.owner
            tar.addfile(folder)
            tar.addfile(tarfile.TarInfo("tws_settings/jts.ini"))
        text = archive.getvalue()
        return (text[start : start + 300] for start in range(0, len(text), 300)), {}

    def remove(self, force: bool = False) -> None:
        if self not in self._host.all:
            raise NotFound("gone")
        self._host.all.remove(self)
        self._host.removed.append(self.name)


class FakeVerifier(FakeContainer):
    """Prints its lines, then stays until it is stopped, or ends at once."""

    def __init__(self, host: "FakeHost", name: str, options: dict[str, Any]) -> None:
        container_id = ("f" * (64 - len(host.verifiers))).ljust(64, "0")
        super().__init__(host, name, container_id=container_id, status="created", labels=options["labels"])
        self.options = options
        self.ended = threading.Event()
        self.probed: list[list[str]] = []
        """What it was asked about, each time."""
        words = pairwise(options["command"])
        self.gateways = [json.loads(text) for word, text in words if word == "--gateway-json"]

    def start(self) -> None:
        if self._host.start_fails:
            raise APIError("cannot start")
        self.attrs["State"]["Status"] = "running"

    def logs(self, **options: Any) -> Any:
        if not options.get("stream"):
            return self._host.verifier_stderr.encode()
        return self._stream()

    def _stream(self) -> Iterator[bytes]:
        text = "".join(line + "\n" for line in self._host.verifier_lines).encode()
        # In pieces that end where no line ends, as a network would.
        for start in range(0, len(text), 700):
            yield text[start : start + 700]
        # A real one stays after all of its reports as well, and gives none only when it dies.
        attempts = [read_attempt(line.encode()) for line in self._host.verifier_lines if line.startswith("{")]
        whole = {attempt.gateway for attempt in attempts if attempt.last} >= {one["name"] for one in self.gateways}
        if self._host.verifier_stays or whole:
            self.ended.wait()
        self.ended.set()

    def stop(self, timeout: int | None = None) -> None:
        super().stop(timeout)
        self.ended.set()

    def exec_run(self, command: list[str]) -> tuple[int, bytes]:
        if self.ended.is_set():
            raise APIError("is not running")
        module, addresses = command[:3], command[3:]
        assert module == ["python3", "-m", "healthcheck.probe"]
        self.probed.append(addresses)
        networks = [one["api"]["network"] for one in self.gateways]
        return 0, self._host.answers_of(networks, addresses)

    def remove(self, force: bool = False) -> None:
        super().remove(force)
        self.ended.set()


class FakeProbe(FakeContainer):
    """Answers from its network, as the host's `answers` say."""

    def __init__(self, host: "FakeHost", name: str, options: dict[str, Any]) -> None:
        super().__init__(
            host, name, container_id=f"{len(host.probes):064x}", status="created", labels=options["labels"]
        )
        self.options = options

    def start(self) -> None:
        if self._host.start_fails:
            raise APIError("cannot start")

    def wait(self, timeout: float) -> dict[str, Any]:
        return {"StatusCode": 0}

    def logs(self, **options: Any) -> Any:
        if self._host.probes_say is not None:
            return self._host.probes_say
        return self._host.answers_of([self.options["network"], *self.connected], self.options["command"])


@dataclass
class FakeNetwork:
    attrs: dict[str, Any]
    host: "FakeHost"

    @property
    def id(self) -> str:
        return str(self.attrs["Name"])

    def remove(self) -> None:
        if self.host.network_in_use:
            raise APIError("has active endpoints", response=FakeResponse(403))  # type: ignore[arg-type]
        del self.host.network_records[self.attrs["Name"]]
        self.host.removed.append(self.attrs["Name"])


@dataclass
class FakeResponse:
    status_code: int


@dataclass
class FakeHost:
    """Stands for `docker.DockerClient`."""

    images_known: set[str] = field(default_factory=set)
    all: list[FakeContainer] = field(default_factory=list)
    network_records: dict[str, dict[str, Any]] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    verifiers: list[FakeVerifier] = field(default_factory=list)
    probes: list[FakeProbe] = field(default_factory=list)
    answers: dict[tuple[str, str], str] = field(default_factory=dict)
    """What answers, by the network that is asked from (`throwaway` for a bridge made for it) and the address."""
    probes_say: bytes | None = None
    """What a probe prints instead of its answers."""
    digests: list[str] = field(default_factory=list)
    happened: list[dict[str, Any]] = field(default_factory=list)
    network_in_use: bool = False
    verifier_lines: list[str] = field(default_factory=list)
    verifier_stderr: str = ""
    verifier_stays: bool = False
    start_fails: bool = False
    system_time: str = "2026-11-22T18:30:00.5Z"
    closed: bool = False
    files: dict[str, str] = field(default_factory=dict)
    """What the gateway's container holds, by path."""
    archives_read: list[str] = field(default_factory=list)

    @property
    def api(self) -> "FakeHost":
        return self

    def get_archive(self, container: str, path: str, chunk_size: int = 0) -> tuple[Iterator[bytes], dict[str, Any]]:
        """A folder with the files in it, or one file."""
        self.archives_read.append(path)
        found = {name: text for name, text in self.files.items() if name == path or name.startswith(f"{path}/")}
        if not found:
            raise NotFound(f"no {path} in {container}")
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, text in found.items():
                entry = tarfile.TarInfo(name.removeprefix(f"{path.rpartition('/')[0]}/"))
                entry.size = len(text.encode())
                tar.addfile(entry, io.BytesIO(text.encode()))
        return iter([archive.getvalue()]), {}

    def connect_container_to_network(self, container: str, network: str) -> None:
        self.get(container).connected.append(network)

    @property
    def containers(self) -> "FakeHost":
        return self

    @property
    def networks(self) -> "FakeNetworks":
        return FakeNetworks(self)

    @property
    def images(self) -> "FakeImages":
        return FakeImages(self)

    def get(self, name: str) -> FakeContainer:
        for container in self.all:
            if name in (container.name, container.id):
                return container
        raise NotFound(f"no container {name}")

    @staticmethod
    def address(network: str) -> str:
        """Of every container on a network."""
        return f"10.213.{sum(network.encode()) % 256}.2"

    def answers_of(self, networks: list[str], addresses: list[str]) -> bytes:
        lines = [{"address": address, "answer": self.answer(networks, address)} for address in addresses]
        return "".join(json.dumps(line) + "\n" for line in lines).encode()

    def answer(self, networks: list[str], address: str) -> str:
        """Of a container that is attached to these."""
        for network in networks:
            known = network if network in self.network_records and "-verifier-" not in network else "throwaway"
            if (known, address) in self.answers:
                return self.answers[known, address]
        return "unreachable"

    def events(self, since: str, until: str, filters: dict[str, list[str]], decode: bool) -> Iterator[dict[str, Any]]:
        assert decode
        found, self.happened = self.happened, []
        yield from (one for one in found if one["Type"] in filters["type"] and one["Action"] in filters["event"])

    def create(self, image: str, command: list[str], name: str, **options: Any) -> FakeContainer:
        if "entrypoint" in options:
            probe = FakeProbe(self, name, options | {"image": image, "command": command})
            self.all.append(probe)
            self.probes.append(probe)
            return probe
        verifier = FakeVerifier(self, name, options | {"image": image, "command": command})
        self.all.append(verifier)
        self.verifiers.append(verifier)
        return verifier

    def list(self, *, all: bool, filters: dict[str, list[str]], ignore_removed: bool) -> list[FakeContainer]:
        wanted = dict(label.split("=", 1) for label in filters["label"])
        return [one for one in self.all if wanted.items() <= one.labels.items()]

    def info(self) -> dict[str, Any]:
        return {"SystemTime": self.system_time}

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeNetworks:
    host: FakeHost

    def get(self, name: str) -> FakeNetwork:
        record = self.host.network_records.get(name)
        if record is None:
            raise NotFound(f"no network {name}")
        return self._network(name, record)

    def create(self, name: str, **options: Any) -> FakeNetwork:
        self.host.network_records[name] = {"Created": STARTED, "Labels": options["labels"], "made": options}
        return self.get(name)

    def list(self, filters: dict[str, Any]) -> list[FakeNetwork]:
        wanted = dict(label.split("=", 1) for label in filters["label"])
        records = list(self.host.network_records.items())
        return [self._network(name, one) for name, one in records if wanted.items() <= one.get("Labels", {}).items()]

    def _network(self, name: str, record: dict[str, Any]) -> FakeNetwork:
        members = {
            one.id: {"Name": one.name} for one in self.host.all if name in one.attrs["NetworkSettings"]["Networks"]
        }
        plain = {"Name": name, "Internal": True, "Driver": "bridge", "Options": {}, "IPAM": {"Config": []}}
        return FakeNetwork(plain | {"Containers": members} | record, self.host)


@dataclass
class FakeImages:
    host: FakeHost

    def get(self, image_id: str) -> "FakeImage":
        if image_id not in {*self.host.images_known, GATEWAY_IMAGE}:
            raise ImageNotFound(image_id)
        return FakeImage({"RepoDigests": self.host.digests})


@dataclass
class FakeImage:
    attrs: dict[str, Any]
