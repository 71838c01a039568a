"""A Docker host in memory, for whatever is handed a `DockerHost`."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from typing import Any

from deployment.tables import Kind
from healthcheck.docker_host import Conflict, DockerError, DockerHost, File, Inspected, NotFound, moment
from healthcheck.events import read_attempt

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


def address(network: str) -> str:
    """Of every container on a network."""
    return f"10.213.{sum(network.encode()) % 256}.2"


def network(name: str, **changes: Any) -> dict[str, Any]:
    """A gateway's `api` network as Docker inspects it (API 1.41), but for who is attached."""
    return {
        "Name": name,
        "Id": name,
        "Internal": True,
        "Driver": "bridge",
        "Options": {},
        "IPAM": {"Config": []},
    } | changes


def container(
    name: str,
    *,
    container_id: str,
    status: str = "running",
    exit_code: int = 0,
    restarts: int = 0,
    oom: bool = False,
    networks: Iterable[str] = (),
    labels: Mapping[str, str] | None = None,
    created: str = STARTED,
    finished: str = STARTED,
    ports: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    host_config: dict[str, Any] | None = None,
    mounts: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """A gateway's container as Docker inspects it (API 1.41)."""
    joined = list(networks)
    return {
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
            "Labels": dict(labels or {}),
            "Entrypoint": None,
            "Cmd": ["/home/ibgateway/scripts/run.sh"],
            "Healthcheck": {"Test": ["CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/4002"]},
        }
        | (config or {}),
        "HostConfig": {
            "NetworkMode": next(iter(joined), "default"),
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
            "Networks": {joins: {"IPAddress": address(joins), "NetworkID": ""} for joins in joined},
            "Ports": {},
        },
    }


