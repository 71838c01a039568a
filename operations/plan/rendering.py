"""A plan for people, for a pull request and for programs. Pure."""

import json
from collections.abc import Iterable

from operations.plan.model import Effect, GatewayPlan, Plan, PlanVerdict
from operations.plan.settings import effect_of, every_setting

EARLIER = "an earlier version"
"""Of ibgw, whose states do not tell which one it was."""

WORDS = {
    PlanVerdict.NONE: "stays as it is",
    PlanVerdict.IN_PLACE: "changes in place, without a login",
    PlanVerdict.RELOGIN: "is replaced and logs in again",
    PlanVerdict.RELOGIN_SECOND_FACTOR: "is replaced, logs in again and asks for a second factor",
    PlanVerdict.CREATE: "is created and logs in",
    PlanVerdict.REMOVE: "is removed",
}
_EFFECTS = {
    Effect.REPLACES: "replaces the container",
    Effect.IN_PLACE: "in place",
    Effect.NOTHING: "does not touch the container",
}


def human(plan: Plan) -> str:
    """One line where nothing changes; else a line for each gateway, and under it what is to be known."""
    if not plan.changes:
        return f"{plan.stack}: no change"
    width = max((len(planned.gateway) for planned in plan.gateways), default=0)
    lines = []
    for planned in plan.gateways:
        lines.append(f"{plan.stack}/{planned.gateway:{width}}  {planned.verdict.upper():21}  {WORDS[planned.verdict]}")
        lines += [f"  {text}" for text in _details(planned)]
    return "\n".join([*lines, *_others(plan)])


def markdown(plan: Plan) -> str:
    """For a pull request's comment."""
    if not plan.changes:
        return f"**{plan.stack}**: no change"
    lines = [f"### Plan for `{plan.stack}`", "", "| Gateway | Verdict | What happens |", "|---|---|---|"]
    for planned in plan.gateways:
        said = "<br>".join(text.replace("|", "\\|") for text in (WORDS[planned.verdict], *_details(planned)))
        lines.append(f"| {planned.gateway} | `{planned.verdict}` | {said} |")
    others = _others(plan)
    return "\n".join([*lines, *(["", *others] if others else [])])


def as_json(plan: Plan) -> str:
    return json.dumps({"schema": 1, "changes": plan.changes, **plan.model_dump(mode="json")}, indent=2)


def effects_table() -> str:
    """The table of docs/plan.md."""
    rows = [f"| `{setting}` | {_EFFECTS[effect_of(setting)]} |" for setting in every_setting()]
    return "\n".join(["| Setting | A change of it |", "|---|---|", *rows])


def _details(planned: GatewayPlan) -> Iterable[str]:
    for reason in planned.reasons:
        yield f"because of {reason.setting} ({_EFFECTS[reason.effect]})"
    if planned.image is not None:
        yield f"image: {planned.image.before or 'none'} -> {planned.image.after or 'known at the update'}"
    if planned.secret_version is not None:
        yield f"secret version: {planned.secret_version.before or 'none'} -> {planned.secret_version.after or 'none'}"
    if planned.version is not None:
        yield f"ibgw: {planned.version.before or EARLIER} -> {planned.version.after or EARLIER}"
    if planned.downtime is not None:
        yield f"away: {planned.downtime}"
    if planned.asks_second_factor:
        yield "second factor: approve it in IBKR Mobile during the update"


def _others(plan: Plan) -> list[str]:
    return [f"also: {', '.join(map(str, plan.others))}"] if plan.others else []


RENDERERS = {"human": human, "json": as_json, "markdown": markdown}
"""By what `--format` calls them."""
