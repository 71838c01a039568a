"""Containers: what is sent to Docker and what is made of its answers, without a daemon."""

import io
import tarfile
from typing import Any

import pytest
from docker.errors import APIError

from sandbox.plugins.docker import container, remote_image
from sandbox.plugins.docker.container import format_duration, parse_duration
from sandbox.plugins.provider import PluginError, RecordedButFailed, State
from tests.leaks import leaks

# time.Duration.String of Go prints these, and ParseDuration reads them.
DURATIONS = {
    "0s": 0,
    "1ms": 1_000_000,
    "30s": 30 * 10**9,
    "1m0s": 60 * 10**9,
    "1m30s": 90 * 10**9,
    "1h0m0s": 3600 * 10**9,
    "1.5s": 1_500_000_000,
}


@pytest.mark.parametrize(("text", "nanoseconds"), DURATIONS.items())
def test_durations_are_gos(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds
    assert format_duration(nanoseconds) == text


@pytest.mark.parametrize("text", ["", "60", "1 m", "one minute", "30sec"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(PluginError, match="is not a duration such as"):
        parse_duration(text)


def test_capabilities_are_written_as_dockers_own_client_writes_them() -> None:
    assert container._capabilities(["chown", "CAP_KILL", "CHOWN"]) == ["CAP_CHOWN", "CAP_KILL"]
    assert container._capabilities(["KILL", "all"]) == ["ALL"]


@pytest.mark.parametrize(
    ("upload", "mode", "content"),
    [
        ({"file": "/a/b", "content": "x", "executable": False}, 0o644, b"x"),
        ({"file": "/a/b", "content": "x", "executable": True}, 0o744, b"x"),
        ({"file": "/a/b", "contentBase64": "/wA=", "executable": True, "permissions": "0400"}, 0o400, b"\xff\x00"),
    ],
)
def test_an_upload_belongs_to_root_with_its_permissions(upload: dict[str, Any], mode: int, content: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(container._upload_archive(upload))) as tar:
        (member,) = tar.getmembers()
        file = tar.extractfile(member)
        assert file is not None
        assert file.read() == content
    assert (member.name, member.mode, member.uid, member.gid) == ("a/b", mode, 0, 0)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "error with upload content: one of 'content', 'content_base64', or 'source' must be set"),
        ({"content": "hidden", "contentBase64": "aGlkZGVu"}, "only one of 'content', 'content_base64', or 'source'"),
    ],
)
def test_an_upload_has_one_content_and_an_error_does_not_show_it(given: dict[str, str], says: str) -> None:
    with pytest.raises(PluginError, match=says) as raised:
        container._upload_archive({"file": "/a", "executable": False, **given})
    assert leaks(str(raised.value), "hidden") == []


class FakeClient:
    """A daemon with one container, whose states follow each other."""

    def __init__(self, *states: dict[str, Any]) -> None:
        self.states = list(states)
        self.calls: list[tuple[str, Any]] = []
        self.refuses_updates = False

    def inspect_container(self, identity: str) -> dict[str, Any]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {
            "Id": identity,
            "Name": "/c",
            "Image": "sha256:1",
            "State": state,
            "Config": {},
            "HostConfig": {},
            "NetworkSettings": {"Bridge": "", "Networks": {}},
        }

    def create_container_from_config(self, request: dict[str, Any], name: str, platform: str | None) -> dict[str, Any]:
        self.calls.append(("create", request))
        return {"Id": "c" * 64}

    def start(self, identity: str) -> None:
        self.calls.append(("start", identity))

    def update_container(self, identity: str, **limits: Any) -> None:
        self.calls.append(("update", limits["mem_limit"]))
        if self.refuses_updates:
            raise APIError("500 Server Error", explanation="no update today")

    def stop(self, identity: str, timeout: int) -> None:
        self.calls.append(("stop", timeout))

    def remove_container(self, identity: str, *, v: bool, force: bool) -> None:
        self.calls.append(("remove", v))


class FakeDaemon:
    def __init__(self, client: FakeClient) -> None:
        self.client = client

    def create_container(self, request: dict[str, Any], name: str, platform: str | None) -> str:
        return str(self.client.create_container_from_config(request, name, platform)["Id"])


RUNNING = {"Running": True, "Status": "running", "ExitCode": 0}
ENDED = {"Running": False, "Status": "exited", "ExitCode": 7}


@pytest.fixture(autouse=True)
def _local_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_image, "find_or_pull", lambda daemon, name, platform=None: {"Id": "sha256:1"})
    monkeypatch.setattr(remote_image, "find", lambda daemon, name: {"Id": "sha256:1"})


