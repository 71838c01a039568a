"""What drifted: each input against Docker's inspect, the provider's reading, and what must never count as a drift.

Shapes are those of `docker inspect` (Docker API 1.41) and of `pulumi refresh --preview-only --json` (CLI 3.256).
"""

import copy
import json
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployment.errors import IbgwError
from deployment.tables import TABLES, Kind
from healthcheck.docker_host import DockerError
from operations import cli
from operations.drift import reading, rendering
from operations.drift.comparing import Difference, Drift, Recorded, Seen, compare
from operations.stack import Stack
from tests.leaks import leaks
from tests.unit.fake_docker import FakeDocker
from tests.unit.operations_contract import MONITORING, contract_document
from tests.unit.operations_pulumi import FakePulumi, install

API, EGRESS, OWN, IMAGE = "a" * 64, "e" * 64, "c" * 64, "sha256:" + "1" * 64
NETWORKS = {API: "ibgw-paper-main-api", EGRESS: "ibgw-paper-egress"}
LABELS = {"ibgw.gateway": "main", "ibgw.role": "gateway"}
SECRET = "hunter2 in plain sight"  # noqa: S105 - made up
MIB = 2**20

INPUTS: dict[str, Any] = {
    "name": "ibgw-paper-main",
    "image": IMAGE,
    "envs": ["TIME_ZONE=America/New_York", "TRADING_MODE=paper"],
    "labels": [{"label": key, "value": value} for key, value in LABELS.items()],
    "uploads": "[secret]",
    "volumes": [{"containerPath": "/home/ibgateway/tws_settings", "volumeName": "ibgw-paper-main-settings"}],
    "networksAdvanced": [{"name": API, "aliases": ["ibgw-paper-main"]}, {"name": EGRESS}],
    "healthcheck": {"tests": ["CMD", "bash", "-c", "true"], "interval": "1m0s", "timeout": "10s", "retries": 3},
    "capabilities": {"adds": ["CAP_CHOWN"], "drops": ["ALL"]},
    "securityOpts": ["no-new-privileges:true"],
    "readOnly": True,
    "sysctls": {"net.ipv4.ip_forward": "0"},
    "memory": 1536,
    "memorySwap": 1536,
    "restart": "unless-stopped",
    "stopTimeout": 90,
    "destroyGraceSeconds": 90,
    "logDriver": "json-file",
    "logOpts": {"max-size": "10m", "max-file": "5"},
    "mustRun": True,
    # The gateway's container leaves these to the image; the one that hands its volume over declares them.
    "entrypoints": ["chown"],
    "command": ["1000:1000"],
    "user": "0",
    "networkMode": "bridge",
}
INSPECTED: dict[str, Any] = {
    "Id": OWN,
    "Name": "/ibgw-paper-main",
    "Image": IMAGE,
    "State": {"Status": "running", "Running": True},
    "Mounts": [
        {
            "Type": "volume",
            "Name": "ibgw-paper-main-settings",
            "Source": "/var/lib/docker/volumes/ibgw-paper-main-settings/_data",
            "Destination": "/home/ibgateway/tws_settings",
            "RW": True,
        }
    ],
    "Config": {
        "Hostname": OWN[:12],
        "Env": ["TRADING_MODE=paper", "TIME_ZONE=America/New_York", "PATH=/usr/bin", "LANG=C.UTF-8"],
        "Labels": {**LABELS, "org.opencontainers.image.version": "10.45.1j"},
        "Entrypoint": ["chown"],
        "Cmd": ["1000:1000"],
        "User": "0",
        "StopTimeout": 90,
        "Healthcheck": {
            "Test": ["CMD", "bash", "-c", "true"],
            "Interval": 60 * 10**9,
            "Timeout": 10 * 10**9,
            "Retries": 3,
        },
    },
    "HostConfig": {
        "NetworkMode": "bridge",
        "PortBindings": None,
        "PublishAllPorts": False,
        "Privileged": False,
        "CapAdd": ["CAP_CHOWN"],
        "CapDrop": ["ALL"],
        "Sysctls": {"net.ipv4.ip_forward": "0"},
        "SecurityOpt": ["no-new-privileges:true"],
        "ReadonlyRootfs": True,
        "Memory": 1536 * MIB,
        "MemorySwap": 1536 * MIB,
        "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
        "LogConfig": {"Type": "json-file", "Config": {"max-file": "5", "max-size": "10m"}},
    },
    "NetworkSettings": {
        "Ports": {},
        "Networks": {
            "ibgw-paper-egress": {"NetworkID": EGRESS, "Aliases": [OWN[:12]]},
            "ibgw-paper-main-api": {"NetworkID": API, "Aliases": ["ibgw-paper-main", OWN[:12]]},
        },
    },
}
OF_IMAGE = {
    "Env": ["PATH=/usr/bin", "LANG=C.UTF-8"],
    "Labels": {"org.opencontainers.image.version": "10.45.1j"},
    "Volumes": {"/data": {}},
}

