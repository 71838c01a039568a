"""`ibgw doctor --from CONTAINER`: a client's way to gateways, tried from where that client is.

Nothing is run in it: a container of the verifier's image joins its network namespace, asks, and is removed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deployment.description import Deployment, Gateway
from deployment.docker_address import command_line
from deployment.errors import ExitCode, IbgwError
from deployment.tables import Kind
from healthcheck.attachments import Attached
from healthcheck.docker_host import DockerHost, Inspected, docker_errors
from healthcheck.isolation import CONNECTED, declared
from healthcheck.neighbours import JOINS
from healthcheck.probe import Answer
from healthcheck.verifier_container import VerifierFailed, run_probe
from operations.doctor import Observation

SAID: Mapping[Answer, str] = {
    Answer.API: "answers as the API does",
    Answer.SILENT: "accepts and says nothing",
    Answer.HUNG_UP: "accepts and hangs up",
    Answer.OTHER: "answers, and not as the API does",
    Answer.CLOSED: "refuses",
    Answer.UNREACHABLE: "does not answer",
}


@dataclass(frozen=True)
class Way:
    """From a client to one gateway. `networks`: the client's, by their names. `by_name`, `by_address`: what answers at
    the client port under the gateway's name and under its address; None where that could not be tried."""

    deployment: Deployment
    gateway: Gateway
    client: str
    networks: tuple[str, ...]
    declared: bool
    by_name: Answer | None = None
    by_address: Answer | None = None

    def verify(self) -> str:
        return f"`ibgw verify --stack {self.deployment.stack} --gateway {self.gateway.name}`"


def try_from(
    docker: DockerHost, deployment: Deployment, gateways: Sequence[Gateway], client: str
) -> dict[str, list[Observation]]:
    """What is found on the way from a container to each of these gateways, by their names.

    Raises IbgwError: REFUSED for a container that does not run, or that is a gateway or on the host's own network;
    could not run where there is none, or Docker fails.
    """
    with docker_errors(f"Container {client} on {deployment.docker_host}", "try again"):
        found = _running(docker, deployment, client)
        place = found
        while (mode := place["HostConfig"]["NetworkMode"]).startswith(JOINS):
            place = docker.there(Kind.CONTAINER, mode.removeprefix(JOINS))
        _require_own_network(deployment, client, place)
        networks = tuple(sorted(place["NetworkSettings"]["Networks"]))
        addresses = {gateway.name: _address(docker, gateway) for gateway in gateways}
        tried = [
            f"{host}:{gateway.api.port}"
            for gateway in gateways
            if (address := addresses[gateway.name])
            for host in (gateway.api.host, address)
        ]
        try:
            answers = run_probe(docker, deployment, f"{JOINS}{place['Id']}", tried) if tried else {}
        except VerifierFailed as error:
            raise IbgwError(
                f"{client}: {error}; expected an answer for each address. Try again.", exit_code=ExitCode.COULD_NOT_RUN
            ) from error
    name = found["Name"].lstrip("/")
    attached = Attached(found["Id"], name, found["Config"]["Labels"] or {})
    return {
        gateway.name: _examine(
            Way(
                deployment,
                gateway,
                name,
                networks,
                declared(attached, gateway.clients),
                answers.get(f"{gateway.api.host}:{gateway.api.port}"),
                answers.get(f"{addresses[gateway.name]}:{gateway.api.port}"),
            )
        )
        for gateway in gateways
    }


def _running(docker: DockerHost, deployment: Deployment, client: str) -> Inspected:
    found = docker.inspect(Kind.CONTAINER, client)
    if found is None:
        raise IbgwError(
            f"--from {client}: there is no such container on {deployment.docker_host}; expected the name of a "
            "client's, as `docker ps` shows it.",
            exit_code=ExitCode.COULD_NOT_RUN,
        )
    if not found["State"]["Running"]:
        raise IbgwError(
            f"--from {client}: it does not run, so there is no way from it; start it and try again.",
            exit_code=ExitCode.REFUSED,
        )
    return found


