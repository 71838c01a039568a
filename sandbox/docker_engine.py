"""The Docker Engine under the sandbox: found or started, and cleared of everything that the sandbox made on it."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from deployment.errors import IbgwError
from deployment.names import Label
from sandbox.packages import find
from sandbox.processes import Processes, alive, wait_until
from sandbox.record import RecordedProcess
from sandbox.steps import Say

DEFAULT_HOST = "unix:///var/run/docker.sock"
PROCESS = "dockerd"
START_SECONDS = 60
STOP_SECONDS = 60
REQUEST_SECONDS = 300

SANDBOX_LABEL = "ibgw.sandbox"
"""On every image that a sandbox builds, and so on every container made from one; its value is the sandbox's prefix."""


def host() -> str:
    """DOCKER_HOST if it is a socket of this machine, else the usual one: the simulated internet is on this machine."""
    chosen = os.environ.get("DOCKER_HOST", "")
    return chosen if chosen.startswith("unix://") else DEFAULT_HOST


def connect(address: str) -> docker.DockerClient:
    """A client of the daemon at `address`. Raises IbgwError when none answers there."""
    try:
        client = docker.DockerClient(base_url=address, timeout=REQUEST_SECONDS, version="auto")
    except DockerException as error:
        raise IbgwError(
            f"no Docker daemon answers at {address}; start one, or run as root on Debian or Ubuntu, where the sandbox "
            "installs docker.io and starts dockerd by itself"
        ) from error
    return client


def running(address: str) -> bool:
    try:
        connect(address).close()
    except IbgwError:
        return False
    return True


def start(address: str, processes: Processes, state: Path, say: Say) -> None:
    """Starts dockerd by hand: on a machine without init, or one whose policy denies starting services, nothing else
    does. Under systemd an installed docker.service may still be about to answer, so it gets a moment."""
    if Path("/run/systemd/system").exists() and wait_until(lambda: running(address), seconds=5):
        return
    command = find("dockerd")
    if command is None or os.geteuid() != 0:
        raise IbgwError(
            f"no Docker daemon answers at {address} and "
            + ("dockerd is not installed" if command is None else "only root can start one")
            + "; start one, or run as root on Debian or Ubuntu"
        )
    say(f"starting dockerd (a few seconds), log in {processes.log(PROCESS)}")
    processes.start(
        PROCESS,
        [command, "--host", address, "--pidfile", str(state / "dockerd.pid")],
        answers=lambda: running(address),
        seconds=START_SECONDS,
    )


def stop(address: str, process: RecordedProcess | None, processes: Processes, say: Say) -> None:
    """Ends the daemon if this sandbox started it, unless somebody else's containers run on it by now."""
    if process is None or not alive(process):
        return
    client = connect(address)
    others = [str(container.name) for container in client.containers.list(ignore_removed=True)]
    client.close()
    if others:
        say(f"dockerd (pid {process.pid}) is left running: it runs {', '.join(others)}, which the sandbox did not make")
        return
    say("stopping dockerd")
    processes.stop(PROCESS, grace=STOP_SECONDS)


def belongs(prefix: str, name: str, labels: dict[str, str] | None) -> bool:
    """Whether an object is the sandbox's: by its label where it has one, else by its name."""
    labels = labels or {}
    if SANDBOX_LABEL in labels:
        return labels[SANDBOX_LABEL] == prefix
    if Label.PREFIX in labels:
        owner = labels[Label.PREFIX]
        return owner == prefix or owner.startswith(f"{prefix}-")
    return name.startswith(f"{prefix}-")


def clear(client: docker.DockerClient, prefix: str, say: Say) -> None:
    """Removes the prefix's containers, networks, volumes and images. Others' containers are only detached from ours."""
    removed = []
    for container in client.containers.list(all=True, ignore_removed=True):
        if belongs(prefix, str(container.name), container.labels):
            with _unless_gone():
                container.remove(force=True, v=True)
            removed.append("container")
    for network in client.networks.list():
        if belongs(prefix, str(network.name), network.attrs["Labels"]):
            network.reload()
            for attached in network.attrs["Containers"]:
                with _unless_gone():
                    network.disconnect(attached, force=True)
            with _unless_gone():
                network.remove()
            removed.append("network")
    for volume in client.volumes.list():
        if belongs(prefix, str(volume.name), volume.attrs["Labels"]):
            with _unless_gone():
                volume.remove()
            removed.append("volume")
    removed += _clear_images(client, prefix)
    if removed:
        counts = {kind: removed.count(kind) for kind in dict.fromkeys(removed)}
        say("removed " + ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in counts.items()))


def _clear_images(client: docker.DockerClient, prefix: str) -> Iterable[str]:
    """Images by their label (which those built on our base inherit) and by name. A parent cannot go before its
    children, so this goes round until nothing more gives way."""
    removed: list[str] = []
    while True:
        # One call: the SDK's own list asks for each image again, which another sandbox may have removed by then.
        ours = [
            str(image["Id"])
            for image in client.api.images()
            if (image["Labels"] or {}).get(SANDBOX_LABEL) == prefix
            or any(_image_name(tag).startswith(f"{prefix}-") for tag in image["RepoTags"] or ())
        ]
        before = len(removed)
        refusal: APIError | None = None
        for image in ours:
            try:
                client.images.remove(image, force=True)
            except ImageNotFound:
                continue
            except APIError as error:
                refusal = error
                continue
            removed.append("image")
        if not ours:
            return removed
        if len(removed) == before:
            raise IbgwError(f"an image of the sandbox {prefix} cannot be removed: {refusal}")


def _image_name(tag: str) -> str:
    return tag.rsplit("/", 1)[-1]


@contextmanager
def _unless_gone() -> Iterator[None]:
    """For a removal: that somebody else was faster is as good."""
    try:
        yield
    except NotFound:
        return
    except APIError as error:
        if error.status_code == requests.codes.conflict and "already in progress" in str(error):
            return
        raise