NETWORK_INPUTS: dict[str, Any] = {
    "name": "ibgw-paper-egress",
    "driver": "bridge",
    "internal": False,
    "ipamConfigs": [{"subnet": "10.213.0.0/24", "gateway": "10.213.0.1"}],
    "options": {"com.docker.network.bridge.enable_icc": "false"},
    "labels": [{"label": "ibgw.role", "value": "egress"}],
}
NETWORK_INSPECTED: dict[str, Any] = {
    "Id": EGRESS,
    "Name": "ibgw-paper-egress",
    "Driver": "bridge",
    "Internal": False,
    "IPAM": {"Config": [{"Subnet": "10.213.0.0/24", "Gateway": "10.213.0.1"}]},
    "Options": {"com.docker.network.bridge.enable_icc": "false"},
    "Labels": {"ibgw.role": "egress"},
}
VOLUME_INPUTS: dict[str, Any] = {
    "name": "ibgw-paper-main-settings",
    "driver": "local",
    "driverOpts": {"type": "tmpfs"},
    "labels": [{"label": "ibgw.role", "value": "settings"}],
}
VOLUME_INSPECTED = {
    "Name": "ibgw-paper-main-settings",
    "Driver": "local",
    "Options": {"type": "tmpfs"},
    "Labels": {"ibgw.role": "settings"},
}

EXAMPLES: dict[Kind, tuple[str, dict[str, Any], dict[str, Any]]] = {
    Kind.CONTAINER: (OWN, INPUTS, INSPECTED),
    Kind.NETWORK: (EGRESS, NETWORK_INPUTS, NETWORK_INSPECTED),
    Kind.VOLUME: ("ibgw-paper-main-settings", VOLUME_INPUTS, VOLUME_INSPECTED),
}


def recorded(kind: Kind = Kind.CONTAINER, **changes: Any) -> Recorded:
    identity, inputs, _ = EXAMPLES[kind]
    values: dict[str, Any] = {"inputs": inputs, "outputs": inputs, "read": inputs} | changes
    return Recorded(kind=kind, id=identity, name=inputs["name"], host="unix:///x", **values)


def seen(kind: Kind = Kind.CONTAINER, path: str = "", value: Any = None) -> Seen:
    """What Docker shows, with one thing in it changed (None as the whole value: taken out)."""
    inspected = copy.deepcopy(EXAMPLES[kind][2])
    if path:
        *way, last = path.split("/")
        place = inspected
        for step in way:
            place = place[step]
        place[last] = value
    return Seen(inspected=inspected, image=OF_IMAGE if kind is Kind.CONTAINER else {}, networks=NETWORKS)


def lines(found: list[Difference]) -> list[str]:
    text = rendering.human(Drift(stack="paper", differences=tuple(found)))
    return [] if text == "paper: no drift" else text.splitlines()


