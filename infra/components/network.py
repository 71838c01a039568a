"""A bridge network with an address range of its own."""

import pulumi
import pulumi_docker as docker

from infra.spec import NetworkSpec


def declare_network(name: str, spec: NetworkSpec, opts: pulumi.ResourceOptions) -> docker.Network:
    """One network. `spec.internal` cuts everything on it off from beyond the host.

    Its name is fixed, so a replacement must delete first: Docker refuses a second network of one name.
    """
    return docker.Network(
        name,
        name=spec.name,
        driver=spec.driver,
        internal=spec.internal,
        # The address is Docker's own choice, said here because a restarted daemon reports it: unsaid, the next refresh
        # would replace the network, and with it the gateway.
        ipam_configs=[docker.NetworkIpamConfigArgs(subnet=str(spec.subnet), gateway=str(next(spec.subnet.hosts())))],
        options=spec.options,
        labels=[docker.NetworkLabelArgs(label=key, value=value) for key, value in sorted(spec.labels.items())],
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(delete_before_replace=True)),
    )
