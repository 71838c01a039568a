"""The reasons' part of `docs/runbook.md`, from their table, so that the two cannot differ (`make reference`)."""

from types import SimpleNamespace
from typing import Any

from deployment.description import ClientIds, Gateway, Mode, Volumes
from healthcheck.observation import SHARING, STRANGERS
from healthcheck.reasons import EXPLANATIONS, Explanation, Reason, Side
from healthcheck.remedies import names

_SIDES = {
    Side.OURS: "The cause is on our side.",
    Side.IBKR: "The cause is on IBKR's side: a check that is not required only warns.",
    Side.HINT: "Nothing that stops a trader: it only warns.",
    Side.NOBODY: "Nothing is wrong: the check does not apply, as configured.",
}
_HEAD = """# Runbook

One section a reason, under the name that the report shows, with the steps in the order in which to take them. STACK,
GATEWAY, CONTAINER, NETWORK, SECRET and CLIENT stand for what the report names. Its commands follow from what it found:
instead of `ibgw restart` it says `ibgw start` for a gateway that is stopped, and `ibgw login --again` for one that its
start guard holds; on live, where it says `pulumi up` here, it says what takes the change there. What led to a gateway's
end comes first, then what starts it. The alerts follow at the end. This file is written by `make reference`.

After an update that was killed or interrupted no reason is shown: run `ibgw repair --stack STACK`, not `pulumi cancel`.
That one takes the lock away and nothing else: objects that were made and not recorded stay in the way of every later
update, and Pulumi's plug-ins, which outlive a killed engine by a minute and more, go on changing Docker.

Whatever is wrong, do not debug the engine of a real stack: `-v=9`, `--logtostderr`, `--tracing`, `PULUMI_DEBUG_GRPC`
and their like write the credentials in plain text (docs/security.md). `ibgw doctor` names the files that they left.

Where a login may stand, and what leads on:

![The start guard lets a start through or holds it; an attempt is counted, then logged in or rejected](images/login.svg)
"""


_FIELDS: dict[str, Any] = {
    "name": "GATEWAY",
    "mode": Mode.PAPER,
    "container": SimpleNamespace(name="CONTAINER"),
    "api": SimpleNamespace(network="NETWORK"),
    "client_ids": ClientIds(),
    "volumes": Volumes(settings="CONTAINER-settings"),
    "secret": SimpleNamespace(id="SECRET"),
}
_NAMES = names(Gateway.model_construct(**_FIELDS), "STACK", data={STRANGERS: ["CLIENT"], SHARING: ["CLIENT"]})


def _section(reason: Reason, explanation: Explanation) -> str:
    steps = "; then ".join((*explanation.before, *explanation.remedy)).format_map(_NAMES)
    waits = f"a verification waits up to {explanation.patience} s for it, or as long as `--wait` says"
    heals = f" It may heal by itself: {waits}." if explanation.heals else ""
    return f"\n## {reason}\n\n{explanation.meaning} {_SIDES[explanation.side]}{heals}\n\nWhat to do: {steps}.\n"


def render() -> str:
    return _HEAD + "".join(_section(reason, explanation) for reason, explanation in EXPLANATIONS.items())