def test_what_is_as_recorded_is_no_drift() -> None:
    for kind in EXAMPLES:
        assert lines(compare(recorded(kind), seen(kind))) == []


# Input, what is changed in the inspect, and what is told of it after the object's name.
TAMPERED: list[tuple[Kind, str, str, Any, list[str]]] = [
    (Kind.CONTAINER, "name", "Name", "/mine", ["name changed: ibgw-paper-main -> mine"]),
    (Kind.CONTAINER, "image", "Image", "sha256:2", [f"image changed: {IMAGE} -> sha256:2"]),
    (
        Kind.CONTAINER,
        "envs",
        "Config/Env",
        ["TRADING_MODE=paper", f"TIME_ZONE={SECRET}", f"PW={SECRET}", "PATH=/usr/bin:/x"],
        [
            "environment LANG removed",
            "environment PATH changed",
            "environment PW added",
            "environment TIME_ZONE changed",
        ],
    ),
    (
        Kind.CONTAINER,
        "labels",
        "Config/Labels",
        {"ibgw.role": SECRET, "org.opencontainers.image.version": "10.45.1j", "mine": SECRET},
        ["label ibgw.gateway removed", "label ibgw.role changed", "label mine added"],
    ),
    (
        Kind.CONTAINER,
        "volumes",
        "Mounts",
        [{"Type": "bind", "Source": "/root", "Destination": "/mnt", "RW": True}],
        ["mount /home/ibgateway/tws_settings removed", "mount /mnt added"],
    ),
    (
        Kind.CONTAINER,
        "networksAdvanced",
        "NetworkSettings/Networks",
        {
            "ibgw-paper-main-api": {"NetworkID": "f" * 64, "Aliases": [OWN[:12], "other"]},
            "bridge": {"NetworkID": "b" * 64, "Aliases": None},
        },
        [
            "network bridge added",
            "network ibgw-paper-egress removed",
            "network ibgw-paper-main-api changed",
            "network ibgw-paper-main-api alias ibgw-paper-main removed",
            "network ibgw-paper-main-api alias other added",
        ],
    ),
    (Kind.CONTAINER, "networkMode", "HostConfig/NetworkMode", "host", ["network mode changed: bridge -> host"]),
    (
        Kind.CONTAINER,
        "ports",
        "HostConfig/PortBindings",
        {"4004/tcp": [{"HostIp": "", "HostPort": "4002"}]},
        ["published port 4004/tcp on 0.0.0.0:4002 added"],
    ),
    (
        Kind.CONTAINER,
        "publishAllPorts",
        "HostConfig/PublishAllPorts",
        True,
        ["published port all exposed ports added"],
    ),
    (
        Kind.CONTAINER,
        "healthcheck",
        "Config/Healthcheck",
        {"Test": ["CMD", SECRET], "Interval": 30 * 10**9, "Timeout": 10 * 10**9, "StartPeriod": 10**9},
        ["probe command changed", "probe interval changed", "probe retries changed", "probe startPeriod changed"],
    ),
    (
        Kind.CONTAINER,
        "capabilities",
        "HostConfig/CapDrop",
        ["CAP_KILL"],
        ["capability drop ALL removed", "capability drop CAP_KILL added"],
    ),
    (Kind.CONTAINER, "privileged", "HostConfig/Privileged", True, ["privileged changed: False -> True"]),
    (Kind.CONTAINER, "securityOpts", "HostConfig/SecurityOpt", None, ["security options changed"]),
    (
        Kind.CONTAINER,
        "sysctls",
        "HostConfig/Sysctls",
        {"net.ipv4.ip_forward": "1"},
        ["kernel parameter net.ipv4.ip_forward changed"],
    ),
    (Kind.CONTAINER, "memory", "HostConfig/Memory", 2**30, ["memory changed: 1536 MiB -> 1024 MiB"]),
    (Kind.CONTAINER, "memorySwap", "HostConfig/MemorySwap", -1, ["memory with swap changed: 1536 MiB -> no limit"]),
    (
        Kind.CONTAINER,
        "restart",
        "HostConfig/RestartPolicy/Name",
        "",
        ["restart policy changed: unless-stopped -> no"],
    ),
    (Kind.CONTAINER, "stopTimeout", "Config/StopTimeout", None, ["stop grace changed: 90 -> 10"]),
    (Kind.CONTAINER, "logDriver", "HostConfig/LogConfig/Type", "syslog", ["log driver changed: json-file -> syslog"]),
    (
        Kind.CONTAINER,
        "logOpts",
        "HostConfig/LogConfig/Config",
        {"max-file": "6", "token": SECRET},
        ["log option max-file changed", "log option max-size removed", "log option token added"],
    ),
    (Kind.CONTAINER, "entrypoints", "Config/Entrypoint", [SECRET], ["entry point changed"]),
    (Kind.CONTAINER, "command", "Config/Cmd", ["sh", "-c", SECRET], ["command changed"]),
    (Kind.CONTAINER, "user", "Config/User", "1000", ["user changed"]),
    (Kind.CONTAINER, "mustRun", "State/Status", "exited", ["state changed: running -> exited"]),
    (Kind.CONTAINER, "readOnly", "HostConfig/ReadonlyRootfs", False, ["read only changed: True -> False"]),
    (Kind.NETWORK, "name", "Name", "mine", ["name changed: ibgw-paper-egress -> mine"]),
    (Kind.NETWORK, "driver", "Driver", "macvlan", ["driver changed: bridge -> macvlan"]),
    (Kind.NETWORK, "internal", "Internal", True, ["internal changed: False -> True"]),
    (
        Kind.NETWORK,
        "ipamConfigs",
        "IPAM/Config",
        [{"Subnet": "10.9.0.0/24"}],
        ["subnet 10.213.0.0/24 removed", "subnet 10.9.0.0/24 added"],
    ),
    (
        Kind.NETWORK,
        "options",
        "Options",
        None,
        ["option com.docker.network.bridge.enable_icc removed"],
    ),
    (Kind.NETWORK, "labels", "Labels", None, ["label ibgw.role removed"]),
    (Kind.VOLUME, "name", "Name", "mine", ["name changed: ibgw-paper-main-settings -> mine"]),
    (Kind.VOLUME, "driver", "Driver", "nfs", ["driver changed: local -> nfs"]),
    (Kind.VOLUME, "driverOpts", "Options", {"type": "nfs"}, ["option type changed"]),
    (Kind.VOLUME, "labels", "Labels", {"ibgw.role": SECRET}, ["label ibgw.role changed"]),
]


