"""isolation: nobody but the gateway and its declared clients can reach the API.

The API has no authentication: who is attached to the gateway's api network can trade. Judged from Docker's records at
the run's start and end, from its events between, and from what was tried from elsewhere; pure functions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from pydantic import JsonValue

from deployment.description import Client, Deployment, Gateway
from deployment.names import Label, Role
from deployment.rules import EXPOSURE, GatewayRecord, violations
from healthcheck.attachments import Attached
from healthcheck.observation import Observation
from healthcheck.probe import Answer
from healthcheck.reachability import OUTSIDE, Origin, Reachability
from healthcheck.reasons import Reason

CONNECTED = frozenset({Answer.API, Answer.OTHER, Answer.HUNG_UP, Answer.SILENT})


@dataclass(frozen=True)
class Surroundings:
    """What `docker inspect` shows of the gateway's container, its api network and `egress`."""

    gateway_id: str
    record: GatewayRecord
    networks: tuple[str, ...]  # that the gateway is attached to
    attached: tuple[Attached, ...]  # to api
    on_egress: tuple[Attached, ...]


@dataclass(frozen=True)
class IsolationEvidence:
    """`looks`: at the start and at the end. `came_to_api`, `came_to_egress`: whoever was attached between."""

    looks: tuple[Surroundings, ...]
    came_to_api: tuple[Attached, ...] = ()
    came_to_egress: tuple[Attached, ...] = ()


def judge(deployment: Deployment, gateway: Gateway, seen: IsolationEvidence) -> Observation:
    """From Docker's records."""
    own = {look.gateway_id for look in seen.looks}
    on_api = _others(own, *(look.attached for look in seen.looks), seen.came_to_api)
    on_egress = _others(own, *(look.on_egress for look in seen.looks), seen.came_to_egress)
    verifiers = [other for other in on_api if _is_verifier(other)]
    clients = [other for other in on_api if not _is_verifier(other) and _declared(other, gateway.clients)]
    strangers = [other for other in on_api if other not in verifiers and other not in clients]
    exposed = _exposed(deployment, gateway, seen.looks, [other for other in on_egress if not _is_verifier(other)])
    data: dict[str, JsonValue] = {"clients": _names(clients), "verifiers": len(verifiers)}
    undeclared: list[str] = []
    if strangers:
        data["undeclared"] = _names(strangers)
        still = {container.id for container in seen.looks[-1].attached}
        undeclared = [
            f"{_attached(container, still)} to {gateway.api.network} and not declared: {container.name}"
            for container in strangers
        ]
    if exposed or undeclared:
        reason = Reason.EXPOSED if exposed else Reason.UNDECLARED_CLIENT
        return Observation("; ".join([*exposed, *undeclared]), reason, data)
    company = f"the gateway and {len(clients)} declared client{'' if len(clients) == 1 else 's'}"
    return Observation(
        f"no published port, internal network, attached: {company if clients else 'the gateway only'}", data=data
    )


def controlled(gateway: Gateway, views: Reachability) -> bool:
    """Whether the probe from inside connects to the client port: only then the others' silence means something."""
    inside = views.answers.get(Origin.INSIDE, {})
    return any(answer in CONNECTED for address, answer in inside.items() if _is_client_port(gateway, address))


def conclusive(gateway: Gateway, views: Reachability) -> bool:
    """Whether the views prove something: everything was tried and the control connects, or something answers."""
    return (controlled(gateway, views) and not views.failed) or any(
        _reached(gateway, views.answers.get(origin, {})) for origin in OUTSIDE
    )


def joined(records: Observation, views: Observation) -> Observation:
    """One observation of both. What answers outweighs who is attached, and both outweigh what could not be tried."""
    data = {**records.data, **views.data}
    both = f"{records.seen}; {views.seen}"
    if records.reason is None:
        return Observation(both if views.reason is None else views.seen, views.reason, data)
    if views.reason is Reason.EXPOSED:
        return Observation(both, views.reason, data)
    return replace(records, data=data)


