"""A state is the same to the official Docker plug-in and to the stand-in: what the one recorded, the other leaves.

The official state is written down here from the sources of terraform-provider-docker 4.5.0 (defaults, and what its
reading sets), pulumi-terraform-bridge (`__defaults`, `__meta`, nulls) and pulumi-docker 5.1.0 (`__inputs` of an Image).
"""

from typing import Any

import pytest

from sandbox.plugins.docker.provider import Docker
from sandbox.plugins.provider import State
from tests.stack.conftest import Program
from tests.stack.test_program import plain

SCHEMA_2 = '{"schema_version":"2"}'
# Beyond the inputs: defaults, what Docker chose, and null for what there is not.
CONTAINER: dict[str, Any] = {
    "__meta": SCHEMA_2,
    "attach": False,
    "bridge": "",
    "cgroupParent": None,
    "cgroupnsMode": None,
    "command": ["/home/ibgateway/scripts/run.sh"],
    "containerLogs": None,
    "containerReadRefreshTimeoutMilliseconds": 15000,
    "cpuPeriod": None,
    "cpuQuota": None,
    "cpuSet": "",
    "cpuShares": 0,
    "cpus": None,
    "deviceReadBps": [],
    "deviceRequests": None,
    "devices": None,
    "dns": [],
    "dnsOpts": [],
    "dnsSearches": [],
    "domainname": "",
    "entrypoints": [],
    "exitCode": None,
    "gpus": None,
    "groupAdds": [],
    "hostname": "0123456789ab",
    "hosts": [],
    "init": False,
    "ipcMode": "private",
    "logs": False,
    "maxRetryCount": 0,
    "memoryReservation": 0,
    "mounts": [],
    "networkDatas": [{"networkName": "ibgw-paper-egress", "ipAddress": "10.9.0.2", "ipPrefixLength": 24}],
    "networkMode": "bridge",
    "pidMode": None,
    "platform": "linux",
    "ports": None,
    "privileged": False,
    "publishAllPorts": False,
    "readOnly": False,
    "removeVolumes": True,
    "rm": False,
    "runtime": "runc",
    "shmSize": 64,
    "start": True,
    "stdinOpen": False,
    "stopSignal": "",
    "storageOpts": None,
    "sysctls": None,
    "tmpfs": {},
    "tty": False,
    "ulimits": [],
    "user": "1000:1000",
    "usernsMode": "",
    "waitTimeout": 60,
    "workingDir": "/home/ibgateway",
}
OWNER = {**CONTAINER, "memory": 0, "memorySwap": 0, "stopTimeout": None, "healthcheck": None, "networksAdvanced": None}
NETWORK: dict[str, Any] = {
    "__meta": '{"schema_version":"1"}',
    "attachable": False,
    "ingress": False,
    "ipamDriver": "default",
    "ipamOptions": {},
    "ipv6": False,
    "scope": "local",
}
VOLUME: dict[str, Any] = {
    "__meta": '{"schema_version":"1"}',
    "cluster": None,
    "driverOpts": None,
    "mountpoint": "/var/lib/docker/volumes/ibgw-paper-main-settings/_data",
}
REMOTE_IMAGE: dict[str, Any] = {
    "build": None,
    "forceRemove": None,
    "imageId": "sha256:" + "b" * 64,
    "pullTriggers": None,
    "repoDigest": "ghcr.io/gnzsnz/ib-gateway@sha256:" + "a" * 64,
    "triggers": None,
}
BEYOND = {
    "main": CONTAINER,
    "main-settings-owner": OWNER,
    "egress": NETWORK,
    "main-api": NETWORK,
    "main-settings": VOLUME,
    "gateway-image": REMOTE_IMAGE,
}


def official(name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs that the official plug-in records for these inputs of the program."""
    if name == "verifier-image":
        return {"imageName": inputs["imageName"], "repoDigest": "sha256:" + "c" * 64, "__inputs": inputs}
    found: dict[str, Any] = {**BEYOND[name], **inputs}
    if probe := found.get("healthcheck"):
        found["healthcheck"] = {"startPeriod": "0s", "startInterval": "0s", **probe}
    found["uploads"] = [
        {"contentBase64": "", "executable": False, "source": "", "sourceHash": "", **one}
        for one in found.get("uploads") or ()
    ]
    found["volumes"] = [
        {"fromContainer": "", "hostPath": "", "readOnly": False, "selinuxRelabel": "", **one}
        for one in found.get("volumes") or ()
    ]
    if capabilities := found.get("capabilities"):
        found["capabilities"] = {"adds": None, **capabilities}
    return found


@pytest.fixture
def declared(program: Program) -> list[tuple[str, str, dict[str, Any]]]:
    """Type, name and plain inputs of what the program declares on a Docker host."""
    engine = program.run().engine
    return [
        (found.type, found.name, dict(plain(found.inputs)))
        for found in engine.resources
        if found.type.startswith("docker:index/")
    ]


def test_what_the_official_plug_in_recorded_is_unchanged(declared: list[tuple[str, str, dict[str, Any]]]) -> None:
    docker, seen = Docker(), set()
    for token, name, inputs in declared:
        if name == "verifier-image":
            inputs["build"] = {**inputs["build"], "context": ".", "dockerfile": "healthcheck/Dockerfile"}
        checked = docker.check(token, name, {}, inputs, b"").inputs
        difference = docker.diff(token, State("x", official(name, checked)), checked, checked)
        assert difference.changes == {}, name
        seen.add(name)
    assert seen == {*BEYOND, "verifier-image"}


def test_inputs_are_recorded_as_the_official_plug_in_does(declared: list[tuple[str, str, dict[str, Any]]]) -> None:
    """With its defaults and their names, at each level."""
    checked = {
        name: Docker().check(token, name, {}, inputs, b"").inputs
        for token, name, inputs in declared
        if name != "verifier-image"
    }
    gateway = checked["main"]
    assert gateway["__defaults"] == [
        "attach",
        "containerReadRefreshTimeoutMilliseconds",
        "logs",
        "memoryReservation",
        "networkMode",
        "readOnly",
        "removeVolumes",
        "rm",
        "start",
        "stdinOpen",
        "tty",
        "waitTimeout",
    ]
    assert (gateway["networkMode"], gateway["rm"], gateway["waitTimeout"]) == ("bridge", False, 60)
    assert gateway["healthcheck"]["__defaults"] == ["startInterval", "startPeriod"]
    assert {tuple(one["__defaults"]) for one in gateway["uploads"]} == {("executable",)}
    assert {tuple(one["__defaults"]) for one in gateway["labels"]} == {()}
    assert checked["egress"]["__defaults"] == ["ipamDriver"]
