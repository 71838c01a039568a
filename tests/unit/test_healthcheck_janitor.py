"""What outlives a verification that is killed."""

import io
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deployment.errors import IbgwError
from deployment.tables import Kind
from healthcheck import docker_host, janitor, verifier_container
from healthcheck.docker_host import DockerError
from tests.helpers import until
from tests.unit.fake_docker import FakeDocker
from tests.unit.gateways import stack

RUN = "0123456789abcdef"
OURS = {"Labels": {"ibgw.run": RUN}}
ANOTHERS = {"Labels": {"ibgw.run": "another"}}


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDocker]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    fake = FakeDocker()
    fake.objects[Kind.CONTAINER] = {
        name: {"Id": name, "Config": config, "State": {}} for name, config in (("ours", OURS), ("another's", ANOTHERS))
    }
    fake.objects[Kind.NETWORK] = {"bridge": {"Id": "bridge", **OURS}, "another's": {"Id": "another's", **ANOTHERS}}
    monkeypatch.setattr(docker_host, "DockerHost", lambda _: fake)
    monkeypatch.setattr(janitor, "PAUSE", 0)
    yield fake
    for number, handler in before.items():
        signal.signal(number, handler)


def ends_with(monkeypatch: pytest.MonkeyPatch, told: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(told)))


@pytest.mark.parametrize("told", [b"", b"nothing is"])
def test_what_a_killed_process_has_left_is_removed_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, docker: FakeDocker, told: bytes
) -> None:
    ends_with(monkeypatch, told)
    janitor.main("unix:///docker.sock", RUN)
    assert docker.done == [("remove", "ours"), ("remove_network", "bridge")]
    # What Docker had been asked for just before may come after the first look.
    assert len([kind for kind, *_ in docker.looks("find") if kind is Kind.CONTAINER]) == 3


def test_a_process_that_has_left_nothing_is_believed(monkeypatch: pytest.MonkeyPatch, docker: FakeDocker) -> None:
    ends_with(monkeypatch, janitor.DONE)
    janitor.main("unix:///docker.sock", RUN)
    assert (docker.asked, docker.done) == ([], [])


@pytest.mark.parametrize("failure", [DockerError("busy"), IbgwError("no answer")])
def test_a_docker_host_that_fails_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, docker: FakeDocker, failure: Exception
) -> None:
    failures = [failure, failure]

    def connect(_: str) -> FakeDocker:
        if failures:
            raise failures.pop()
        return docker

    monkeypatch.setattr(docker_host, "DockerHost", connect)
    ends_with(monkeypatch, b"")
    janitor.main("unix:///docker.sock", RUN)
    assert docker.did("remove") == [["ours"]]


def test_a_docker_host_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch, docker: FakeDocker) -> None:
    docker.failing["find"] = DockerError("gone")
    monkeypatch.setattr(janitor, "PATIENCE", 0.05)
    ends_with(monkeypatch, b"")
    janitor.main("unix:///docker.sock", RUN)
    assert docker.done == []


Told = Callable[[], bytes]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Told:
    """What the janitor was told at the end, once it has ended; it writes that down and does nothing else."""
    path = tmp_path / "told"
    real = subprocess.Popen
    part = tmp_path / "part"
    writes = f"open({str(part)!r}, 'wb').write(sys.stdin.buffer.read()); os.rename({str(part)!r}, {str(path)!r})"

    def start(_: Any, **options: Any) -> Any:
        assert options["start_new_session"], "no terminal and no Ctrl-C reach it"
        return real([sys.executable, "-c", f"import os, sys; {writes}"], **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(verifier_container, "LEFT", set())

    def read() -> bytes:
        until(path.exists, "it has been told")
        found: bytes = path.read_bytes()
        return found

    return read


def test_a_run_in_order_needs_no_janitor(told: Told) -> None:
    with janitor.janitor("unix:///docker.sock"):
        pass
    assert told() == janitor.DONE


def test_a_run_that_was_broken_off_and_has_cleaned_up_needs_none_either(told: Told) -> None:
    with pytest.raises(KeyboardInterrupt), janitor.janitor("unix:///docker.sock"):
        raise KeyboardInterrupt
    assert told() == janitor.DONE


def test_what_could_not_be_removed_is_left_to_the_janitor(told: Told) -> None:
    with janitor.janitor("unix:///docker.sock"):
        verifier_container.LEFT.add("ibgw-paper-verifier-01234567")
    assert told() == b""


def test_whatever_is_made_counts_as_left_until_it_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Docker is asked for it: whoever is killed meanwhile has not been told that it is there."""
    monkeypatch.setattr(verifier_container, "LEFT", set())
    fake, seen = FakeDocker(), list[int]()

    def counted(make: Callable[..., str]) -> Callable[..., str]:
        def made(*arguments: Any, **options: Any) -> str:
            seen.append(len(verifier_container.LEFT))
            return make(*arguments, **options)

        return made

    monkeypatch.setattr(fake, "create", counted(fake.create))
    monkeypatch.setattr(fake, "create_network", counted(fake.create_network))
    with verifier_container.throwaway_bridge(fake, stack()) as bridge:
        container = verifier_container.start(fake, stack(), [bridge], [])
        assert len(verifier_container.LEFT) == 2
        verifier_container.remove(fake, container)
    assert (seen, verifier_container.LEFT) == ([1, 2], set())


def test_what_docker_made_without_saying_so_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeDocker()
    create, create_network = fake.create, fake.create_network

    def broken(make: Callable[..., str]) -> Callable[..., str]:
        def made(*arguments: Any, **options: Any) -> str:
            make(*arguments, **options)
            raise DockerError("the connection broke off")

        return made

    monkeypatch.setattr(fake, "create", broken(create))
    monkeypatch.setattr(fake, "create_network", broken(create_network))
    with pytest.raises(DockerError, match="broke off"):
        verifier_container.start(fake, stack(), ["api"], [])
    with pytest.raises(DockerError, match="broke off"), verifier_container.throwaway_bridge(fake, stack()):
        pass
    assert fake.objects[Kind.CONTAINER] == fake.objects[Kind.NETWORK] == {}
