"""One gateway: its own internal network, its storage and its containers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from deployment import VERSION
from deployment.abilities import Lacking
from deployment.names import Role
from deployment.parts import PASSWORD, SECRET_VERSION, SEED, SEED_VERSION, USER_ID, Reference, Restart
from deployment.tables import Token
from infra.components.parts import Known, declare_container, declare_network
from infra.components.storage import Storage, StorageArgs
from infra.credentials import Credentials, Seed
from infra.spec import GatewaySpec


@dataclass(frozen=True)
class GatewayArgs:
    """`known`: what is not the gateway's own, the images and the networks that it shares. `accepted`: what its Docker
    host lacks and the configuration accepts. `seed`: of the codes that are typed for it."""

    spec: GatewaySpec
    credentials: Credentials
    known: Known
    accepted: Sequence[Lacking] = ()
    seed: Seed | None = None


class Gateway(pulumi.ComponentResource):
    container_id: pulumi.Output[str]
    """Of the container that the gateway itself runs in."""
    codes_id: pulumi.Output[str] | None
    """Of the one that types its codes."""
    networks: dict[Reference, pulumi.Output[str]]
    """Its own, by their names: the ids."""

    def __init__(self, name: str, args: GatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        spec, credentials = args.spec, args.credentials
        # For whoever reads a preview (`ibgw plan`): the container's files are one secret to the engine, so that it
        # cannot say which of them changed. Nothing here is secret, and nothing depends on it.
        told: dict[str, Any] = {
            "settings": spec.settings.model_dump(mode="json", by_alias=True),
            "secretVersion": credentials.version_id,
            "version": VERSION,
        }
        if args.accepted:
            # For the policy pack.
            told["accepted"] = list(args.accepted)
        super().__init__(Token.GATEWAY, name, told, opts)
        own = pulumi.ResourceOptions(parent=self)
        storage = Storage(name, StorageArgs(spec=spec, known=args.known), own)
        # After the volumes: where all records are lost, a network without a volume tells that one was lost too.
        after = pulumi.ResourceOptions(parent=self, depends_on=storage.volumes)
        networks = {
            Reference(network.name): declare_network(f"{name}-{role}", network, after).id
            for role, network in spec.networks.items()
        }
        self.networks = networks
        known: Known = {
            **args.known,
            **networks,
            **{Reference(volume.name): volume.name for volume in spec.volumes.values()},
            USER_ID: credentials.user_id,
            PASSWORD: credentials.password,
            SECRET_VERSION: credentials.version_id,
        }
        if args.seed is not None:
            known = {**known, SEED: args.seed.seed, SEED_VERSION: args.seed.version_id}
        containers = {
            role: declare_container(
                name if role is Role.GATEWAY else f"{name}-{role}",
                container,
                known,
                pulumi.ResourceOptions(parent=self, depends_on=storage.ready),
                values_were_read=args.seed.were_read
                if args.seed is not None and role is Role.CODES
                else credentials.were_read,
            )
            for role, container in spec.containers.items()
            if container.restart is not Restart.NEVER
        }
        self.container_id = containers[Role.GATEWAY].id
        self.codes_id = containers[Role.CODES].id if Role.CODES in containers else None
        self.register_outputs({"container_id": self.container_id})