def create(client: FakeClient, **inputs: Any) -> State:
    daemon: Any = FakeDaemon(client)
    return container.create(daemon, {"name": "c", "image": "sha256:1", **inputs})


def test_a_container_that_ends_at_once_is_recorded_as_one_that_need_not_run() -> None:
    """So that the next update starts it; nothing has failed."""
    client = FakeClient(ENDED)
    state = create(client)
    assert (state.properties["mustRun"], state.properties["exitCode"]) == (False, 7)
    assert [name for name, _ in client.calls] == ["create", "start"]


def test_waiting_for_a_probe_that_is_not_there_fails_at_once() -> None:
    with pytest.raises(RecordedButFailed, match="does not have a healthcheck defined"):
        create(FakeClient(RUNNING), wait=True)


def test_one_that_need_not_run_is_left_with_its_exit_code() -> None:
    client = FakeClient(ENDED)
    state = create(client, mustRun=False)
    assert state.properties["exitCode"] == 7
    assert [name for name, _ in client.calls] == ["create", "start"]


def test_a_stopped_container_is_read_as_one_that_need_not_run() -> None:
    daemon: Any = FakeDaemon(FakeClient(ENDED))
    state = container.read(daemon, State("c" * 64, {"name": "c", "image": "sha256:1", "mustRun": True}))
    assert state is not None
    assert state.properties["mustRun"] is False


def test_what_docker_refused_to_change_is_recorded_all_the_same() -> None:
    """As terraform-plugin-sdk does: so the next update has nothing to do, and Docker keeps the old value."""
    client = FakeClient(RUNNING)
    client.refuses_updates = True
    daemon: Any = FakeDaemon(client)
    state = State("c", {"name": "c", "image": "sha256:1", "memory": 64, "memorySwap": 64})
    new = {"name": "c", "image": "sha256:1", "memory": 96, "memorySwap": 96}
    with pytest.raises(RecordedButFailed, match=r"Unable to update a container: .*no update today") as raised:
        container.update(daemon, state, new)
    recorded = State(raised.value.id, raised.value.properties)
    assert (recorded.id, recorded.properties["memory"]) == ("c", 96)
    client.calls.clear()
    container.update(daemon, recorded, new)
    assert client.calls == []


@pytest.mark.parametrize(("grace", "timeout"), [(None, 0), (90, 90)])
def test_the_recorded_grace_is_what_a_container_gets_to_stop(grace: int | None, timeout: int) -> None:
    """Unset, it is killed at once; the container's own stop timeout is not asked for."""
    client = FakeClient(RUNNING)
    daemon: Any = FakeDaemon(client)
    container.delete(daemon, State("c", {"destroyGraceSeconds": grace, "stopTimeout": 30}))
    assert client.calls == [("stop", timeout), ("remove", True)]


def test_inputs_reach_dockers_fields() -> None:
    """The fields are those of POST /containers/create in the Docker Engine API 1.41."""
    client = FakeClient(RUNNING)
    create(
        client,
        entrypoints=["/bin/sh"],
        hostname="h",
        domainname="d",
        user="1000",
        workingDir="/w",
        stopSignal="SIGINT",
        stopTimeout=5,
        tty=True,
        groupAdds=["5"],
        dns=["192.0.2.1"],
        hosts=[{"host": "a", "ip": "192.0.2.2"}],
        ulimits=[{"name": "nofile", "soft": 10, "hard": 20}],
        sysctls={"net.core.somaxconn": "1"},
        shmSize=8,
        cpus="1.5",
        memorySwap=-1,
        networkMode="none",
        volumes=[{"volumeName": "v", "containerPath": "/v", "readOnly": True}],
        capabilities={"adds": ["CHOWN"]},
    )
    request = client.calls[0][1]
    host = request.pop("HostConfig")
    assert request == {
        "Image": "sha256:1",
        "Entrypoint": ["/bin/sh"],
        "Hostname": "h",
        "Domainname": "d",
        "User": "1000",
        "WorkingDir": "/w",
        "StopSignal": "SIGINT",
        "StopTimeout": 5,
        "Tty": True,
        "OpenStdin": False,
    }
    assert host == {
        "Init": False,
        "GroupAdd": ["5"],
        "Dns": ["192.0.2.1"],
        "ExtraHosts": ["a:192.0.2.2"],
        "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
        "Sysctls": {"net.core.somaxconn": "1"},
        "ShmSize": 8 * 1024 * 1024,
        "NanoCpus": 1_500_000_000,
        "MemoryReservation": 0,
        "MemorySwap": -1,
        "NetworkMode": "none",
        "Binds": ["v:/v:ro"],
        "RestartPolicy": {"Name": "no"},
        "ReadonlyRootfs": False,
        "CapAdd": ["CAP_CHOWN"],
        "CapDrop": [],
    }
