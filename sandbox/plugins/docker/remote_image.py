"""`docker:index/remoteImage:RemoteImage`: an image pulled by tag or digest. The id is the image's id and the name."""

from typing import Any

from sandbox.plugins.docker.daemon import Daemon, failing_as
from sandbox.plugins.provider import PluginError, State
from sandbox.plugins.values import Properties


def create(daemon: Daemon, inputs: Properties) -> State:
    name = inputs["name"]
    image = _found_or_pulled(daemon, inputs)
    return State(image["Id"] + name, {**inputs, **_outputs(name, image)})


def read(daemon: Daemon, state: State) -> State | None:
    name = state.properties["name"]
    image = find(daemon, name)
    if image is None:
        return None
    return State(image["Id"] + name, {**state.properties, **_outputs(name, image)})


def update(daemon: Daemon, state: State, inputs: Properties) -> Properties:
    return {**inputs, **_outputs(inputs["name"], _found_or_pulled(daemon, inputs))}


def delete(daemon: Daemon, state: State) -> None:
    if state.properties.get("keepLocally") or find(daemon, state.properties["name"]) is None:
        return
    with failing_as("Unable to remove Docker image"):
        daemon.client.remove_image(state.properties["name"], force=bool(state.properties.get("forceRemove")))


def get(daemon: Daemon, name: str) -> Properties:
    """The function getRemoteImage: what the daemon has, without pulling."""
    image = find(daemon, name)
    if image is None:
        raise PluginError(f"did not find docker image '{name}'")
    return {"id": image["Id"], "name": name, "repoDigest": repo_digest(name, image)}


def find(daemon: Daemon, name: str) -> dict[str, Any] | None:
    """The image as the daemon inspects it, or None."""
    from docker.errors import ImageNotFound

    with failing_as(f"Unable to inspect image {name}"):
        try:
            found: dict[str, Any] = daemon.inspect_image(name)
        except ImageNotFound:
            return None
    return found


def find_or_pull(daemon: Daemon, name: str, platform: str | None = None) -> dict[str, Any]:
    """A local image is taken as it is; only a missing one is pulled."""
    if (found := find(daemon, name)) is not None:
        return found
    failure = f"unable to pull image {name}"
    with failing_as(failure):
        for event in daemon.client.pull(*_repository_and_tag(name), stream=True, decode=True, platform=platform):
            if "error" in event:
                raise PluginError(f"{failure}: {event['error']}")
    if (found := find(daemon, name)) is not None:
        return found
    raise PluginError(f"unable to find or pull image {name}")


def _found_or_pulled(daemon: Daemon, inputs: Properties) -> dict[str, Any]:
    try:
        return find_or_pull(daemon, inputs["name"], inputs.get("platform"))
    except PluginError as error:
        raise PluginError(f"Unable to read Docker image into resource: {error}") from None


def _repository_and_tag(name: str) -> tuple[str, str]:
    """`repo:tag@sha256:...` is the digest's image; without either, `latest`."""
    repository, at, digest = name.partition("@")
    head, _, last = repository.rpartition("/")
    last, _, tag = last.partition(":")
    path = f"{head}/{last}" if head else last
    return (path, digest) if at else (path, tag or "latest")


def repo_digest(name: str, image: dict[str, Any]) -> str:
    """As terraform-provider-docker's determineRepoDigest: the only one there is; else the first that begins with the
    name up to its first `:`, which cuts `host:port/repository` down to the host; else the first; "" if there is none.
    """
    digests: list[str] = image.get("RepoDigests") or []
    if len(digests) < 2:
        return "".join(digests)
    cut = name.partition(":")[0]
    return next((digest for digest in digests if digest.startswith(cut)), digests[0])


def _outputs(name: str, image: dict[str, Any]) -> Properties:
    return {"name": name, "imageId": image["Id"], "repoDigest": repo_digest(name, image)}
