"""A Docker host in memory, for whatever is handed a `DockerHost`."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from deployment.tables import Kind
from healthcheck.docker_host import Conflict, DockerError, DockerHost, File, Inspected, NotFound, moment


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
                return found  # type: ignore[no-any-return]
        raise NotFound(f"No such {kind}: {name}")

    def find(self, kind: Kind, labels: Mapping[str, str] | None = None, *, network: str = "") -> list[Inspected]:
        self._look("find", kind, labels, network)
        wanted = (labels or {}).items()
        return [
            one
            for one in self.objects[kind].values()
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
