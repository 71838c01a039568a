"""What a gateway is made of: containers, files, networks and volumes. Plain data, in the words of no engine.

`deployment.properties` says what each property is called by Docker and by the engine's provider.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Network


class Reference(str):
    """The name of what only the engine knows: an image, a network or a volume that it makes, a part of the secret."""

    __slots__ = ()


USER_ID, PASSWORD, SECRET_VERSION = Reference("user_id"), Reference("password"), Reference("version_id")
"""The parts of a gateway's secret that files hold, as infra.credentials.Credentials names them."""

VERIFIER_IMAGE = Reference("verifier image")
"""The one that is built here."""

SEED, SEED_VERSION = Reference("seed"), Reference("seed version")
"""An authenticator's, and the version of the secret that it is of."""

CHANNELS = Reference("channels")
"""Where a stack's watcher sends to: one file, which holds tokens."""

HIDDEN = frozenset({USER_ID, PASSWORD, SEED, CHANNELS})
"""Those whose values nobody may see."""


class Restart(StrEnum):
    """What happens when a container ends."""

    UNLESS_STOPPED = "started again unless somebody stopped it"
    NEVER = "nothing: it runs once, and what comes after waits for its end"


@dataclass(frozen=True)
class FileSpec:
    """A file that a container is created with. It belongs to root, and everybody in the container may read it."""

    path: str
    content: str


@dataclass(frozen=True)
class Mount:
    volume: str
    path: str
    read_only: bool = False


@dataclass(frozen=True)
class Attachment:
    """A network by its name, and the host names under which the container is known there."""

    network: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Probe:
    """A command that tells whether what runs is well, by its exit code; `test` begins with CMD."""

    test: tuple[str, ...]
    interval: timedelta
    timeout: timedelta
    retries: int


@dataclass(frozen=True)
class LogSpec:
    """How much of its output is kept, such as 10m in each of 5 files."""

    max_size: str
    max_files: int


@dataclass(frozen=True)
class ContainerSpec:
    """One container. It has no capability but `capabilities`, gains no privileges, publishes no port and
    forwards no packet.

    `command`, `entry_point` and `user`: what the image says where they are left out. Without networks it has none at
    all. `read_only`: it writes to its mounts alone. `memory` is in MiB; 0 is no limit, and then there is none of swap
    either. `swap_limited`: it must not swap.
    `stop_grace`: the time from the request to end to the kill.
    """

    name: str
    image: str
    labels: Mapping[str, str]
    restart: Restart
    command: tuple[str, ...] = ()
    entry_point: tuple[str, ...] = ()
    user: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    files: tuple[FileSpec, ...] = ()
    mounts: tuple[Mount, ...] = ()
    networks: tuple[Attachment, ...] = ()
    capabilities: tuple[str, ...] = ()
    read_only: bool = False
    probe: Probe | None = None
    memory: int | None = None
    swap_limited: bool = True
    stop_grace: timedelta | None = None
    log: LogSpec | None = None


@dataclass(frozen=True)
class NetworkSpec:
    """A network of the Docker host's own. `internal`: nothing leads into it or out of it. `separates`: whoever is on it
    does not reach the others on it."""

    name: str
    subnet: IPv4Network
    labels: Mapping[str, str]
    internal: bool = False
    separates: bool = False


@dataclass(frozen=True)
class VolumeSpec:
    """Storage that outlives every container. `options`: its driver's."""

    name: str
    labels: Mapping[str, str]
    options: Mapping[str, str] = field(default_factory=dict)
