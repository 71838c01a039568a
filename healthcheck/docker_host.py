"""The one way to a Docker host, local or over ssh: everything that we ask of one, and how it fails.

What Docker says of an object is handed on as it is (`docker inspect`, Docker Engine API 1.41).
"""

import errno
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any, Literal, Self, cast

from urllib3.exceptions import HTTPError

from deployment.docker_address import parse
from deployment.errors import ExitCode, IbgwError, words
from deployment.tables import Kind
from healthcheck.docker_connections import connected
from healthcheck.docker_py import APIClient, LogConfig, errors
from healthcheck.docker_stream import DockerStream
from healthcheck.redact import Redactor
from healthcheck.ssh_failures import SshFailed
from healthcheck.text import clean

CONNECTIONS = 1000
"""Kept at most, which is more than the threads that ever ask at once: urllib3 warns of each that finds no room."""

ARCHIVES = 2
"""Files that are read out of containers at a time: for each, Docker starts a process (since 20.10)."""

CHUNK = 32768

LATEST = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()

CONFINED = ("no-new-privileges:true",)
"""The security options of our own containers."""
"""Bytes of an archive, or fewer where no more have come: the first header is read long before the rest is there."""

TURN = 0.2
"""Seconds of a wait that a signal has to end."""

Inspected = Mapping[str, Any]


class DockerError(Exception):
    """A Docker host refused or failed, or cannot be reached. Its text is Docker's, or the connection's."""


class NotFound(DockerError):
    """There is no such object, or none any more."""


class Conflict(DockerError):
    """The object's state does not allow it: it is in use, stopped, or being removed."""


@contextmanager
def _failures() -> Iterator[None]:
    """Turns what docker-py and its connections raise into DockerError."""
    try:
        yield
    except errors.NotFound as error:
        raise NotFound(str(error)) from error
    except errors.APIError as error:
        raise (Conflict if error.status_code in (403, 409) else DockerError)(str(error)) from error
    # RequestException is an OSError.
    except (errors.DockerException, OSError, HTTPError) as error:
        raise DockerError(_words(error)) from error


_SOCKET = {
    errno.ENOENT: "there is no such socket; start Docker (`sudo systemctl start docker`), or name the socket that "
    "`docker context inspect --format '{{.Endpoints.docker.Host}}'` prints",
    errno.EACCES: "this user may not use the socket; `sudo usermod -aG docker $USER`, and log in again",
    errno.ECONNREFUSED: "nobody answers at the socket; start Docker (`sudo systemctl start docker`)",
}
"""Why a connection to a socket of this machine fails, and what to do."""


def _words(error: BaseException) -> str:
    """Its text; where an ssh or a socket failed, what that was, without the words of those that passed it on."""
    return _explained(error) or words(error)


