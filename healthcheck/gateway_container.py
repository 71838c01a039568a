"""What Docker knows of one gateway: state, log, surroundings. The only changing call is `stop`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from deployment.description import Gateway
from deployment.tables import Kind
from healthcheck import logs
from healthcheck.attachments import Attached, Attachments
from healthcheck.automation import launcher, supervisor
from healthcheck.automation.base import STANDING, LoginState, Reading
from healthcheck.automation.status import LONGEST, PATH, Status, parse
from healthcheck.docker_host import DockerError, DockerHost, Inspected, moment
from healthcheck.hygiene import PLANNED_ENDS, Facts
from healthcheck.inspected import record
from healthcheck.isolation import Surroundings
from healthcheck.reachability import ProbeTarget
from healthcheck.reasons import Reason, Retry

LOG_LINES = 2000
LAUNCHER_BYTES = 2**20
"""Of the end of launcher.log, which is a few hundred lines long where a login takes its usual course."""
ESTABLISHED = "01"
"""A connection that stands (Linux, include/net/tcp_states.h)."""
RESTARTS_OF_A_LOOP = 3
START_NOTED = timedelta(seconds=3)
"""Within this after its first line a container has its `StartedAt`."""
DEFAULT_GRACE = 90
"""Seconds for a clean logout where the container does not say: the default of `container.stopGrace`. A gateway that is
killed instead leaves its session open at IBKR, sometimes for hours."""


@dataclass(frozen=True)
class Obstacle:
    """Why a gateway cannot be asked."""

    reason: Reason
    seen: str
    because: Reason | None = None  # what the log gives as the cause, to be put right first
    retry: Retry = Retry.START  # how it is had to log in once more


@dataclass(frozen=True)
class State:
    """A container's state; `started_at` is None while it has never run."""

    status: str
    exit_code: int
    restarts: int
    out_of_memory: bool
    started_at: datetime | None
    error: str = ""  # Docker's own words on why it could not be started

    def ended(self, reading: Reading) -> str:
        """How it ended, by its exit code and by what its log says of the stop."""
        meaning = STOPS.get(reading.stop) if reading.stop else reading.exit_codes.get(self.exit_code)
        if self.out_of_memory:
            meaning = "out of memory"
        said = f"; Docker: {self.error}" if self.error else ""
        return f"exit code {self.exit_code}" + (f", {meaning}" if meaning else "") + said

    def waits_its_turn(self, reading: Reading) -> bool:
        """Its first process ended it, or holds it back for a while: a pause, and no crash."""
        return reading.state is LoginState.WAITING or self.exit_code == supervisor.WAITS_ITS_TURN


# States of a container in which nothing is asked and no command starts it, in Docker's words.
ELSE: dict[str, Reason] = {
    "paused": Reason.FROZEN,
    "dead": Reason.CONTAINER_DEAD,
    "removing": Reason.CONTAINER_MISSING,
}

# What passes by itself, and says nothing of why a container ends again and again.
NO_CAUSE = frozenset(
    {
        Reason.STARTING,
        Reason.PLANNED_RESTART,
        Reason.HEALING,
        Reason.LOGIN_DELAYED,
        Reason.OFFLINE,
        Reason.PAUSED,
        Reason.STOPPING,
        Reason.SECOND_FACTOR_PENDING,
    }
)

STOPS: dict[LoginState, str] = {
    LoginState.STOPPING: "stopped before it had said how",
    LoginState.STOPPED_CLEAN: "stopped after its logout",
    LoginState.STOPPED_NO_SESSION: "stopped without a session",
    LoginState.STOPPED_STRANDED: "stopped before its logout, and its session may be open at IBKR still",
}


