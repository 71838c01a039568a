"""isolation: nobody but the gateway and its declared clients can reach the API.

The API has no authentication: who is attached to the gateway's api network can trade. Judged from Docker's records at
the run's start and end, from its events between, and from what was tried from elsewhere; pure functions.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from pydantic import JsonValue

from deployment.description import PROBER, Client, Deployment, Gateway
from deployment.rules import EXPOSURE, GatewayRecord, unlike, violations
from healthcheck.attachments import Attached
from healthcheck.docker_host import Inspected
from healthcheck.neighbours import holders, prepares, shares
from healthcheck.observation import SHARING, STRANGERS, Observation
from healthcheck.probe import Answer
from healthcheck.reachability import OUTSIDE, Origin, Reachability
from healthcheck.reasons import Reason
from healthcheck.verifier_container import is_verifier

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
    """`looks`: at the start and at the end. `came_to_api`, `came_to_egress`: whoever was attached between.

    `waiting_for_api`, `waiting_for_egress`: whoever is attached, or will be as soon as it is started. `everyone`: every
    container of the host that could be inspected, by its id; `volumes` by their names; `interfaces`: as Attachments has
    them. `missed`: what happened and
    could not be seen, in words. `recorded`: ids of containers that the stack's state holds beside the description.
    `image`: the verifier's.
    """

    looks: tuple[Surroundings, ...]
    came_to_api: tuple[Attached, ...] = ()
    came_to_egress: tuple[Attached, ...] = ()
    waiting_for_api: tuple[Attached, ...] = ()
    waiting_for_egress: tuple[Attached, ...] = ()
    everyone: Mapping[str, Attached] = field(default_factory=dict)
    volumes: Mapping[str, Inspected] = field(default_factory=dict)
    interfaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    missed: tuple[str, ...] = ()
    recorded: Collection[str] = ()
    image: Inspected | None = None

    def is_verifier(self, container: Attached) -> bool:
        return container.own or (
            self.image is not None and container.inspected is not None and is_verifier(container.inspected, self.image)
        )


def judge(deployment: Deployment, gateway: Gateway, seen: IsolationEvidence) -> Observation:
    """From Docker's records."""
    known = {recorded.container.id for recorded in deployment.gateways.values()} | set(seen.recorded)
    # It has this gateway's display and no other's.
    known |= {gateway.codes.id} if gateway.codes is not None else set()
    own = {look.gateway_id for look in seen.looks}
    listed = [look.attached for look in seen.looks], [look.on_egress for look in seen.looks]
    on_api = _others(own, _staying(listed[0]), seen.came_to_api, seen.waiting_for_api)
    on_egress = _others(own, _staying(listed[1]), seen.came_to_egress, seen.waiting_for_egress)
    verifiers = [other for other in on_api if seen.is_verifier(other) or _watches(other, deployment, seen.recorded)]
    on_api += [other for other in _through(own, on_api, seen.everyone) if not seen.is_verifier(other)]
    clients = [other for other in on_api if other not in verifiers and declared(other, gateway.clients)]
    strangers = [other for other in on_api if other not in verifiers and other not in clients]
    strange_on_egress = [other for other in on_egress if not seen.is_verifier(other) and other.id not in known]
    exposed = [*_exposed(deployment, gateway, seen.looks, strange_on_egress), *_replaced(gateway, own - known)]
    shared = dict(_shared(gateway, own, known, seen))
    still = {container.id for container in seen.looks[-1].attached}
    waiting = {container.id for container in seen.waiting_for_api} - still
    undeclared = [
        f"{_attached(container, still, waiting)} {gateway.api.network} and not declared: {container.name}"
        for container in strangers
    ]
    data: dict[str, JsonValue] = {"clients": _names(clients), "verifiers": len(verifiers)}
    if strangers:
        data["undeclared"] = _names(strangers)
        data[STRANGERS] = _names(container for container in strangers if container.id in still | waiting)
    if shared:
        data[SHARING] = [*shared]
    faults = {Reason.EXPOSED: exposed, Reason.GATEWAY_SHARED: [*shared.values()], Reason.UNDECLARED_CLIENT: undeclared}
    reason = next((reason for reason, texts in faults.items() if texts), None)
    if reason is not None:
        return Observation("; ".join(chain.from_iterable(faults.values())), reason, data)
    if seen.missed:
        return Observation(f"not seen: {'; '.join(seen.missed)}", Reason.ISOLATION_UNPROVEN, data)
    company = f"the gateway and {len(clients)} declared client{'' if len(clients) == 1 else 's'}"
    return Observation(
        f"no published port, internal network, attached: {company if clients else 'the gateway only'}", data=data
    )


