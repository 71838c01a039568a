"""What the Docker host already holds: subnets to keep or to pass over, and what stands in a stack's way. Only reads.

Run before the first resource is declared: a name that somebody else took, addresses that are in use or a second
gateway with the same secret must stop a deployment while nothing has been changed yet.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from deployment.errors import ExitCode, IbgwError
from deployment.names import Label, Role
from infra.addresses import Held
from infra.spec import HostSpec, StackSpec


@dataclass(frozen=True)
class HostObject:
    """One container, network or volume. `subnets` is a network's."""

    kind: str
    name: str
    labels: Mapping[str, str]
    subnets: tuple[IPv4Network, ...] = ()


def _subnets(network: Mapping[str, object]) -> tuple[IPv4Network, ...]:
    ipam = network.get("IPAM")
    entries = ipam.get("Config") or [] if isinstance(ipam, dict) else []
    texts = [entry["Subnet"] for entry in entries if "Subnet" in entry and ":" not in entry["Subnet"]]
    return tuple(IPv4Network(text, strict=False) for text in texts)


def read_host(host: str) -> list[HostObject]:
    """Every container, network and volume of the Docker host.

    Raises IbgwError (COULD_NOT_RUN) naming `ibgw:dockerHost` when it does not answer.
    """
    # Loaded in the thread that this runs in, while the program waits for Secrets Manager.
    from deployment.tables import Kind
    from healthcheck.docker_host import DockerHost, docker_errors

    try:
        with DockerHost(host) as docker, docker_errors(f"{host} stopped answering", "try again"):
            return [
                HostObject(
                    kind,
                    entry["Name"] if "Name" in entry else (entry["Names"] or ["/"])[0].lstrip("/"),
                    entry["Labels"] or {},
                    _subnets(entry),
                )
                for kind in (Kind.CONTAINER, Kind.NETWORK, Kind.VOLUME)
                for entry in docker.find(kind)
            ]
    except IbgwError as error:
        raise IbgwError(f"ibgw:dockerHost: {error}") from None


def _ours(spec: StackSpec, labels: Mapping[str, str]) -> bool:
    return (
        labels.get(Label.PREFIX) == spec.names.prefix
        and labels.get(Label.PROJECT) == spec.project
        and labels.get(Label.STACK) == spec.stack
    )


def held(spec: StackSpec, objects: Iterable[HostObject]) -> list[Held]:
    """The subnets of the host's networks. The one thing of `spec` that counts here is whose they are."""
    return [Held(thing.name, subnet, _ours(spec, thing.labels)) for thing in objects for subnet in thing.subnets]


def _fixed_names(host: HostSpec) -> Iterable[tuple[str, str]]:
    yield "network", host.egress.name
    for gateway in host.gateways.values():
        for kind, parts in (
            ("container", gateway.containers),
            ("network", gateway.networks),
            ("volume", gateway.volumes),
        ):
            yield from ((kind, part.name) for part in parts.values())


def check_host(spec: StackSpec, host: HostSpec, objects: Collection[HostObject]) -> None:
    """Raises IbgwError (REFUSED) that lists everything on the host that the stack must not touch or share."""
    fixed = set(_fixed_names(host))
    faults = [
        f"{thing.kind} {thing.name!r} exists and does not carry this stack's labels; "
        f"remove it, or set another ibgw:namePrefix (now {spec.names.prefix!r})"
        for thing in objects
        if (thing.kind, thing.name) in fixed and not _ours(spec, thing.labels)
    ]
    declared = {name for kind, name in fixed if kind == "network"}
    for gateway in host.gateways.values():
        configured = gateway.settings.api_subnet
        if configured is None:
            continue
        for thing in objects:
            for taken in thing.subnets:
                # One of our networks on its way out counts too: it is removed only at the update's end.
                if thing.name not in declared and configured.overlaps(taken):
                    faults.append(
                        f"ibgw:gateways.{gateway.name}.apiSubnet: {configured} overlaps {taken} of network "
                        f"{thing.name!r}; set another one"
                    )
    for gateway in host.gateways.values():
        for thing in objects:
            if (
                thing.labels.get(Label.SECRET_ID) == gateway.secret.id
                and thing.labels.get(Label.ROLE) == Role.GATEWAY
                and thing.name != gateway.container.name
            ):
                faults.append(
                    f"ibgw:gateways.{gateway.name}.credentials.secretId: container {thing.name!r} on this host already "
                    f"logs in with secret {gateway.secret.id!r}; a user has one session, so remove that gateway first, "
                    "in an update of its own"
                )
    if faults:
        raise IbgwError(
            f"the Docker host {host.docker_host} is not ready for stack {spec.stack!r}:\n"
            + "\n".join(f"  - {fault}" for fault in faults),
            exit_code=ExitCode.REFUSED,
        )
