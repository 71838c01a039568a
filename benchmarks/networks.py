"""Networks as `infra` declares them, made through the Docker API."""

import docker
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool

from deployment.parts import NetworkSpec
from deployment.properties import declared
from deployment.tables import NETWORK


def create_network(client: docker.DockerClient, network: NetworkSpec) -> Network:
    """With the properties that `infra` declares. Raises what docker-py raises."""
    inputs = declared(NETWORK, network)
    [pool] = inputs["ipamConfigs"]
    return client.networks.create(
        network.name,
        driver=inputs["driver"],
        internal=network.internal,
        options=inputs["options"],
        labels=dict(network.labels),
        ipam=IPAMConfig(pool_configs=[IPAMPool(**pool)]),
    )
