"""From nothing to verified: `pulumi up` against the same objects made through the Docker API, one after the other.

Run: `python -m benchmarks.deploy [--rounds 5]`; it brings a sandbox up. Both build the verifier's image from a warm
cache, create the same networks, volume and containers, and end with the same verification. They take turns, so that a
machine that slows down slows both; the ratio of medians counts.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import boto3
import docker
from docker.models.containers import Container
from docker.types import Healthcheck, LogConfig

from benchmarks.console import say
from benchmarks.networks import create_network
from deployment import description
from deployment.errors import ExitCode
from deployment.names import Role
from deployment.parts import Reference
from deployment.properties import declared
from deployment.tables import CONTAINER
from healthcheck.human import render_human
from healthcheck.runner import verify
from infra import settings, spec
from infra.outputs import describe_gateway
from infra.properties import escape
from infra.secret_document import parse
from sandbox.environment import ROOT, Sandbox, Stack

# The stubs know no policy without a count; Docker takes 0 for none.
_RESTART: Any = {"Name": "unless-stopped", "MaximumRetryCount": 0}


def with_pulumi(stack: Stack) -> None:
    env = {**os.environ, **stack.env}
    command = ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", stack.name]
    subprocess.run(command, env=env, check=True, capture_output=True)


def destroy(stack: Stack) -> None:
    env = {**os.environ, **stack.env}
    command = ["pulumi", "destroy", "--yes", "--skip-preview", "--non-interactive", "--stack", stack.name]
    subprocess.run(command, env=env, check=True, capture_output=True)


def archive(texts: dict[str, tuple[str, int]], folders: Sequence[str] = ()) -> bytes:
    """A tar archive of root's own files (path -> text and mode) and of folders that are the gateway's user's."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in folders:
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o755, spec.UID, spec.UID
            tar.addfile(entry)
        for path, (text, mode) in texts.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(text.encode()), mode
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def gateway_container(
    client: docker.DockerClient,
    gateway: spec.GatewaySpec,
    image_id: str,
    network: str,
    user_id: str,
    password: str,
    version: str,
) -> Container:
    """One gateway's container as `infra` declares it, on its first network, with its files, not started."""
    api, part = client.api, gateway.container
    inputs = declared(CONTAINER, part)
    assert part.probe is not None
    created = api.create_container(
        image_id,
        name=part.name,
        command=list(part.command),
        environment=dict(part.environment),
        volumes=[mount.path for mount in part.mounts],
        healthcheck=Healthcheck(
            test=list(part.probe.test),
            interval=int(part.probe.interval.total_seconds() * 10**9),
            timeout=int(part.probe.timeout.total_seconds() * 10**9),
            retries=part.probe.retries,
        ),
        labels=dict(part.labels),
        stop_timeout=inputs["stopTimeout"],  # the SDK's own `create` has no word for it
        networking_config={"EndpointsConfig": {network: {}}},
        host_config=api.create_host_config(
            network_mode=network,
            binds={mount.volume: {"bind": mount.path, "mode": "rw"} for mount in part.mounts},
            cap_drop=inputs["capabilities"]["drops"],
            security_opt=inputs["securityOpts"],
            sysctls=inputs["sysctls"],
            mem_limit=f"{part.memory}m",
            memswap_limit=f"{part.memory}m",
            restart_policy=_RESTART,
            log_config=LogConfig(type=inputs["logDriver"], config=inputs["logOpts"]),
        ),
    )
    container = client.containers.get(created["Id"])
    container.put_archive(
        "/",
        archive(
            {
                description.USER_ID_FILE: (escape(user_id), 0o444),
                description.PASSWORD_FILE: (escape(password), 0o444),
                spec.VERSION_FILE: (version, 0o444),
                **{
                    file.path: (file.content, 0o444)
                    for part in gateway.containers.values()
                    for file in part.files
                    if not isinstance(file.content, Reference)
                },
            },
            # As the step that prepares the volume leaves it: the supervisor writes beside its own file.
            folders=[str(PurePosixPath(spec.SUPERVISOR_PATH).parent)],
        ),
    )
    return container


