"""Every property of the pulumi_docker classes in use is implemented or refused by name."""

import pulumi_docker
import pytest
from pulumi._types import input_type_py_to_pulumi_names

from sandbox.plugins.docker.container import _FIELDS
from sandbox.plugins.docker.properties import (
    CONTAINER,
    IMAGE,
    NETWORK,
    PROVIDER,
    REMOTE_IMAGE,
    VOLUME,
)
from sandbox.plugins.docker.schema import OnChange, Schema, refusals


def items(schema: Schema, *path: str) -> Schema:
    for name in path:
        found = schema[name].items
        assert found is not None, name
        schema = found
    return schema


# Each argument class with what the stand-in knows of it. A class that is not here belongs to a refused property.
CLASSES: dict[type, Schema] = {
    pulumi_docker.ProviderArgs: PROVIDER,
    pulumi_docker.NetworkArgs: NETWORK,
    pulumi_docker.NetworkIpamConfigArgs: items(NETWORK, "ipamConfigs"),
    pulumi_docker.NetworkLabelArgs: items(NETWORK, "labels"),
    pulumi_docker.VolumeArgs: VOLUME,
    pulumi_docker.VolumeLabelArgs: items(VOLUME, "labels"),
    pulumi_docker.RemoteImageArgs: REMOTE_IMAGE,
    pulumi_docker.ImageArgs: IMAGE,
    pulumi_docker.DockerBuildArgs: items(IMAGE, "build"),
    pulumi_docker.ContainerArgs: CONTAINER,
    pulumi_docker.ContainerCapabilitiesArgs: items(CONTAINER, "capabilities"),
    pulumi_docker.ContainerHealthcheckArgs: items(CONTAINER, "healthcheck"),
    pulumi_docker.ContainerHostArgs: items(CONTAINER, "hosts"),
    pulumi_docker.ContainerLabelArgs: items(CONTAINER, "labels"),
    pulumi_docker.ContainerMountArgs: items(CONTAINER, "mounts"),
    pulumi_docker.ContainerMountBindOptionsArgs: items(CONTAINER, "mounts", "bindOptions"),
    pulumi_docker.ContainerMountTmpfsOptionsArgs: items(CONTAINER, "mounts", "tmpfsOptions"),
    pulumi_docker.ContainerMountVolumeOptionsArgs: items(CONTAINER, "mounts", "volumeOptions"),
    pulumi_docker.ContainerMountVolumeOptionsLabelArgs: items(CONTAINER, "mounts", "volumeOptions", "labels"),
    pulumi_docker.ContainerNetworksAdvancedArgs: items(CONTAINER, "networksAdvanced"),
    pulumi_docker.ContainerUlimitArgs: items(CONTAINER, "ulimits"),
    pulumi_docker.ContainerUploadArgs: items(CONTAINER, "uploads"),
    pulumi_docker.ContainerVolumeArgs: items(CONTAINER, "volumes"),
}

# What a resource's class shows as outputs and takes no arguments for.
OUTPUTS = {
    pulumi_docker.Network: {"scope"},
    pulumi_docker.Volume: {"mountpoint"},
    pulumi_docker.RemoteImage: {"imageId", "repoDigest"},
    pulumi_docker.Image: {"baseImageName", "context", "dockerfile", "platform", "registryServer", "repoDigest"},
    pulumi_docker.Container: {"bridge", "containerLogs", "exitCode", "networkDatas"},
}
SCHEMAS = {
    pulumi_docker.Network: NETWORK,
    pulumi_docker.Volume: VOLUME,
    pulumi_docker.RemoteImage: REMOTE_IMAGE,
    pulumi_docker.Image: IMAGE,
    pulumi_docker.Container: CONTAINER,
}


def arguments(of: type) -> set[str]:
    return set(input_type_py_to_pulumi_names(of).values())


@pytest.mark.parametrize("of", CLASSES, ids=lambda of: of.__name__)
def test_every_argument_is_implemented_or_refused(of: type) -> None:
    schema = CLASSES[of]
    accepted = {name for name, known in schema.items() if not known.output}
    assert arguments(of) <= accepted
    # Beyond the class: what the SDK and the plug-in add by themselves.
    assert accepted - arguments(of) <= {"version", "pluginDownloadURL", "contextDigest"}


@pytest.mark.parametrize("of", OUTPUTS, ids=lambda of: of.__name__)
def test_outputs_carry_the_official_names(of: type) -> None:
    assert {name for name, known in SCHEMAS[of].items() if known.output} == OUTPUTS[of]


