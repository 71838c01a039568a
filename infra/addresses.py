"""Which subnet each network of a stack gets out of its pool.

The first /24 is the egress network's. Each gateway's `api` network gets a /28 behind it, at an index hashed from the
gateway's name, so that nobody's subnet moves because another gateway came or went: a moved subnet replaces the
network, and with it the gateway.
"""

import hashlib
from collections.abc import Mapping
from ipaddress import IPv4Network

from deployment.errors import ExitCode, IbgwError

EGRESS_PREFIX = 24
API_PREFIX = 28


def egress_subnet(pool: IPv4Network) -> IPv4Network:
    return next(pool.subnets(new_prefix=EGRESS_PREFIX))


def _api_slots(pool: IPv4Network) -> list[IPv4Network]:
    egress = egress_subnet(pool)
    return [subnet for subnet in pool.subnets(new_prefix=API_PREFIX) if not subnet.overlaps(egress)]


def api_subnets(pool: IPv4Network, chosen: Mapping[str, IPv4Network | None]) -> dict[str, IPv4Network]:
    """The `api` subnet of each gateway; `chosen` maps each name to its configured subnet, or None to hash one.

    Raises IbgwError (REFUSED) when two gateways would share addresses, with a free subnet to configure.
    """
    slots = _api_slots(pool)
    found: dict[str, IPv4Network] = {}
    for name in sorted(chosen):
        subnet = chosen[name]
        if subnet is None:
            digest = hashlib.sha256(name.encode()).digest()
            subnet = slots[int.from_bytes(digest[:8], "big") % len(slots)]
        elif subnet.overlaps(egress_subnet(pool)):
            raise IbgwError(
                f"ibgw:gateways.{name}.apiSubnet: {subnet} overlaps the egress network's {egress_subnet(pool)}; "
                f"choose a /{API_PREFIX} behind it",
                exit_code=ExitCode.REFUSED,
            )
        taken_by = next((other for other, taken in found.items() if taken.overlaps(subnet)), None)
        if taken_by is not None:
            used = [*found.values(), *(value for value in chosen.values() if value is not None)]
            free = next((slot for slot in slots if not any(slot.overlaps(other) for other in used)), None)
            remedy = f"set ibgw:gateways.{name}.apiSubnet: {free}" if free else "use a larger ibgw:network.subnetPool"
            raise IbgwError(
                f"ibgw:gateways.{name}: its api network would share {subnet} with gateway {taken_by!r}; {remedy}",
                exit_code=ExitCode.REFUSED,
            )
        found[name] = subnet
    return found
