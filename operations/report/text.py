"""A report as a text of 80 columns. Pure. All times are in UTC."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from healthcheck.monitoring.incidents import length
from healthcheck.text import clean
from operations.formats import columns, folded
from operations.report.facts import GatewayFacts, Incident, Share, StackFacts

HEADINGS = ("gateway", "trading", "all hours", "unseen", "incidents", "restarts", "unplanned", "logins")
DISPENSABLE = ("unplanned", "logins", "restarts")
"""What goes first where names are long."""
SHARES = "Could trade, of the trading hours and of all hours but for what was planned:"
WIDTH = 80
MOST = 40
"""Lines of one kind; --json has all."""


def text(stacks: Sequence[StackFacts]) -> str:
    return "\n\n".join(folded("\n".join(_stack(stack)), WIDTH) for stack in stacks)


def _stack(stack: StackFacts) -> Iterator[str]:
    if stack.error is not None or stack.since is None or stack.until is None:
        yield f"{stack.stack}: {stack.error}"
        return
    whole = (stack.until - stack.since).total_seconds()
    yield f"{stack.stack}, {minute(stack.since)} to {minute(stack.until)} UTC ({length(whole)})"
    yield f"Trading hours: {stack.hours}"
    if stack.broken:
        yield f"{stack.broken} of the hours kept cannot be read, and count as not watched."
    if not stack.gateways:
        yield "Nothing was watched in this time."
        return
    yield f"\n{SHARES}"
    rows = [row(one) for one in stack.gateways]
    yield columns(HEADINGS, rows, width=WIDTH, dispensable=DISPENSABLE)
    for title, headings, rows in tables(stack.gateways):
        if rows:
            yield f"\n{title}"
            yield columns(headings, rows[-MOST:])
            if len(rows) > MOST:
                yield f"({len(rows) - MOST} earlier ones: --json)"


def row(one: GatewayFacts) -> tuple[str, ...]:
    return (
        clean(one.gateway),
        percent(one.trading),
        percent(one.outside_windows),
        length(one.unknown) if one.unknown else "-",
        str(len(one.incidents)),
        str(len(one.restarts)),
        str(sum(not restart.planned for restart in one.restarts)),
        str(len(one.logins)),
    )


def tables(gateways: Sequence[GatewayFacts]) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """What happened: title, headings and rows of each kind."""

    def rows(*made: tuple[datetime, tuple[str, ...]]) -> list[tuple[str, ...]]:
        return [(minute(at, seconds=True), *cells) for at, cells in sorted(made, key=lambda one: one[0])]

    yield (
        "Incidents",
        ("began", "gateway", "lasted", "down", "reasons"),
        rows(*((one.began, incident(one)) for each in gateways for one in each.incidents)),
    )
    yield (
        "Logins",
        ("at", "gateway", "took", "by", "after"),
        rows(
            *(
                (one.at, (each.gateway, "-" if one.seconds is None else length(one.seconds), one.by, one.why))
                for each in gateways
                for one in each.logins
            )
        ),
    )
    yield (
        "Second factors",
        ("asked", "gateway", "after", "outcome"),
        rows(
            *(
                (one.at, (each.gateway, "-" if one.seconds is None else length(one.seconds), outcome))
                for each in gateways
                for one in each.second_factors
                for outcome in ["approved" if one.approved else "awaited" if one.seconds is None else "not approved"]
            )
        ),
    )
    yield (
        "Restarts",
        ("at", "gateway", "planned", "why"),
        rows(
            *(
                (one.at, (each.gateway, "yes" if one.planned else "no", one.why))
                for each in gateways
                for one in each.restarts
            )
        ),
    )
    yield (
        "Planned, and did not take place",
        ("due", "gateway", "event"),
        rows(*((one.due, (each.gateway, one.event)) for each in gateways for one in each.missed)),
    )
    yield (
        "Latencies in ms",
        ("gateway", "check", "p50", "p95", "longest", "looks"),
        [
            (each.gateway, one.check, f"{one.p50}", f"{one.p95}", f"{one.longest}", f"{one.looks}")
            for each in gateways
            for one in each.latencies
        ],
    )
    yield (
        "Not watched",
        ("from", "gateway", "for"),
        rows(
            *(
                (one.began, (each.gateway, length((one.ended - one.began).total_seconds())))
                for each in gateways
                for one in each.pieces
                if one.state == "unknown"
            )
        ),
    )


def incident(one: Incident) -> tuple[str, ...]:
    lasted = ("over " if one.earlier else "") + length(one.seconds) + (", goes on" if one.ended is None else "")
    reasons = ", ".join(reason.replace("_", " ") for reason in one.reasons)
    return one.gateway, lasted, length(one.down) if one.down else "-", reasons


def percent(share: Share | None) -> str:
    """Rounded down: 100 % is all of it."""
    if share is None or share.percent is None:
        return "-"
    return f"{int(share.percent * 100) / 100:.2f} %"


def minute(at: datetime, *, seconds: bool = False) -> str:
    return at.strftime("%d %b %H:%M:%S" if seconds else "%d %b %H:%M")
