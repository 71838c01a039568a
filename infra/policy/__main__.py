"""The policy pack: `deployment.rules` over every Docker resource that the engine is asked for, in previews and updates.

Each rule is a mandatory policy of its name. A violation stops the engine before it creates or changes that resource,
whatever the program itself has checked.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyPack,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from deployment.abilities import Lacking
from deployment.properties import UNKNOWN
from deployment.rules import RULES, Rule, egress_for_gateways
from deployment.tables import Token
from infra.policy import inputs

ACCEPTED: dict[str, tuple[Lacking, ...]] = {}
"""What the Docker host of a gateway may lack, by its component, which the engine asks about before its containers. A
pack is told nothing of the stack's configuration."""


def plain(value: Any) -> Any:
    """The engine's proxies as plain data, with UNKNOWN for what they refuse to show."""
    if isinstance(value, Mapping):
        return {key: _item(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_item(value, place) for place in range(len(value))]
    return value


def _item(holder: Any, key: Any) -> Any:
    try:
        return plain(holder[key])
    except UnknownValueError:
        return UNKNOWN


def for_each_resource(rule: Rule) -> Policy:
    """A rule about what one resource says of itself."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        if args.resource_type in (Token.GATEWAY, Token.MONITORING):
            ACCEPTED[args.urn] = inputs.accepted(plain(args.props).get("accepted"))
        if args.resource_type not in inputs.JUDGED:
            return
        accepts = ACCEPTED.get(args.opts.parent or "", ())
        given = plain(args.props)
        if inputs.applies(rule, args.resource_type, given):
            judged = inputs.record(args.resource_type, args.name, given, inputs.mode_of(args.urn), accepts)
            for text in rule.violations(judged):
                report(f"{judged.name}: {text}", None)

    return ResourceValidationPolicy(rule.name, rule.meaning, validate)


def for_the_stack(rule: Rule) -> Policy:
    """The rule about who is on egress: it needs all containers, and is judged when all are known."""

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        containers = [_attached(resource) for resource in args.resources if resource.resource_type == Token.CONTAINER]
        for network in args.resources:
            if network.resource_type == Token.NETWORK:
                judged = inputs.egress(network.name, plain(network.props), network.urn, containers)
                for text in rule.violations(judged):
                    report(f"{judged.name}: {text}", network.urn)

    return StackValidationPolicy(rule.name, rule.meaning, validate)


def _attached(container: PolicyResource) -> inputs.Attached:
    given = plain(container.props)
    named = [network.get("name") for network in given.get(inputs.ATTACHED) or () if isinstance(network, dict)]
    origins = [source.urn for source in container.property_dependencies.get(inputs.ATTACHED, ())]
    return inputs.Attached(container.name, given, frozenset({*origins, *(name for name in named if name)}))


if __name__ == "__main__":
    PolicyPack(
        "ibgw",
        enforcement_level=EnforcementLevel.MANDATORY,
        policies=[for_the_stack(rule) if rule is egress_for_gateways else for_each_resource(rule) for rule in RULES],
    )
