"""The program that `pulumi up` runs: load, declare, export, verify."""

import asyncio
import atexit
import functools
import gc
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi

from deployment.description import Mode
from deployment.errors import ExitCode, IbgwError
from deployment.paths import RELEASES
from infra import credentials, failure, host, lost_volumes, release, rules, settings, spec
from infra.trading import away_while_trading
from infra.verification import verify_after_update

if TYPE_CHECKING:
    import pulumi_docker as docker

UNRELEASED = (
    "ibgw:release is not set: live runs only a release that was promoted from paper. A preview shows what would be "
    "deployed, without its image; an update is refused until one is promoted (ibgw promote, docs/promotion.md)"
)

Verification = Callable[[pulumi.Output[dict[str, Any]], spec.StackSpec], None]


def _configuration() -> dict[str, str]:
    """The engine's configuration for this stack, full keys to text."""
    return {**pulumi.runtime.config.get_config_env(), **pulumi.runtime.config.CONFIG.get()}


def _load() -> Callable[..., spec.StackSpec]:
    """Configuration -> what the stack declares, but for what its Docker host holds and lacks (`held` and `lacks` of
    infra.spec.describe). Touches nothing but files."""
    stack = pulumi.get_stack()
    project = Path(pulumi.get_root_directory())
    loaded = settings.load(stack, _configuration(), project)
    for text in (*away_while_trading(loaded), *loaded.contracts_over(datetime.now(UTC))):
        pulumi.log.warn(text)
    image = loaded.image
    if loaded.mode is Mode.LIVE:
        image = None
        if loaded.release is not None:
            image = release.read_release(project / RELEASES, loaded.release).reference
        elif not pulumi.runtime.is_dry_run():
            raise IbgwError(f"stack {stack!r} was not updated: {UNRELEASED}", exit_code=ExitCode.REFUSED)
        else:
            pulumi.log.warn(UNRELEASED)
    return functools.partial(spec.describe, loaded, project=pulumi.get_project(), stack=stack, image=image)


async def _prepare(
    described: spec.StackSpec, describe: Callable[..., spec.StackSpec]
) -> tuple[spec.StackSpec, spec.HostSpec, "docker.Provider", Sequence[host.HostObject]]:
    """The stack with its subnets, and the provider of a Docker host that answers and has nothing in the stack's way;
    and what is on that.

    Its plug-in starts here, while Secrets Manager is still being asked, and what it takes to declare is loaded here.
    """
    # The output describes one Docker host; nothing that is called from here knows that there is no other.
    [where] = described.hosts
    existing = await asyncio.to_thread(host.read_host, where.docker_host)
    lacks = host.lacks(described, where, existing.info)
    stack = describe(held=host.held(described, existing.objects), lacks=lacks)
    [where] = stack.hosts
    host.check_host(stack, where, existing.objects, lacks)
    for text in host.accepted_in_words(stack, lacks):
        pulumi.log.warn(text)
    from infra.resources import declare_provider

    return stack, where, declare_provider(where.docker_host), existing.objects


async def program(verify: Verification = verify_after_update) -> dict[str, pulumi.Output[Any]]:
    """Everything that can be refused is refused before the first resource but the provider is declared."""
    try:
        describe = _load()
        # As on an empty host: neither the rules nor the secrets depend on subnets, and need not wait for it.
        described = describe()
        rules.check_rules(described.stack, rules.records(described))
        wanted = {name: (gateway.secret.id, gateway.secret.version) for name, gateway in described.gateways.items()}
        [planned] = described.hosts
        reading = asyncio.ensure_future(credentials.read_all(wanted, described.mode))
        finding = asyncio.ensure_future(credentials.read_channels(planned.monitoring))
        seeding = asyncio.ensure_future(
            credentials.read_seeds(
                {
                    name: gateway.settings.second_factor.secret_id
                    for name, gateway in described.gateways.items()
                    if gateway.settings.second_factor.secret_id is not None
                }
            )
        )
        preparing = asyncio.ensure_future(_prepare(described, describe))
        # All to their end, so that a refusal leaves no call to the engine and no unread second refusal behind.
        await asyncio.wait((reading, seeding, finding, preparing))
        for refusal in (reading.exception(), seeding.exception(), finding.exception(), preparing.exception()):
            if refusal is not None:
                raise refusal
        secrets, seeds, channels = reading.result(), seeding.result(), finding.result()
        stack, where, provider, objects = preparing.result()
        lost = await lost_volumes.find(stack, objects, {name: secret.version_id for name, secret in secrets.items()})
    except IbgwError as error:
        raise failure.failed(str(error)) from None
    from infra.resources import declare

    # All is loaded and stays: without this, Python looks through it once more, for 0.3 s, before it ends.
    gc.freeze()
    for text in lost_volumes.in_words(stack, lost):
        pulumi.log.warn(text)
    deployment = await declare(stack, where, provider, secrets, seeds, channels, lost)
    verify(deployment, stack)
    return {"contract": deployment}


if __name__ == "__main__":
    atexit.register(failure.leave)
    pulumi.run(program)
