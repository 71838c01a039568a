"""What a Docker host cannot do that gateways need, by what its daemon says of itself (Docker Engine API, GET /info).
Pure.

Docker drops a limit that its kernel cannot keep, with a warning to whoever created the container. Nothing that is done
to a gateway can put that right, so the host is asked first.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Info = Mapping[str, Any]


class Lacking(StrEnum):
    """What a configuration can accept that its host has not (`ibgw:acceptHost`)."""

    MEMORY_LIMIT = "memoryLimit"
    SWAP_LIMIT = "swapLimit"
    NATIVE_IMAGES = "nativeImages"


@dataclass(frozen=True)
class Lack:
    """`what` is said of the host. `acceptable`: how it is accepted; None where no gateway can do with it."""

    what: str
    todo: str
    acceptable: Lacking | None = None

    def __str__(self) -> str:
        accept = f", or accept the host as it is: ibgw:acceptHost: [{self.acceptable}]" if self.acceptable else ""
        return f"the host cannot do what a gateway needs: {self.what}; {self.todo}{accept}"

    def accepted_by(self, accepted: Collection[Lacking]) -> bool:
        return self.acceptable is not None and self.acceptable in accepted


_PROCESSORS = {"x86_64": "linux/amd64", "amd64": "linux/amd64", "aarch64": "linux/arm64", "arm64": "linux/arm64"}
"""What `uname -m` calls them, and the platform of the images that they run by themselves."""

_LOADS_NETFILTER_ITSELF = 28
"""From this version on Docker loads br_netfilter with the first network that needs it, and says nothing of it in its
info; where it cannot, it creates no such network."""

_COMMAND_LINE = (
    "add `{parameters}` to the kernel's command line (Raspberry Pi OS: the one line of /boot/firmware/cmdline.txt; "
    "GRUB: GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub) and restart the host"
)
_ROOTLESS = (
    "rootless Docker has limits only with cgroup v2 and the memory controller delegated to its user (Delegate=yes for "
    "systemd's user@.service), so delegate it, or use Docker as root"
)


def rootless(info: Info) -> bool:
    """Whether its daemon runs as a user of its own."""
    return any("rootless" in option for option in info.get("SecurityOptions") or ())


def limits_lacking(info: Info) -> list[Lack]:
    """The limits of memory that the host's kernel does not keep. What a daemon does not tell counts as there."""
    if info.get("MemoryLimit") is False:
        return [
            Lack(
                "it has no control group for memory, so Docker drops the memory limit of a container",
                _ROOTLESS if rootless(info) else _COMMAND_LINE.format(parameters="cgroup_enable=memory swapaccount=1"),
                Lacking.MEMORY_LIMIT,
            )
        ]
    if info.get("SwapLimit") is False:
        return [
            Lack(
                "its control groups do not count swap, so Docker drops the swap limit of a container",
                _ROOTLESS if rootless(info) else _COMMAND_LINE.format(parameters="swapaccount=1"),
                Lacking.SWAP_LIMIT,
            )
        ]
    return []


def first_user(info: Info) -> tuple[int, int]:
    """The user and group of the host that a container has for root; 0 unless Docker remaps them (userns-remap), for
    which it has a folder of its own, such as /var/lib/docker/165536.165536."""
    remapped = any("name=userns" in option for option in info.get("SecurityOptions") or ())
    folder = re.search(r"/(\d+)\.(\d+)$", info.get("DockerRootDir") or "")
    return (int(folder[1]), int(folder[2])) if remapped and folder else (0, 0)


def lacks(info: Info, *, platform: str, gateways: int) -> list[Lack]:
    """All that stands in a stack's way. `platform`: of its images, such as linux/amd64. `gateways`: their number."""
    return [*_kind(info, platform), *limits_lacking(info), *_networks(info, gateways)]


def _kind(info: Info, platform: str) -> list[Lack]:
    # Podman's own addition to what Docker's API has (pkg/api/handlers/compat/info.go).
    if "BuildahVersion" in info:
        return [
            Lack(
                "it is Podman behind Docker's API, which keeps no container running by itself and separates networks "
                "in its own way",
                "use a host with Docker itself",
            )
        ]
    if (system := info.get("OSType") or "linux") != "linux":
        return [Lack(f"it runs {system} containers, and the images are {platform}", "switch it to Linux containers")]
    processor = info.get("Architecture")
    own = _PROCESSORS.get(processor or "")
    if not processor or own == platform:
        return []
    todo = f"set ibgw:platform to {own}" if own else "use a host with an amd64 or arm64 processor"
    return [Lack(f"its processor is {processor}, and ibgw:platform is {platform}", todo, Lacking.NATIVE_IMAGES)]


def _networks(info: Info, gateways: int) -> list[Lack]:
    drivers = (info.get("Plugins") or {}).get("Network")
    if drivers and "bridge" not in drivers:
        return [
            Lack(
                f"its networks are of the drivers {', '.join(drivers)}, and a gateway's are bridges",
                "use a host with Docker's own bridge driver",
            )
        ]
    version = re.match("[0-9]+", info.get("ServerVersion") or "")
    silent = version is None or int(version[0]) >= _LOADS_NETFILTER_ITSELF
    if gateways > 1 and not silent and info.get("BridgeNfIptables") is False:
        return [
            Lack(
                "its bridges do not filter (bridge-nf-call-iptables is off), so the stack's gateways would reach each "
                "other over the egress network",
                "load br_netfilter and set net.bridge.bridge-nf-call-iptables=1 (/etc/modules-load.d, /etc/sysctl.d)",
            )
        ]
    return []


def accepted(lacking: Iterable[Lack], configured: Collection[Lacking]) -> tuple[Lacking, ...]:
    """Of what a configuration accepts, what the host really lacks: a limit that it can keep is never given up."""
    missing = {ability.acceptable for ability in lacking}
    return tuple(ability for ability in Lacking if ability in missing and ability in configured)
