"""What `docker inspect` shows of a gateway and its networks, as the record that `deployment.rules` judges. Pure."""

from dataclasses import replace

from deployment.description import Gateway
from deployment.properties import Inspected, facts_of_docker
from deployment.rules import GatewayRecord
from deployment.tables import CONTAINER, NETWORK


def record(gateway: Gateway, container: Inspected, api: Inspected, egress: Inspected | None) -> GatewayRecord:
    """The record of a container that exists. `egress` is None where that network does not."""
    judged = (
        GatewayRecord(name=gateway.container.name, mode=gateway.mode)
        .with_container(facts_of_docker(CONTAINER, container))
        .with_api(facts_of_docker(NETWORK, api))
    )
    if egress is not None:
        judged = judged.with_egress(facts_of_docker(NETWORK, egress))
    # What Docker does not know: the reference that was pulled.
    return replace(judged, name=gateway.container.name, image=gateway.image.reference, secret_id=gateway.secret.id)
