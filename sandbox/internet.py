"""The simulated internet: a network namespace beyond the host, with the broker in it.

An internal Docker network still reaches whatever listens on the host itself; only what must be forwarded beyond the
host is cut off. So the broker lives beyond: in a namespace of its own, behind a pair of virtual interfaces, each
sandbox in a /30 of its own out of 198.51.100.0/24 (RFC 5737, reserved for documentation).
"""

import os
import sys
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from deployment.errors import IbgwError
from sandbox.broker.control import BrokerControl
from sandbox.images import digest, folder_context
from sandbox.packages import find
from sandbox.processes import Processes, answers, end, identity, run
from sandbox.record import RecordedProcess
from sandbox.steps import Say

ADDRESSES = IPv4Network("198.51.100.0/24")
LINK_PREFIX = 30
COUNT = 64
"""How many sandboxes fit on one machine: the /30s in a /24."""

GATEWAY_PORT = 4000
CONTROL_PORT = 4100
PROCESS = "broker"
START_SECONDS = 30


@dataclass(frozen=True)
class Internet:
    """One sandbox's namespace: `index` says which /30, and names its interfaces."""

    prefix: str
    index: int

    @property
    def namespace(self) -> str:
        return f"{self.prefix}-internet"

    @property
    def host_link(self) -> str:
        return f"ibgw-host-{self.index}"

    @property
    def inner_link(self) -> str:
        return f"ibgw-net-{self.index}"

    @property
    def subnet(self) -> IPv4Network:
        return list(ADDRESSES.subnets(new_prefix=LINK_PREFIX))[self.index]

    @property
    def host_address(self) -> str:
        return str(self.subnet[1])

    @property
    def broker(self) -> str:
        return str(self.subnet[2])

    def exists(self) -> bool:
        return Path("/run/netns", self.namespace).exists() and self.link_exists()

    def link_exists(self) -> bool:
        return Path("/sys/class/net", self.host_link).exists()

    def create(self) -> None:
        """Raises IbgwError when another sandbox has this name or these addresses."""
        if os.geteuid() != 0:
            raise IbgwError("a network namespace needs root; run as root")
        if Path("/run/netns", self.namespace).exists():
            raise IbgwError(
                f"the network namespace {self.namespace} is left from another sandbox of this name; "
                "end that one first: make sandbox-down in its folder"
            )
        if self.link_exists():
            raise IbgwError(
                f"the interface {self.host_link} exists: another sandbox uses {self.subnet}; "
                "end that one first: make sandbox-down in its folder"
            )
        ip = find("ip")
        if ip is None:
            raise IbgwError("the command ip is missing; install the package iproute2")
        self._ip("netns", "add", self.namespace)
        try:
            self._link()
        except IbgwError:
            self._ip("netns", "delete", self.namespace)
            raise

    def _link(self) -> None:
        """The pair of interfaces, with their addresses and the way back to the host."""
        inside = ("-n", self.namespace)
        peer = ("peer", "name", self.inner_link, "netns", self.namespace)
        self._ip("link", "add", self.host_link, "type", "veth", *peer)
        self._ip("address", "add", f"{self.host_address}/{LINK_PREFIX}", "dev", self.host_link)
        self._ip("link", "set", self.host_link, "up")
        self._ip(*inside, "address", "add", f"{self.broker}/{LINK_PREFIX}", "dev", self.inner_link)
        self._ip(*inside, "link", "set", self.inner_link, "up")
        self._ip(*inside, "link", "set", "lo", "up")
        self._ip(*inside, "route", "add", "default", "via", self.host_address)

    def remove(self) -> bool:
        """Ends whatever runs in the namespace and removes it; both interfaces go with it. False if there was none."""
        if not Path("/run/netns", self.namespace).exists():
            return False
        for pid in self._ip("netns", "pids", self.namespace).split():
            found = identity(int(pid))
            if found is not None:
                end(RecordedProcess(pid=int(pid), identity=found), grace=5)
        self._ip("netns", "delete", self.namespace)
        return True

    def inside(self, *command: str) -> list[str]:
        """The command line that runs `command` in the namespace, in place of itself (the pid stays)."""
        return [find("ip") or "ip", "netns", "exec", self.namespace, *command]

    def _ip(self, *arguments: str) -> str:
        return run([find("ip") or "ip", *arguments], doing=f"the network namespace {self.namespace}")


def ensure(internet: Internet, processes: Processes, *, users: Path, root: Path, say: Say) -> None:
    """The namespace and, in it, the broker. `users` is the broker's file of users, `root` the checkout.

    The broker is started again when its sources have changed; sessions and counters do not outlive that. New users it
    takes in as it runs.
    """
    if not internet.exists():
        processes.stop(PROCESS, grace=5)
        internet.create()
    sources = {**folder_context(root / "sandbox" / "broker"), **folder_context(root / "sandbox" / "gateway")}
    version = digest(sources, {})
    if processes.ready(PROCESS, version):
        BrokerControl(internet.broker, CONTROL_PORT).reload_users()
    else:
        say(f"starting the broker at {internet.broker} in {internet.namespace} (a second or two)")
        processes.start(
            PROCESS,
            internet.inside(sys.executable, "-m", "sandbox.broker", "--listen", internet.broker, "--users", str(users)),
            answers=lambda: answers(internet.broker, CONTROL_PORT),
            seconds=START_SECONDS,
            version=version,
            cwd=root,
        )