def test_every_nested_class_is_known_or_its_property_refused() -> None:
    known = {of.__name__ for of in CLASSES}
    # Classes of refused properties, with the property that refuses them.
    refused = {
        "ContainerDeviceArgs": CONTAINER["devices"],
        "ContainerDeviceReadBpArgs": CONTAINER["deviceReadBps"],
        "ContainerDeviceReadIopArgs": CONTAINER["deviceReadIops"],
        "ContainerDeviceRequestArgs": CONTAINER["deviceRequests"],
        "ContainerDeviceWriteBpArgs": CONTAINER["deviceWriteBps"],
        "ContainerDeviceWriteIopArgs": CONTAINER["deviceWriteIops"],
        "ContainerPortArgs": CONTAINER["ports"],
        "VolumeClusterArgs": VOLUME["cluster"],
        "CacheFromArgs": items(IMAGE, "build")["cacheFrom"],
        "RegistryArgs": IMAGE["registry"],
        "ProviderRegistryAuthArgs": PROVIDER["registryAuth"],
        "RemoteImageBuildArgs": REMOTE_IMAGE["build"],
        "RemoteImageBuildAuthConfigArgs": REMOTE_IMAGE["build"],
        "RemoteImageBuildSecretArgs": REMOTE_IMAGE["build"],
        "RemoteImageBuildUlimitArgs": REMOTE_IMAGE["build"],
    }
    assert all(found.refused for found in refused.values())
    outputs_only = {"ContainerNetworkDataArgs"}
    prefixes = ("Container", "Network", "Volume", "RemoteImage", "DockerBuild", "CacheFrom", "ProviderRegistryAuth")
    others = {"RegistryArgs", "ImageArgs", "ProviderArgs"}
    classes = {
        name for name in dir(pulumi_docker) if name.endswith("Args") and (name.startswith(prefixes) or name in others)
    }
    assert classes == known | set(refused) | outputs_only


def test_every_implemented_container_property_is_used() -> None:
    """Each accepted property goes to a field of Docker's API or is one of those that the code handles by name."""
    by_name = {"name", "image", "uploads", "networksAdvanced", "capabilities", "platform"}
    by_name |= {"mustRun", "start", "attach", "logs", "wait"}
    by_name |= {"waitTimeout", "destroyGraceSeconds", "removeVolumes", "containerReadRefreshTimeoutMilliseconds"}
    accepted = {name for name, known in CONTAINER.items() if not known.output and not known.refused}
    assert accepted == set(_FIELDS) | by_name


def test_refusals_name_the_property_and_the_reason() -> None:
    found = {
        refusal.property: refusal.reason
        for refusal in refusals(
            CONTAINER,
            {
                "name": "c",
                "gpus": "all",
                "invented": 1,
                "exitCode": 0,
                "uploads": [{"file": "/a", "content": "x"}, {"content": "y", "permissions": "rw"}],
                "healthcheck": {"tests": ["CMD", "true"], "startInterval": "1s"},
            },
        )
    }
    assert found == {
        "gpus": "the docker stand-in refuses 'gpus': nothing in this project uses it",
        "invented": "the docker stand-in does not know 'invented'",
        "exitCode": "the docker stand-in does not know 'exitCode'",
        "uploads[1].permissions": "'uploads[1].permissions' does not match ^0[0-7]{3}$",
        "uploads[1].file": "Missing required property 'uploads[1].file'",
        "healthcheck.startInterval": (
            "the docker stand-in refuses 'healthcheck.startInterval': Docker Engine knows it from version 25 on"
        ),
        "image": "Missing required property 'image'",
    }


# terraform-provider-docker 4.5.0: what its update sends to the daemon, and what it takes without doing anything.
APPLIED = {"restart", "maxRetryCount", "mustRun", "memory", "memoryReservation", "memorySwap", "cpuShares", "cpuSet"}
RECORDED = {
    "healthcheck",
    "tmpfs",
    "init",
    "cpuPeriod",
    "cpuQuota",
    "start",
    "attach",
    "logs",
    "wait",
    "waitTimeout",
    "destroyGraceSeconds",
    "removeVolumes",
    "containerReadRefreshTimeoutMilliseconds",
}


def test_what_replaces_a_container() -> None:
    accepted = {name: known for name, known in CONTAINER.items() if not known.output and not known.refused}
    assert {name for name, known in accepted.items() if known.on_change is OnChange.APPLY} == APPLIED
    assert {name for name, known in accepted.items() if known.on_change is OnChange.RECORD} == RECORDED
    assert accepted["mounts"].on_change is OnChange.REPLACE_IF_COUNTED
    rest = set(accepted) - APPLIED - RECORDED - {"mounts"}
    assert {accepted[name].on_change for name in rest} == {OnChange.REPLACE}


@pytest.mark.parametrize("schema", [NETWORK, VOLUME], ids=["Network", "Volume"])
def test_every_input_of_networks_and_volumes_replaces(schema: Schema) -> None:
    assert {known.on_change for known in schema.values()} == {OnChange.REPLACE}
