"""Which subnet each network of a stack gets out of its pool.

A moved subnet replaces the network, and with it the gateway. So a network that exists keeps its subnet, and a new one
takes the first free place: the egress network a /24 from the pool's first one on, each gateway's `api` network a /28
from the one on that its name is hashed to. Nobody moves because another gateway came or went. On a host that has no
network of the stack all get the same places again.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from deployment.errors import ExitCode, IbgwError
from deployment.names import Names

EGRESS_PREFIX = 24
API_PREFIX = 28
SHOWN = 3
"""How many of the networks that hold a pool a refusal names."""


@dataclass(frozen=True)
class Held:
    """A subnet that a network of the Docker host has. `ours`: the network carries this stack's labels."""

    network: str
    subnet: IPv4Network
    ours: bool


@dataclass(frozen=True)
class Subnets:
    """`api`: by the gateways' names. `others`: by the networks' own."""

    egress: IPv4Network
    api: dict[str, IPv4Network]
    others: dict[str, IPv4Network]


def choose(
    pool: IPv4Network,
    gateways: Mapping[str, IPv4Network | None],
    names: Names,
    held: Collection[Held] = (),
    others: Collection[str] = (),
) -> Subnets:
    """The subnet of each network. `gateways` maps each name to its configured subnet, which wins, or to None. `held` is
    everything on the host, networks on their way out too, since those are removed only at an update's end. `others`:
    names of networks that are no gateway's; each gets a /28 after the gateways, so that it moves none of theirs.

    An existing subnet that no longer lies in the pool is not kept. Raises IbgwError (REFUSED) when a configured subnet
    is another's of this stack, and when no place is free.
    """
    kept = {
        (existing.network, existing.subnet.prefixlen): existing.subnet
        for existing in held
        if existing.ours and existing.subnet.subnet_of(pool)
    }
    # Behind the first /24, which is egress's. Other places, or in another order, would be another hashed one for each.
    places = list(pool.subnets(new_prefix=API_PREFIX))[2 ** (API_PREFIX - EGRESS_PREFIX) :]
    taken = {place for existing in held for place in _places(existing.subnet, pool)}

    def first_free(candidates: Iterable[IPv4Network], network: str) -> IPv4Network:
        for candidate in candidates:
            if taken.isdisjoint(_places(candidate, pool)):
                return candidate
        raise _full(pool, network, held)

    egress = kept.get((names.egress_network, EGRESS_PREFIX))
    if egress is None:
        egress = first_free(pool.subnets(new_prefix=EGRESS_PREFIX), names.egress_network)
    taken |= _places(egress, pool)
    also = {name: kept[name, API_PREFIX] for name in others if (name, API_PREFIX) in kept}
    taken |= {place for subnet in also.values() for place in _places(subnet, pool)}

    api = {}
    for name, configured in sorted(gateways.items()):
        subnet = configured or kept.get((names.api_network(name), API_PREFIX))
        if subnet is not None:
            api[name] = subnet
            taken |= _places(subnet, pool)
    for name in api:
        if gateways[name] is not None:
            other = _shared_with(name, api, egress)
            if other is not None:
                free = first_free(_from_hashed(name, places), names.api_network(name))
                raise IbgwError(
                    f"ibgw:gateways.{name}.apiSubnet: {api[name]} overlaps {other}; a free one is {free}",
                    exit_code=ExitCode.REFUSED,
                )
    for name in sorted(gateways.keys() - api.keys()):
        api[name] = first_free(_from_hashed(name, places), names.api_network(name))
        taken.add(api[name])
    for name in sorted({*others} - also.keys()):
        also[name] = first_free(_from_hashed(name, places), name)
        taken.add(also[name])
    return Subnets(egress, api, also)


def _places(subnet: IPv4Network, pool: IPv4Network) -> set[IPv4Network]:
    """The pool's /28 that a subnet of any size takes something of."""
    if not subnet.overlaps(pool):
        return set()
    if subnet.prefixlen >= API_PREFIX:
        return {subnet.supernet(new_prefix=API_PREFIX)}
    return set((pool if pool.subnet_of(subnet) else subnet).subnets(new_prefix=API_PREFIX))


def _from_hashed(name: str, places: list[IPv4Network]) -> list[IPv4Network]:
    """All of them, from the one that the name is hashed to on and around."""
    first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % len(places)
    return places[first:] + places[:first]


def _shared_with(name: str, api: Mapping[str, IPv4Network], egress: IPv4Network) -> str | None:
    """Which of the stack's other networks has addresses of this gateway's."""
    if api[name].overlaps(egress):
        return f"the egress network's {egress}"
    others = (other for other in api if other != name and api[other].overlaps(api[name]))
    return next((f"gateway {other!r}'s {api[other]}" for other in others), None)


def _full(pool: IPv4Network, network: str, held: Iterable[Held]) -> IbgwError:
    overlapping = [
        f"{existing.subnet} of network {existing.network!r}" for existing in held if existing.subnet.overlaps(pool)
    ]
    more = f" and {len(overlapping) - SHOWN} more" if len(overlapping) > SHOWN else ""
    return IbgwError(
        f"network {network!r} finds no free place in {pool}, which overlaps "
        f"{', '.join(overlapping[:SHOWN]) or 'no other network'}{more}; set another ibgw:network.subnetPool. A larger "
        "one that holds the present one moves no network",
        exit_code=ExitCode.REFUSED,
    )
