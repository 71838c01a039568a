"""A report as one page: without a script, the network, or a colour that alone says something. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape

from healthcheck.monitoring.incidents import length
from healthcheck.text import clean
from operations.report.facts import DayOf, GatewayFacts, StackFacts
from operations.report.text import HEADINGS, SHARES, minute, percent, row, tables

WIDE, HIGH = 1000, 100
"""Of a picture, in its own units; it is as wide as the page."""
HEIGHTS = {"up": 25, "warned": 50, "planned": 40, "down": 100, "unknown": 100}
"""Of a time's bar: what is worse is higher."""
SAYS = {
    "up": "low and plain: could trade",
    "warned": "half as high: could trade, with a warning",
    "planned": "outlined: away as planned",
    "down": "full height: could not trade",
    "unknown": "hatched: not watched",
}

STYLE = """
:root { color-scheme: light dark; font: 16px/1.4 system-ui, sans-serif;
  --up: light-dark(#7fb58a, #4d8a5a); --down: light-dark(#a11414, #ff7b72); --warned: light-dark(#b87a00, #e3b341); }
body { margin: 0 auto; max-width: 60rem; padding: 0.8rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.1rem; margin: 1.6rem 0 0.4rem; }
h3 { font-size: 1rem; margin: 1rem 0 0.2rem; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.9rem; }
th, td { border-bottom: 1px solid color-mix(in srgb, currentColor 25%, transparent); padding: 0.15rem 0.7rem 0.15rem 0;
  text-align: left; vertical-align: top; } td { font-variant-numeric: tabular-nums; }
svg { border: 1px solid; display: block; height: 4rem; width: 100%; } svg.market { border-bottom: 0; height: 0.6rem; }
.axis { display: flex; font-size: 0.8rem; justify-content: space-between; }
.up { fill: var(--up); } .warned { fill: var(--warned); } .down { fill: var(--down); }
.planned { fill: none; stroke: currentColor; } .unknown { fill: url(#hatched); } .open { fill: currentColor; }
ul.legend { display: flex; flex-wrap: wrap; font-size: 0.8rem; gap: 0 1.2rem; list-style: none; padding: 0; }
svg.pattern { border: 0; height: 0; position: absolute; width: 0; }
"""
PATTERN = (
    '<svg class="pattern" aria-hidden="true"><defs><pattern id="hatched" width="8" height="8" '
    'patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="3" height="8" fill="gray"/></pattern>'
    "</defs></svg>"
)


def page(stacks: Sequence[StackFacts]) -> str:
    body = "".join(part for stack in stacks for part in _stack(stack))
    title = _text(f"ibgw report: {', '.join(stack.stack for stack in stacks)}")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{STYLE}</style></head><body>{PATTERN}<main>{body}</main></body></html>\n"
    )


def _stack(stack: StackFacts) -> Iterator[str]:
    yield f"<h1>{_text(stack.stack)}</h1>"
    if stack.error is not None or stack.since is None or stack.until is None:
        yield f"<p>{_text(stack.error or '')}</p>"
        return
    yield f"<p>{minute(stack.since)} to {minute(stack.until)} UTC. Trading hours: {_text(stack.hours or '')}.</p>"
    if stack.broken:
        yield f"<p>{stack.broken} of the hours kept cannot be read, and count as not watched.</p>"
    if not stack.gateways:
        yield "<p>Nothing was watched in this time.</p>"
        return
    yield f"<p>{SHARES}</p>"
    yield _table(HEADINGS, [row(one) for one in stack.gateways])
    yield f'<ul class="legend">{"".join(f"<li>{words}</li>" for words in SAYS.values())}</ul>'
    for one in stack.gateways:
        yield f"<h2>{_text(one.gateway)}</h2>"
        yield from _times(stack, one, stack.since, stack.until)
        yield from _days(one)
        yield from _latencies(one, stack.since, stack.until)
    for title, headings, rows in tables(stack.gateways):
        if rows:
            yield f"<h2>{title}</h2>{_table(headings, rows)}"