@pytest.mark.parametrize(("kind", "path", "value", "told"), [(one[0], *one[2:]) for one in TAMPERED])
def test_each_input_is_compared_with_what_docker_shows(kind: Kind, path: str, value: Any, told: list[str]) -> None:
    name = EXAMPLES[kind][1]["name"]
    # The provider is no help here: it reads what it read before.
    found = compare(recorded(kind), seen(kind, path, value))
    assert lines(found) == [f"{kind} {name}: {text}" for text in told]
    assert leaks(Drift(stack="paper", differences=tuple(found)).as_json(), SECRET) == []


def test_what_was_never_declared_counts_too() -> None:
    """The container that hands the volume over has no variables of its own."""
    bare = {key: value for key, value in INPUTS.items() if key not in ("envs", "volumes")}
    told = lines(compare(recorded(inputs=bare, outputs=bare, read=bare), seen()))
    assert [line.partition(": ")[2] for line in told] == [
        "environment TIME_ZONE added",
        "environment TRADING_MODE added",
        "mount /home/ibgateway/tws_settings added",
    ]


def test_each_compared_input_has_such_a_row() -> None:
    compared = {(kind, row.key) for kind in EXAMPLES for row in TABLES[kind] if row.inspect is not None}
    assert compared == {(kind, key) for kind, key, *_ in TAMPERED}


