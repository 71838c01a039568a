"""Networks, volumes and images against a daemon that answers as told."""

from pathlib import Path
from typing import Any

import pytest
import requests
from docker.errors import APIError, ImageNotFound, NotFound

from sandbox.plugins.docker import image, network, remote_image, volume
from sandbox.plugins.docker.daemon import Daemon, remove_when_free
from sandbox.plugins.provider import PluginError, State
from sandbox.plugins.values import UNKNOWN


def api_error(text: str, status: int = 500) -> APIError:
    response = requests.Response()
    response.status_code = status
    return APIError(text, response=response, explanation=text)


class FakeClient:
    """Each method answers with what it was given: a value, or an exception to raise."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        def method(*arguments: Any, **options: Any) -> Any:
            self.calls.append((name, arguments, options))
            answer = self._answers[name]
            if isinstance(answer, list) and name != "build":
                answer = answer.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return method


def daemon(**answers: Any) -> tuple[Any, FakeClient]:
    found, client = Daemon("unix:///nowhere"), FakeClient(**answers)
    found._client = client  # type: ignore[assignment]
    return found, client


@pytest.mark.parametrize("error", [api_error("broken"), requests.ConnectionError()])
def test_a_network_that_cannot_be_read_is_gone(error: Exception) -> None:
    found, _ = daemon(inspect_network=error)
    assert network.read(found, State("n", {"name": "n"})) is None


def test_a_volume_is_gone_only_if_docker_says_so() -> None:
    found, _ = daemon(inspect_volume=NotFound("gone"))
    assert volume.read(found, State("v", {"name": "v"})) is None
    found, _ = daemon(inspect_volume=api_error("broken"))
    with pytest.raises(PluginError, match="Unable to inspect volume: Error response from daemon: broken"):
        volume.read(found, State("v", {"name": "v"}))


def test_a_lost_connection_is_not_blamed_on_docker() -> None:
    found, _ = daemon(inspect_volume=requests.ConnectionError("secret address"))
    with pytest.raises(PluginError, match="the connection to the Docker daemon failed: connection error") as raised:
        volume.read(found, State("v", {"name": "v"}))
    assert "secret" not in str(raised.value)


def test_what_is_busy_is_tried_again_and_given_up_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.plugins.docker.daemon._REMOVAL_POLL", 0)
    answers: list[Any] = [api_error("has active endpoints"), api_error("has active endpoints"), None]

    def remove() -> None:
        if isinstance(error := answers.pop(0), Exception):
            raise error

    remove_when_free(remove, "has active endpoints", "Unable to remove it")
    assert answers == []

    monkeypatch.setattr("sandbox.plugins.docker.daemon.REMOVAL_SECONDS", -1)
    answers = [api_error("has active endpoints")]
    with pytest.raises(PluginError, match="Unable to remove it: still in use after"):
        remove_when_free(remove, "has active endpoints", "Unable to remove it")
    answers = [api_error("something else")]
    with pytest.raises(PluginError, match="Unable to remove it: Error response from daemon: something else"):
        remove_when_free(remove, "has active endpoints", "Unable to remove it")


DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("name", "repository", "tag"),
    [
        ("image", "image", "latest"),
        ("image:1", "image", "1"),
        ("127.0.0.1:5000/repo/image", "127.0.0.1:5000/repo/image", "latest"),
        ("127.0.0.1:5000/repo/image:1", "127.0.0.1:5000/repo/image", "1"),
        (f"host/image@{DIGEST}", "host/image", DIGEST),
        (f"host:1/image:tag@{DIGEST}", "host:1/image", DIGEST),
    ],
)
def test_what_is_pulled(name: str, repository: str, tag: str) -> None:
    found, client = daemon(inspect_image=[ImageNotFound("no"), {"Id": "sha256:1"}], pull=[[]])
    assert remote_image.find_or_pull(found, name) == {"Id": "sha256:1"}
    assert ("pull", (repository, tag)) in [(called, arguments) for called, arguments, _ in client.calls]


def test_a_local_image_is_not_pulled_again() -> None:
    found, client = daemon(inspect_image={"Id": "sha256:1"})
    remote_image.find_or_pull(found, "image:1")
    assert [called for called, _, _ in client.calls] == ["inspect_image"]


def test_a_failed_pull_says_why() -> None:
    found, _ = daemon(inspect_image=ImageNotFound("no"), pull=[[{"error": "manifest unknown"}]])
    with pytest.raises(PluginError, match="unable to pull image image:1: manifest unknown"):
        remote_image.find_or_pull(found, "image:1")


@pytest.mark.parametrize(
    ("name", "digests", "expected"),
    [
        ("host/image:1", ["other@1", "host/image@2"], "host/image@2"),
        ("host/image:1", ["other@1"], "other@1"),
        ("host/image:1", ["other@1", "another@2"], "other@1"),
        ("host/image:1", ["host/image-fork@1", "host/image@2"], "host/image-fork@1"),
        # The port's colon ends the name.
        ("host:5000/image:1", ["host:5000/another@1", "host:5000/image@2"], "host:5000/another@1"),
        ("host/image:1", [], ""),
    ],
)
def test_the_recorded_digest_can_be_another_repositorys(name: str, digests: list[str], expected: str) -> None:
    assert remote_image.repo_digest(name, {"Id": "sha256:1", "RepoDigests": digests}) == expected


BUILT: list[dict[str, str]] = [{"stream": "Step 1/1 : FROM scratch\n"}, {"stream": "Successfully built 0123456789ab\n"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    return tmp_path


def inputs(folder: Path, **more: Any) -> dict[str, Any]:
    return {"imageName": "a:1", "skipPush": True, "build": {"context": str(folder)}, **more}


def test_a_preview_builds_only_if_asked_to(folder: Path) -> None:
    found, client = daemon(build=BUILT, inspect_image={"Id": "sha256:1"})
    plan = image.build(found, inputs(folder), preview=True)
    assert (plan.properties["repoDigest"], client.calls) == (UNKNOWN, [])
    built = image.build(found, inputs(folder, buildOnPreview=True), preview=True)
    assert (built.id, built.properties["repoDigest"]) == ("a:1", "sha256:1")
    unknown = inputs(folder, buildOnPreview=True) | {"imageName": UNKNOWN}
    assert image.build(found, unknown, preview=True).properties["repoDigest"] is UNKNOWN


def test_a_failed_build_shows_what_it_printed_last(folder: Path) -> None:
    found, _ = daemon(build=[{"stream": "no luck\n"}, {"error": "returned a non-zero code: 9"}])
    with pytest.raises(PluginError, match="building image a:1: returned a non-zero code: 9\nno luck"):
        image.build(found, inputs(folder), preview=False)


def test_a_dockerfile_in_the_wrong_place_is_explained(folder: Path) -> None:
    checked = image.check(inputs(folder, build={"context": str(folder), "dockerfile": "Dockerfile"}))
    (refusal,) = checked.refusals
    assert refusal.property == "build.dockerfile"
    assert (
        refusal.reason == f'could not open dockerfile at Dockerfile. Try setting `dockerfile` to "{folder}/Dockerfile"'
    )


def test_the_context_is_part_of_the_inputs(folder: Path) -> None:
    first = image.check(inputs(folder)).inputs
    recorded = State("a:1", {"__inputs": first})
    (folder / "file").write_text("new")
    second = image.check(inputs(folder)).inputs
    assert len(first["build"]["contextDigest"]) == 64
    assert set(image.diff(recorded, second).changes) == {"build"}
    assert image.diff(recorded, first).changes == {}
