"""The page of a stack that is watched: without a script, a colour that alone says something, or a way to change
anything. Pure.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from html import escape

from healthcheck.monitoring.handover import GatewaySeen, Seen
from healthcheck.monitoring.incidents import Memory, Past, length, reason_of
from healthcheck.monitoring.metrics import UP
from healthcheck.reasons import EXPLANATIONS
from healthcheck.text import clean
from healthcheck.verdict import CheckVerdict

REFRESH = 15
"""Seconds until a browser asks again."""
DAY = 86_400.0
MARKS = {
    CheckVerdict.PASS: "\u2713",
    CheckVerdict.WARN: "!",
    CheckVerdict.FAIL: "\u2717",
    CheckVerdict.SKIPPED: "\u2013",
    CheckVerdict.NOT_APPLICABLE: "\u2013",
}

STYLE = """
:root { color-scheme: light dark; font: 16px/1.4 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 60rem; padding: 0.8rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.1rem; margin: 0; }
section { border: 1px solid; border-radius: 0.4rem; margin: 0.8rem 0; padding: 0.8rem; }
section.down { border-width: 4px; } section.warned { border-style: dashed; border-width: 2px; }
dl { display: grid; gap: 0.1rem 0.8rem; grid-template-columns: max-content 1fr; margin: 0.5rem 0; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
ul.checks { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; list-style: none; margin: 0.5rem 0 0; padding: 0; }
svg { display: block; height: 1.6rem; width: 100%; } .strip { border: 1px solid; }
:focus-visible { outline: 3px solid; }
"""


def page(stack: str, seen: Seen | None, why: str, memory: Memory, now: float) -> str:
    """`why`: nothing is known, where `seen` is None. `now`: seconds since the epoch."""
    body = "".join(_body(stack, seen, why, memory, now))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="refresh" content="{REFRESH}"><title>{_text(_headline(stack, seen))}</title>'
        f"<style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def _headline(stack: str, seen: Seen | None) -> str:
    if seen is None:
        return f"{stack}: nothing is known"
    down = sum(gateway.verdict not in UP for gateway in seen.gateways)
    return f"{stack}: {down} of {len(seen.gateways)} down" if down else f"{stack}: all up"


def _body(stack: str, seen: Seen | None, why: str, memory: Memory, now: float) -> Iterator[str]:
    yield f"<h1>{_text(_headline(stack, seen))}</h1><p>As of {_time(now)}.</p>"
    if seen is None:
        yield f'<section class="down"><h2>Nothing is known of any gateway</h2><p>{_text(why)}</p></section>'
    else:
        # What is down comes first.
        for gateway in sorted(seen.gateways, key=lambda one: (one.verdict in UP, one.gateway)):
            yield from _gateway(gateway, now)
    yield from _incidents(memory, now)


def _gateway(gateway: GatewaySeen, now: float) -> Iterator[str]:
    reason = reason_of(gateway)
    up = gateway.verdict in UP
    kind = "down" if not up else "warned" if reason else "up"
    name = _text(gateway.gateway)
    yield f'<section class="{kind}" tabindex="0" aria-label="{name}"><h2>{name}: {"UP" if up else "DOWN"}'
    yield f" \u2013 {_text(reason.value.replace('_', ' '))}" if reason else ""
    yield "</h2>"
    if reason is not None:
        yield f"<p>{_text(EXPLANATIONS[reason].meaning)}</p>"
    yield f"<dl>{''.join(f'<dt>{label}</dt><dd>{value}</dd>' for label, value in _facts(gateway, now))}</dl>"
    checks = "".join(
        f"<li>{MARKS[check.verdict]} {_text(check.name.value)}: {_text(check.verdict.value)}</li>"
        for check in gateway.checks
    )
    yield f'<ul class="checks" aria-label="checks">{checks}</ul></section>'


def _facts(gateway: GatewaySeen, now: float) -> Iterator[tuple[str, str]]:
    yield "since", f"{_time(gateway.since)} ({length(now - gateway.since)})"
    if gateway.window != "none":
        yield "away as planned", _text(gateway.window.replace("_", " "))
    told = gateway.supervised
    if told is not None and told.hold != "none":
        yield "waits for", _text(told.hold.replace("_", " "))
    if told is not None and told.until:
        yield "waits until", _time(told.until)
    if told is not None and told.factor:
        yield "second factor", f"asked for at {_time(told.factor)}"
    if gateway.planned is not None:
        yield "next", f"{_text(gateway.planned.event.value)} at {_time(gateway.planned.at)}"
    if gateway.weekly is not None:
        yield "weekly login", _time(gateway.weekly.coming)
    if told is not None and told.login:
        yield "logged in", _time(told.login)
    yield "last look", f"{length(now - gateway.looked)} ago"


def _incidents(memory: Memory, now: float) -> Iterator[str]:
    """Of a day: as a strip, and in words."""
    standing = [Past(cause=one.cause, members=one.members, began=one.began, ended=now) for one in memory.incidents]
    shown = [one for one in (*memory.past, *standing) if one.ended > now - DAY]
    yield "<h2>Incidents of the last 24 hours</h2>"
    if not shown:
        yield "<p>None.</p>"
        return
    yield '<div class="strip"><svg viewBox="0 0 1440 10" preserveAspectRatio="none" aria-hidden="true">'
    yield from _bars(shown, now)
    yield "</svg></div><ul>"
    for one in reversed(shown):
        what = ", ".join(f"{name} ({reason.value.replace('_', ' ')})" for name, reason in sorted(one.members.items()))
        lasted = f"for {length(one.ended - one.began)}" + (", and goes on" if one in standing else "")
        yield f"<li>{_time(one.began)}, {lasted}: {_text(what)}</li>"
    yield "</ul>"


def _bars(shown: Iterable[Past], now: float) -> Iterator[str]:
    """A unit a minute; an incident has three at least, so that it is seen."""
    for one in shown:
        begins = max(one.began - (now - DAY), 0) / 60
        width = max((one.ended - (now - DAY)) / 60 - begins, 3)
        yield f'<rect x="{min(begins, 1437):.0f}" y="0" width="{width:.0f}" height="10" fill="currentColor"/>'


def _text(text: str) -> str:
    return escape(clean(text))


def _time(moment: float) -> str:
    at = datetime.fromtimestamp(moment, UTC)
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at:%a %d %b %H:%M:%S} UTC</time>'
