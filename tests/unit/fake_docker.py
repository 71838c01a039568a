"""A Docker host in memory, for whatever is handed a `DockerHost`."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from healthcheck.docker_host import Conflict, DockerError, DockerHost, Inspected, Kind, NotFound, moment


class FakeDocker(DockerHost):
    """`objects`: as Docker inspects them, by kind and name. `files`: texts by `CONTAINER:PATH`. `logs`: lines by
    container. `failing`: what every question and every change fails with, while it is set.

    Every change is noted in `done`, as the method's name and its arguments, and does to `objects` what is asked about.
    """

    def __init__(self) -> None:
        self.url = "unix:///run/docker.sock"
        self.objects: dict[Kind, dict[str, Any]] = {kind: {} for kind in Kind}
        self.files: dict[str, str] = {}
        self.logs: dict[str, list[str]] = {}
        self.answers: dict[str, str] = {}
        """What commands in containers print, by a part of them."""
        self.happened: list[Inspected] = []
        self.time = "2026-11-22T18:30:00.5Z"
        self.done: list[tuple[Any, ...]] = []
        self.failing: DockerError | None = None
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def _answer(self) -> None:
        if self.failing is not None:
            raise self.failing

    def _do(self, what: str, *arguments: Any) -> None:
        self._answer()
        self.done.append((what, *arguments))

    def there(self, kind: Kind, name: str) -> dict[str, Any]:
        found = self.inspect(kind, name)
        if found is None:
            raise NotFound(f"no {kind} {name}")
        return dict(found)

    def now(self) -> datetime:
        self._answer()
        return moment(self.time)

    def inspect(self, kind: Kind, name: str) -> Inspected | None:
        self._answer()
        found = self.objects[kind]
        return found.get(name) or next((one for one in found.values() if one.get("Id") == name), None)

    def find(self, kind: Kind, labels: Mapping[str, str] | None = None, *, network: str = "") -> list[Inspected]:
        self._answer()
        wanted = (labels or {}).items()
        return [one for one in self.objects[kind].values() if wanted <= (_labels(one)).items()]

    def events(self, since: float, until: float, **wanted: Any) -> list[Inspected]:
        self._answer()
        found, self.happened = self.happened, []
        return [one for one in found if one["Type"] in wanted["kinds"] and one["Action"] in wanted["actions"]]

    def log(self, container: str, **options: Any) -> list[str]:
        self.there(Kind.CONTAINER, container)
        return self.logs.get(container, [])

    def follow(self, container: str, **options: Any) -> Iterator[str]:
        yield from self.log(container)

    def read_file(self, container: str, path: str, *, last: int | None = None) -> str | None:
        self._answer()
        return self.files.get(f"{container}:{path}")

    def read_folder(self, container: str, path: str) -> dict[str, str]:
        self._answer()
        folder = f"{container}:{path}/"
        return {name.partition(":")[2]: text for name, text in self.files.items() if name.startswith(folder)}

    def owner(self, container: str, path: str) -> tuple[int, int] | None:
        self._answer()
        return (1000, 1000)

    def run(self, container: str, command: Any) -> str:
        self._do("run", container, command)
        return next((text for part, text in self.answers.items() if part in " ".join(command)), "")

    def create(self, image: str, command: Any = None, **options: Any) -> str:
        self._do("create", image, options | {"command": command})
        name = str(options["name"])
        labels = {"Labels": options["labels"]}
        self.objects[Kind.CONTAINER][name] = {"Id": name, "Name": f"/{name}", "Config": labels, "State": {}}
        return name

    def start(self, container: str) -> None:
        self._do("start", container)
        self.there(Kind.CONTAINER, container)["State"] |= {"Running": True, "Status": "running"}

    def stop(self, container: str, *, grace: int) -> None:
        self._do("stop", container, grace)
        self.there(Kind.CONTAINER, container)["State"] |= {"Running": False, "Status": "exited"}

    def signal(self, container: str, name: str) -> None:
        self._do("signal", container, name)

    def wait(self, container: str, *, timeout: float | None = None) -> int:
        return int(self.there(Kind.CONTAINER, container)["State"].get("ExitCode", 0))

    def remove(self, container: str) -> None:
        self._remove(Kind.CONTAINER, container)

    def remove_network(self, network: str) -> None:
        if (self.inspect(Kind.NETWORK, network) or {}).get("Containers"):
            raise Conflict(f"network {network} has active endpoints")
        self._remove(Kind.NETWORK, network)

    def _remove(self, kind: Kind, name: str) -> None:
        self._do(f"remove {kind}", name)
        found = self.there(kind, name)
        self.objects[kind] = {key: one for key, one in self.objects[kind].items() if one != found}

    def create_network(self, name: str, labels: Mapping[str, str]) -> str:
        self._do("create network", name)
        self.objects[Kind.NETWORK][name] = {"Id": name, "Name": name, "Labels": labels, "Created": self.time}
        return name

    def rename(self, container: str, name: str) -> None:
        self._do("rename", container, name)

    def set_restart_policy(self, container: str, policy: Mapping[str, Any]) -> None:
        self._do("set restart policy", container, policy["Name"])

    def connect(self, network: str, container: str, aliases: Any = ()) -> None:
        self._do("connect", network, container, *aliases)

    def disconnect(self, network: str, container: str, *, force: bool = False) -> None:
        self._do("disconnect", network, container)

    def write_archive(self, container: str, folder: str, archive: Any) -> None:
        self._do("write", container, folder, archive if isinstance(archive, bytes) else archive.read())


def _labels(thing: Inspected) -> Mapping[str, str]:
    return thing.get("Labels") or thing.get("Config", {}).get("Labels") or {}