class FakeDocker(DockerHost):
    """`objects`: as Docker inspects them, by kind and name. `files`: texts by path, whatever the container; of several
    texts each reading gets the next one, until the last. `logs`, `followed`: lines by container. `prints`: what a
    command prints, by a part of it. `failing`: what methods fail with, by their names, or
    by name and an argument as in `read_file /etc/passwd`.

    Every change is noted in `done`, as the method's name and its arguments.
    """

    def __init__(self) -> None:
        self.url = "unix:///var/run/docker.sock"
        self.objects: dict[Kind, dict[str, Any]] = {kind: {} for kind in Kind}
        self.files: dict[str, str | list[str]] = {}
        self.owners: dict[str, tuple[int, int]] = {}
        self.logs: dict[str, list[str]] = {}
        self.followed: dict[str, list[str]] = {}
        self.prints: dict[str, str] = {}
        self.exit_codes: list[int] = []
        """Of what is waited for, one after the other; then 0."""
        self.archive = b""
        self.happened: list[dict[str, Any]] = []
        self.time = "2026-11-22T18:30:00.5Z"
        self.can: dict[str, Any] = {}
        """What the daemon says of its host, such as `MemoryLimit`."""
        self.asked: list[tuple[Any, ...]] = []
        """What was read, as `done` has it."""
        self.done: list[tuple[Any, ...]] = []
        self.failing: dict[str, DockerError] = {}
        self.closed = False

    @property
    def containers(self) -> dict[str, Any]:
        return self.objects[Kind.CONTAINER]

    @property
    def networks(self) -> dict[str, Any]:
        return self.objects[Kind.NETWORK]

    def add_container(
        self, name: str, *, container_id: str, log: str = "", owner: tuple[int, int] = (1000, 1000), **state: Any
    ) -> dict[str, Any]:
        """A `container` of these and its log, in place of one of that name."""
        made = container(name, container_id=container_id, **state)
        self.containers[name] = made
        self.logs[container_id], self.owners[container_id] = log.splitlines(), owner
        return made

    def stops(self, container: str) -> list[int]:
        """The grace of each time that it was stopped."""
        return [grace for name, grace in self.did("stop") if name == container]

    def did(self, what: str) -> list[list[Any]]:
        """The arguments of each such change."""
        return [arguments for name, *arguments in self.done if name == what]

    def looks(self, what: str) -> list[list[Any]]:
        """The arguments of each such question."""
        return [arguments for name, *arguments in self.asked if name == what]

    def close(self) -> None:
        self.closed = True

    def _look(self, what: str, *arguments: Any) -> None:
        self.asked.append((what, *arguments))
        self._fail(what, arguments)

    def _do(self, what: str, *arguments: Any) -> None:
        self._fail(what, arguments)
        self.done.append((what, *arguments))

    def _fail(self, what: str, arguments: tuple[Any, ...]) -> None:
        for key in (what, *(f"{what} {argument}" for argument in arguments)):
            if key in self.failing:
                raise self.failing[key]

    # --- looking --------------------------------------------------------------------------------------------------

    def info(self) -> Inspected:
        self._look("info")
        return {"SystemTime": self.time, **self.can}

    def now(self) -> datetime:
        self._look("now")
        return moment(self.time)

    def there(self, kind: Kind, name: str) -> dict[str, Any]:
        self._look("there", kind, name)
        for key, found in self.objects[kind].items():
            if name in (key, found.get("Id")):
                own: dict[str, Any] = found
                return {"Containers": self._attached(key)} | own if kind is Kind.NETWORK else own
        raise NotFound(f"No such {kind}: {name}")

    def _attached(self, network: str) -> dict[str, Any]:
        return {
            one["Id"]: {"Name": one["Name"].lstrip("/")}
            for one in list(self.containers.values())
            if network in one.get("NetworkSettings", {}).get("Networks", ())
        }

    def find(self, kind: Kind, labels: Mapping[str, str] | None = None, *, network: str = "") -> list[Inspected]:
        self._look("find", kind, labels, network)
        wanted = (labels or {}).items()
        return [
            one
            for one in list(self.objects[kind].values())
            if wanted <= (one.get("Labels") or one.get("Config", {}).get("Labels") or {}).items()
            and (not network or network in {end["NetworkID"] for end in one["NetworkSettings"]["Networks"].values()})
        ]

    def events(self, since: float, until: float) -> Iterator[Inspected]:
        self._look("events")
        found, self.happened = self.happened, []
        yield from found

    def log(self, container: str, **options: Any) -> list[str]:
        self._look("log", container, options)
        self.there(Kind.CONTAINER, container)
        lines, tail = self.logs.get(container, []), options.get("tail")
        return lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]

    def follow(self, container: str, **options: Any) -> Iterator[str]:
        self._look("follow", container, options)
        yield from self.followed.get(container, [])

    def read_file(self, container: str, path: str, *, last: int | None = None) -> str | None:
        self._look("read_file", container, path)
        found = self.files.get(path)
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        return found if found is None or last is None else found[-last:]

    def read_folder(self, container: str, path: str) -> dict[str, str]:
        self._look("read_folder", container, path)
        return {name: str(text) for name, text in self.files.items() if name.startswith(f"{path}/")}

    def list_folder(self, container: str, path: str, *, wanted: Callable[[str], bool], last: int) -> list[File]:
        self._look("list_folder", container, path)
        return [
            File(name.rpartition("/")[2], len(text), moment(self.time), text[-last:] if wanted(name) else None)
            for name, text in self.read_folder(container, path).items()
        ]

    def owner(self, container: str, path: str) -> tuple[int, int] | None:
        self._look("owner", container, path)
        return self.owners.get(container, (1000, 1000))

    def read_archive(self, container: str, path: str) -> Iterator[bytes]:
        self._look("read_archive", container, path)
        yield from (self.archive[:512], self.archive[512:])

    # --- changing -------------------------------------------------------------------------------------------------

    def run(self, container: str, command: Any, *, stderr: bool = False) -> str:
        self._do("run", container, " ".join(command))
        return next((text for part, text in self.prints.items() if part in " ".join(command)), "")

    @contextmanager
    def talk(self, container: str, command: Any) -> Iterator[Any]:
        """No command here can be talked to."""
        self._do("talk", container, *command)
        yield from ()
        raise DockerError(f"{command[0]} cannot be talked to here")

    def create(self, image: str, command: Any = None, **options: Any) -> str:
        self._do("create", image, options | {"command": command})
        name = str(options["name"])
        self.objects[Kind.CONTAINER][name] = {
            "Id": name,
            "Name": f"/{name}",
            "Created": self.time,
            "Config": {"Labels": options["labels"]},
            "State": {"Status": "created", "Running": False, "ExitCode": 0},
            "NetworkSettings": {"Networks": {}},
        }
        return name

    def create_as_asked(self, name: str, asked: Mapping[str, Any]) -> str:
        return self.create(asked["Image"], asked=asked, name=name, labels=asked["Labels"])

    def start(self, container: str) -> None:
        self._do("start", container)
        self.there(Kind.CONTAINER, container)["State"] |= {"Running": True, "Status": "running"}

    def stop(self, container: str, *, grace: int) -> None:
        self._do("stop", container, grace)
        self.there(Kind.CONTAINER, container)["State"] |= {"Running": False, "Status": "exited"}

    def signal(self, container: str, name: str) -> None:
        self._do("signal", container, name)

    def wait(self, container: str, *, timeout: float | None = None) -> int:
        self._look("wait", container)
        return self.exit_codes.pop(0) if self.exit_codes else 0

    def remove(self, container: str) -> None:
        self._do("remove", container)
        self._gone(Kind.CONTAINER, container)

    def remove_network(self, network: str) -> None:
        self._do("remove_network", network)
        if self.there(Kind.NETWORK, network).get("Containers"):
            raise Conflict(f"network {network} has active endpoints")
        self._gone(Kind.NETWORK, network)

    def _gone(self, kind: Kind, name: str) -> None:
        self.there(kind, name)
        del self.objects[kind][next(key for key, one in self.objects[kind].items() if name in (key, one.get("Id")))]

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        self._do("create_volume", name)
        self.objects[Kind.VOLUME][name] = {"Name": name, "Labels": dict(labels)}

    def create_network(self, name: str, labels: Mapping[str, str]) -> str:
        self._do("create_network", name)
        self.objects[Kind.NETWORK][name] = {"Id": name, "Name": name, "Labels": labels, "Created": self.time}
        return name

    def rename(self, container: str, name: str) -> None:
        self._do("rename", container, name)

    def set_restart_policy(self, container: str, policy: Mapping[str, Any]) -> None:
        self._do("set_restart_policy", container, policy["Name"])

    def connect(self, network: str, container: str, aliases: Any = ()) -> None:
        self._do("connect", network, container, *aliases)

    def disconnect(self, network: str, container: str, *, force: bool = False) -> None:
        self._do("disconnect", network, container)

    def write_archive(self, container: str, folder: str, archive: Any) -> None:
        self._do("write_archive", container, folder, archive if isinstance(archive, bytes) else archive.read())


