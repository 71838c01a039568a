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


def test_one_gateway_alone_needs_no_bridge_that_separates() -> None:
    assert said({"BridgeNfIptables": False}, gateways=1) == []


def test_only_what_is_lacking_is_given_up() -> None:
    every = tuple(Lacking)
    assert accepted(lacks(GOOD, platform="linux/amd64", gateways=1), every) == ()
    without = lacks(GOOD | {"SwapLimit": False}, platform="linux/amd64", gateways=1)
    assert accepted(without, every) == (Lacking.SWAP_LIMIT,)
    assert accepted(without, (Lacking.MEMORY_LIMIT,)) == ()
