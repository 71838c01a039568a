"""A proxy on the Docker socket: it writes down every request, can step in before or after chosen ones, and can change
what they say.

For three kinds of tests: that a preview only reads, what is left when an engine is killed at a chosen moment, and what
becomes of a gateway on a host that this machine is not. It speaks as much HTTP as the Docker Engine API uses:
kept-alive connections, chunked bodies, and connections that become raw streams (attach, exec, a build's session).
"""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

CHUNK = 65536
READS = frozenset({"GET", "HEAD"})
_VERSION = re.compile(r"^/v\d+\.\d+(?=/)")
_RAW_STREAM = b"application/vnd.docker.raw-stream"


@dataclass(frozen=True)
class Call:
    """One request, numbered from 0 in order of arrival. `path` has no API version in front, `query` is as sent."""

    number: int
    method: str
    path: str
    query: str

    @property
    def reads(self) -> bool:
        """Whether the request can change nothing."""
        return self.method in READS

    def __str__(self) -> str:
        return f"{self.method} {self.path}{'?' + self.query if self.query else ''}"


Matches = Callable[[Call], bool]


class Moment(Enum):
    """When to step in. BEFORE: Docker never hears of the request. AFTER: Docker has answered, the client not yet."""

    BEFORE = "before"
    AFTER = "after"


Change = Callable[[Any], None]
"""Of a JSON document, in place."""


@dataclass(frozen=True)
class _Change:
    matches: Matches
    of_request: Change | None
    of_answer: Change | None


@dataclass
class _Step:
    matches: Matches
    moment: Moment
    do: Callable[[], None]
    spent: bool = False


@dataclass(frozen=True)
class _Head:
    """The head of a request or a response: `first` is its first line, `fields` by lower-case name, `raw` all bytes."""

    first: list[bytes]
    fields: dict[bytes, bytes]
    raw: bytes


class _StepIn(Exception):
    """A step was taken at this request: the client gets no answer to it."""


class DockerProxy:
    """Listens on the socket `path` and forwards to `docker`. A context manager; what it learned outlives it."""

    def __init__(self, path: Path, docker: Path = Path("/var/run/docker.sock")) -> None:
        self.path = path
        self.docker = docker
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._steps: list[_Step] = []
        self._changes: list[_Change] = []
        self._open: set[socket.socket] = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._closing = threading.Event()

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    @property
    def calls(self) -> list[Call]:
        """All requests up to now."""
        with self._lock:
            return list(self._calls)

    def forget_calls(self) -> None:
        with self._lock:
            self._calls.clear()

    def step_in(self, moment: Moment, matches: Matches, do: Callable[[], None]) -> None:
        """Calls `do` once, at the first request that matches. The client gets no answer to that request."""
        with self._lock:
            self._steps.append(_Step(matches, moment, do))

    def change(self, matches: Matches, *, request: Change | None = None, answer: Change | None = None) -> None:
        """Changes the JSON of every request that matches, or of its answer."""
        with self._lock:
            self._changes.append(_Change(matches, request, answer))

    def forget_changes(self) -> None:
        with self._lock:
            self._changes.clear()

    def forget_steps(self) -> None:
        """Drops what was to be stepped in at and never came."""
        with self._lock:
            self._steps.clear()

    def __enter__(self) -> Self:
        self._listener.bind(str(self.path))
        self._listener.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        # Wakes the thread that waits in accept(); closing alone does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _hang_up(connection)
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        docker = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with self._lock:
            self._open |= {client, docker}
        try:
            docker.connect(str(self.docker))
            self._converse(client, docker)
        except (_StepIn, OSError, EOFError):
            # Either side hung up, or a step was taken: both ends are closed, which is all that either is told.
            return
        finally:
            for connection in (client, docker):
                _hang_up(connection)
                connection.close()
            with self._lock:
                self._open -= {client, docker}

    def _converse(self, client: socket.socket, docker: socket.socket) -> None:
        requests, answers = client.makefile("rb"), docker.makefile("rb")
        while True:
            request = _read_head(requests)
            call, step = self._note(request)
            if step is not None and step.moment is Moment.BEFORE:
                step.do()
                raise _StepIn
            changes = [change for change in list(self._changes) if change.matches(call)]
            if any(change.of_request for change in changes):
                docker.sendall(_changed(request, requests, [change.of_request for change in changes]))
                request = _Head(first=request.first, fields={}, raw=b"")
            docker.sendall(request.raw)
            # The body goes on its own, since Docker may answer before all of it was sent.
            body = threading.Thread(target=_copy_request_body, args=(request, requests, docker), daemon=True)
            body.start()
            answer = _read_head(answers)
            while answer.first[1] == b"100":
                client.sendall(answer.raw)
                answer = _read_head(answers)
            if step is not None:
                # Docker's word that the thing is done is the end of its answer.
                _copy_answer_body(call, answer, answers, None)
                step.do()
                raise _StepIn
            if any(change.of_answer for change in changes):
                client.sendall(_changed(answer, answers, [change.of_answer for change in changes]))
                body.join()
                continue
            client.sendall(answer.raw)
            if _becomes_stream(answer):
                body.join()
                _tunnel(requests, client, answers, docker)
                return
            ends_with_connection = _copy_answer_body(call, answer, answers, client)
            body.join()
            if ends_with_connection:
                return

    def _note(self, request: _Head) -> tuple[Call, _Step | None]:
        path, _, query = request.first[1].decode().partition("?")
        with self._lock:
            call = Call(len(self._calls), request.first[0].decode(), _VERSION.sub("", path), query)
            self._calls.append(call)
            candidates = [step for step in self._steps if not step.spent]
        # Outside the lock: a matcher may ask Docker something, even through this proxy.
        for step in candidates:
            if step.matches(call):
                with self._lock:
                    if step.spent:
                        continue
                    step.spent = True
                return call, step
        return call, None


