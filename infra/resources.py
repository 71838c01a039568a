"""What a stack declares on a Docker host: the provider, images and networks, and its gateways there."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_docker as docker

from deployment.errors import IbgwError
from deployment.parts import VERIFIER_IMAGE, Reference
from infra import host as where
from infra import lost_volumes, outputs, release, spec, trial
from infra.components.gateway import Gateway, GatewayArgs
from infra.components.images import declare_gateway_image, declare_verifier_image
from infra.components.monitoring import Monitoring, MonitoringArgs
from infra.components.parts import declare_network
from infra.credentials import Channels, Credentials, Seed
from infra.failure import failed
from infra.monitoring import IMAGE_MADE, SECRETS_MADE, entry


def declare_provider(docker_host: str) -> docker.Provider:
    """Named after its host: another host is another provider, and so what runs on the old one is removed there."""
    return docker.Provider(f"docker-{hashlib.sha256(docker_host.encode()).hexdigest()[:8]}", host=docker_host)


async def declare(
    stack: spec.StackSpec,
    host: spec.HostSpec,
    provider: docker.Provider,
    secrets: Mapping[str, Credentials],
    seeds: Mapping[str, Seed],
    channels: Channels,
    lost: lost_volumes.Lost,
) -> pulumi.Output[dict[str, Any]]:
    """Everything else on one host; its description. `lost`: settings volumes.

    In an update nothing of a gateway is declared before the image is there and Docker has taken a container of it.
    """
    opts = pulumi.ResourceOptions(provider=provider)
    reference = stack.image or release.NO_RELEASE
    image = declare_gateway_image(reference, platform=stack.platform, opts=opts)
    digest = image.repo_digest.apply(lambda repo_digest: outputs.image_digest(reference, repo_digest))
    # Both, so that no gateway is touched for an image whose digest cannot be recorded.
    image_id = pulumi.Output.all(image.image_id, digest).apply(lambda known: str(known[0]))
    verifier = declare_verifier_image(
        stack.names.verifier_image, base_image=stack.base_image, platform=stack.platform, opts=opts
    )
    if not pulumi.runtime.is_dry_run():
        there = str(await image_id.future())
        await trial.pass_trial(stack, host, there)
        if lost != lost_volumes.Lost():
            versions = {name: secret.version_id for name, secret in secrets.items()}
            await lost_volumes.hold(stack, host, there, lost, versions)
    egress = declare_network("egress", host.egress, opts)
    known = {
        Reference(reference): image_id,
        Reference(host.egress.name): egress.id,
        VERIFIER_IMAGE: verifier.repo_digest,
    }
    gateways = {
        name: Gateway(
            name,
            GatewayArgs(gateway, secrets[name], known, stack.accepted, seeds.get(name)),
            pulumi.ResourceOptions(providers=[provider]),
        )
        for name, gateway in host.gateways.items()
    }
    monitoring = None
    if host.monitoring is not None:
        made = {name: round(secret.made.timestamp()) for name, secret in sorted(secrets.items())}
        watched: dict[Reference, pulumi.Input[str]] = {
            VERIFIER_IMAGE: verifier.repo_digest,
            SECRETS_MADE: json.dumps(made),
            IMAGE_MADE: image_id.apply(lambda known: _made(host.docker_host, known)),
        }
        for name, gateway in gateways.items():
            watched |= {**gateway.networks, entry(name): outputs.watched_entry(stack, host.gateways[name])}
        monitoring = Monitoring(
            "monitoring",
            MonitoringArgs(spec=host.monitoring, channels=channels, known=watched, accepted=stack.accepted),
            pulumi.ResourceOptions(providers=[provider]),
        )
    return outputs.assemble(
        stack,
        host,
        credentials=secrets,
        container_ids={name: gateway.container_id for name, gateway in gateways.items()},
        codes_ids={name: gateway.codes_id for name, gateway in gateways.items() if gateway.codes_id is not None},
        digest=digest,
        verifier_image_id=verifier.repo_digest,
        monitoring_ids=monitoring.container_ids if monitoring is not None else None,
    )


async def _made(docker_host: str, image_id: str) -> str:
    """Raises RunError."""
    try:
        return str(await asyncio.to_thread(where.image_made, docker_host, image_id))
    except IbgwError as error:
        raise failed(str(error)) from None