class Made:
    """What a `VerifyingDocker` was asked to create, and what became of it."""

    def __init__(self, container_id: str, options: dict[str, Any]) -> None:
        self.id = container_id
        self.options = options
        self.name = str(options["name"])
        self.networks = [options["network"]]
        self.ended = threading.Event()
        self.probed: list[list[str]] = []
        """What it was asked about, each time."""
        words = pairwise(options["command"])
        self.gateways = [json.loads(text) for word, text in words if word == "--gateway-json"]


class VerifyingDocker(FakeDocker):
    """One on which gateways are verified: what it creates are verifiers, or probes where they have an entry point. A
    verifier stays until it is stopped, or ends at once."""

    def __init__(self, *networks: str, answers: Mapping[tuple[str, str], str] | None = None) -> None:
        super().__init__()
        self.objects[Kind.NETWORK] = {name: network(name) for name in networks}
        self.add_image(GATEWAY_IMAGE)
        self.answers = dict(answers or {})
        """What answers, by the network that is asked from (`throwaway` for a bridge made for it) and the address."""
        self.logged_at: str | None = None
        """When the lines of its containers' logs were written; None for just now."""
        self.probes_say: list[str] | None = None
        """What a probe prints instead of its answers."""
        self.verifier_lines: list[str] = []
        self.verifier_stderr = ""
        self.verifier_stays = False
        self.verifiers: list[Made] = []
        self.probes: list[Made] = []

    def add_image(self, *names: str, digests: Iterable[str] = ()) -> None:
        """Each as the verifier's is."""
        for name in names:
            image = {"Id": name, "RepoDigests": list(digests), "Config": dict(VERIFIER_IMAGE)}
            self.objects[Kind.IMAGE][name] = image

    @property
    def left(self) -> list[str]:
        """Of what it created, what is there still."""
        made = {one.name for one in (*self.verifiers, *self.probes)}
        return [name for name in self.containers if name in made]

    @property
    def removed(self) -> list[str]:
        """The names of containers and networks that were removed, in this order."""
        return [name for what, name, *_ in self.done if what in ("remove", "remove_network")]

    def answers_of(self, networks: list[str], addresses: list[str]) -> list[str]:
        return [json.dumps({"address": asked, "answer": self.answer(networks, asked)}) for asked in addresses]

    def answer(self, networks: list[str], address: str) -> str:
        """Of a container that is attached to these."""
        for name in networks:
            known = name if name in self.networks and "-verifier-" not in name else "throwaway"
            if (known, address) in self.answers:
                return self.answers[known, address]
        return "unreachable"

    def _made(self, name: str) -> Made | None:
        return next((one for one in (*self.verifiers, *self.probes) if name in (one.name, one.id)), None)

    def create(self, image: str, command: Any = None, **options: Any) -> str:
        self._do("create", image, options)
        probing = bool(options["entrypoint"])
        number = len(self.probes) if probing else 16**64 - 1 - len(self.verifiers)
        made = Made(f"{number:064x}", options | {"image": image, "command": command})
        self.containers[made.name] = container(
            made.name, container_id=made.id, status="created", labels=options["labels"]
        )
        (self.probes if probing else self.verifiers).append(made)
        return made.id

    def connect(self, network: str, container: str, aliases: Any = ()) -> None:
        super().connect(network, container, aliases)
        if (made := self._made(container)) is not None:
            made.networks.append(network)

    def log(self, container: str, **options: Any) -> list[str]:
        made = self._made(container)
        if made is None:
            lines = super().log(container, **options)
            return [f"{self.logged_at or self.time} {line}" for line in lines] if options.get("timestamps") else lines
        if made in self.verifiers:
            return self.verifier_stderr.splitlines()
        return self.answers_of(made.networks, made.options["command"]) if self.probes_say is None else self.probes_say

    def follow(self, container: str, **options: Any) -> Iterator[str]:
        made = self._made(container)
        assert made is not None
        yield from self.verifier_lines
        # A real one stays after all of its attempts as well, and gives none only when it dies.
        attempts = [read_attempt(line) for line in self.verifier_lines if line.startswith("{")]
        whole = {attempt.gateway for attempt in attempts if attempt.last} >= {one["name"] for one in made.gateways}
        if self.verifier_stays or whole:
            made.ended.wait()
        made.ended.set()

    def run(self, container: str, command: Any, *, stderr: bool = False) -> str:
        made = self._made(container)
        if made is None or command[: len(PROBE)] != PROBE:
            said = super().run(container, command)
            if command[: len(PROBE)] != PROBE:
                return said
            joined = self.there(Kind.CONTAINER, container)["NetworkSettings"]["Networks"]
            return "\n".join(self.answers_of([*joined], command[len(PROBE) :]))
        if made.ended.is_set():
            raise Conflict("is not running")
        made.probed.append(command[len(PROBE) :])
        return "\n".join(self.answers_of([one["api"]["network"] for one in made.gateways], made.probed[-1]))

    def stop(self, container: str, *, grace: int) -> None:
        super().stop(container, grace=grace)
        self._end(container)

    def remove(self, container: str) -> None:
        super().remove(container)
        self._end(container)

    def _end(self, container: str) -> None:
        if (made := self._made(container)) is not None:
            made.ended.set()
