"""`ibgw drift` with a real engine and real Docker: nothing to tell of a stack that was left alone, and exactly what was
done to one that was not; the look itself changes nothing."""

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import docker
import pytest

from sandbox.environment import Sandbox, Stack
from tests.engine.conftest import Completed, Pulumi

STACK = "paper-drift"
NOWHERE = "http://127.0.0.1:9"
"""Nothing listens there (RFC 863's port)."""


@pytest.fixture(scope="module")
def stack(project: Callable[..., Stack], pulumi: Pulumi) -> Iterator[Stack]:
    made = project(STACK)
    pulumi(["up", "--yes", "--skip-preview"], stack=made)
    yield made
    # What was removed behind its back cannot be removed again.
    pulumi(["destroy", "--yes", "--skip-preview", "--refresh"], stack=made)


@dataclass(frozen=True)
class Host:
    """The stack's objects, and the means to change them behind Pulumi's back."""

    client: docker.DockerClient
    sandbox: Sandbox

    @property
    def base(self) -> str:
        return f"{self.sandbox.prefix}-{STACK}"

    @property
    def gateway(self) -> str:
        return f"{self.base}-main"

    def inspected(self) -> dict[str, Any]:
        return dict(self.client.api.inspect_container(self.gateway))

    def snapshot(self) -> dict[str, Any]:
        """All that a look could have changed: the state's files, and the objects without what time does to them."""
        state = self.sandbox.folder / "state"
        files = {str(path): path.read_bytes() for path in state.rglob("*") if path.is_file() and STACK in str(path)}
        assert any(path.endswith(f"stacks/ibgw/{STACK}.json") for path in files)
        found: dict[str, Any] = {"files": files}
        for entry in self.client.api.containers(all=True, filters={"name": f"^/{self.base}"}):
            container = self.client.api.inspect_container(entry["Id"])
            container["State"].pop("Health", None)
            found[entry["Id"]] = {key: container[key] for key in ("Name", "State", "Config", "HostConfig")}
            found[f"{entry['Id']} networks"] = container["NetworkSettings"]["Networks"]
        for network in self.client.api.networks(filters={"name": f"^{self.base}"}):
            found[network["Id"]] = network
        for volume in self.client.api.volumes(filters={"name": f"^{self.base}"})["Volumes"] or ():
            found[volume["Name"]] = volume
        return found


@pytest.fixture(scope="module")
def host(docker_client: docker.DockerClient, sandbox: Sandbox, stack: Stack) -> Host:
    return Host(docker_client, sandbox)


@pytest.fixture(scope="module")
def drift(stack: Stack, host: Host, run: Callable[..., Completed]) -> Callable[[], list[str]]:
    """The lines that are told, without the prefix of the names."""

    def command() -> list[str]:
        before = host.snapshot()
        done = run(shlex.split(f"ibgw drift --stack {STACK}"), stack=stack, check=False)
        assert host.snapshot() == before
        assert done.returncode == 9, done.stdout + done.stderr
        return [line.replace(f"{host.base}-", "") for line in done.stdout.splitlines()]

    return command


def test_looks_at_a_stack_that_was_left_alone(stack: Stack, host: Host, run: Callable[..., Completed]) -> None:
    before = host.snapshot()
    for _ in range(3):
        # No secret is read for it, and nothing else of AWS.
        unreachable = {"AWS_ENDPOINT_URL": NOWHERE, "AWS_ENDPOINT_URL_SECRETS_MANAGER": NOWHERE}
        done = run(shlex.split(f"ibgw drift --stack {STACK}"), stack=stack, env=unreachable)
        assert done.stdout == f"{STACK}: no drift\n"
    assert host.snapshot() == before


