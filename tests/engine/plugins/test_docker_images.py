"""Images: pulled by tag and by digest from a registry, and built from a folder."""

import os
import subprocess
from typing import Any

import pytest
from docker.errors import ImageNotFound

from sandbox.environment import Sandbox
from tests.engine.plugins.conftest import Project, call, of, resource

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def registry(sandbox: Sandbox) -> str:
    """`127.0.0.1:PORT` of the sandbox's, which Docker trusts over plain HTTP."""
    return sandbox.gateway_image.partition("/")[0]


def test_pulled_by_digest(project: Project, client: Any, registry: str, image: str, prefix: str) -> None:
    """What pulumi-docker 5.1.0 was measured to do, with Docker 20.10:

    - RemoteImage by digest from a loopback registry: repo_digest is that reference, and a container may run by
      it
    - of an image in two repositories of one host:port, repo_digest can be the other one's
    - keep_locally keeps the image on destroy
    """
    repository = f"{registry}/{prefix}"
    other = f"{repository}s"  # Docker lists the digests by name, so this one's comes last
    for name in (repository, other):
        client.tag(image, name, "1")
        client.push(name, "1")
    digest = next(d for d in client.inspect_image(image)["RepoDigests"] if d.startswith(f"{repository}@"))
    local = client.inspect_image(image)["Id"]
    for name in (repository, other):
        client.remove_image(f"{name}:1")
    with pytest.raises(ImageNotFound):
        client.inspect_image(digest)

    by_digest = [
        resource("RemoteImage", "pinned", name=digest, keep_locally=True),
        resource(
            "Container",
            "by_digest",
            name=f"{prefix}-by-digest",
            image=of("pinned", "repo_digest"),
            command=["sleep", "600"],
        ),
    ]
    project.declare(
        *by_digest,
        pinned=of("pinned", "repo_digest"),
        image_id=of("pinned", "image_id"),
        driver=call("get_network", "driver", name="bridge"),
    )
    made = project.up()
    assert made.code == 0, made.text
    assert project.outputs("plugins-t") == {"pinned": digest, "image_id": local, "driver": "bridge"}

    # Of one image in two repositories of one registry, the recorded digest can be the other repository's.
    project.declare(
        *by_digest,
        resource("RemoteImage", "tagged", name=f"{other}:1"),
        tagged=of("tagged", "repo_digest"),
        known=call("get_remote_image", "repo_digest", name=digest),
    )
    made = project.up()
    assert made.code == 0, made.text
    assert f"{other}@{digest.partition('@')[2]}" in client.inspect_image(local)["RepoDigests"]
    assert project.outputs("plugins-t") == {"tagged": digest, "known": digest}
    assert project.recorded("pinned")["id"] == f"{local}{digest}"
    assert project.preview("--refresh").changed == {}

    # keep_locally decides what a destroy leaves.
    assert project.destroy().code == 0
    assert client.inspect_image(digest)["Id"] == local
    with pytest.raises(ImageNotFound):
        client.inspect_image(f"{other}:1")
    client.remove_image(digest)


@pytest.mark.exhaustive
def test_built_from_a_folder(project: Project, client: Any, image: str, prefix: str) -> None:
    """What pulumi-docker 5.1.0 was measured to do, with Docker 20.10:

    - Image with skip_push gives the image id as repo_digest, and sees a changed context by itself
    - relative build contexts start at the program's folder; nothing is built in a preview
    """
    folder = project.program / "context"
    (folder / "package" / "inner").mkdir(parents=True)
    (folder / "package" / "inner" / "module.py").write_text("print('one')\n")
    (folder / "package" / "__pycache__").mkdir()
    (folder / "package" / "__pycache__" / "module.pyc").write_text("compiled")
    (folder / "secret.txt").write_text("never sent")
    (folder / ".dockerignore").write_text("*\n!package/**/*.py\n")
    (folder / "Dockerfile").write_text(
        f'FROM {image}\nARG BASE\nLABEL test.base=$BASE\nCOPY . /app\nRUN ["/bin/sh", "-c", "ls /app > /listing"]\n'
    )
    name = f"{prefix}-built:1"

    def declare(base: str) -> None:
        project.declare(
            resource(
                "Image", "built", image_name=name, skip_push=True, build={"context": "context", "args": {"BASE": base}}
            ),
            resource(
                "Container", "runs", name=f"{prefix}-runs", image=of("built", "repo_digest"), command=["sleep", "600"]
            ),
            digest=of("built", "repo_digest"),
            name=of("built", "image_name"),
        )

    # Not built in a preview.
    declare("a")
    assert project.preview().operations == {"built": ["create"], "runs": ["create"]}
    with pytest.raises(ImageNotFound):
        client.inspect_image(name)

    made = project.up()
    assert made.code == 0, made.text
    first = client.inspect_image(name)
    assert project.outputs("plugins-t") == {"digest": first["Id"], "name": name}
    assert first["Config"]["Labels"]["test.base"] == "a"
    listed = subprocess.run(
        [
            "docker",
            "exec",
            f"{prefix}-runs",
            "sh",
            "-c",
            "cat /listing; cat /app/package/inner/module.py; ls -A /app/package",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert listed == "package\nprint('one')\ninner\n"

    # What is ignored does not count, nor do times.
    (folder / "secret.txt").write_text("changed")
    (folder / "package" / "__pycache__" / "module.pyc").write_text("compiled again")
    os.utime(folder / "package" / "inner" / "module.py")
    assert project.preview("--refresh").changed == {}

    # What is sent does: built again in place, and whoever runs it is replaced.
    (folder / "package" / "inner" / "module.py").write_text("print('two')\n")
    done = project.up()
    assert done.changed == {"built": ["update"], "runs": ["delete-replaced", "replace", "create-replacement"]}
    assert done.differences["built"] == {"build": "update"}
    second = client.inspect_image(name)
    assert second["Id"] != first["Id"]
    assert client.inspect_container(f"{prefix}-runs")["Image"] == second["Id"]

    # A failed build says why. Destroying leaves the image.
    (folder / "Dockerfile").write_text(f'FROM {image}\nRUN ["/bin/sh", "-c", "echo no luck; exit 9"]\n')
    failed = project.up()
    assert failed.code != 0
    assert "returned a non-zero code: 9" in " ".join(failed.text.split())
    assert project.destroy().code == 0
    assert client.inspect_image(name)["Id"] == second["Id"]