def by_hand(stack: Stack, described: spec.StackSpec) -> description.Deployment:
    """What a careful script would do with the Docker SDK, in order."""
    [host] = described.hosts
    gateway = host.gateways["main"]
    owner, settings = gateway.containers[Role.SETTINGS_OWNER], gateway.volumes[Role.SETTINGS]
    client = docker.DockerClient(base_url=host.docker_host)
    secrets = boto3.client(
        "secretsmanager",
        endpoint_url=stack.env["AWS_ENDPOINT_URL"],
        region_name=stack.env["AWS_REGION"],
        aws_access_key_id=stack.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=stack.env["AWS_SECRET_ACCESS_KEY"],
    )
    found = secrets.get_secret_value(SecretId=gateway.secret.id)
    user_id, password = parse(gateway.secret.id, found["SecretString"], described.mode)
    assert described.image is not None
    image = client.images.pull(described.image)
    assert image.id is not None
    verifier, _ = client.images.build(
        path=str(ROOT),
        dockerfile="healthcheck/Dockerfile",
        tag=described.names.verifier_image,
        buildargs={"BASE_IMAGE": described.base_image},
    )
    networks = {network.name: create_network(client, network) for network in (host.egress, gateway.api_network)}
    client.volumes.create(settings.name, labels=dict(settings.labels))
    volumes = {mount.volume: {"bind": mount.path, "mode": "rw"} for mount in owner.mounts}
    client.containers.run(
        image.id,
        [f"{spec.UID}:{spec.UID}", *(mount.path for mount in owner.mounts)],
        entrypoint=["chown"],
        name=owner.name,
        user="0",
        network_mode="none",
        cap_drop=["ALL"],
        cap_add=["CHOWN"],
        volumes=volumes,
        labels=dict(owner.labels),
    )
    container = gateway_container(
        client, gateway, image.id, gateway.api_network.name, user_id, password, found["VersionId"]
    )
    networks[host.egress.name].connect(container)
    container.start()
    assert container.id is not None
    assert verifier.id is not None
    deployment = description.Deployment(
        project=described.project,
        stack=described.stack,
        mode=described.mode,
        name_prefix=described.names.prefix,
        docker_host=host.docker_host,
        verifier=description.Verifier(image_id=verifier.id),
        egress_network=host.egress.name,
        gateways={"main": describe_gateway(described, gateway, found["VersionId"], container.id, described.image)},
    )
    report = verify(deployment, wait=60, progress=lambda _line: None)
    assert report.exit_code == ExitCode.OK, render_human(report)
    return deployment


def remove(described: spec.StackSpec) -> None:
    [host] = described.hosts
    client = docker.DockerClient(base_url=host.docker_host)
    gateway = host.gateways["main"]
    client.containers.get(gateway.container.name).stop(timeout=90)
    for container in gateway.containers.values():
        client.containers.get(container.name).remove()
    for name in (gateway.api_network.name, host.egress.name):
        client.networks.get(name).remove()
    client.volumes.get(gateway.volumes[Role.SETTINGS].name).remove()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    sandbox = Sandbox(Path(ROOT / ".sandbox"), say=say)
    sandbox.up()
    stack = sandbox.add_stack("paper-benchmark")
    config = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in stack.config["config"].items()
    }
    loaded = settings.load(stack.name, config)
    described = spec.describe(loaded, project="ibgw", stack=stack.name, image=loaded.image)
    seconds: dict[str, list[float]] = {"pulumi up": [], "Docker API": []}
    for at in range(rounds + 1):
        began = time.perf_counter()
        with_pulumi(stack)
        pulumi = time.perf_counter() - began
        destroy(stack)
        [host] = described.hosts
        settings_volume = host.gateways["main"].volumes[Role.SETTINGS].name
        docker.DockerClient(base_url=host.docker_host).volumes.get(settings_volume).remove()
        began = time.perf_counter()
        by_hand(stack, described)
        direct = time.perf_counter() - began
        remove(described)
        if at == 0:
            say(f"warm-up, not counted: pulumi up {pulumi:.1f} s, Docker API {direct:.1f} s")
            continue
        seconds["pulumi up"].append(pulumi)
        seconds["Docker API"].append(direct)
        say(f"round {at}: pulumi up {pulumi:.1f} s, Docker API {direct:.1f} s")
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    for name, found in seconds.items():
        say(f"{name:<11} median {medians[name]:.1f} s  (min {min(found):.1f}, max {max(found):.1f})")
    say(f"ratio {medians['pulumi up'] / medians['Docker API']:.2f}")


if __name__ == "__main__":
    main()