def test_no_order_of_dockers_or_the_providers_is_a_drift() -> None:
    """The provider gives lists of a container's networks in Go's map order."""
    chance = random.Random(4)

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shuffled(value[key]) for key in chance.sample(list(value), len(value))}
        if isinstance(value, list):
            # A command and a probe are sentences.
            ordered = value[:1] in (["CMD"], ["chown"])
            return value if ordered else [shuffled(part) for part in chance.sample(value, len(value))]
        return value

    extra = {"groupAdds": ["1", "2", "3"], "hosts": [{"host": "a", "ip": "1"}, {"host": "b", "ip": "2"}]}
    addresses = {"networkDatas": [{"networkName": name, "ipAddress": name[:3]} for name in NETWORKS.values()]}
    outputs = {**INPUTS, **extra, **addresses}
    for _ in range(10):
        now = shuffled(outputs)
        found = Seen(shuffled(INSPECTED), shuffled(OF_IMAGE), NETWORKS)
        assert lines(compare(recorded(outputs=shuffled(outputs), read=now), found)) == []


def test_what_comes_and_goes_by_itself_is_no_drift() -> None:
    """Addresses and exit codes; lists that the provider's reading has and its creation had not; a planned restart;
    volumes that the image asks for; a container that has nothing to do any more."""
    now = {**INPUTS, "networkDatas": [{"ipAddress": "10.9.0.9"}], "exitCode": 143, "dns": [], "init": False, "cpus": ""}
    assert lines(compare(recorded(read=now), seen())) == []
    assert lines(compare(recorded(), seen(path="State/Status", value="restarting"))) == []
    anonymous = {"Type": "volume", "Name": "d" * 64, "Source": "/x", "Destination": "/data", "RW": True}
    assert lines(compare(recorded(), seen(path="Mounts", value=[*INSPECTED["Mounts"], anonymous]))) == []
    stays = {**INPUTS, "mustRun": False}
    for status in ("exited", "running"):
        one = recorded(inputs=stays, outputs=stays, read=stays)
        assert lines(compare(one, seen(path="State/Status", value=status))) == []


def test_an_image_that_has_got_another_name_is_no_drift() -> None:
    """With two repositories the provider may name it by either; the image is the one with the recorded id."""
    outputs = {"name": "host:5000/gateway:1", "imageId": IMAGE, "repoDigest": "host:5000/gateway@sha256:1"}
    read = {**outputs, "repoDigest": "host:5000/another@sha256:1"}
    found = Recorded(Kind.IMAGE, IMAGE, outputs["name"], "unix:///x", {"name": outputs["name"]}, outputs, read)
    image = Seen({"Id": IMAGE}, {}, NETWORKS)
    assert lines(compare(found, image)) == []
    moved = {**read, "imageId": "sha256:" + "9" * 64}
    assert lines(compare(replace(found, read=moved), image)) == ["image host:5000/gateway:1: imageId changed"]


def test_what_only_the_provider_reads_is_told_by_its_name_for_it() -> None:
    outputs = {**INPUTS, "ulimits": None, "hostname": "x"}
    found = compare(recorded(outputs=outputs, read={**outputs, "ulimits": {"kernel.x": SECRET}}), seen())
    assert lines(found) == ["container ibgw-paper-main: ulimits changed"]
    # What both know is told once, in Docker's words.
    found = compare(recorded(read={**INPUTS, "memory": 1024}), seen(path="HostConfig/Memory", value=2**30))
    assert lines(found) == ["container ibgw-paper-main: memory changed: 1536 MiB -> 1024 MiB"]


