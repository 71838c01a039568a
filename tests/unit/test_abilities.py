"""What a Docker host cannot do, in the shapes of GET /info (Docker API 1.41 to 1.48)."""

from typing import Any

import pytest

from deployment.abilities import Lacking, accepted, lacks

GOOD: dict[str, Any] = {
    "ServerVersion": "20.10.24+dfsg1",
    "OSType": "linux",
    "Architecture": "x86_64",
    "MemoryLimit": True,
    "SwapLimit": True,
    "BridgeNfIptables": True,
    "CgroupVersion": "2",
    "SecurityOptions": ["name=seccomp,profile=default", "name=cgroupns"],
    "Plugins": {"Network": ["bridge", "host", "ipvlan", "macvlan", "null", "overlay"]},
}


def said(changes: dict[str, Any], *, platform: str = "linux/amd64", gateways: int = 2) -> list[str]:
    return [str(lack) for lack in lacks(GOOD | changes, platform=platform, gateways=gateways)]


@pytest.mark.parametrize(
    ("changes", "platform"),
    [
        ({}, "linux/amd64"),
        ({"Architecture": "aarch64"}, "linux/arm64"),
        ({"Architecture": "arm64"}, "linux/arm64"),
        # It loads br_netfilter itself, and says nothing true of it.
        ({"ServerVersion": "28.2.2", "BridgeNfIptables": False}, "linux/amd64"),
        ({"SecurityOptions": ["name=rootless", "name=userns"]}, "linux/amd64"),
    ],
)
def test_a_host_that_can_do_everything_lacks_nothing(changes: dict[str, Any], platform: str) -> None:
    assert said(changes, platform=platform) == []


def test_what_a_daemon_does_not_tell_is_not_lacking() -> None:
    assert lacks({}, platform="linux/amd64", gateways=2) == []


@pytest.mark.parametrize(
    ("changes", "what", "todo", "way_out"),
    [
        ({"MemoryLimit": False, "SwapLimit": False}, "no control group for memory",
         "`cgroup_enable=memory swapaccount=1` to the kernel's command line", "acceptHost: [memoryLimit]"),
        ({"SwapLimit": False}, "do not count swap", "`swapaccount=1`", "acceptHost: [swapLimit]"),
        ({"MemoryLimit": False, "SwapLimit": False, "CgroupVersion": "1", "SecurityOptions": ["name=rootless"]},
         "no control group for memory", "Delegate=yes", "acceptHost: [memoryLimit]"),
        ({"Architecture": "aarch64"}, "processor is aarch64", "set ibgw:platform to linux/arm64",
         "acceptHost: [nativeImages]"),
        ({"Architecture": "armv7l"}, "processor is armv7l", "use a host with an amd64 or arm64",
         "acceptHost: [nativeImages]"),
        ({"OSType": "windows"}, "runs windows containers", "switch it to Linux containers", None),
        ({"Plugins": {"Network": ["nat", "transparent"]}}, "nat, transparent", "bridge driver", None),
        ({"BridgeNfIptables": False}, "bridges do not filter", "net.bridge.bridge-nf-call-iptables=1", None),
    ],
)  # fmt: skip
def test_each_lack_is_told_with_what_to_do_and_the_way_out(
    changes: dict[str, Any], what: str, todo: str, way_out: str | None
) -> None:
    [text] = said(changes)
    assert what in text
    assert todo in text
    assert ("acceptHost" in text) is (way_out is not None)
    assert way_out is None or way_out in text


LEGACY = {"CgroupVersion": "1", "SecurityOptions": ["name=seccomp,profile=default"]}
HOSTS: list[tuple[str, dict[str, Any], str, list[str]]] = [
    ("Raspberry Pi OS, 64 bits, with images for amd64",
     {"Architecture": "aarch64", "MemoryLimit": False, "SwapLimit": False, "OperatingSystem": "Debian GNU/Linux 12",
      "Warnings": ["WARNING: No memory limit support", "WARNING: No swap limit support"]},
     "linux/amd64", ["processor is aarch64", "cgroup_enable=memory swapaccount=1"]),
    ("Raspberry Pi OS, 32 bits", {"Architecture": "armv6l", "MemoryLimit": False}, "linux/arm64",
     ["processor is armv6l", "no control group for memory"]),
    ("a rescue system", LEGACY | {"MemoryLimit": False, "SwapLimit": False, "BridgeNfIptables": False}, "linux/amd64",
     ["no control group for memory", "bridges do not filter"]),
    ("Docker Desktop on Apple's processors", {"Architecture": "aarch64", "OperatingSystem": "Docker Desktop",
     "ServerVersion": "28.3.2", "BridgeNfIptables": False}, "linux/arm64", []),
    ("Docker Desktop on Windows, with Windows containers", {"OSType": "windows", "Architecture": "x86_64",
     "Plugins": {"Network": ["ics", "internal", "l2bridge", "nat", "null", "overlay", "private", "transparent"]}},
     "linux/amd64", ["runs windows containers", "a gateway's are bridges"]),
    ("rootless, cgroup v1", LEGACY | {"MemoryLimit": False, "SwapLimit": False, "CgroupDriver": "none",
     "SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]}, "linux/amd64", ["Delegate=yes"]),
    ("rootless, without the memory controller", {"MemoryLimit": False, "SwapLimit": False, "CgroupDriver": "systemd",
     "SecurityOptions": ["name=rootless", "name=cgroupns"]}, "linux/amd64", ["Delegate=yes"]),
    ("rootless as it should be", {"SecurityOptions": ["name=rootless", "name=cgroupns"]}, "linux/amd64", []),
    ("Podman 4", {"BuildahVersion": "1.33.7", "Rootless": False, "ServerVersion": "4.9.4", "Architecture": "amd64",
     "Plugins": {"Network": ["bridge", "macvlan", "ipvlan"]}}, "linux/amd64", ["it is Podman"]),
    ("Podman 5, rootless", {"BuildahVersion": "1.41.4", "Rootless": True, "ServerVersion": "5.6.0",
     "Architecture": "arm64", "SecurityOptions": ["name=rootless"]}, "linux/arm64", ["it is Podman"]),
    ("a build of one's own", {"ServerVersion": "dev", "Architecture": "", "OSType": "", "SecurityOptions": None,
     "Plugins": None}, "linux/amd64", []),
    ("s390x", {"Architecture": "s390x"}, "linux/amd64", ["processor is s390x"]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "platform", "lacking"), [row[1:] for row in HOSTS], ids=[row[0] for row in HOSTS])
def test_what_each_kind_of_host_lacks_is_said_once(changes: dict[str, Any], platform: str, lacking: list[str]) -> None:
    told = said(changes, platform=platform)
    assert len(told) == len(lacking)
    for words, text in zip(lacking, told, strict=True):
        assert words in text


def test_one_gateway_alone_needs_no_bridge_that_separates() -> None:
    assert said({"BridgeNfIptables": False}, gateways=1) == []


def test_only_what_is_lacking_is_given_up() -> None:
    every = tuple(Lacking)
    assert accepted(lacks(GOOD, platform="linux/amd64", gateways=1), every) == ()
    without = lacks(GOOD | {"SwapLimit": False}, platform="linux/amd64", gateways=1)
    assert accepted(without, every) == (Lacking.SWAP_LIMIT,)
    assert accepted(without, (Lacking.MEMORY_LIMIT,)) == ()
