"""Debian packages that the sandbox needs: found by their commands, all missing ones installed in one go."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from deployment.errors import IbgwError
from sandbox.locks import locked
from sandbox.processes import run
from sandbox.steps import Say

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

COMMANDS: Mapping[str, str] = {
    "debootstrap": "debootstrap",
    "docker-registry": "docker-registry",
    "ip": "iproute2",
    "iptables": "iptables",
    "ssh": "openssh-client",
}
"""Command -> package. Docker itself is not among them: a running daemon makes it superfluous."""

DOCKER = {"dockerd": "docker.io"}
PROMETHEUS = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "prometheus-pushgateway": "prometheus-pushgateway",
}
DISPLAY = {"Xvfb": "xvfb", "socat": "socat", "x11vnc": "x11vnc"}
TESTS = {
    "envsubst": "gettext-base",
    "javac": "default-jdk-headless",
    "sshd": "openssh-server",
    **DISPLAY,
    **PROMETHEUS,
}

POLICY = Path("/usr/sbin/policy-rc.d")


def find(command: str) -> str | None:
    """A command on PATH, or where Debian keeps the administrator's, which a user's PATH may lack."""
    return shutil.which(command) or shutil.which(command, path=SYSTEM_PATH)


def missing(commands: Mapping[str, str]) -> list[str]:
    return sorted({package for command, package in commands.items() if find(command) is None})


def provide(commands: Mapping[str, str], cache: Path, say: Say) -> None:
    """Installs what is missing: of several that want it at the same time one does, and the others wait."""
    with locked(cache / "packages.lock"):
        wanted = missing(commands)
        if wanted:
            install(wanted, say)


def install(packages: list[str], say: Say) -> None:
    """Installs them without starting any service: the sandbox starts by hand what it needs, and ends it again.

    Raises IbgwError when this machine cannot install Debian packages, with the command to run instead.
    """
    command = f"apt-get install {' '.join(packages)}"
    if find("apt-get") is None:
        raise IbgwError(f"missing: {', '.join(packages)} (Debian's names); install them by your system's means")
    if os.geteuid() != 0:
        raise IbgwError(f"missing: {', '.join(packages)}; run as root, or have them installed: {command}")
    say(f"installing {', '.join(packages)} (1 to 2 minutes)")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"}
    wait_for_lock = ("-o", "DPkg::Lock::Timeout=300")
    run(["apt-get", *wait_for_lock, "-qq", "update"], doing="refreshing the list of packages", env=env)
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        run(
            ["apt-get", *wait_for_lock, "-qq", "install", "-y", "--no-install-recommends", *packages],
            doing=f"installing {', '.join(packages)}",
            env=env,
        )
    finally:
        if ours:
            POLICY.unlink()