def test_a_refresh_does_not_hide_what_it_recorded() -> None:
    """It writes what it finds to the outputs; what the last update asked for stays."""
    refreshed = {**INPUTS, "memory": 1024}
    found = compare(recorded(outputs=refreshed, read=refreshed), seen(path="HostConfig/Memory", value=2**30))
    assert lines(found) == ["container ibgw-paper-main: memory changed: 1536 MiB -> 1024 MiB"]


def test_an_option_that_docker_adds_by_itself_is_no_drift() -> None:
    """As one does whose daemon has `default-network-opts`."""
    options = {"com.docker.network.enable_ipv4": "true", **NETWORK_INPUTS["options"]}
    outputs = {**NETWORK_INPUTS, "options": options}
    assert lines(compare(recorded(Kind.NETWORK, outputs=outputs), seen(Kind.NETWORK, "Options", options))) == []
    later = compare(recorded(Kind.NETWORK), seen(Kind.NETWORK, "Options", options))
    assert lines(later) == ["network ibgw-paper-egress: option com.docker.network.enable_ipv4 added"]


def test_an_object_that_is_gone_and_one_that_was_made_anew() -> None:
    for kind in EXAMPLES:
        name = EXAMPLES[kind][1]["name"]
        assert lines(compare(recorded(kind, read=None), None)) == [f"{kind} {name}: gone"]
    # The provider takes any trouble with a network for its end (terraform-provider-docker, network read).
    assert lines(compare(recorded(Kind.NETWORK, read=None), seen(Kind.NETWORK))) == []
    anew = compare(recorded(read=None), seen(path="Id", value="9" * 64))
    assert lines(anew)[0] == "container ibgw-paper-main: recreated"
    network = compare(recorded(Kind.NETWORK, read=None), seen(Kind.NETWORK, "Id", "9" * 64))
    assert lines(network) == ["network ibgw-paper-egress: recreated"]


def test_a_containers_own_environment_counts_where_its_image_is_gone() -> None:
    """Then nobody knows what of the rest is the image's."""
    without = Seen(inspected=INSPECTED, image=INSPECTED["Config"], networks=NETWORKS)
    assert lines(compare(recorded(), without)) == []
    tampered = seen(path="Config/Env", value=["TIME_ZONE=x", "PATH=/usr/bin"]).inspected
    found = compare(recorded(), Seen(inspected=tampered, image=tampered["Config"], networks=NETWORKS))
    told = [one.item for one in found]
    assert "environment TIME_ZONE" in told
    assert "environment PATH" not in told


def test_a_name_that_somebody_chose_cannot_write_to_the_terminal() -> None:
    found = compare(recorded(), seen(path="Config/Labels", value={**LABELS, "\x1b[2J\nok": "1"}))
    assert [line for line in lines(found) if "added" in line] == ["container ibgw-paper-main: label \\x1b[2J ok added"]


# --- the whole command ----------------------------------------------------------------------------------------------

PROVIDER_URN = "urn:pulumi:paper::ibgw::pulumi:providers:docker::docker-1"


def step(kind: str, name: str, identity: str, inputs: dict[str, Any], read: dict[str, Any] | None) -> dict[str, Any]:
    old = {
        "urn": f"urn:pulumi:paper::ibgw::{kind}::{name}",
        "type": kind,
        "id": identity,
        "inputs": inputs,
        "outputs": inputs,
        "provider": f"{PROVIDER_URN}::p1",
    }
    new = {"op": "refresh", "newState": {**old, "outputs": read}}
    return {"urn": old["urn"], "oldState": old, **({"op": "delete"} if read is None else new)}


