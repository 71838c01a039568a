"""The address of a Docker host, and what of it is for ssh. Pure."""

import ipaddress
import re
import shlex
from dataclasses import dataclass

LOCAL = "unix:///var/run/docker.sock"
"""Where docker's command line looks by itself."""

EXPECTED = "expected unix:///var/run/docker.sock or ssh://user@host[:port] (ssh options belong in ~/.ssh/config)"

IN_BRACKETS = "an IPv6 address stands in brackets, as in ssh://user@[2001:db8::1]:22"

_NAME_MAX = 253
_SOCKET_MAX = 107
"""Bytes of a Unix socket's path (unix(7), sun_path)."""
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\$?")
_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
"""A host name (RFC 1123, with the underscore that users write all the same) or an alias of ~/.ssh/config."""
_NUMBERS = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)(\.(0[xX][0-9a-fA-F]*|[0-9]+))*\.?")
"""What ssh takes for an IPv4 address, shorter ones and octal and hexadecimal numbers too (inet_aton)."""
_HOLDS_NO_PASSWORD = re.compile(r"([a-z]*://)?([^:@]*@)?([^:@]*|\[[^@\]]*\]?)(:[0-9]{0,5})*")
_ZONE = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class SshAddress:
    """What `ssh user@host` is asked for. Without a port it is ssh's own choice: `Port` in ~/.ssh/config, or 22."""

    user: str
    host: str
    port: int | None = None

    def arguments(self) -> list[str]:
        """For ssh, before the command."""
        return ["-l", self.user, *(["-p", str(self.port)] if self.port else []), "--", self.host]

    def by_hand(self, command: str) -> str:
        """What a person types, to see what ssh does."""
        port = f"-p {self.port} " if self.port else ""
        return f"ssh {port}{shlex.quote(f'{self.user}@{self.host}')} {command}"


def parse(url: str) -> SshAddress | None:
    """What ssh is asked for; None for a local socket. Raises ValueError, which never repeats a password."""
    if url.startswith("unix://"):
        _check_socket(url.removeprefix("unix://"))
        return None
    if not url.startswith("ssh://"):
        raise ValueError(f"{shown(url)} is not supported; {EXPECTED}")
    user, at, place = url.removeprefix("ssh://").rpartition("@")
    if not at:
        raise ValueError(f"{shown(url)} names no user; {EXPECTED}")
    if ":" in user:
        raise ValueError(
            f"{shown(url)}: a password does not belong in the address, which every message shows; "
            "expected ssh://user@host[:port], and a key or an agent for that user"
        )
    if not _USER.fullmatch(user):
        raise ValueError(f"{shown(url)} has no user's name before the @; {EXPECTED}")
    host, port = _place(url, place)
    return SshAddress(user, host, port)


def command_line(url: str) -> str:
    """Docker's own, for that host: what a command begins with that a person is to run."""
    return "docker" if url == LOCAL else f"docker --host {shlex.quote(url)}"


def _check_socket(path: str) -> None:
    # Docker's clients read what follows a ? or a # as a part of the address that is not the path.
    if not path.startswith("/") or path.endswith("/") or not path.isprintable() or {"?", "#"} & {*path}:
        raise ValueError(f"{f'unix://{path}'!r} is not the absolute path of a socket; {EXPECTED}")
    if len(path.encode()) > _SOCKET_MAX:
        raise ValueError(f"{path!r}: a socket's path has at most {_SOCKET_MAX} bytes")


def _place(url: str, place: str) -> tuple[str, int | None]:
    """Host and port. An IPv6 address is in brackets, and the `%` before its zone is `%25`, as in any URL (RFC 6874)."""
    brackets = re.fullmatch(r"\[([^\[\]]*)\](?::([^:]*))?", place)
    plain = re.fullmatch(r"([^:\[\]]*)(?::([^:]*))?", place)
    if brackets:
        host, port = _ipv6(url, brackets[1]), brackets[2]
    elif plain:
        host, port = _name(url, plain[1]), plain[2]
    else:
        raise ValueError(f"{shown(url)}: what follows the @ is not a host; {IN_BRACKETS}")
    if port is None:
        return host, None
    if not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"{url!r}: port {port} is not from 1 to 65535; leave it out for the one that ssh itself takes")
    return host, int(port)


def _name(url: str, host: str) -> str:
    if not _NAME.fullmatch(host) or len(host) > _NAME_MAX:
        raise ValueError(f"{url!r}: {host!r} is not the name or the address of a host; {EXPECTED}")
    if _NUMBERS.fullmatch(host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ValueError(f"{url!r}: {host} is not an IP address") from None
    return host


def _ipv6(url: str, text: str) -> str:
    address, percent, zone = text.partition("%25")
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        raise ValueError(f"{url!r}: {text} is not an IP address; {IN_BRACKETS}") from None
    if percent and not _ZONE.fullmatch(zone):
        raise ValueError(f"{url!r}: {zone!r} is not a zone, as in ssh://user@[fe80::1%25eth0]")
    return f"{address}%{zone}" if percent else address


def shown(url: str) -> str:
    """An address in quotes, but only where it cannot hold a password."""
    return repr(url) if _HOLDS_NO_PASSWORD.fullmatch(url) else "the address, which is not shown,"
