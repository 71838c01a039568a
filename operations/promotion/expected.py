"""Which changes of a live plan follow from a promotion; everything else belongs into an update of its own."""

from collections.abc import Iterator

from operations.plan import THIS_VERSION, Plan, PlanVerdict

OWN = frozenset({"image", THIS_VERSION, "a file in the container", "ibgw's own probe", "ibgw's own variables"})
"""What a release brings along: its image, and what its commit changed in how this package runs a gateway. Paper runs
the same commit (operations.plan names these reasons)."""

WITH_THE_IMAGE = ("gateway-image", "verifier-image", "-settings-owner")
"""How the names of the other objects end that go with an image or a commit."""


def unexpected(plan: Plan) -> list[str]:
    """Each change that a promotion does not explain, in the plan's words; none at a stack's first deployment."""
    if plan.gateways and all(one.verdict is PlanVerdict.CREATE for one in plan.gateways):
        return []
    return [*_of_gateways(plan), *(other for other in plan.others if not other.endswith(WITH_THE_IMAGE))]


def _of_gateways(plan: Plan) -> Iterator[str]:
    for one in plan.gateways:
        if one.verdict in (PlanVerdict.CREATE, PlanVerdict.REMOVE):
            yield f"{one.gateway}: {one.verdict}"
        for reason in one.reasons:
            if reason.setting not in OWN:
                yield f"{one.gateway}: {reason.setting}"