def _explained(error: BaseException) -> str | None:
    """Why an ssh or a socket failed, with what to do."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, SshFailed):
            return str(cause)
        if isinstance(cause, OSError) and cause.errno in _SOCKET:
            return _SOCKET[cause.errno]
        cause = cause.__cause__ or cause.__context__
    return None


@dataclass(frozen=True)
class File:
    """`text`: of its last bytes, as many as were asked for; None where it was not wanted."""

    name: str
    size: int
    modified: datetime
    text: str | None


class DockerHost:
    """A Docker host that has answered once. Its connections are kept until `close`; any thread may ask.

    Containers, networks and images are named by name or id. Every method raises DockerError, and NotFound where a thing
    that it needs is not there.
    """

    def __init__(self, url: str, *, timeout: float = 60) -> None:
        """`unix:///path` or `ssh://user@host[:port]`, for which the operator's own `ssh` and its configuration are
        used. `timeout`: seconds that an answer may take.

        Raises IbgwError (could not run) for any other kind of address, and when the host does not answer.
        """
        try:
            parse(url)
        except ValueError as error:
            # Others lack encryption or a login.
            raise IbgwError(f"Docker host: {error}", exit_code=ExitCode.COULD_NOT_RUN) from None
        self.url = url
        self._api = _open(url, timeout)
        self._archives = threading.BoundedSemaphore(ARCHIVES)

    def close(self) -> None:
        self._api.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- looking --------------------------------------------------------------------------------------------------

    @_failures()
    def info(self) -> Inspected:
        """What the daemon says of itself and of its host (GET /info)."""
        return cast(Inspected, self._api.info())

    def now(self) -> datetime:
        """By the daemon's clock, which containers log by."""
        return moment(self.info()["SystemTime"])

    def inspect(self, kind: Kind, name: str) -> Inspected | None:
        """What Docker knows of an object; None where there is none."""
        try:
            return self.there(kind, name)
        except NotFound:
            return None

    @_failures()
    def there(self, kind: Kind, name: str) -> Inspected:
        """What Docker knows of an object that must be there."""
        ask: Any = {
            Kind.CONTAINER: self._api.inspect_container,
            Kind.NETWORK: self._api.inspect_network,
            Kind.VOLUME: self._api.inspect_volume,
            Kind.IMAGE: self._api.inspect_image,
        }[kind]
        return cast(Inspected, ask(name))

    @_failures()
    def find(self, kind: Kind, labels: Mapping[str, str] | None = None, *, network: str = "") -> list[Inspected]:
        """Containers (stopped ones too), networks or volumes with all of these labels, in the short form of Docker's
        lists. `network`: of containers, those attached to it."""
        filters = {"label": [f"{key}={value}" for key, value in (labels or {}).items()]}
        if kind is Kind.CONTAINER:
            objects = self._api.containers(all=True, filters=filters | ({"network": [network]} if network else {}))
        elif kind is Kind.NETWORK:
            objects = self._api.networks(filters=filters)
        else:
            objects = self._api.volumes(filters=filters)["Volumes"]
        return list(objects or ())

    def events(self, since: float, until: float) -> Iterator[Inspected]:
        """What happens between two times, in seconds of the daemon's clock: what it remembers (the last 256 events),
        and then each as it comes. One that ends early was cut off."""
        with _failures():
            # As texts, which docker-py passes on: whole seconds would take in what happened before.
            yield from self._api.events(since=f"{since:.6f}", until=f"{until:.6f}", decode=True)  # type: ignore[call-overload]

    @_failures()
    def log(
        self,
        container: str,
        *,
        tail: int | None = None,
        since: datetime | None = None,
        timestamps: bool = False,
        only: Literal["stdout", "stderr"] | None = None,
    ) -> list[str]:
        """The lines of its log. `timestamps`: each begins with Docker's time of it."""
        text = self._api.logs(
            container,
            stdout=only != "stderr",
            stderr=only != "stdout",
            timestamps=timestamps,
            tail="all" if tail is None else tail,
            since=None if since is None else since.timestamp(),
        )
        lines = text.split(b"\n")
        return [_line(line) for line in (lines if lines[-1] else lines[:-1])]

    def follow(
        self,
        container: str,
        *,
        since: datetime | None = None,
        timestamps: bool = False,
        only: Literal["stdout", "stderr"] | None = None,
    ) -> Iterator[str]:
        """Its log's whole lines as they come, until it ends. `since` in whole seconds, so that a few may be older."""
        unfinished = b""
        with _failures():
            for chunk in self._api.logs(
                container,
                stdout=only != "stderr",
                stderr=only != "stdout",
                timestamps=timestamps,
                since=None if since is None else int(since.timestamp()),
                stream=True,
                follow=True,
            ):
                *lines, unfinished = (unfinished + chunk).split(b"\n")
                yield from map(_line, lines)

    # --- files in containers, running or not: nothing is run in them for it ------------------------------------------

    def read_file(self, container: str, path: str, *, last: int | None = None) -> str | None:
        """A file's text, or that of its `last` bytes; None where there is no such file or container."""
        with self._entries(container, path) as entries:
            _, content = next(entries, (None, None))
        return None if content is None else _text(content if last is None else content[-last:])

    def read_folder(self, container: str, path: str) -> dict[str, str]:
        """The texts of all files under a folder, by their paths; none where there is no such folder or container."""
        parent = path.rstrip("/").rpartition("/")[0]
        with self._entries(container, path) as entries:
            return {f"{parent}/{entry.name}": _text(content) for entry, content in entries if content is not None}

    def list_folder(self, container: str, path: str, *, wanted: Callable[[str], bool], last: int) -> list[File]:
        """What lies under a folder, with the `last` bytes of those whose names are wanted; none where there is no such
        folder or container."""
        found = []
        with self._archives, closing(self._unpacked(container, path, wanted, last)) as entries:  # type: ignore[type-var]
            for entry, content in entries:
                if entry.isfile():
                    # A file may have any time, and Python has none after the year 9999.
                    mtime = min(max(entry.mtime, 0), LATEST)
                    name, modified = entry.name.rpartition("/")[2], datetime.fromtimestamp(mtime, UTC)
                    found.append(File(name, entry.size, modified, None if content is None else _text(content)))
        return found

    def owner(self, container: str, path: str) -> tuple[int, int] | None:
        """User and group of a file or folder, of whose content little is read; None where there is none."""
        with self._entries(container, path) as entries:
            entry, _ = next(entries, (None, None))
        return None if entry is None else (entry.uid, entry.gid)

    def read_archive(self, container: str, path: str) -> Iterator[bytes]:
        """A file or folder as a tar archive, whose names begin with the path's last part."""
        with _failures():
            chunks, _ = self._api.get_archive(container, path, chunk_size=CHUNK)
            yield from chunks

    @_failures()
    def write_archive(self, container: str, folder: str, archive: bytes | IO[bytes]) -> None:
        """Unpacks a tar archive into a folder that is there."""
        self._api.put_archive(container, folder, archive)

    @contextmanager
    def _entries(self, container: str, path: str) -> Iterator[Iterator[tuple[tarfile.TarInfo, bytes | None]]]:
        """What is in an archive, in its order, with the content of what is a file; nothing where there is no such path.
        It is read as far as it is asked for."""
        with self._archives, closing(self._unpacked(container, path)) as entries:  # type: ignore[type-var]
            yield entries

    def _unpacked(
        self, container: str, path: str, wanted: Callable[[str], bool] = lambda _: True, last: int | None = None
    ) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
        try:
            with tarfile.open(fileobj=_Chunks(self.read_archive(container, path)), mode="r|") as archive:  # type: ignore[call-overload]
                for entry in archive:
                    file = archive.extractfile(entry) if entry.isfile() and wanted(entry.name) else None
                    yield entry, None if file is None else _end(file, entry.size, last)
        except NotFound:
            return
        except tarfile.TarError as error:
            raise DockerError(f"the archive of {path} is broken: {error}") from error

    # --- changing -------------------------------------------------------------------------------------------------

    @_failures()
    def run(self, container: str, command: Sequence[str], *, stderr: bool = False) -> str:
        """Runs a command in a running container; what it wrote to its standard output, or with `stderr` to both."""
        asked = self._api.exec_create(container, [*command], stderr=stderr)["Id"]
        return _text(self._api.exec_start(asked))

    @contextmanager
    def talk(self, container: str, command: Sequence[str]) -> Iterator[DockerStream]:
        """Runs a command in a running container, and leads to its standard input and output. Whoever leaves closes its
        input, and waits for no end of it."""
        with _failures():
            asked = self._api.exec_create(container, [*command], stdin=True)["Id"]
            stream = DockerStream(self._api.exec_start(asked, socket=True))
        with closing(stream):
            yield stream

    @_failures()
    def create(
        self,
        image: str,
        command: Sequence[str] | None = None,
        *,
        name: str,
        labels: Mapping[str, str],
        user: str,
        entrypoint: Sequence[str] | None = None,
        network: str = "none",
        volumes: Mapping[str, str] | None = None,
        read_only: bool = False,
        memory: str | None = None,
        processes: int | None = None,
        sysctls: Mapping[str, str] | None = None,
    ) -> str:
        """The id of a new container for one of our own tasks, without capabilities and not started. `volumes`: by their
        names, where to mount them. `memory`: as Docker writes sizes; none of it is swapped."""
        host_config = self._api.create_host_config(
            network_mode=network,
            binds=[f"{volume}:{path}" for volume, path in (volumes or {}).items()],
            cap_drop=["ALL"],
            security_opt=[*CONFINED],
            read_only=read_only,
            mem_limit=memory,
            memswap_limit=memory,
            pids_limit=processes,
            sysctls=dict(sysctls) if sysctls else None,
            # Its output is read back through Docker, which not every log driver can.
            log_config=LogConfig(type=LogConfig.types.JSON),
        )
        made = self._api.create_container(
            image,
            None if command is None else [*command],
            name=name,
            labels=dict(labels),
            user=user,
            entrypoint=None if entrypoint is None else [*entrypoint],
            host_config=host_config,
        )
        return str(made["Id"])

    @_failures()
    def create_as_asked(self, name: str, asked: Mapping[str, Any]) -> str:
        """The id of a new container, not started. `asked`: the body of Docker's /containers/create."""
        made = self._api.create_container_from_config(dict(asked), name)  # type: ignore[no-untyped-call]
        return str(made["Id"])

    @_failures()
    def start(self, container: str) -> None:
        self._api.start(container)

    @_failures()
    def stop(self, container: str, *, grace: int) -> None:
        """`grace`: seconds that it has to end by itself."""
        self._api.stop(container, timeout=grace)

    @_failures()
    def signal(self, container: str, name: str) -> None:
        self._api.kill(container, name)

    @_failures()
    def wait(self, container: str, *, timeout: float | None = None) -> int:
        """Its exit code, once it has ended."""
        return int(self._api.wait(container, timeout=None if timeout is None else round(timeout))["StatusCode"])

    @_failures()
    def remove(self, container: str) -> None:
        """Even one that runs, and its volumes that have no name."""
        self._api.remove_container(container, v=True, force=True)

    @_failures()
    def rename(self, container: str, name: str) -> None:
        self._api.rename(container, name)

    @_failures()
    def set_restart_policy(self, container: str, policy: Mapping[str, Any]) -> None:
        """In Docker's form, as in `HostConfig`."""
        self._api.update_container(container, restart_policy=cast(Any, policy))

    @_failures()
    def create_network(self, name: str, labels: Mapping[str, str]) -> str:
        """The id of a new plain bridge."""
        return str(self._api.create_network(name, driver="bridge", labels=dict(labels))["Id"])

    @_failures()
    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """One that is there stays as it is."""
        self._api.create_volume(name, labels=dict(labels))

    @_failures()
    def remove_network(self, network: str) -> None:
        self._api.remove_network(network)

    @_failures()
    def connect(self, network: str, container: str, aliases: Sequence[str] = ()) -> None:
        self._api.connect_container_to_network(container, network, aliases=[*aliases] or None)

    @_failures()
    def disconnect(self, network: str, container: str, *, force: bool = False) -> None:
        self._api.disconnect_container_from_network(container, network, force=force)