def test_what_was_changed_on_a_running_gateway(
    stack: Stack, host: Host, drift: Callable[[], list[str]], run: Callable[..., Completed]
) -> None:
    api = host.client.api
    api.disconnect_container_from_network(host.gateway, f"{host.base}-egress")
    api.connect_container_to_network(host.gateway, "bridge")
    api.update_container(
        host.gateway, mem_limit="1g", memswap_limit="1g", cpu_shares=512, restart_policy={"Name": "always"}
    )
    assert drift() == [
        "container main: network bridge added",
        "container main: network egress removed",
        "container main: memory changed: 1536 MiB -> 1024 MiB",
        "container main: memory with swap changed: 1536 MiB -> 1024 MiB",
        "container main: restart policy changed: unless-stopped -> always",
        "container main: cpuShares changed",
    ]
    document = run(shlex.split(f"ibgw drift --stack {STACK} --json"), stack=stack, check=False)
    assert document.returncode == 9
    told = json.loads(document.stdout)
    assert (told["drift"], told["stack"], len(told["differences"])) == (True, STACK, 6)


def test_what_was_made_anew_under_the_same_names(host: Host, drift: Callable[[], list[str]]) -> None:
    """A container with another variable and another label, its networks and its volume."""
    api: Any = host.client.api  # making one from an inspect has no types
    was = host.inspected()
    egress, volume = api.inspect_network(f"{host.base}-egress"), f"{host.gateway}-settings"
    for name in (host.gateway, f"{host.gateway}-settings-owner"):
        api.remove_container(name, force=True)
    api.remove_volume(volume)
    api.create_volume(volume, labels={"ibgw.role": "mine"})
    api.remove_network(egress["Id"])
    api.create_network(egress["Name"], driver="bridge", internal=True, ipam=egress["IPAM"], labels=egress["Labels"])
    changed = {"TIME_ZONE": "Europe/Berlin", "IBC_PASSWORD": "hunter2"}
    kept = [entry for entry in was["Config"]["Env"] if entry.partition("=")[0] not in ("TIME_ZONE", "TZ")]
    config = {
        **was["Config"],
        "Env": [*kept, *(f"{key}={value}" for key, value in changed.items())],
        "Labels": {**was["Config"]["Labels"], "ibgw.secret-id": "mine", "mine": "1"},
        "HostConfig": {
            **was["HostConfig"],
            "NetworkMode": f"{host.gateway}-api",
            "CapDrop": None,
            "SecurityOpt": None,
            "Memory": 1536 * 2**20,
            "MemorySwap": 1536 * 2**20,
            "RestartPolicy": {"Name": "unless-stopped"},
        },
    }
    api.create_container_from_config(config, host.gateway)
    api.start(host.gateway)
    api.stop(host.gateway, timeout=0)
    labels = ("gateway", "managed-by", "mode", "prefix", "project")
    assert drift() == [
        "container main: recreated",
        "container main: environment IBC_PASSWORD added",
        "container main: environment TIME_ZONE changed",
        "container main: environment TZ removed",
        "container main: label ibgw.secret-id changed",
        "container main: label mine added",
        "container main: network egress removed",
        "container main: network main-api alias main removed",
        "container main: network mode changed: bridge -> main-api",
        "container main: capability drop ALL removed",
        "container main: security options changed",
        "container main: state changed: running -> exited",
        "container main-settings-owner: gone",
        "network egress: recreated",
        "network egress: internal changed: False -> True",
        "network egress: option com.docker.network.bridge.enable_icc removed",
        *(f"volume main-settings: label ibgw.{label} removed" for label in labels),
        "volume main-settings: label ibgw.role changed",
        "volume main-settings: label ibgw.stack removed",
    ]


def test_what_is_gone(stack: Stack, host: Host, drift: Callable[[], list[str]], pulumi: Pulumi) -> None:
    """Also when a refresh has made the state forget it, which is the last that an engine says of it."""
    api = host.client.api
    api.remove_container(host.gateway, force=True)
    api.remove_volume(f"{host.gateway}-settings")
    for name in ("egress", "main-api"):
        api.remove_network(f"{host.base}-{name}")
    assert drift() == [
        "container main: gone",
        "container main-settings-owner: gone",
        "network egress: gone",
        "network main-api: gone",
        "volume main-settings: gone",
    ]
    pulumi(["refresh", "--yes", "--skip-preview"], stack=stack)
    assert drift() == [
        "container main: forgotten",
        "container main-settings-owner: forgotten",
        "network egress: forgotten",
        "network main-api: forgotten",
        "volume main-settings: forgotten",
    ]
