"""A Docker host in memory, as far as the runner uses one, in the shapes of `docker inspect` (Docker API 1.41)."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from docker.errors import APIError, ImageNotFound, NotFound

STARTED = "2026-11-22T18:00:00.123456789Z"


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
        ports: dict[str, Any] | None = None,
    ) -> None:
        self._host = host
        self.id = container_id
        self.name = name
        self.labels = labels or {}
        self.log = log
        self.stopped_with: list[int | None] = []
        self.attrs: dict[str, Any] = {
            "Id": container_id,
            "Created": created,
            "RestartCount": restarts,
            "State": {"Status": status, "ExitCode": exit_code, "OOMKilled": oom, "StartedAt": STARTED},
            "Config": {"StopTimeout": 75},
            "HostConfig": {"NetworkMode": networks[0] if networks else "default", "PortBindings": ports or {}},
            "NetworkSettings": {"Networks": {network: {} for network in networks}, "Ports": {}},
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

    def remove(self, force: bool = False) -> None:
        if self not in self._host.all:
            raise NotFound("gone")
        self._host.all.remove(self)
        self._host.removed.append(self.name)


class FakeVerifier(FakeContainer):
    """Prints its lines, then stays until it is stopped, or ends at once."""

    def __init__(self, host: "FakeHost", name: str, options: dict[str, Any]) -> None:
        super().__init__(host, name, container_id="f" * 64, status="created", labels=options["labels"])
        self.options = options
        self.ended = threading.Event()

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
        if self._host.verifier_stays:
            self.ended.wait(30)

    def stop(self, timeout: int | None = None) -> None:
        super().stop(timeout)
        self.ended.set()


@dataclass
class FakeNetwork:
    attrs: dict[str, Any]


@dataclass
class FakeHost:
    """Stands for `docker.DockerClient`."""

    images_known: set[str] = field(default_factory=set)
    all: list[FakeContainer] = field(default_factory=list)
    network_records: dict[str, dict[str, Any]] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    verifiers: list[FakeVerifier] = field(default_factory=list)
    verifier_lines: list[str] = field(default_factory=list)
    verifier_stderr: str = ""
    verifier_stays: bool = False
    start_fails: bool = False
    system_time: str = "2026-11-22T18:30:00.5Z"
    closed: bool = False

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

    def create(self, image: str, command: list[str], name: str, **options: Any) -> FakeVerifier:
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
        members = {
            one.id: {"Name": one.name} for one in self.host.all if name in one.attrs["NetworkSettings"]["Networks"]
        }
        return FakeNetwork({"Internal": True, "Containers": members} | record)


@dataclass
class FakeImages:
    host: FakeHost

    def get(self, image_id: str) -> str:
        if image_id not in self.host.images_known:
            raise ImageNotFound(image_id)
        return image_id
