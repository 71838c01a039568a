"""A Docker resource's inputs, as the engine hands them to a policy, as the record that `deployment.rules` judges. Pure.

What the engine does not know yet leaves its fact unseen; what is not given has the provider's default, which is a fact.
Each resource fills only the facts that are its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from deployment.abilities import Lacking
from deployment.description import Mode
from deployment.names import Label, Role
from deployment.properties import Facts, Inputs, facts_of_inputs, row
from deployment.rules import GatewayRecord, Rule, no_credential_in_sight, no_new_privileges
from deployment.tables import CONTAINER, IMAGE, NETWORK, Token

WITHOUT_NETWORK = (no_credential_in_sight, no_new_privileges)
"""The rules for a container that no network leads to and that reaches none, as the one that prepares the volumes."""

JUDGED = (Token.CONTAINER, Token.NETWORK, Token.PULLED_IMAGE)
"""The resources that a rule is for."""

LEADS_OUT = {Role.EGRESS: Role.GATEWAY, Role.WAY_OUT: Role.WATCHER}
"""Networks that lead out, and who alone may be on each."""

ATTACHED = row(CONTAINER, "networks").input


def mode_of(urn: str) -> Mode:
    """By the stack's name in a resource's URN (`urn:pulumi:STACK::...`; the engine tells a pack nothing else of the
    stack). A name of another form counts as live."""
    stack = urn.removeprefix("urn:pulumi:").partition("::")[0]
    return Mode.PAPER if stack.split("-", 1)[0] == Mode.PAPER else Mode.LIVE


def applies(rule: Rule, kind: str, inputs: Inputs) -> bool:
    """Whether a rule is for this resource. A container is a gateway's unless it visibly has no network: what a program
    says of it in a label must not exempt it."""
    mode = row(CONTAINER, "network_mode")
    return kind != Token.CONTAINER or mode.of_inputs(inputs) != "none" or rule in WITHOUT_NETWORK


def accepted(told: object) -> tuple[Lacking, ...]:
    """What a gateway's component says of its Docker host, as far as it can be said."""
    named = told if isinstance(told, list) else []
    return tuple(ability for ability in Lacking if ability in named)


def record(kind: str, name: str, inputs: Inputs, mode: Mode, accepts: tuple[Lacking, ...] = ()) -> GatewayRecord:
    """The facts that this resource (of JUDGED) decides. `accepts`: what its Docker host may lack."""
    base = GatewayRecord(name=name, mode=mode, accepted=accepts)
    if kind == Token.CONTAINER:
        return base.with_container(facts_of_inputs(CONTAINER, inputs))
    if kind == Token.NETWORK:
        return _network(base, facts_of_inputs(NETWORK, inputs))
    return replace(base, image=facts_of_inputs(IMAGE, inputs)["reference"])


def _role(facts: Facts) -> str | None:
    return (facts["labels"] or {}).get(Label.ROLE)


def _network(base: GatewayRecord, facts: Facts) -> GatewayRecord:
    """What leads out by its label; any other network counts as one that clients are on."""
    named = replace(base, name=facts["name"] or base.name)
    # The rule about drivers looks at both networks, of which this resource is one.
    other = facts["driver"] and "bridge"
    if _role(facts) in LEADS_OUT:
        return replace(named.with_egress(facts), api_driver=other)
    return replace(named.with_api(facts), egress_driver=other)


@dataclass(frozen=True)
class Attached:
    """A container of the stack, and the networks that its inputs come from (URNs) or name."""

    name: str
    inputs: Inputs
    networks: frozenset[str]


def egress(name: str, inputs: Inputs, urn: str, containers: Iterable[Attached]) -> GatewayRecord:
    """Who is on a network that leads out and does not say that it is whom that is for; of another network nothing."""
    facts = facts_of_inputs(NETWORK, inputs)
    base = GatewayRecord(name=facts["name"] or name, mode=mode_of(urn))
    role = _role(facts)
    if role not in LEADS_OUT:
        return base
    here = {urn, base.name}
    strangers = (
        container.name
        for container in containers
        if here & container.networks and _role(facts_of_inputs(CONTAINER, container.inputs)) != LEADS_OUT[Role(role)]
    )
    return replace(base, egress_strangers=tuple(sorted(strangers)))
