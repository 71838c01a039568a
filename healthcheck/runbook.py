"""`docs/runbook.md`, written from the table of reasons, so that the two cannot differ."""

import sys

from healthcheck.reasons import EXPLANATIONS, Explanation, Reason, Side

_SIDES = {
    Side.OURS: "The cause is on our side.",
    Side.IBKR: "The cause is on IBKR's side: a check that is not required only warns.",
    Side.HINT: "Nothing that stops a trader: it only warns.",
    Side.NOBODY: "Nothing is wrong: the check does not apply, as configured.",
}
_HEAD = """# Runbook

One section a reason, under the name that the report shows. STACK, GATEWAY, CONTAINER, NETWORK and SECRET stand for what
the report names. This file is written by `python -m healthcheck.runbook`.

After an update that was killed or interrupted no reason is shown: run `ibgw repair --stack STACK`, not `pulumi cancel`.
That one takes the lock away and nothing else: objects that were made and not recorded stay in the way of every later
update, and Pulumi's plug-ins, which outlive a killed engine by a minute and more, go on changing Docker.
"""


def _section(reason: Reason, explanation: Explanation) -> str:
    names = {name: name.upper() for name in ("stack", "gateway", "container", "network", "secret")}
    remedy = explanation.remedy.format(**names)
    heals = " It may heal by itself: `--wait` goes on asking." if explanation.heals else ""
    return f"\n## {reason}\n\n{explanation.meaning} {_SIDES[explanation.side]}{heals}\n\nWhat to do: {remedy}.\n"


def render() -> str:
    return _HEAD + "".join(_section(reason, explanation) for reason, explanation in EXPLANATIONS.items())


if __name__ == "__main__":
    sys.stdout.write(render())
