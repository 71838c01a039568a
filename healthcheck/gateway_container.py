"""What Docker knows of one gateway: state, log, surroundings. The only changing call is `stop`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import docker
from docker.errors import NotFound
from docker.models.containers import Container

from contract.target import Gateway
from healthcheck import logs
from healthcheck.docker_host import moment
from healthcheck.isolation import Attached, Surroundings
from healthcheck.reasons import Reason

LOG_LINES = 2000
RESTARTS_OF_A_LOOP = 3
DEFAULT_GRACE = 90
"""Seconds for a clean logout where the container does not say: the default of `container.stopGrace`. A gateway that is
killed instead leaves its session open at IBKR, sometimes for hours."""


@dataclass(frozen=True)
class Obstacle:
    """Why a gateway cannot be asked."""

    reason: Reason
    seen: str
    because: Reason | None = None  # what the log gives as the cause, to be put right first


@dataclass(frozen=True)
class State:
    """A container's state; `started_at` is None while it has never run."""

    status: str
    exit_code: int
    restarts: int
    out_of_memory: bool
    started_at: datetime | None

    @property
    def ended(self) -> str:
        meaning = "out of memory" if self.out_of_memory else logs.PROFILE.exit_codes.get(self.exit_code)
        return f"exit code {self.exit_code}" + (f", {meaning}" if meaning else "")


class GatewayContainer:
    """Looks at a gateway's container by its fixed name. `obstacle` looks afresh, the others at what it saw.

    One inspect serves them all, since each call over ssh may be a connection of its own.
    """

    def __init__(self, client: docker.DockerClient, gateway: Gateway) -> None:
        self._client = client
        self._gateway = gateway
        self._restarts: int | None = None  # at the first look
        self._seen: Container | None = None  # at the last look

    def obstacle(self) -> Obstacle | None:
        """Why there is no point in asking the API, or None."""
        container = self._look()
        if container is None:
            return Obstacle(Reason.CONTAINER_MISSING, f"no container {self._gateway.container.name}")
        state = _state(container)
        if self._restarts is None:
            self._restarts = state.restarts
        if state.status == "restarting" and state.restarts >= RESTARTS_OF_A_LOOP:
            return Obstacle(Reason.CRASH_LOOPING, f"restarted {state.restarts} times, last with {state.ended}")
        if state.restarts - self._restarts >= RESTARTS_OF_A_LOOP:
            return Obstacle(Reason.CRASH_LOOPING, f"restarted {state.restarts - self._restarts} times meanwhile")
        if state.status in ("running", "restarting"):
            return None
        reading = self._read(container, state)
        last = f"; its log ended with: {reading.line}" if reading.line else ""
        because = reading.reason if reading.state in logs.STANDING else None
        return Obstacle(Reason.STOPPED, f"the container is {state.status} ({state.ended}){last}", because)

    def reading(self) -> logs.Reading:
        """What the log says since the container's start."""
        return logs.Reading() if self._seen is None else self._read(self._seen, _state(self._seen))

    def surroundings(self) -> Surroundings | Obstacle:
        """Networks and ports, for the isolation check."""
        container = self._look()
        if container is None:
            return Obstacle(Reason.CONTAINER_MISSING, f"no container {self._gateway.container.name}")
        name = self._gateway.api.network
        try:
            network = self._client.networks.get(name)
        except NotFound:
            return Obstacle(Reason.NETWORK_MISSING, f"no network {name}")
        host_config: Mapping[str, Any] = container.attrs["HostConfig"]
        settings: Mapping[str, Any] = container.attrs["NetworkSettings"]
        networks = tuple(settings["Networks"])
        if name not in networks:
            return Obstacle(Reason.NETWORK_MISSING, f"the gateway is not attached to {name}")
        members: Mapping[str, Mapping[str, Any]] = network.attrs["Containers"] or {}
        return Surroundings(
            gateway_id=container.id or "",
            network_mode=host_config["NetworkMode"],
            networks=networks,
            published=_published(host_config, settings),
            internal=bool(network.attrs["Internal"]),
            attached=tuple(self._attached(member, entry["Name"], container) for member, entry in members.items()),
        )

    def stop(self) -> None:
        """Stop it with the grace that it was created with, so that it logs out; its restart policy leaves it so."""
        if self._seen is not None:
            self._seen.stop(timeout=self.grace())

    def grace(self) -> int:
        """Seconds that Docker lets the gateway log out."""
        return stop_grace(self._seen.attrs) if self._seen is not None else DEFAULT_GRACE

    def _look(self) -> Container | None:
        try:
            self._seen = self._client.containers.get(self._gateway.container.name)
        except NotFound:
            self._seen = None
        return self._seen

    def _read(self, container: Container, state: State) -> logs.Reading:
        if state.started_at is None:
            return logs.Reading()
        text = container.logs(since=state.started_at.timestamp(), tail=LOG_LINES)
        return logs.read(text.decode("utf-8", "replace").splitlines())

    def _attached(self, container_id: str, name: str, gateway: Container) -> Attached:
        """With its labels; a container that is gone meanwhile has none."""
        if container_id == gateway.id:
            return Attached(container_id, name, dict(gateway.labels))
        try:
            return Attached(container_id, name, dict(self._client.containers.get(container_id).labels))
        except NotFound:
            return Attached(container_id, name)


def stop_grace(inspected: Mapping[str, Any]) -> int:
    """Seconds between the request to stop and the kill, from the container's own `StopTimeout`."""
    grace = inspected["Config"].get("StopTimeout")
    return DEFAULT_GRACE if grace is None else int(grace)


def _state(container: Container) -> State:
    state: Mapping[str, Any] = container.attrs["State"]
    started = state["StartedAt"]
    return State(
        status=state["Status"],
        exit_code=state["ExitCode"],
        restarts=container.attrs["RestartCount"],
        out_of_memory=state["OOMKilled"],
        started_at=None if started.startswith("0001") else moment(started),
    )


def _published(host_config: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Configured and actual bindings, since a container that was just restarted may show only the first."""
    published = set()
    for ports in (host_config.get("PortBindings") or {}, settings.get("Ports") or {}):
        for port, bindings in ports.items():
            for binding in bindings or []:
                published.add(f"{port} on {binding.get('HostIp') or '0.0.0.0'}:{binding.get('HostPort') or 'any'}")
    if host_config.get("PublishAllPorts"):
        published.add("all exposed ports")
    return tuple(sorted(published))
