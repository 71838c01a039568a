"""What cannot be done: what the engine says of it, what it records, and what is left in Docker."""

import re
import threading
import time
from typing import Any

import pytest
from docker.errors import NotFound

from tests.engine.plugins.conftest import Project, of, resource, secret
from tests.leaks import leaks

pytestmark = pytest.mark.timeout(300)

SLEEP = ["sleep", "600"]


SECRET = "shown in no failure"  # noqa: S105 - looked for where it must not be


def test_failing_creations(project: Project, client: Any, prefix: str, image: str, subnet: str) -> None:
    """What pulumi-docker 5.1.0 was measured to do, with Docker 20.10:

    - a network whose name exists fails with 'already exists', a volume is adopted silently
    - wait: never healthy fails after wait_timeout, stays running and recorded, and the next up replaces it
    - a container that cannot be started is recorded with its failure and replaced by the next up
    - uploads into a read-only root file system fail
    """

    def container(name: str, **arguments: Any) -> dict[str, Any]:
        uploads = [{"file": "/run/password", "content": secret(SECRET)}]
        fixed = {"name": f"{prefix}-{name}", "image": of("image", "image_id"), "command": SLEEP, "uploads": uploads}
        return resource("Container", name, **{**fixed, **arguments})

    def stack(*, right: bool) -> list[dict[str, Any]]:
        return [
            resource("RemoteImage", "image", name=image, keep_locally=True),
            resource("Volume", "adopted", name=f"{prefix}-adopted", labels=[{"label": "made", "value": "before"}]),
            container("not_started", command=SLEEP if right else ["/no/such/program"]),
            container("unhealthy", wait=True, wait_timeout=60 if right else 2, healthcheck=_probe(right)),
            container("sealed", read_only=not right),
            container("misconnected", networks_advanced=[{"name": "bridge" if right else f"{prefix}-nowhere"}]),
        ] + ([] if right else [resource("Network", "taken", name=f"{prefix}-taken")])

    client.create_network(f"{prefix}-taken")
    existing = client.create_volume(f"{prefix}-adopted", labels={"made": "before"})

    project.declare(*stack(right=False))
    failed = project.run("up", "--yes", "--skip-preview", "--continue-on-error")
    assert failed.code != 0
    words = " ".join(failed.text.split())

    # A network's name is taken for ever; a volume of the same name is adopted without a word.
    assert f"Unable to create network: Error response from daemon: network with name {prefix}-taken already" in words
    assert client.inspect_volume(f"{prefix}-adopted")["CreatedAt"] == existing["CreatedAt"]
    assert project.recorded("adopted")["id"] == f"{prefix}-adopted"
    assert "Unable to start container: Error response from daemon" in words
    assert "Unable to upload volume content: Error response from daemon: container rootfs is marked read-only" in words
    assert "container failed to be in healthy state" in words
    # Newer versions of Docker say before it what they were about.
    assert re.search(
        f"Unable to start container: Error response from daemon: ([a-z ]+: )?network {prefix}-nowhere not found", words
    )

    # A container that exists is recorded with its failure, its secrets as secrets.
    assert leaks(failed.text + project.state_text(), SECRET) == []
    before = {}
    for name, status in (
        ("not_started", "created"),
        ("unhealthy", "running"),
        ("misconnected", "created"),
        ("sealed", "created"),
    ):
        found = client.inspect_container(f"{prefix}-{name}")
        before[name] = found["Id"]
        assert found["State"]["Status"] == status
        assert project.recorded(name)["id"] == found["Id"]
        assert project.recorded(name)["initErrors"]

    # Put right: what was recorded as failed is replaced, even if nothing else changed.
    project.declare(*stack(right=True))
    done = project.up()
    assert done.code == 0, done.text
    for name, identity in before.items():
        assert done.operations[name] == ["delete-replaced", "replace", "create-replacement"]
        found = client.inspect_container(f"{prefix}-{name}")
        assert found["Id"] != identity
        assert found["State"]["Running"]
    assert project.preview().changed == {}


def _probe(passes: bool) -> dict[str, Any]:
    return {"tests": ["CMD", "true" if passes else "false"], "interval": "1s", "timeout": "1s", "retries": 1}


@pytest.mark.exhaustive
def test_objects_in_use(project: Project, client: Any, prefix: str, image: str, subnet: str) -> None:
    """A network with endpoints and a volume in a container are removed as soon as nobody uses them, for up to 30 s."""
    project.declare(
        resource("Network", "busy", name=f"{prefix}-busy", ipam_configs=[{"subnet": f"{subnet}.96/28"}]),
        resource("Volume", "busy-volume", name=f"{prefix}-busy-volume"),
        resource("RemoteImage", "image", name=image, keep_locally=True),
        resource(
            "Container",
            "killed",
            name=f"{prefix}-killed",
            image=of("image", "image_id"),
            command=["sh", "-c", "trap '' TERM; while :; do sleep 1; done"],
        ),
    )
    made = project.up()
    assert made.code == 0, made.text
    guest = client.create_container_from_config(
        {
            "Image": image,
            "Cmd": SLEEP,
            "HostConfig": {"NetworkMode": f"{prefix}-busy", "Binds": [f"{prefix}-busy-volume:/data"]},
        },
        f"{prefix}-guest",
    )["Id"]
    client.start(guest)
    started = time.monotonic()
    leaving = threading.Timer(4, lambda: client.remove_container(guest, force=True))
    leaving.start()
    gone = project.destroy()
    leaving.join()
    assert gone.code == 0, gone.text
    assert time.monotonic() - started > 4
    assert client.networks(names=[f"{prefix}-busy"]) == []
    with pytest.raises(NotFound):
        client.inspect_volume(f"{prefix}-busy-volume")
    # Without destroy_grace_seconds the container was killed at once, though it ignores SIGTERM.
    assert gone.operations["killed"] == ["delete"]


def test_refused_by_name(project: Project, prefix: str, image: str) -> None:
    """What the stand-in does not do is refused in the preview, by the property's name, all at once."""
    project.declare(
        resource(
            "Container",
            "container",
            name=f"{prefix}-refused",
            image=image,
            ports=[{"internal": 4001}],
            gpus="all",
            uploads=[{"file": "/a", "source": "/etc/hostname"}],
            restart="sometimes",
        )
    )
    plan = project.preview()
    words = " ".join(plan.text.split())
    assert plan.code != 0
    assert "the docker stand-in refuses 'ports': no port is published on any stack" in words
    assert "the docker stand-in refuses 'gpus'" in words
    assert "the docker stand-in refuses 'uploads[0].source'" in words
    assert "'restart' does not match ^(no|on-failure|always|unless-stopped)$" in words


def test_unreachable_daemon(project: Project, prefix: str) -> None:
    project.provider({"host": "unix:///nowhere/docker.sock"}, resource("Volume", "volume", name=f"{prefix}-never"))
    done = project.up()
    assert done.code != 0
    assert "please make sure that unix:///nowhere/docker.sock is reachable" in " ".join(done.text.split())
