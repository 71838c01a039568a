"""What watches the gateways of a stack: a network, a volume and two containers, of which no gateway knows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from deployment.abilities import Lacking
from deployment.names import Role
from deployment.parts import CHANNELS, Reference
from deployment.tables import Token
from infra.components.parts import Known, declare_container, declare_network, declare_volume
from infra.credentials import Channels
from infra.monitoring import MonitoringSpec


@dataclass(frozen=True)
class MonitoringArgs:
    """`known`: the verifier's image, the gateways' networks, and what the prober is told of them. `channels`: where the
    watcher sends to."""

    spec: MonitoringSpec
    channels: Channels
    known: Known
    accepted: Sequence[Lacking] = ()


class Monitoring(pulumi.ComponentResource):
    container_ids: dict[Role, pulumi.Output[str]]

    def __init__(self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        # For the policy pack.
        told: dict[str, Any] = {"accepted": list(args.accepted)} if args.accepted else {}
        super().__init__(Token.MONITORING, name, told, opts)
        own = pulumi.ResourceOptions(parent=self)
        known: Known = {
            **args.known,
            **{
                Reference(network.name): declare_network(_called(name, role), network, own).id
                for role, network in args.spec.networks.items()
            },
            **{
                Reference(volume.name): declare_volume(_called(name, role), volume, own, kept=False).name
                for role, volume in args.spec.volumes.items()
            },
            CHANNELS: args.channels.document,
        }
        self.container_ids = {
            role: declare_container(role, container, known, own, values_were_read=args.channels.were_read).id
            for role, container in args.spec.containers.items()
        }
        # A verification after an update asks the state for it (infra.verification).
        self.register_outputs({"container_id": self.container_ids[Role.PROBER]})


def _called(name: str, role: Role) -> str:
    return name if role is Role.MONITORING else f"{name}-{role}"