def judge_views(gateway: Gateway, views: Reachability) -> Observation:
    """From what answered from elsewhere; without a control that connects it is no pass."""
    reached = {origin: _reached(gateway, views.answers.get(origin, {})) for origin in OUTSIDE}
    told: dict[str, JsonValue] = {
        origin.value: views.not_applicable.get(origin)
        or ("failed" if origin in views.failed else ", ".join(reached[origin]) or "silent")
        for origin in OUTSIDE
    }
    control = controlled(gateway, views)
    data: dict[str, JsonValue] = {
        "control": "connects" if control else "silent",
        "vantage_points": told,
        "tried_for_ms": round(views.took * 1000),
    }
    ways_in = [f"{', '.join(addresses)} answers from {origin}" for origin, addresses in reached.items() if addresses]
    if ways_in:
        return Observation("; ".join(ways_in), Reason.EXPOSED, data)
    if views.failed:
        failures = "; ".join(f"{origin}: {text}" for origin, text in views.failed.items())
        return Observation(f"not tried: {failures}", Reason.ISOLATION_UNPROVEN, data)
    if not control:
        return Observation(
            "nothing answers, not even from inside the api network, where it must", Reason.ISOLATION_UNPROVEN, data
        )
    silent = [origin.value for origin in OUTSIDE if origin in views.answers]
    return Observation(f"no answer from {', '.join(silent)}", data=data)


def _reached(gateway: Gateway, answers: Mapping[str, Answer]) -> list[str]:
    """Addresses with an answer. A refusal is one too, since a packet came back from the gateway.

    Where the client port is refused as well, it did not: the gateway itself accepts there, as the control shows, so
    something on the way refuses in its place.
    """
    connected = [address for address, answer in answers.items() if answer in CONNECTED]
    barred = {
        _host(address)
        for address, answer in answers.items()
        if answer is Answer.CLOSED and _is_client_port(gateway, address)
    }
    refused = [
        address for address, answer in answers.items() if answer is Answer.CLOSED and _host(address) not in barred
    ]
    return [*connected, *refused]


def _exposed(
    deployment: Deployment, gateway: Gateway, looks: Iterable[Surroundings], on_egress: Sequence[Attached]
) -> list[str]:
    strangers = tuple(_names_of(container for container in on_egress if not _is_gateway(deployment, container)))
    exposed: list[str] = []
    for look in looks:
        record = replace(look.record, egress_strangers=strangers)
        exposed.extend(text for texts in violations(record, EXPOSURE).values() for text in texts)
        allowed = {gateway.api.network, deployment.egress_network}
        exposed.extend(f"attached to network {name} too" for name in sorted(set(look.networks) - allowed))
    return list(dict.fromkeys(exposed))


def _is_gateway(deployment: Deployment, container: Attached) -> bool:
    """A gateway of this stack, one that has just left the configuration included."""
    wanted = {
        Label.PREFIX: deployment.name_prefix,
        Label.PROJECT: deployment.project,
        Label.STACK: deployment.stack,
        Label.ROLE: Role.GATEWAY,
    }
    return all(container.labels.get(key) == value for key, value in wanted.items())


def _is_verifier(container: Attached) -> bool:
    return container.labels.get(Label.ROLE) == Role.VERIFIER


def _others(own: set[str], *groups: Iterable[Attached]) -> list[Attached]:
    """Each once, but for the gateway itself."""
    return list({other.id: other for other in chain(*groups) if other.id not in own}.values())


def _attached(container: Attached, still: set[str]) -> str:
    return "attached" if container.id in still else "for a moment attached"


def _is_client_port(gateway: Gateway, address: str) -> bool:
    return address.rpartition(":")[2] == str(gateway.api.port)


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _declared(attached: Attached, clients: Sequence[Client]) -> bool:
    return any(
        attached.name == client.container or (client.label is not None and _has_label(attached.labels, client.label))
        for client in clients
    )


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    key, _, value = wanted.partition("=")
    return labels.get(key) == value


def _names_of(attached: Iterable[Attached]) -> list[str]:
    return sorted(container.name for container in attached)


def _names(attached: Iterable[Attached]) -> list[JsonValue]:
    return [*_names_of(attached)]
