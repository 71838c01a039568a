"""Which changes of a live plan follow from a promotion; everything else belongs into an update of its own."""

from collections.abc import Iterator

from deployment.tables import Kind
from operations.plan.model import Cause, Plan, PlanVerdict

OWN = frozenset({Cause.IMAGE, Cause.PROGRAM, Cause.UNTOLD})
"""What a release brings along: its image, and what its commit changed in how this package runs a gateway. Paper runs
the same commit."""

WITH_THE_IMAGE = frozenset({Kind.IMAGE, Kind.CONTAINER})
"""What else goes with an image or a commit: the images, and the containers that prepare a gateway's volumes."""


def unexpected(plan: Plan) -> list[str]:
    """Each change that a promotion does not explain, in the plan's words; none at a stack's first deployment."""
    if plan.gateways and all(planned.verdict is PlanVerdict.CREATE for planned in plan.gateways):
        return []
    # What watches touches no gateway, and may come or change with a commit.
    others = (other for other in plan.others if not other.watches and other.kind not in WITH_THE_IMAGE)
    return [*_of_gateways(plan), *map(str, others)]


def _of_gateways(plan: Plan) -> Iterator[str]:
    for planned in plan.gateways:
        if planned.verdict in (PlanVerdict.CREATE, PlanVerdict.REMOVE):
            yield f"{planned.gateway}: {planned.verdict}"
        for reason in planned.reasons:
            if reason.cause not in OWN:
                yield f"{planned.gateway}: {reason.setting}"
