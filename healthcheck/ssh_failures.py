"""Why an ssh to a Docker host gave no answer of Docker's: what ssh and the host said, what it means, and what to do.
Pure.

The texts are OpenSSH's (ssh.c, sshconnect.c, readconf.c), the shells' and those of `docker system dial-stdio`
(docker/cli, cli/command/system/dial_stdio.go).
"""

import re
from typing import NamedTuple

from deployment.docker_address import SshAddress
from healthcheck.text import clean

LONGEST = 1000
"""Characters of what was said that a message shows: the end of it, where the reason is."""

NOT_STARTED = (126, 127)
"""A shell's exit codes for a command that it may not run or does not find (POSIX)."""


class SshFailed(ConnectionError):
    """An ssh ended, or was ended, without an answer of Docker's. Its text says why and what to do."""


class _Cause(NamedTuple):
    """`said`: a pattern in what was said. The first one that is found counts."""

    said: str
    meaning: str
    todo: str


CAUSES = (
    _Cause(
        r"REVOKED HOST KEY|was revoked",
        "the host shows a key that is marked as revoked: it may be somebody else",
        "connect to it no more until it is certain whose it is",
    ),
    _Cause(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key .* has changed",
        "the host's key is another one than ~/.ssh/known_hosts has",
        "compare its fingerprint with the host's own; if the host was set up anew, "
        "remove the old key with `ssh-keygen -R`",
    ),
    _Cause(
        r"Host key verification failed|No \S+ host key is known|authenticity of host",
        "the host's key is not known here",
        "compare its fingerprint with the host's own, and have it added to ~/.ssh/known_hosts",
    ),
    _Cause(
        r"Could not resolve hostname",
        "the host's name cannot be resolved",
        "correct it, or give it an address as HostName in ~/.ssh/config",
    ),
    _Cause(
        r"bad configuration option|Bad owner or permissions|Cannot execute command-line and remote command|"
        r"extra arguments|missing argument|unix_listener|ControlPath too long|bind [^:]*: Cannot assign",
        "ssh's own configuration does not allow it",
        "correct ~/.ssh/config",
    ),
    _Cause(
        r"agent refused operation|Could not open a connection to your authentication agent|Error connecting to agent",
        "the ssh agent does not sign with the key",
        "start the agent and add the key (`ssh-add -l` lists what it has)",
    ),
    _Cause(
        r"Too many authentication failures",
        "the agent offered more keys than the host allows",
        "name the key with IdentityFile and IdentitiesOnly in ~/.ssh/config",
    ),
    _Cause(
        r"UNPROTECTED PRIVATE KEY FILE|bad permissions",
        "ssh does not use a private key that others can read",
        "make it readable for you alone (chmod 600)",
    ),
    _Cause(
        r"podman",
        "the host's `docker` is Podman, on which no gateway runs as it must",
        "install Docker there (docs/host.md)",
    ),
    _Cause(
        r"permission denied while trying to connect to the Docker|dial unix [^:]*: connect: permission denied",
        "the user may not use Docker there",
        "add the user to the group docker on the host, and log in anew",
    ),
    _Cause(
        r"Permission denied( \(|, please)|not allowed to log in|account is locked|account has expired",
        "the host does not accept the login",
        "check that the user is there and has the key in its authorized_keys, and that the key is in your agent "
        "(`ssh-add -l`) or named as IdentityFile in ~/.ssh/config",
    ),
    _Cause(
        r"dial-stdio|is not a docker command|unknown shorthand flag",
        "the host's docker command line client is older than 18.09",
        "update it on the host",
    ),
    _Cause(
        r"Cannot connect to the Docker daemon|failed to open the raw stream|dial unix ",
        "the host is reached, and Docker does not run there",
        "start it on the host (`systemctl start docker`, of a rootless Docker `systemctl --user start docker`)",
    ),
    _Cause(
        r"stdio forwarding failed|channel 0: open failed|UNKNOWN port 65535",
        "the host on the way there (ProxyJump, ProxyCommand) does not lead to it",
        "check the way in ~/.ssh/config, and whether the host there reaches this one at its port",
    ),
    _Cause(
        r"Unable to negotiate",
        "ssh here and on the host have no method in common",
        "update the older of the two",
    ),
    _Cause(
        r"kex_exchange_identification|Connection (closed|reset) by|Connection to .* closed",
        "the host closed the connection before the login",
        "check its limits and bans (MaxStartups of its sshd_config, fail2ban), and try again later",
    ),
    _Cause(
        r"Connection refused",
        "nothing listens for ssh at this address and port",
        "check the port, and that sshd runs",
    ),
    _Cause(
        r"timed out|No route to host|Network is unreachable|not responding",
        "the host cannot be reached",
        "check the address, the VPN and the firewalls",
    ),
)

SILENT = _Cause(
    r"^\s*$",
    "the host cannot be reached, or its login or its shell waits for something",
    "check the address, the VPN and the firewalls",
)
"""Of an ssh that had to be ended."""

NO_DOCKER = _Cause(
    r"docker: (command )?not found|command not found: docker|Unknown command:? '?docker",
    "the host's shell does not find `docker`, or may not run it",
    "install the client there, or put it on the PATH that a shell without a login has",
)
"""Also known by its exit code."""


def explain(address: SshAddress, *, said: str, code: int | None, printed: str = "") -> str:
    """One text for people. `said`: ssh's standard error. `code`: its exit code, None where it had to be ended.
    `printed`: what came where Docker's answer was expected."""
    by_hand = f"check that `{address.by_hand('docker version')}` works without a question"
    shown = cleaned(said)
    words = f", and said: {shown}" if shown else ", and said nothing"
    if printed:
        line = cleaned(printed) or "an empty line"
        return (
            f"the host printed {line!r} where only Docker's answer may come; its shell's start-up files (~/.bashrc, "
            "~/.zshenv) must print nothing without a terminal, and the account must allow commands; "
            f"{by_hand}, and prints Docker's words alone"
        )
    how = f"ended without an answer of Docker's (exit code {code})"
    if code is None:
        how = "was ended, since Docker did not answer in time"
    cause = NO_DOCKER if code in NOT_STARTED or re.search(NO_DOCKER.said, said) else _cause(said)
    if code is None and re.search(SILENT.said, said):
        cause = SILENT
    ended = f"ssh {address.host} {how}{words}"
    return f"{ended}; {by_hand}" if cause is None else f"{cause.meaning}: {ended}; {cause.todo}; {by_hand}"


def _cause(said: str) -> _Cause | None:
    return next((cause for cause in CAUSES if re.search(cause.said, said, re.IGNORECASE)), None)


def cleaned(text: str) -> str:
    """Its lines in one, without frames."""
    lines = [clean(line).strip() for line in text.splitlines()]
    joined = " | ".join(line for line in lines if any(map(str.isalnum, line)))
    return joined if len(joined) <= LONGEST else f"... {joined[-LONGEST:]}"