def _require_own_network(deployment: Deployment, client: str, place: Inspected) -> None:
    if place["Id"] in {gateway.container.id for gateway in deployment.gateways.values()}:
        raise IbgwError(
            f"--from {client}: that is a gateway, or is in one's network namespace; expected a client.",
            exit_code=ExitCode.REFUSED,
        )
    if place["HostConfig"]["NetworkMode"] in ("host", "none"):
        raise IbgwError(
            f"--from {client}: its network is {place['HostConfig']['NetworkMode']!r}, from which no gateway can be "
            f"reached; put it on a gateway's network, or use `ibgw forward --stack {deployment.stack}` on the host.",
            exit_code=ExitCode.REFUSED,
        )


def _address(docker: DockerHost, gateway: Gateway) -> str:
    """The gateway's on its api network; empty where it does not run."""
    container: Any = docker.inspect(Kind.CONTAINER, gateway.container.name) or {}
    networks = container.get("NetworkSettings", {}).get("Networks") or {}
    return str(networks.get(gateway.api.network, {}).get("IPAddress") or "")


def _examine(way: Way) -> list[Observation]:
    return [_network(way), _declaration(way), _name(way), _port(way), _handshake(way)]


def _network(way: Way) -> Observation:
    wanted = way.gateway.api.network
    if wanted in way.networks:
        return Observation("network", True, f"{way.client} is on {wanted}")
    connect = f"{command_line(way.deployment.docker_host)} network connect {wanted} {way.client}"
    return Observation(
        "network", False, f"{way.client} is on {', '.join(way.networks) or 'no network'}, and not on {wanted}",
        f"`{connect}`; for good, name it in its compose file as an external network",
    )  # fmt: skip


def _declaration(way: Way) -> Observation:
    if way.declared:
        return Observation("declared", True, f"{way.client} is a client of ibgw:gateways.{way.gateway.name}")
    return Observation(
        "declared", False, f"ibgw:gateways.{way.gateway.name}.clients does not name {way.client}, so verifications "
        "report it once it is attached",
        f"add it there, then `pulumi up --stack {way.deployment.stack}`, which logs nobody in",
    )  # fmt: skip


def _name(way: Way) -> Observation:
    host = way.gateway.api.host
    if way.by_name is None:
        return Observation("name", None, f"{host} has no address: the gateway does not run", way.verify())
    if way.by_name is Answer.UNREACHABLE and way.by_address is not Answer.UNREACHABLE:
        return Observation(
            "name", False, f"{host} leads nowhere from there, and the gateway's address does",
            f"have {way.client} use Docker's own DNS: no `dns` or `extra_hosts` in its way, then start it anew",
        )  # fmt: skip
    if way.by_name is Answer.UNREACHABLE:
        return Observation("name", None, f"{host}: unknown, since its address does not answer either")
    return Observation("name", True, f"{host} leads to the gateway")


def _port(way: Way) -> Observation:
    port = f"port {way.gateway.api.port}"
    if way.gateway.api.network not in way.networks:
        if way.by_address not in CONNECTED:
            return Observation("port", None, f"{port}: out of reach from another network, as it has to be")
        return Observation("port", False, f"{port} accepts from a network that must not reach it", way.verify())
    if way.by_address is None:
        return Observation("port", False, f"{port}: the gateway does not run", way.verify())
    if way.by_address in CONNECTED:
        return Observation("port", True, f"{port} accepts")
    return Observation("port", False, f"{port} {SAID[way.by_address]}", way.verify())


def _handshake(way: Way) -> Observation:
    answer = way.by_name if way.by_name in CONNECTED else way.by_address
    if answer is Answer.API:
        return Observation("handshake", True, SAID[answer])
    if answer not in CONNECTED:
        return Observation("handshake", None, "not tried: there is no connection")
    return Observation("handshake", False, SAID[answer], way.verify())
