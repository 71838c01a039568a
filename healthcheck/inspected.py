"""What `docker inspect` shows of a gateway and its networks, as the record that `deployment.rules` judges. Pure."""

from collections.abc import Mapping
from typing import Any

from deployment.description import Gateway
from deployment.rules import GatewayRecord

MIB = 2**20
DOCKERS_GRACE = 10
"""Seconds until the kill where a container has no `StopTimeout` (docker stop, API 1.41)."""

Inspected = Mapping[str, Any]


def record(gateway: Gateway, container: Inspected, api: Inspected, egress: Inspected | None) -> GatewayRecord:
    """The record of a container that exists. `egress` is None where that network does not."""
    config, host = container["Config"], container["HostConfig"]
    log = host["LogConfig"]
    probe = tuple((config.get("Healthcheck") or {}).get("Test") or ())
    grace = config.get("StopTimeout")
    return GatewayRecord(
        name=gateway.container.name,
        mode=gateway.mode,
        image=gateway.image.reference,
        secret_id=gateway.secret.id,
        environment=dict(entry.partition("=")[::2] for entry in config.get("Env") or ()),
        labels=config.get("Labels") or {},
        arguments=(*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ()), *probe),
        published=published(container),
        network_mode=host["NetworkMode"],
        api_driver=api["Driver"],
        api_internal=api["Internal"],
        egress_driver=None if egress is None else egress["Driver"],
        egress_traffic=None if egress is None else _traffic(egress),
        privileged=host["Privileged"],
        capabilities_added=tuple(host["CapAdd"] or ()),
        capabilities_dropped=tuple(host["CapDrop"] or ()),
        security_options=tuple(host["SecurityOpt"] or ()),
        memory=host["Memory"] // MIB,
        memory_swap=host["MemorySwap"] // MIB,
        stop_grace=DOCKERS_GRACE if grace is None else grace,
        restart=host["RestartPolicy"]["Name"],
        log_driver=log["Type"],
        log_options=log["Config"] or {},
        probe=probe,
    )


def published(container: Inspected) -> tuple[str, ...]:
    """Configured and actual bindings, since a container that was just restarted may show only the first."""
    host = container["HostConfig"]
    found = set()
    for ports in (host.get("PortBindings") or {}, container["NetworkSettings"].get("Ports") or {}):
        for port, bindings in ports.items():
            for binding in bindings or []:
                found.add(f"{port} on {binding.get('HostIp') or '0.0.0.0'}:{binding.get('HostPort') or 'any'}")
    if host.get("PublishAllPorts"):
        found.add("all exposed ports")
    return tuple(sorted(found))


def _traffic(network: Inspected) -> bool:
    options: Mapping[str, str] = network.get("Options") or {}
    return options.get("com.docker.network.bridge.enable_icc", "true") != "false"
