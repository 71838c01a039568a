"""What the program reads of a Docker host, in the shapes of Docker's lists (Docker API 1.41)."""

from ipaddress import IPv4Network

import pytest

from deployment.errors import IbgwError
from deployment.tables import Kind
from healthcheck import docker_host
from healthcheck.docker_host import DockerError
from infra.host import HostObject, image_made, read_host
from tests.unit.fake_docker import FakeDocker


def test_every_container_network_and_volume_is_read_with_its_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    docker = FakeDocker()
    docker.objects[Kind.CONTAINER] = {"c": {"Names": ["/bot"], "Labels": {"a": "b"}}, "d": {"Names": [], "Labels": {}}}
    ranges = [{"Subnet": "10.0.0.0/24"}, {"Subnet": "fd00::/64"}, {}]
    docker.objects[Kind.NETWORK] = {"n": {"Name": "bridge", "Labels": {}, "IPAM": {"Config": ranges}}}
    docker.objects[Kind.VOLUME] = {"v": {"Name": "settings", "Labels": None}}
    monkeypatch.setattr(docker_host, "DockerHost", lambda _: docker)
    docker.can = {"MemoryLimit": False}
    found = read_host("unix:///x")
    assert found.info["MemoryLimit"] is False
    assert found.objects == [
        HostObject("container", "bot", {"a": "b"}),
        HostObject("container", "", {}),
        HostObject("network", "bridge", {}, (IPv4Network("10.0.0.0/24"),)),
        HostObject("volume", "settings", {}),
    ]
    assert docker.closed


def test_a_host_that_stops_answering_is_named_by_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    docker = FakeDocker()
    docker.failing["find"] = DockerError("read timed out")
    monkeypatch.setattr(docker_host, "DockerHost", lambda _: docker)
    with pytest.raises(IbgwError, match="ibgw:dockerHost: unix:///x stopped answering: read timed out") as failure:
        read_host("unix:///x")
    assert failure.value.exit_code == 5


@pytest.mark.parametrize(
    ("created", "made"),
    [("2026-01-01T00:00:00.5Z", 1767225600), ("1970-01-01T00:00:00Z", 0), ("0001-01-01T00:00:00Z", 0)],
)
def test_an_image_says_when_it_was_built_or_does_not(monkeypatch: pytest.MonkeyPatch, created: str, made: int) -> None:
    docker = FakeDocker()
    docker.objects[Kind.IMAGE] = {"sha256:1": {"Id": "sha256:1", "Created": created}}
    monkeypatch.setattr(docker_host, "DockerHost", lambda _: docker)
    assert image_made("unix:///x", "sha256:1") == made
    assert image_made("unix:///x", "sha256:2") == 0
    assert docker.closed
