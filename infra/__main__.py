"""The program that `pulumi up` runs: load, declare, export, verify."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_docker as docker

from contract.errors import ExitCode, IbgwError
from contract.target import Mode
from infra import credentials, host, outputs, release, settings, spec
from infra.components.gateway import Gateway, GatewayArgs
from infra.components.images import declare_gateway_image, declare_verifier_image
from infra.components.network import declare_network
from infra.verification import verify_after_update

RELEASES = Path(__file__).resolve().parent.parent / "releases"
UNRELEASED = (
    "ibgw:release is not set: live runs only a release that was promoted from paper. A preview shows what would be "
    "deployed, without its image; an update is refused until a release is promoted"
)

Verification = Callable[[pulumi.Output[dict[str, Any]], spec.StackSpec], None]


def _configuration() -> dict[str, str]:
    """The engine's configuration for this stack, full keys to text."""
    return {**pulumi.runtime.config.get_config_env(), **pulumi.runtime.config.CONFIG.get()}


def _load() -> spec.StackSpec:
    """Configuration -> what the stack declares. Touches nothing but files."""
    stack = pulumi.get_stack()
    loaded = settings.load(stack, _configuration())
    image = loaded.image
    if loaded.mode is Mode.LIVE:
        image = None
        if loaded.release is not None:
            image = release.read_release(RELEASES, loaded.release).reference
        elif not pulumi.runtime.is_dry_run():
            raise IbgwError(f"stack {stack!r} was not updated: {UNRELEASED}", exit_code=ExitCode.REFUSED)
        else:
            pulumi.log.warn(UNRELEASED)
    return spec.describe(loaded, project=pulumi.get_project(), stack=stack, image=image)


def _declare(stack: spec.StackSpec, secrets: Mapping[str, credentials.Credentials]) -> pulumi.Output[dict[str, Any]]:
    # Named after its host: another host is another provider, and so what runs on the old one is removed there.
    name = f"docker-{hashlib.sha256(stack.docker_host.encode()).hexdigest()[:8]}"
    provider = docker.Provider(name, host=stack.docker_host)
    opts = pulumi.ResourceOptions(provider=provider)
    image = declare_gateway_image(stack.image or release.NO_RELEASE, platform=stack.platform, opts=opts)
    verifier = declare_verifier_image(
        stack.names.verifier_image, base_image=stack.base_image, platform=stack.platform, opts=opts
    )
    egress = declare_network("egress", stack.egress, opts)
    gateways = {
        name: Gateway(
            name,
            GatewayArgs(
                spec=gateway,
                credentials=secrets[name],
                image_id=image.image_id,
                egress_network_id=egress.id,
            ),
            pulumi.ResourceOptions(providers=[provider]),
        )
        for name, gateway in stack.gateways.items()
    }
    return outputs.assemble(
        stack,
        credentials=secrets,
        container_ids={name: gateway.container_id for name, gateway in gateways.items()},
        repo_digest=image.repo_digest,
        verifier_image_id=verifier.repo_digest,
    )


async def program(verify: Verification = verify_after_update) -> dict[str, pulumi.Output[Any]]:
    """Everything that can be refused is refused before the first resource is declared."""
    try:
        stack = _load()
        wanted = {name: (gateway.secret_id, gateway.secret_version) for name, gateway in stack.gateways.items()}
        secrets, found = await asyncio.gather(
            credentials.read_all(wanted, stack.mode), asyncio.to_thread(host.read_host, stack.docker_host)
        )
        host.check_host(stack, found)
    except IbgwError as error:
        raise pulumi.RunError(str(error)) from None
    described = _declare(stack, secrets)
    verify(described, stack)
    return {"contract": described}


if __name__ == "__main__":
    pulumi.run(program)