def _read_head(stream: BinaryIO) -> _Head:
    lines = []
    while True:
        line = stream.readline()
        if not line:
            raise EOFError
        lines.append(line)
        if line in (b"\r\n", b"\n"):
            break
    fields = {}
    for line in lines[1:-1]:
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip()
    return _Head(first=lines[0].split(), fields=fields, raw=b"".join(lines))


def _becomes_stream(answer: _Head) -> bool:
    """An attach or exec, with an upgrade or, from older clients, without."""
    raw = answer.fields.get(b"content-type", b"").startswith(_RAW_STREAM) and not _has_length(answer)
    return answer.first[1] == b"101" or raw


def _has_length(head: _Head) -> bool:
    return b"content-length" in head.fields or b"chunked" in head.fields.get(b"transfer-encoding", b"")


def _copy_request_body(request: _Head, requests: BinaryIO, docker: socket.socket) -> None:
    # A connection that breaks here breaks the conversation too, where it is dealt with.
    with contextlib.suppress(OSError, EOFError):
        _copy_sized(request, requests, docker)


def _copy_answer_body(call: Call, answer: _Head, answers: BinaryIO, client: socket.socket | None) -> bool:
    """Returns whether the body's end was the connection's end. RFC 9112, 6.3."""
    if call.method == "HEAD" or answer.first[1] in (b"204", b"304"):
        return False
    if _has_length(answer):
        _copy_sized(answer, answers, client)
        return False
    while data := answers.read1(CHUNK):  # type: ignore[attr-defined]
        if client is not None:
            client.sendall(data)
    return True


def _copy_sized(head: _Head, source: BinaryIO, target: socket.socket | None) -> None:
    """Copies a body whose length the head gives, or that is chunked; nothing if it says neither."""
    if b"chunked" in head.fields.get(b"transfer-encoding", b""):
        while True:
            size = source.readline()
            if not size:
                raise EOFError
            length = int(size.split(b";")[0], 16)
            rest = source.read(length + 2)
            if target is not None:
                target.sendall(size + rest)
            if length == 0:
                return
    left = int(head.fields.get(b"content-length", b"0"))
    while left:
        data = source.read1(min(left, CHUNK))  # type: ignore[attr-defined]
        if not data:
            raise EOFError
        left -= len(data)
        if target is not None:
            target.sendall(data)


def _changed(head: _Head, source: BinaryIO, changes: list[Change | None]) -> bytes:
    """The message with its JSON changed, and with that one's length."""
    document = json.loads(_read_sized(head, source))
    for change in filter(None, changes):
        change(document)
    body = json.dumps(document).encode()
    lines = head.raw.split(b"\r\n")[:-2]
    kept = [line for line in lines if line.partition(b":")[0].lower() not in (b"content-length", b"transfer-encoding")]
    return b"\r\n".join([*kept, b"Content-Length: %d" % len(body), b"", body])


def _read_sized(head: _Head, source: BinaryIO) -> bytes:
    if b"chunked" not in head.fields.get(b"transfer-encoding", b""):
        return source.read(int(head.fields.get(b"content-length", b"0")))
    body = b""
    while length := int(source.readline().split(b";")[0], 16):
        body += source.read(length + 2)[:-2]
    source.readline()
    return body


def _tunnel(requests: BinaryIO, client: socket.socket, answers: BinaryIO, docker: socket.socket) -> None:
    """Bytes both ways until Docker's side ends; the client's end is passed on as one (docker exec relies on it)."""

    def outward() -> None:
        with contextlib.suppress(OSError):
            while data := requests.read1(CHUNK):  # type: ignore[attr-defined]
                docker.sendall(data)
            docker.shutdown(socket.SHUT_WR)

    threading.Thread(target=outward, daemon=True).start()
    while data := answers.read1(CHUNK):  # type: ignore[attr-defined]
        client.sendall(data)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
