"""The sandbox's registry on a loopback port, and the gateway's image in it: pulled by digest, as in earnest."""

import json
from http.client import HTTPConnection
from pathlib import Path

import docker
from docker.errors import APIError

from deployment.errors import IbgwError
from sandbox import images
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
    tag = images.digest(context, arguments)
    repository = f"127.0.0.1:{port}/{prefix}-gateway"
    digest = _digest(port, prefix, tag)
    if digest is None:
        say("building the gateway's image (10 to 30 s)")
        images.build(client, context, reference=f"{repository}:{tag}", prefix=prefix, arguments=arguments)
        say("pushing it to the registry (5 to 20 s)")
        try:
            for line in client.api.push(repository, tag=tag, stream=True, decode=True):
                if "error" in line:
                    raise IbgwError(f"the gateway's image could not be pushed to {repository}: {line['error']}")
        except APIError as error:
            raise IbgwError(f"the gateway's image could not be pushed to {repository}: {error.explanation}") from error
        digest = _digest(port, prefix, tag)
    if digest is None:
        raise IbgwError(f"the registry took {repository}:{tag}, but does not have it")
    return f"{repository}@{digest}"


def _digest(port: int, prefix: str, tag: str) -> str | None:
    status, digest = request(port, "HEAD", f"/v2/{prefix}-gateway/manifests/{tag}")
    return digest if status == 200 else None