class GatewayContainer:
    """Reads a gateway's container by its fixed name. `obstacle` and `surroundings` look afresh, the others at what
    they saw.
    """

    def __init__(self, docker: DockerHost, gateway: Gateway, egress_network: str, attachments: Attachments) -> None:
        self._docker = docker
        self._gateway = gateway
        self._egress_network = egress_network
        self._attachments = attachments
        self._restarts: int | None = None  # at the first look
        self._seen: Inspected | None = None  # at the last look
        self._networks: dict[str, Inspected | None] = {}  # at the last look at the surroundings

    def obstacle(self) -> Obstacle | None:
        """Why there is no point in asking the API, or None."""
        container = self._look()
        if container is None:
            return Obstacle(Reason.CONTAINER_MISSING, f"no container {self._gateway.container.name}")
        state = _state(container)
        if self._restarts is None:
            self._restarts = state.restarts
        if state.status in ("running", "restarting"):
            return self._looping(container, state)
        if state.status in ELSE:
            return Obstacle(ELSE[state.status], f"the container is {state.status}")
        reading = self._read(container, state)
        because = reading.reason_of_login if reading.state in STANDING else _memory(state)
        if reading.stop is LoginState.STOPPED_STRANDED:
            because = because or Reason.SESSION_STRANDED
        # Where it stopped for no cause, how it did says more than what it wrote before.
        told = reading.line and (reading.stop is None or because is not None)
        last = f"; its log ended with: {reading.line}" if told else ""
        seen = f"the container is {state.status} ({state.ended(reading)}){last}"
        return Obstacle(Reason.STOPPED, seen, because, _retry(reading))

    def _looping(self, container: Inspected, state: State) -> Obstacle | None:
        """That it ends again and again, if so."""
        before = self._restarts or 0
        looping = state.status == "restarting" and state.restarts >= RESTARTS_OF_A_LOOP
        if not looping and state.restarts - before < RESTARTS_OF_A_LOOP:
            return None
        reading = self._read(container, state)
        told = self.status()
        if state.waits_its_turn(reading) or (told is not None and told.stopped in PLANNED_ENDS):
            self._restarts = state.restarts
            return None
        if not looping:
            return Obstacle(Reason.CRASH_LOOPING, f"restarted {state.restarts - before} times meanwhile")
        seen = f"restarted {state.restarts} times, last with {state.ended(reading)}"
        coded = _memory(state) or reading.exit_reasons.get(state.exit_code)
        if reading.reason in (None, Reason.STARTING):
            return Obstacle(Reason.CRASH_LOOPING, seen, coded, _retry(reading))
        because = coded if reading.reason in NO_CAUSE else _memory(state) or reading.reason
        return Obstacle(Reason.CRASH_LOOPING, f"{seen}; log: {reading.line}", because, _retry(reading))

    def reading(self) -> Reading:
        """What the log says since the container's start."""
        return Reading() if self._seen is None else self._read(self._seen, _state(self._seen))

    def quiet(self, now: datetime) -> timedelta:
        """For how long it has written nothing; for how long it runs, where it has never written."""
        if self._seen is None:
            return timedelta()
        last = self._docker.log(self._seen["Id"], timestamps=True, tail=1)
        since = moment(last[0].partition(" ")[0]) if last else _state(self._seen).started_at
        return now - since if since is not None else timedelta()

    def clients(self) -> int:
        """Connections to the gateway's own port, as the kernel has them: 0 where it does not run."""
        if self._seen is None or _state(self._seen).status != "running":
            return 0
        try:
            lines = self._docker.run(self._seen["Id"], ["cat", "/proc/net/tcp", "/proc/net/tcp6"]).splitlines()
        except DockerError:
            # It may have ended since, and the next look tells.
            return 0
        port = f":{self._gateway.api.inner_port:04X}"
        return sum(
            1 for words in map(str.split, lines) if words[1:2] and words[1].endswith(port) and words[3] == ESTABLISHED
        )

    def witness(self) -> launcher.Witness:
        """What the gateway's own program says of its present start; nothing is run in the container for it."""
        started = None if self._seen is None else _state(self._seen).started_at
        folder = None if self._seen is None else self._settings_folder(self._seen)
        if started is None or folder is None:
            return launcher.Witness()
        text = self._docker.read_file(self._gateway.container.name, f"{folder}/{launcher.NAME}", last=LAUNCHER_BYTES)
        if text is None:
            return launcher.Witness()
        zone = ZoneInfo(self._gateway.schedule.time_zone)
        return launcher.read(text, started.astimezone(zone).replace(tzinfo=None))

    def status(self) -> Status | None:
        """What its first process tells of itself; None while it does not run, and where an earlier version deployed
        it."""
        if self._seen is None or _state(self._seen).status != "running":
            return None
        return status_of(self._docker, self._gateway)

    def surroundings(self) -> Surroundings | Obstacle:
        """Networks and ports, for the isolation check."""
        container = self._look()
        if container is None:
            return Obstacle(Reason.CONTAINER_MISSING, f"no container {self._gateway.container.name}")
        name = self._gateway.api.network
        self._networks = {name: self._attachments.network(name), self._egress_network: self._attachments.egress()}
        api, egress = self._networks[name], self._networks[self._egress_network]
        if api is None:
            return Obstacle(Reason.NETWORK_MISSING, f"no network {name}")
        networks: Inspected = container["NetworkSettings"]["Networks"]
        if name not in networks:
            return Obstacle(Reason.NETWORK_MISSING, f"the gateway is not attached to {name}")
        return Surroundings(
            gateway_id=container["Id"],
            record=record(self._gateway, container, api, egress),
            networks=tuple(networks),
            attached=self._members(api, container),
            on_egress=() if egress is None else self._members(egress, container),
        )

    def target(self, *, afresh: bool = False) -> ProbeTarget | None:
        """Where to try to reach it; None while it has no address."""
        container = self._look() if afresh else self._seen
        if container is None:
            return None
        networks: Mapping[str, Inspected] = container["NetworkSettings"]["Networks"]
        addresses = tuple(entry["IPAddress"] for entry in networks.values() if entry.get("IPAddress"))
        routers = tuple(
            str(entry["Gateway"])
            for network in self._networks.values()
            if network is not None
            for entry in network["IPAM"]["Config"] or ()
            if "Gateway" in entry
        )
        return ProbeTarget(self._gateway.name, addresses, routers) if addresses else None

    def facts(self) -> Facts | None:
        """For the hygiene check, after `surroundings`; None without a container or its api network."""
        container, api = self._seen, self._networks.get(self._gateway.api.network)
        if container is None or api is None:
            return None
        egress = self._networks[self._egress_network]
        state, settings = _state(container), self._settings_folder(container)
        return Facts(
            record=record(self._gateway, container, api, egress),
            inspected=container,
            digests=self._digests(container["Image"]),
            owner=None if settings is None else self._docker.owner(container["Id"], settings),
            restarts=state.restarts,
            out_of_memory=state.out_of_memory,
            started_at=state.started_at,
            status=self.status(),
        )

    @property
    def started(self) -> datetime | None:
        """When it started, if it runs, at the last look."""
        return _state(self._seen).started_at if self._seen is not None and self.runs else None

    @property
    def healthy(self) -> bool:
        """By its probe, at the last look: the API answers its handshake."""
        health: Inspected = (self._seen or {}).get("State", {}).get("Health") or {}
        return bool(health.get("Status") == "healthy")

    @property
    def runs(self) -> bool:
        """At the last look. One that Docker is about to start again does so too."""
        return self._seen is not None and _state(self._seen).status in ("running", "restarting")

    def stop(self) -> None:
        """Stop it with the grace that it was created with, so that it logs out; its restart policy leaves it so."""
        if self._seen is not None:
            self._docker.stop(self._seen["Id"], grace=self.grace())

    def grace(self) -> int:
        """Seconds that Docker lets the gateway log out."""
        return stop_grace(self._seen) if self._seen is not None else DEFAULT_GRACE

    def _look(self) -> Inspected | None:
        self._seen = self._docker.inspect(Kind.CONTAINER, self._gateway.container.name)
        return self._seen

    def _read(self, container: Inspected, state: State) -> Reading:
        if state.started_at is None:
            return Reading()
        # Docker notes the start a little after the first lines of it.
        lines = self._lines(container, state.started_at - START_NOTED)
        if supervisor.STARTING in lines:
            at = len(lines) - lines[::-1].index(supervisor.STARTING)
            return logs.read(lines[at - 1 :])
        return logs.read(self._lines(container, state.started_at))

    def _lines(self, container: Inspected, since: datetime) -> list[str]:
        return self._docker.log(container["Id"], since=since, tail=LOG_LINES)

    def _members(self, network: Inspected, gateway: Inspected) -> tuple[Attached, ...]:
        members: Mapping[str, Inspected] = network.get("Containers") or {}
        return tuple(
            Attached(member, entry["Name"], dict(gateway["Config"]["Labels"] or {}))
            if member == gateway["Id"]
            else self._attachments.who(member, entry["Name"])
            for member, entry in members.items()
        )

    def _digests(self, image_id: str) -> tuple[str, ...]:
        """Those that the registries knew the image by; none where it is gone from the host."""
        image = self._docker.inspect(Kind.IMAGE, image_id) or {}
        return tuple(sorted({digest.rpartition("@")[2] for digest in image.get("RepoDigests") or ()}))

    def _settings_folder(self, container: Inspected) -> str | None:
        """Where its settings volume is mounted."""
        mounts: list[Mapping[str, str]] = container["Mounts"]
        volume = self._gateway.volumes.settings
        return next((mount["Destination"] for mount in mounts if mount.get("Name") == volume), None)


