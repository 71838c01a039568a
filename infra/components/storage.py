"""A gateway's volumes, and what prepares them."""

from dataclasses import dataclass

import pulumi

from deployment.parts import Reference, Restart
from infra.components.parts import Known, declare_container, declare_volume
from infra.spec import GatewaySpec


@dataclass(frozen=True)
class StorageArgs:
    """`known`: the images."""

    spec: GatewaySpec
    known: Known


class Storage(pulumi.ComponentResource):
    """Volumes that hold the session's token, and the containers that run once over them before the gateway begins.

    Such a container stays behind, stopped: while it exists, Docker refuses to remove the volumes.
    """

    ready: list[pulumi.Resource]
    volumes: list[pulumi.Resource]

    def __init__(self, name: str, args: StorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ibgw:storage:Storage", name, None, opts)
        own = pulumi.ResourceOptions(parent=self)
        volumes = {
            # One in memory has nothing to keep.
            Reference(volume.name): declare_volume(f"{name}-{role}", volume, own, kept=not volume.options)
            for role, volume in args.spec.volumes.items()
        }
        self.volumes = [*volumes.values()]
        names = {reference: volume.name for reference, volume in volumes.items()}
        self.ready = [
            declare_container(f"{name}-{role}", container, {**args.known, **names}, own)
            for role, container in args.spec.containers.items()
            if container.restart is Restart.NEVER
        ]
        self.register_outputs({})
