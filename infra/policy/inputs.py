"""A Docker resource's inputs, as the engine hands them to a policy, as the record that `deployment.rules` judges. Pure.

What the engine does not know yet (UNKNOWN) leaves its fact unseen; what is not given has the provider's default, which
is a fact. Each resource fills only the facts that are its own.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeVar

from deployment.description import Mode
from deployment.names import Label, Role
from deployment.rules import GatewayRecord, Rule, no_credential_in_sight, no_new_privileges
from healthcheck.inspected import DOCKERS_GRACE
from infra.spec import ICC

CONTAINER = "docker:index/container:Container"
NETWORK = "docker:index/network:Network"
IMAGE = "docker:index/remoteImage:RemoteImage"

WITHOUT_NETWORK = (no_credential_in_sight, no_new_privileges)
"""The rules for a container that no network leads to and that reaches none, as the one that prepares the volumes."""

Inputs = Mapping[str, Any]
T = TypeVar("T")


class Unknown(Enum):
    """An input that depends on what is not created yet."""

    UNKNOWN = "unknown"


UNKNOWN = Unknown.UNKNOWN


def mode_of(urn: str) -> Mode:
    """By the stack's name in a resource's URN (`urn:pulumi:STACK::...`; the engine tells a pack nothing else of the
    stack). A name of another form counts as live."""
    stack = urn.removeprefix("urn:pulumi:").partition("::")[0]
    return Mode.PAPER if stack.split("-", 1)[0] == Mode.PAPER else Mode.LIVE


def record(kind: str, name: str, inputs: Inputs, mode: Mode) -> GatewayRecord:
    """The facts that this resource (of KINDS) decides."""
    return _LOOK[kind](GatewayRecord(name=name, mode=mode), inputs)


def applies(rule: Rule, kind: str, inputs: Inputs) -> bool:
    """Whether a rule is for this resource. A container is a gateway's unless it visibly has no network: what a program
    says of it in a label must not exempt it."""
    return kind != CONTAINER or inputs.get("networkMode") != "none" or rule in WITHOUT_NETWORK


def _fact(inputs: Inputs, key: str, default: Any, make: Callable[[Any], T]) -> T | None:
    """The fact that one input tells, with the provider's default where it is not given; None if it is unknown."""
    value = inputs.get(key)
    value = default if value is None else value
    return None if _unknown(value) else make(value)


def _unknown(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_unknown, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_unknown, value))
    return value is UNKNOWN


def _labels(inputs: Inputs) -> dict[str, str] | None:
    return _fact(inputs, "labels", (), lambda found: {one["label"]: one["value"] for one in found})


def _texts(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(map(str, values))


def _container(base: GatewayRecord, inputs: Inputs) -> GatewayRecord:
    labels = _labels(inputs)
    capabilities = _fact(inputs, "capabilities", {}, lambda found: found)
    probe = _fact(inputs, "healthcheck", {}, lambda found: _texts(found.get("tests") or ()))
    words = (_fact(inputs, "entrypoints", (), _texts), _fact(inputs, "command", (), _texts), probe)
    return replace(
        base,
        name=_fact(inputs, "name", base.name, str) or base.name,
        image=_fact(inputs, "image", "", _pulled),
        secret_id=None if labels is None else labels.get(Label.SECRET_ID, ""),
        environment=_fact(inputs, "envs", (), lambda found: dict(entry.partition("=")[::2] for entry in found)),
        labels=labels,
        arguments=None if None in words else tuple(word for part in words if part for word in part),
        published=_published(inputs),
        network_mode=_fact(inputs, "networkMode", "bridge", str),
        privileged=_fact(inputs, "privileged", False, bool),
        capabilities_added=None if capabilities is None else _texts(capabilities.get("adds") or ()),
        capabilities_dropped=None if capabilities is None else _texts(capabilities.get("drops") or ()),
        security_options=_fact(inputs, "securityOpts", (), _texts),
        memory=_fact(inputs, "memory", 0, int),
        memory_swap=_fact(inputs, "memorySwap", 0, int),
        stop_grace=_fact(inputs, "stopTimeout", DOCKERS_GRACE, int),
        # The provider kills at once where it is not given.
        removal_grace=_fact(inputs, "destroyGraceSeconds", 0, int),
        restart=_fact(inputs, "restart", "no", str),
        log_driver=_fact(inputs, "logDriver", "", str),
        log_options=_fact(inputs, "logOpts", {}, dict),
        probe=probe,
    )


def _pulled(image: str) -> str | None:
    """An image's id says nothing of what was pulled: that is for the resource that pulls it to show."""
    return None if image.startswith("sha256:") else image


def _published(inputs: Inputs) -> tuple[str, ...] | None:
    ports = _fact(inputs, "ports", (), _ports)
    everything = _fact(inputs, "publishAllPorts", False, bool)
    if ports is None or everything is None:
        return None
    return (*ports, *(("all exposed ports",) if everything else ()))


def _ports(ports: Iterable[Inputs]) -> tuple[str, ...]:
    return tuple(
        f"{int(port['internal'])}/{port.get('protocol') or 'tcp'} on {port.get('ip') or '0.0.0.0'}:"
        f"{int(port['external']) if port.get('external') else 'any'}"
        for port in ports
    )


def _network(base: GatewayRecord, inputs: Inputs) -> GatewayRecord:
    """`egress` by its label; any other network counts as one that clients are on."""
    named = replace(base, name=_fact(inputs, "name", base.name, str) or base.name)
    driver = _fact(inputs, "driver", "bridge", str)
    # The rule about drivers looks at both networks, of which this resource is one.
    both = replace(named, api_driver=driver and "bridge", egress_driver=driver and "bridge")
    if (_labels(inputs) or {}).get(Label.ROLE) == Role.EGRESS:
        traffic = _fact(inputs, "options", {}, lambda found: found.get(ICC) != "false")
        return replace(both, egress_driver=driver, egress_traffic=traffic)
    return replace(both, api_driver=driver, api_internal=_fact(inputs, "internal", False, bool))


def _image(base: GatewayRecord, inputs: Inputs) -> GatewayRecord:
    return replace(base, image=_fact(inputs, "name", "", str))


_LOOK: Mapping[str, Callable[[GatewayRecord, Inputs], GatewayRecord]] = {
    CONTAINER: _container,
    NETWORK: _network,
    IMAGE: _image,
}


KINDS = frozenset(_LOOK)


@dataclass(frozen=True)
class Attached:
    """A container of the stack, and the networks that its inputs come from (URNs) or name."""

    name: str
    inputs: Inputs
    networks: frozenset[str]


def egress(name: str, inputs: Inputs, urn: str, containers: Iterable[Attached]) -> GatewayRecord:
    """Who is on a network that is `egress` and does not say that it is a gateway; of another network nothing."""
    base = GatewayRecord(name=_fact(inputs, "name", name, str) or name, mode=mode_of(urn))
    if (_labels(inputs) or {}).get(Label.ROLE) != Role.EGRESS:
        return base
    here = {urn, base.name}
    strangers = (
        one.name
        for one in containers
        if here & one.networks and (_labels(one.inputs) or {}).get(Label.ROLE) != Role.GATEWAY
    )
    return replace(base, egress_strangers=tuple(sorted(strangers)))
