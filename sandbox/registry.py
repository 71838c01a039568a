"""The sandbox's registry on a loopback port, and the images in it: named by digest, as in earnest."""

import json
from http.client import HTTPConnection
from pathlib import Path

import docker
from docker.errors import APIError

from deployment.errors import IbgwError
from sandbox import images
from sandbox.images import Context
from sandbox.packages import find
from sandbox.processes import Processes
from sandbox.steps import Say

PROCESS = "registry"
START_SECONDS = 30
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def ensure(processes: Processes, *, port: int, state: Path, say: Say) -> None:
    """Starts Debian's docker-registry on `port` of 127.0.0.1, its contents in `state`."""
    if processes.ready(PROCESS):
        return
    say(f"starting the registry on 127.0.0.1:{port}")
    state.mkdir(parents=True, exist_ok=True)
    config = state / "config.yml"
    config.write_text(
        json.dumps(
            {
                "version": "0.1",
                "log": {"level": "warn"},
                "storage": {"filesystem": {"rootdirectory": str(state / "images")}},
                "http": {"addr": f"127.0.0.1:{port}"},
            }
        )
    )
    processes.start(
        PROCESS,
        [find("docker-registry") or "docker-registry", "serve", str(config)],
        answers=lambda: request(port, "GET", "/v2/")[0] == 200,
        seconds=START_SECONDS,
    )


def request(port: int, method: str, path: str) -> tuple[int, str | None]:
    """The status (0: no answer) and the digest that the registry gives."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers={"Accept": MANIFEST})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Docker-Content-Digest")
    except OSError:
        return 0, None
    finally:
        connection.close()


def gateway_image(
    client: docker.DockerClient,
    *,
    port: int,
    prefix: str,
    source: Path,
    base_image: str,
    broker: tuple[str, int],
    say: Say,
) -> str:
    """The gateway's image by digest, `127.0.0.1:<port>/<prefix>-gateway@sha256:...`; built and pushed if missing.

    `source` is the folder of its Dockerfile; `broker` is where its gateways log in.
    """
    context = images.folder_context(source)
    arguments = {"BASE_IMAGE": base_image, "BROKER_HOST": broker[0], "BROKER_PORT": str(broker[1])}
    name, tag = f"{prefix}-gateway", images.digest(context, arguments)
    known = _by_digest(port, name, tag)
    if known is not None:
        return known
    say("building the gateway's image (10 to 30 s)")
    images.build(client, context, reference=f"127.0.0.1:{port}/{name}:{tag}", prefix=prefix, arguments=arguments)
    return _push(client, port, name, tag, say)


def windows_image(
    client: docker.DockerClient, *, port: int, prefix: str, gateway: str, context: Context, say: Say
) -> str:
    """The gateway's image with real windows, by digest; built and pushed if missing. `gateway`: the one without."""
    name, tag = f"{prefix}-windows", images.digest(context, {"GATEWAY": gateway})
    known = _by_digest(port, name, tag)
    if known is not None:
        return known
    say("building the gateway's image with windows (10 to 30 s)")
    reference = f"127.0.0.1:{port}/{name}:{tag}"
    images.build(client, context, reference=reference, prefix=prefix, arguments={"GATEWAY": gateway})
    return _push(client, port, name, tag, say)


def base_image(client: docker.DockerClient, *, port: int, reference: str, say: Say) -> str:
    """The base image `reference` by digest, as a stack names it; pushed if missing."""
    name, _, tag = reference.partition(":")
    known = _by_digest(port, name, tag)
    if known is not None:
        return known
    client.images.get(reference).tag(f"127.0.0.1:{port}/{name}", tag)
    return _push(client, port, name, tag, say)


def _push(client: docker.DockerClient, port: int, name: str, tag: str, say: Say) -> str:
    """Returns it by digest."""
    repository = f"127.0.0.1:{port}/{name}"
    say(f"pushing {name} to the registry (5 to 20 s)")
    try:
        for line in client.api.push(repository, tag=tag, stream=True, decode=True):
            if "error" in line:
                raise IbgwError(f"{name} could not be pushed to {repository}: {line['error']}")
    except APIError as error:
        raise IbgwError(f"{name} could not be pushed to {repository}: {error.explanation}") from error
    pushed = _by_digest(port, name, tag)
    if pushed is None:
        raise IbgwError(f"the registry took {repository}:{tag}, but does not have it")
    return pushed


def _by_digest(port: int, name: str, tag: str) -> str | None:
    """None where the registry does not have it."""
    status, digest = request(port, "HEAD", f"/v2/{name}/manifests/{tag}")
    return f"127.0.0.1:{port}/{name}@{digest}" if status == 200 else None