class _Chunks:
    """For tarfile, which takes as much as comes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, size: int) -> bytes:
        return next(self._chunks, b"")


def _end(file: IO[bytes], size: int, last: int | None) -> bytes:
    """A stream cannot be wound forward; what is passed over is not kept."""
    over = 0 if last is None else max(0, size - last)
    while over > 0:
        over -= len(file.read(min(over, CHUNK)))
    return file.read()


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _line(line: bytes) -> str:
    return _text(line).rstrip("\r")


def _open(url: str, timeout: float) -> APIClient:
    opened: list[APIClient] = []
    failures: list[Exception] = []

    def connect() -> None:
        try:
            opened.append(connected(url, timeout=round(timeout), at_most=CONNECTIONS))
        except (errors.DockerException, OSError, HTTPError, ValueError, KeyError) as error:
            failures.append(error)

    # A thread of its own, since docker-py's ssh socket knows no timeout.
    thread = threading.Thread(target=connect, name="open-docker", daemon=True)
    thread.start()
    # In turns: a Ctrl-C that another thread takes, or that comes just before a wait begins, is heard after that wait.
    deadline = time.monotonic() + timeout
    while thread.is_alive() and time.monotonic() < deadline:
        thread.join(TURN)
    if opened:
        return opened[0]
    told = _explained(failures[0]) if failures else None
    failure = words(failures[0]) if failures else f"no answer within {timeout:g} s"
    address = parse(url)
    hint = "expected an answer; check that the daemon runs and that you may use its socket (`docker version`)"
    if address is not None:
        hint = f"expected an answer; check that `{address.by_hand('docker version')}` works without a question"
    raise IbgwError(f"Docker host {url}: {told or f'{failure}; {hint}'}", exit_code=ExitCode.COULD_NOT_RUN)


@contextmanager
def docker_errors(what: str, todo: str) -> Iterator[None]:
    """Turns a failure of Docker's into IbgwError (could not run): `what` it was about, its words, and what to do."""
    try:
        yield
    except DockerError as error:
        raise IbgwError(
            f"{what}: {clean(Redactor().text(str(error)))}; {todo}", exit_code=ExitCode.COULD_NOT_RUN
        ) from error


def moment(text: str) -> datetime:
    """One of Docker's times: RFC 3339 with up to nine decimals, in UTC or, for `SystemTime`, the daemon's own zone."""
    return datetime.fromisoformat(text)
