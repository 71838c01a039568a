"""What watches the gateways of a stack: a network, a volume and two containers, of which no gateway knows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from deployment.abilities import Lacking
from deployment.names import Role
from deployment.parts import Reference
from deployment.tables import Token
from infra.components.parts import Known, declare_container, declare_network, declare_volume
from infra.monitoring import MonitoringSpec


@dataclass(frozen=True)
class MonitoringArgs:
    """`known`: the verifier's image, the gateways' networks, and what the prober is told of them."""

    spec: MonitoringSpec
    known: Known
    accepted: Sequence[Lacking] = ()


class Monitoring(pulumi.ComponentResource):
    container_ids: dict[Role, pulumi.Output[str]]

    def __init__(self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        # For the policy pack.
        told: dict[str, Any] = {"accepted": list(args.accepted)} if args.accepted else {}
        super().__init__(Token.MONITORING, name, told, opts)
        own = pulumi.ResourceOptions(parent=self)
        network = declare_network(name, args.spec.network, own)
        volume = declare_volume(name, args.spec.volume, own, kept=False)
        known: Known = {
            **args.known,
            Reference(args.spec.network.name): network.id,
            Reference(args.spec.volume.name): volume.name,
        }
        self.container_ids = {
            role: declare_container(role, container, known, own).id for role, container in args.spec.containers.items()
        }
        # A verification after an update asks the state for it (infra.verification).
        self.register_outputs({"container_id": self.container_ids[Role.PROBER]})
