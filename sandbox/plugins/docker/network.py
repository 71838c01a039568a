"""`docker:index/network:Network`. Every input replaces. Reading takes any error for 'gone', as the official one."""

from typing import Any

from sandbox.plugins.docker.daemon import (
    Daemon,
    failing_as,
    labels_from_docker,
    labels_to_docker,
    remove_when_free,
)
from sandbox.plugins.provider import State
from sandbox.plugins.values import Properties


def create(daemon: Daemon, inputs: Properties) -> State:
    client = daemon.client
    ipam: Any = {
        "Driver": inputs.get("ipamDriver") or "default",
        "Options": inputs.get("ipamOptions") or {},
        "Config": [_ipam_to_docker(config) for config in inputs.get("ipamConfigs") or ()],
    }
    with failing_as("Unable to create network"):
        answer = client.create_network(
            inputs["name"],
            driver=inputs.get("driver") or "bridge",
            options=inputs.get("options") or {},
            ipam=ipam,
            check_duplicate=True,
            internal=bool(inputs.get("internal")),
            labels=labels_to_docker(inputs.get("labels")),
            enable_ipv6=bool(inputs.get("ipv6")),
            attachable=bool(inputs.get("attachable")),
            ingress=bool(inputs.get("ingress")),
        )
    return State(answer["Id"], {**inputs, **_outputs(client.inspect_network(answer["Id"]))})


def read(daemon: Daemon, state: State) -> State | None:
    from docker.errors import APIError
    from requests.exceptions import RequestException

    client = daemon.client
    try:
        inspected = client.inspect_network(state.id)
    except (APIError, RequestException):
        return None
    return State(inspected["Id"], {**state.properties, **_outputs(inspected)})


def delete(daemon: Daemon, state: State) -> None:
    client = daemon.client
    remove_when_free(
        lambda: client.remove_network(state.id), "has active endpoints", f"Unable to remove network {state.id}"
    )


def get(daemon: Daemon, name: str) -> Properties:
    """The function getNetwork."""
    with failing_as(f"Could not find docker network {name}"):
        inspected = daemon.client.inspect_network(name)
    containers = [
        {
            "containerId": identity,
            "endpointId": endpoint["EndpointID"],
            "ipv4Address": endpoint["IPv4Address"],
            "ipv6Address": endpoint["IPv6Address"],
            "macAddress": endpoint["MacAddress"],
            "name": endpoint["Name"],
        }
        for identity, endpoint in sorted((inspected.get("Containers") or {}).items())
    ]
    outputs = _outputs(inspected)
    kept = {key: outputs[key] for key in ("name", "driver", "internal", "ipamConfigs", "options", "scope")}
    return {"id": inspected["Id"], "containers": containers, **kept}


def _outputs(inspected: dict[str, Any]) -> Properties:
    ipam = inspected.get("IPAM") or {}
    return {
        "name": inspected["Name"],
        "driver": inspected["Driver"],
        "internal": inspected["Internal"],
        "attachable": inspected["Attachable"],
        "ingress": inspected["Ingress"],
        "ipv6": inspected["EnableIPv6"],
        "labels": labels_from_docker(inspected.get("Labels")),
        "options": inspected.get("Options") or {},
        "scope": inspected["Scope"],
        "ipamDriver": ipam.get("Driver"),
        "ipamOptions": ipam.get("Options") or {},
        "ipamConfigs": [_ipam_from_docker(config) for config in ipam.get("Config") or ()],
    }


_IPAM_NAMES = {"subnet": "Subnet", "ipRange": "IPRange", "gateway": "Gateway", "auxAddress": "AuxiliaryAddresses"}


def _ipam_to_docker(config: Properties) -> dict[str, Any]:
    return {theirs: config[ours] for ours, theirs in _IPAM_NAMES.items() if config.get(ours)}


def _ipam_from_docker(config: dict[str, Any]) -> Properties:
    return {ours: config[theirs] for ours, theirs in _IPAM_NAMES.items() if config.get(theirs)}