PULLED = {"name": "ghcr.io/x@sha256:1", "imageId": IMAGE}
BUILT = {"imageName": "ibgw-paper-verifier", "repoDigest": "sha256:" + "5" * 64}
STEPS: list[dict[str, Any]] = [
    {"op": "refresh", "urn": "urn:s", "oldState": {"urn": "urn:s", "type": "pulumi:pulumi:Stack"}},
    {
        "op": "refresh",
        "urn": PROVIDER_URN,
        "oldState": {
            "urn": PROVIDER_URN,
            "type": "pulumi:providers:docker",
            "id": "p1",
            "inputs": {"host": "unix:///x"},
        },
    },
    step("docker:index/container:Container", "main", OWN, INPUTS, INPUTS),
    step("docker:index/network:Network", "egress", EGRESS, NETWORK_INPUTS, NETWORK_INPUTS),
    step("docker:index/network:Network", "main-api", API, {"name": NETWORKS[API]}, {"name": NETWORKS[API]}),
    step("docker:index/volume:Volume", "main-settings", VOLUME_INPUTS["name"], VOLUME_INPUTS, VOLUME_INPUTS),
    step("docker:index/remoteImage:RemoteImage", "gateway-image", f"{IMAGE}x", PULLED, PULLED),
    step("docker:index/image:Image", "verifier-image", "ibgw-paper-verifier", BUILT, BUILT),
]


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePulumi:
    made = install(tmp_path / "bin", monkeypatch, sys.executable)
    made.answers({"refresh --preview-only --json --stack paper": (0, json.dumps({"steps": STEPS}), "")})
    return made


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    host = FakeDocker()
    host.objects[Kind.CONTAINER][OWN] = copy.deepcopy(INSPECTED)
    host.objects[Kind.NETWORK] = {EGRESS: NETWORK_INSPECTED, API: {"Id": API, "Name": NETWORKS[API]}}
    host.objects[Kind.VOLUME][VOLUME_INPUTS["name"]] = VOLUME_INSPECTED
    host.objects[Kind.IMAGE] = {IMAGE: {"Id": IMAGE, "Config": OF_IMAGE}, BUILT["repoDigest"]: {"Config": {}}}
    opened: Callable[[str], FakeDocker] = {"unix:///x": host}.__getitem__
    monkeypatch.setattr(reading, "DockerHost", opened)
    return host