def _watches(container: Attached, deployment: Deployment, recorded: Collection[str]) -> bool:
    """Whether it is the prober: the one that the description has, or one of the state's that is on its way out. An id
    is Docker's to give, and what a container runs stays as it was made."""
    if deployment.monitoring is not None and container.id == deployment.monitoring.prober.id:
        return True
    inspected = container.inspected
    return container.id in recorded and inspected is not None and inspected["Config"]["Entrypoint"] == [*PROBER]


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
        # As Docker has it nothing leads there.
        because = Reason.UNFILTERED if views.reason is Reason.EXPOSED else None
        return Observation(both if views.reason is None else views.seen, views.reason, data, because=because)
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
    strangers = tuple(_names_of(on_egress))
    exposed: list[str] = []
    for look in looks:
        record = replace(look.record, egress_strangers=strangers)
        exposed.extend(text for texts in violations(record, EXPOSURE).values() for text in texts)
        allowed = {gateway.api.network, deployment.egress_network}
        exposed.extend(f"attached to network {name} too" for name in sorted(set(look.networks) - allowed))
    return list(dict.fromkeys(exposed))


def _replaced(gateway: Gateway, strange: set[str]) -> Iterator[str]:
    """`strange`: ids under the gateway's name that no update has recorded."""
    for container_id in sorted(strange):
        yield unlike(f"container {gateway.container.name}", f"id {container_id[:12]}", gateway.container.id[:12])


def _shared(gateway: Gateway, own: set[str], known: set[str], seen: IsolationEvidence) -> Iterator[tuple[str, str]]:
    """What is the gateway's own and others have, by their names. It is nothing that `clients` declares."""
    for container_id in own & seen.everyone.keys():
        inspected = seen.everyone[container_id].inspected
        for other in seen.everyone.values():
            if other.inspected is None or inspected is None or other.id in own | known:
                continue
            # None of ours is in a gateway's own network namespace.
            if seen.is_verifier(other) and container_id not in holders(other.inspected, "NetworkMode", seen.everyone):
                continue
            if prepares(other.inspected, inspected):
                continue
            on_top = seen.interfaces.get(other.id, {})
            shared = list(shares(other.inspected, inspected, seen.everyone, seen.volumes, on_top))
            if shared:
                yield other.name, f"{other.name} shares {', '.join(shared)}"


def _through(own: set[str], on_api: Sequence[Attached], everyone: Mapping[str, Attached]) -> list[Attached]:
    """Whoever is in the network namespace of one that is attached, and so is attached with it."""
    attached = {other.id for other in on_api}
    return [
        other
        for other in everyone.values()
        if other.inspected is not None
        and other.id not in attached | own
        and attached & set(holders(other.inspected, "NetworkMode", everyone))
    ]


def _staying(looks: Sequence[Sequence[Attached]]) -> Iterator[Attached]:
    """Whoever a network lists, without those that had ended when the first look began: it lists them for a moment yet,
    as the verifier's of a run before. One that comes after that was inspected, or is known by its events."""
    last = {other.id for other in looks[-1]}
    yield from (other for look in looks for other in look if other.own or other.inspected or other.id in last)


def _others(own: set[str], *groups: Iterable[Attached]) -> list[Attached]:
    """Each once, but for the gateway itself."""
    return list({other.id: other for other in chain(*groups) if other.id not in own}.values())


def _attached(container: Attached, still: set[str], waiting: set[str]) -> str:
    if container.id in still:
        return "attached to"
    return "when it runs attached to" if container.id in waiting else "for a moment attached to"


def _is_client_port(gateway: Gateway, address: str) -> bool:
    return address.rpartition(":")[2] == str(gateway.api.port)


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def declared(attached: Attached, clients: Sequence[Client]) -> bool:
    """Whether it is one of these."""
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
