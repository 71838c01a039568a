"""Networks as `infra` declares them, made through the Docker API."""

import docker
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool

from infra.spec import NetworkSpec


def create_network(client: docker.DockerClient, network: NetworkSpec) -> Network:
    """With the same properties as infra.components.network's. Raises what docker-py raises."""
    pool = IPAMPool(subnet=str(network.subnet), gateway=str(next(network.subnet.hosts())))
    return client.networks.create(
        network.name,
        driver=network.driver,
        internal=network.internal,
        options=network.options,
        labels=network.labels,
        ipam=IPAMConfig(pool_configs=[pool]),
    )
