"""isolation: nobody but the gateway and its declared clients can reach the API, as Docker's own records tell.

The API has no authentication: who is attached to the gateway's api network can trade. Pure functions over records.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from contract.names import Label, Role
from contract.target import Client, Gateway
from healthcheck.finding import Finding
from healthcheck.reasons import Reason


@dataclass(frozen=True)
class Attached:
    """A container on the api network."""

    id: str
    name: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Surroundings:
    """What `docker inspect` shows of the gateway's container and its api network."""

    gateway_id: str
    network_mode: str
    networks: tuple[str, ...]  # that the gateway is attached to
    published: tuple[str, ...]  # `container port -> host address`
    internal: bool
    attached: tuple[Attached, ...]


def judge(gateway: Gateway, egress_network: str, found: Surroundings) -> Finding:
    """The finding about one gateway's surroundings."""
    exposed = _exposed(gateway, egress_network, found)
    others = [one for one in found.attached if one.id != found.gateway_id]
    verifiers = [one for one in others if one.labels.get(Label.ROLE) == Role.VERIFIER]
    strangers = [one for one in others if one not in verifiers and not _declared(one, gateway.clients)]
    clients = [one for one in others if one not in verifiers and one not in strangers]
    data: dict[str, JsonValue] = {"clients": _names(clients), "verifiers": len(verifiers)}
    if strangers:
        data["undeclared"] = _names(strangers)
        names = ", ".join(sorted(one.name for one in strangers))
        undeclared = [f"attached to {gateway.api.network} and not declared: {names}"]
    else:
        undeclared = []
    if exposed or undeclared:
        reason = Reason.EXPOSED if exposed else Reason.UNDECLARED_CLIENT
        return Finding("; ".join([*exposed, *undeclared]), reason, data)
    company = f"the gateway and {len(clients)} declared client{'' if len(clients) == 1 else 's'}"
    return Finding(
        f"no published port, internal network, attached: {company if clients else 'the gateway only'}", data=data
    )


def _exposed(gateway: Gateway, egress_network: str, found: Surroundings) -> list[str]:
    exposed = [f"port published: {port}" for port in found.published]
    if found.network_mode == "host" or found.network_mode.startswith("container:"):
        exposed.append(f"network mode {found.network_mode}")
    if not found.internal:
        exposed.append(f"network {gateway.api.network} is not internal")
    allowed = {gateway.api.network, egress_network}
    exposed.extend(f"attached to network {name} too" for name in sorted(set(found.networks) - allowed))
    return exposed


def _declared(attached: Attached, clients: Sequence[Client]) -> bool:
    return any(
        attached.name == client.container or (client.label is not None and _has_label(attached.labels, client.label))
        for client in clients
    )


def _has_label(labels: dict[str, str], wanted: str) -> bool:
    key, _, value = wanted.partition("=")
    return labels.get(key) == value


def _names(attached: Sequence[Attached]) -> list[JsonValue]:
    return [*sorted(one.name for one in attached)]