def status_of(docker: DockerHost, gateway: Gateway) -> Status | None:
    """The status line of a running gateway; None where it has none, or not yet. Raises DockerError."""
    line = docker.read_file(gateway.container.name, PATH, last=LONGEST)
    if not line:
        return None
    try:
        return parse(line)
    except ValueError as error:
        raise DockerError(f"{PATH} in {gateway.container.name}: {error}") from error


def _retry(reading: Reading) -> Retry:
    """Of a gateway that does not run, or is stopped first."""
    return Retry.AGAIN if reading.retry is Retry.AGAIN and reading.state is not LoginState.WAITING else Retry.START


def _memory(state: State) -> Reason | None:
    return Reason.OUT_OF_MEMORY if state.out_of_memory else None


def stop_grace(inspected: Inspected) -> int:
    """Seconds between the request to stop and the kill, from the container's own `StopTimeout`."""
    grace = inspected["Config"].get("StopTimeout")
    return DEFAULT_GRACE if grace is None else int(grace)


def _state(container: Inspected) -> State:
    state: Inspected = container["State"]
    started = state["StartedAt"]
    return State(
        status=state["Status"],
        exit_code=state["ExitCode"],
        restarts=container["RestartCount"],
        out_of_memory=state["OOMKilled"],
        started_at=None if started.startswith("0001") else moment(started),
        error=state.get("Error") or "",
    )
