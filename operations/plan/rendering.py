"""A plan for people, for a pull request and for programs. Pure."""

import re
from collections.abc import Callable, Iterable

from healthcheck.text import clean
from operations.plan.model import Change, Effect, GatewayPlan, Plan, PlanVerdict
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
        lines += [f"  {text}" for text in _details(planned, str)]
    return "\n".join(map(clean, [*lines, *_others(plan, str)]))


def markdown(plan: Plan) -> str:
    """For a pull request's comment."""
    if not plan.changes:
        return f"**{quoted(plan.stack)}**: no change"
    lines = [f"### Plan for {code(plan.stack)}", "", "| Gateway | Verdict | What happens |", "|---|---|---|"]
    for planned in plan.gateways:
        said = "<br>".join(map(_cell, (WORDS[planned.verdict], *_details(planned, quoted))))
        lines.append(f"| {_cell(quoted(planned.gateway))} | `{planned.verdict}` | {said} |")
    others = _others(plan, quoted)
    return "\n".join([*lines, *(["", *others] if others else [])])


def quoted(text: str) -> str:
    """Foreign text in Markdown, where it is no word that says nothing but itself: without tags, links, mentions and
    emphasis."""
    plain = re.fullmatch(r"[A-Za-z0-9 .,:/()-]+", text) and not re.search(r"(?i)www\.|://|gh-\d", text)
    return clean(text) if plain else code(text)


def code(text: str) -> str:
    """A code span, whose fence is longer than all in it (CommonMark, code spans)."""
    text = clean(text)
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    blank = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def _cell(text: str) -> str:
    """In a table a bar ends its cell, in code too; a backslash before it would end the escape (GFM, tables)."""
    return text.replace("\\|", "\\ |").replace("|", "\\|")


def effects_table() -> str:
    """The table of docs/plan.md."""
    rows = [f"| `{setting}` | {_EFFECTS[effect_of(setting)]} |" for setting in every_setting()]
    return "\n".join(["| Setting | A change of it |", "|---|---|", *rows])


def _details(planned: GatewayPlan, quote: Callable[[str], str]) -> Iterable[str]:
    """`quote`: for what a state or a configuration brought along."""
    for reason in planned.reasons:
        yield f"because of {quote(reason.setting)} ({_EFFECTS[reason.effect]})"
    if planned.image is not None:
        yield f"image: {_changed(planned.image, quote, after='known at the update')}"
    if planned.secret_version is not None:
        yield f"secret version: {_changed(planned.secret_version, quote)}"
    if planned.version is not None:
        yield f"ibgw: {_changed(planned.version, quote, before=EARLIER, after=EARLIER)}"
    if planned.downtime is not None:
        yield f"away: {quote(planned.downtime)}"
    if planned.asks_second_factor:
        yield "second factor: approve it in IBKR Mobile during the update"


def _changed(change: Change, quote: Callable[[str], str], before: str = "none", after: str = "none") -> str:
    """`before` and `after`: what to say where there is none."""
    return f"{quote(change.before or before)} -> {quote(change.after or after)}"


def _others(plan: Plan, quote: Callable[[str], str]) -> list[str]:
    return [f"also: {', '.join(quote(str(other)) for other in plan.others)}"] if plan.others else []


RENDERERS = {"human": human, "json": Plan.as_json, "markdown": markdown}
"""By what `--format` calls them."""