def _times(stack: StackFacts, one: GatewayFacts, since: datetime, until: datetime) -> Iterator[str]:
    def bar(began: datetime, ended: datetime, kind: str, high: float) -> str:
        left, right = _across(began, since, until), _across(ended, since, until)
        # An incident of a minute is seen in a month, too.
        wide = max(right - left, 1.5 if kind in ("down", "warned") else 0)
        what = f"{kind}: {minute(began, seconds=True)}, {length((ended - began).total_seconds())}"
        return (
            f'<rect class="{kind}" x="{left:.1f}" y="{HIGH - high}" width="{wide:.1f}" height="{high}">'
            f"<title>{what}</title></rect>"
        )

    if stack.sessions:
        hours = "".join(bar(began, ended, "open", HIGH) for began, ended in stack.sessions)
        yield f"{_svg('market', 'trading hours')}{hours}</svg>"
    pieces = sorted(one.pieces, key=lambda piece: HEIGHTS[piece.state])
    states = "".join(bar(piece.began, piece.ended, piece.state, HEIGHTS[piece.state]) for piece in pieces)
    yield f"{_svg('states', f'{one.gateway}: {percent(one.trading)} of the trading hours')}{states}</svg>"
    yield _axis(since, until)


def _days(one: GatewayFacts) -> Iterator[str]:
    if len(one.by_day) < 3:
        return
    wide = WIDE / len(one.by_day)

    def bar(at: int, day: DayOf) -> str:
        what = f"{day.day}: {percent(day.share)}"
        if day.share.percent is None:
            kind, high = "unknown", float(HIGH)
        else:
            kind, high = "up" if day.share.percent == 100 else "down", day.share.percent
        return (
            f'<rect class="{kind}" x="{at * wide + wide / 10:.1f}" y="{HIGH - high:.1f}" width="{wide * 0.8:.1f}" '
            f'height="{high:.1f}"><title>{what}</title></rect>'
        )

    yield "<h3>Could trade, by day</h3>"
    yield f"{_svg('days', f'{one.gateway}: share by day')}{''.join(bar(*each) for each in enumerate(one.by_day))}</svg>"
    worst = min((day for day in one.by_day if day.share.percent is not None), key=_percent, default=None)
    words = "" if worst is None else f"worst: {worst.day}, {percent(worst.share)}"
    yield _below(one.by_day[0].day, words, one.by_day[-1].day)


def _percent(day: DayOf) -> float:
    return 100.0 if day.share.percent is None else day.share.percent


def _latencies(one: GatewayFacts, since: datetime, until: datetime) -> Iterator[str]:
    if len(one.by_hour) < 3:
        return
    top = max(hour.p95 for hour in one.by_hour) or 1
    wide = WIDE * 3600 / (until - since).total_seconds()

    def bar(at: datetime, low: int, high: int) -> str:
        tall = max(HIGH * (high - low) / top, 2)
        return (
            f'<rect class="open" x="{_across(at, since, until):.1f}" y="{HIGH - HIGH * high / top:.1f}" '
            f'width="{max(wide * 0.8, 1):.1f}" height="{tall:.1f}">'
            f"<title>{minute(at)}: p50 {low} ms, p95 {high} ms</title></rect>"
        )

    yield f"<h3>Latency of an account request: p50 to p95 of each hour, up to {top} ms</h3>"
    bars = "".join(bar(hour.at, hour.p50, hour.p95) for hour in one.by_hour)
    yield f"{_svg('latency', f'{one.gateway}: p50 to p95 by hour')}{bars}</svg>{_axis(since, until)}"


def _svg(kind: str, label: str) -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {WIDE} {HIGH}" preserveAspectRatio="none" role="img" '
        f'aria-label="{_text(label)}">'
    )


def _across(at: datetime, since: datetime, until: datetime) -> float:
    return WIDE * min(max((at - since) / (until - since), 0), 1)


def _axis(since: datetime, until: datetime) -> str:
    return _below(*(minute(at) for at in (since, since + (until - since) / 2, until)))


def _below(*words: str) -> str:
    return f'<div class="axis">{"".join(f"<span>{each}</span>" for each in words)}</div>'


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in line)}</tr>" for line in rows)
    return f'<div class="table" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _text(text: str) -> str:
    return escape(clean(text))