def test_no_drift_is_one_line_and_the_engine_is_only_asked_to_read(
    pulumi: FakePulumi, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["drift", "--stack", "paper"]) == 0
    assert capsys.readouterr().out == "paper: no drift\n"
    assert cli.run(["drift", "--stack", "paper", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "drift": False, "stack": "paper", "differences": []}
    for words, _ in pulumi.calls:
        assert words[:3] == ["refresh", "--preview-only", "--json"]
        assert "--show-secrets" not in words


def test_drift_is_told_object_by_object_and_ends_with_9(
    pulumi: FakePulumi, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
) -> None:
    of_another_id = (
        json.dumps(docker.objects[Kind.CONTAINER].pop(OWN)).replace(OWN, "9" * 64).replace(OWN[:12], "9" * 12)
    )
    again = json.loads(of_another_id)
    again["HostConfig"]["Memory"] = 2**30
    docker.objects[Kind.CONTAINER]["ibgw-paper-main"] = again
    docker.objects[Kind.VOLUME].clear()
    docker.objects[Kind.IMAGE].clear()
    assert cli.run(["drift", "--stack", "paper"]) == 9
    assert not docker.done
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == [
        "container ibgw-paper-main: recreated",
        "container ibgw-paper-main: memory changed: 1536 MiB -> 1024 MiB",
    ]
    assert told[-3:] == [
        "volume ibgw-paper-main-settings: gone",
        "image ghcr.io/x@sha256:1: gone",
        "image ibgw-paper-verifier: gone",
    ]
    assert cli.run(["drift", "--stack", "paper", "--json"]) == 9
    document = json.loads(capsys.readouterr().out)
    assert (document["drift"], document["stack"], len(document["differences"])) == (True, "paper", len(told))
    assert document["differences"][1] == {
        "kind": "container",
        "name": "ibgw-paper-main",
        "item": "memory",
        "change": "changed",
        "recorded": "1536 MiB",
        "found": "1024 MiB",
    }


def test_what_an_interrupted_update_left_to_be_deleted_is_not_looked_at(pulumi: FakePulumi, docker: FakeDocker) -> None:
    doomed = step("docker:index/container:Container", "main", "d" * 64, INPUTS, None)
    doomed["oldState"]["delete"] = True
    steps = [*STEPS, doomed]
    assert [one.id for one in reading.read(steps) if one.kind is Kind.CONTAINER] == [OWN]


def test_what_a_refresh_made_the_state_forget_is_still_missed(
    pulumi: FakePulumi, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
) -> None:
    """A `pulumi refresh` drops from the state what it does not find, so that nothing there is left to miss it."""
    outputs = {"outputs": {"contract": contract_document()}}
    root: dict[str, Any] = {**STEPS[0], "oldState": {**STEPS[0]["oldState"], **outputs}}
    owner_inputs = {**INPUTS, "name": "ibgw-paper-main-settings-owner"}
    owner = step("docker:index/container:Container", "main-settings-owner", "b" * 64, owner_inputs, owner_inputs)
    docker.objects[Kind.CONTAINER]["b" * 64] = {**INSPECTED, "Id": "b" * 64, "Name": "/ibgw-paper-main-settings-owner"}
    pulumi.answers({"refresh": (0, json.dumps({"steps": [root, *STEPS[1:], owner]}), "")})
    assert cli.run(["drift", "--stack", "paper"]) == 0, capsys.readouterr().out
    left = [one for one in STEPS[1:] if not one["urn"].endswith(("Container::main", "Volume::main-settings"))]
    pulumi.answers({"refresh": (0, json.dumps({"steps": [root, *left, owner]}), "")})
    capsys.readouterr()
    assert cli.run(["drift", "--stack", "paper"]) == 9
    assert capsys.readouterr().out.splitlines() == [
        "container ibgw-paper-main: forgotten",
        "volume ibgw-paper-main-settings: forgotten",
    ]
    pulumi.answers({"refresh": (0, json.dumps({"steps": [root]}), "")})
    assert cli.run(["drift", "--stack", "paper"]) == 9
    assert len(capsys.readouterr().out.splitlines()) == 5
    outputs["outputs"]["contract"]["monitoring"] = MONITORING
    pulumi.answers({"refresh": (0, json.dumps({"steps": [root]}), "")})
    assert cli.run(["drift", "--stack", "paper"]) == 9
    told = capsys.readouterr().out.splitlines()
    assert {f"{one}: forgotten" for one in ("container ibgw-paper.prober", "container ibgw-paper.watcher")} <= {*told}
    assert "network ibgw-paper.monitoring: forgotten" in told


# Exit code 5, for whatever reason nothing is known.
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((0, json.dumps({"steps": STEPS[:2]}), ""), "records nothing on a Docker host"),
        ((255, "", "error: no stack named 'paper' found"), "There is no stack 'paper'"),
        (
            (1, json.dumps({"diagnostics": [{"message": "Error pinging Docker server", "severity": "error"}]}), ""),
            "Error pinging Docker server",
        ),
    ],
)
def test_where_it_cannot_look_it_ends_with_5(
    answer: tuple[int, str, str], said: str, pulumi: FakePulumi, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
) -> None:
    pulumi.answers({"refresh": answer})
    assert cli.run(["drift", "--stack", "paper"]) == 5
    told = capsys.readouterr()
    assert (told.out, said in told.err) == ("", True)


def test_a_docker_host_that_fails_midway_gives_no_half_report(
    pulumi: FakePulumi, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.failing["there"] = DockerError("server error")
    with pytest.raises(IbgwError, match=r"Docker host unix:///x: server error") as refusal:
        reading.look(Stack("paper"))
    assert refusal.value.exit_code == 5
