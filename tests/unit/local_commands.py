"""What would be talked to in a container, as a process of this machine."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property

from healthcheck.docker_stream import CHUNK, DockerStream, closed_is_broken
from healthcheck.text import clean
from tests.unit.fake_docker import FakeDocker


class LocalStream(DockerStream):
    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process

    @cached_property
    def said(self) -> str:
        assert self.process.stderr is not None
        return clean(self.process.stderr.read().decode().strip())

    def read(self) -> bytes:
        assert self.process.stdout is not None
        with closed_is_broken():
            return os.read(self.process.stdout.fileno(), CHUNK)

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        with closed_is_broken():
            os.write(self.process.stdin.fileno(), data)

    def close(self) -> None:
        """As Docker does: the command's input ends, and nobody reads its output."""
        assert self.process.stdin is not None
        if not self.process.stdin.closed:
            self.process.stdin.close()


class LocalDocker(FakeDocker):
    """`instead`: what stands here for parts of a command's words, as for a display; `exactly`: for whole ones."""

    def __init__(self, instead: Mapping[str, str]) -> None:
        super().__init__()
        self.instead = instead
        self.exactly: dict[str, str] = {}
        self.started: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def talk(self, container: str, command: Sequence[str]) -> Iterator[LocalStream]:
        self._do("talk", container, *command)
        words = [self.exactly.get(word, word) for word in command]
        for word, here in self.instead.items():
            words = [part.replace(word, here) for part in words]
        pipe = subprocess.PIPE
        with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe) as process:
            self.started.append(process)
            stream = LocalStream(process)
            try:
                yield stream
            finally:
                stream.close()
                process.wait(60)
                assert stream.said is not None  # while it can be read
