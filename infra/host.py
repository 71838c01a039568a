"""What the Docker host already holds: subnets to keep or to pass over, and what stands in a stack's way. Only reads.

Run before the first resource is declared: a name that somebody else took, addresses that are in use or a second
gateway with the same secret must stop a deployment while nothing has been changed yet.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from deployment import abilities
from deployment.abilities import Info, Lack
from deployment.errors import ExitCode, IbgwError
from deployment.names import Label, Role
from infra.addresses import Held
from infra.monitoring import MonitoringSpec
from infra.spec import GatewaySpec, HostSpec, StackSpec


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


@dataclass(frozen=True)
class HostContents:
    """What is on a Docker host, and what its daemon says of itself (GET /info)."""

    objects: Sequence[HostObject]
    info: Info


def read_host(host: str) -> HostContents:
    """Every container, network and volume of the Docker host, and what it can do.

    Raises IbgwError (COULD_NOT_RUN) naming `ibgw:dockerHost` when it does not answer.
    """
    # Loaded in the thread that this runs in, while the program waits for Secrets Manager.
    from deployment.tables import Kind
    from healthcheck.docker_host import DockerHost, docker_errors

    try:
        with DockerHost(host) as docker, docker_errors(f"{host} stopped answering", "try again"):
            objects = [
                HostObject(
                    kind,
                    entry["Name"] if "Name" in entry else (entry["Names"] or ["/"])[0].lstrip("/"),
                    entry["Labels"] or {},
                    _subnets(entry),
                )
                for kind in (Kind.CONTAINER, Kind.NETWORK, Kind.VOLUME)
                for entry in docker.find(kind)
            ]
            return HostContents(objects, docker.info())
    except IbgwError as error:
        raise IbgwError(f"ibgw:dockerHost: {error}") from None


def image_made(host: str, image_id: str) -> int:
    """When an image on the Docker host was built, in seconds since the epoch; 0 where it does not say, as one that is
    built reproducibly, or is gone. Raises IbgwError (COULD_NOT_RUN)."""
    from deployment.tables import Kind
    from healthcheck.docker_host import DockerHost, docker_errors, moment

    with DockerHost(host) as docker, docker_errors(f"{host} stopped answering", "try again"):
        image = docker.inspect(Kind.IMAGE, image_id)
        return 0 if image is None else max(0, round(moment(image["Created"]).timestamp()))


def _ours(spec: StackSpec, labels: Mapping[str, str]) -> bool:
    return (
        labels.get(Label.PREFIX) == spec.names.prefix
        and labels.get(Label.PROJECT) == spec.project
        and labels.get(Label.STACK) == spec.stack
    )


def held(spec: StackSpec, objects: Iterable[HostObject]) -> list[Held]:
    """The subnets of the host's networks. The one thing of `spec` that counts here is whose they are."""
    return [
        Held(existing.name, subnet, _ours(spec, existing.labels)) for existing in objects for subnet in existing.subnets
    ]


def _fixed_names(host: HostSpec) -> Iterable[tuple[str, str]]:
    yield "network", host.egress.name
    if host.monitoring is not None:
        yield from _names_of(host.monitoring)
    for gateway in host.gateways.values():
        yield from _names_of(gateway)


def _names_of(made_of: GatewaySpec | MonitoringSpec) -> Iterable[tuple[str, str]]:
    for kind, parts in (
        ("container", made_of.containers),
        ("network", made_of.networks),
        ("volume", made_of.volumes),
    ):
        yield from ((kind, part.name) for part in parts.values())


def lacks(spec: StackSpec, host: HostSpec, info: Info) -> list[Lack]:
    """What the host cannot do that the stack needs, accepted or not."""
    return abilities.lacks(info, platform=spec.platform, gateways=len(host.gateways))


def accepted_in_words(spec: StackSpec, lacking: Iterable[Lack]) -> list[str]:
    """What `ibgw:acceptHost` makes of what the host lacks, and what it names in vain."""
    words = [
        f"ibgw:acceptHost accepts {lack.acceptable}: {lack.what}" for lack in lacking if lack.accepted_by(spec.accepted)
    ]
    in_vain = [name for name in spec.accept_host if name not in spec.accepted]
    return [*words, *(f"ibgw:acceptHost names {name}, which this Docker host has; remove it" for name in in_vain)]


def check_host(spec: StackSpec, host: HostSpec, objects: Collection[HostObject], lacking: Iterable[Lack] = ()) -> None:
    """Raises IbgwError (REFUSED) that lists everything on the host that the stack must not touch or share, and what the
    host cannot do and nobody has accepted."""
    fixed = set(_fixed_names(host))
    faults = [
        f"{existing.kind} {existing.name!r} exists and does not carry this stack's labels; "
        f"remove it, or set another ibgw:namePrefix (now {spec.names.prefix!r})"
        for existing in objects
        if (existing.kind, existing.name) in fixed and not _ours(spec, existing.labels)
    ]
    faults += [str(lack) for lack in lacking if not lack.accepted_by(spec.accepted)]
    declared = {name for kind, name in fixed if kind == "network"}
    for gateway in host.gateways.values():
        configured = gateway.settings.api_subnet
        if configured is None:
            continue
        for existing in objects:
            for taken in existing.subnets:
                # One of our networks on its way out counts too: it is removed only at the update's end.
                if existing.name not in declared and configured.overlaps(taken):
                    faults.append(
                        f"ibgw:gateways.{gateway.name}.apiSubnet: {configured} overlaps {taken} of network "
                        f"{existing.name!r}; set another one"
                    )
    for gateway in host.gateways.values():
        for existing in objects:
            if (
                existing.labels.get(Label.SECRET_ID) == gateway.secret.id
                and existing.labels.get(Label.ROLE) == Role.GATEWAY
                and existing.name != gateway.container.name
            ):
                faults.append(
                    f"ibgw:gateways.{gateway.name}.credentials.secretId: container {existing.name!r} on this host "
                    f"already logs in with secret {gateway.secret.id!r}; a user has one session, so remove that "
                    "gateway first, in an update of its own"
                )
    if faults:
        raise IbgwError(
            f"the Docker host {host.docker_host} is not ready for stack {spec.stack!r}:\n"
            + "\n".join(f"  - {fault}" for fault in faults),
            exit_code=ExitCode.REFUSED,
        )
