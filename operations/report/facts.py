"""From what a watcher kept to what a report says: availability, incidents, logins, latencies. Pure.

The objective is that of monitoring/objective.py: the share of the trading hours in which a trader could trade
(healthcheck.monitoring.metrics.UP), of those that were watched. What nobody saw is told apart, and counts as neither.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from deployment.trading import Hours, sessions
from healthcheck.monitoring.history import Durations, Gateway, Hour, Stretch, Told, milliseconds
from healthcheck.monitoring.incidents import CALM, unplanned
from healthcheck.observation import CheckName
from healthcheck.reasons import Reason
from healthcheck.report import Model
from operations.answers import Answer, Moment

PLANNED_TAKES = 600.0
"""Seconds from the end of a process that was planned to the start of the one after it."""
DUE = 600.0
"""Seconds within which a planned restart has to take place (supervisor.sh, NEAR)."""
DAY = 86_400.0
RECENT = 120.0
"""Seconds that may pass until the watcher writes down what it saw: with so little missing the report ends there."""

Span = tuple[float, float]
"""Seconds since the epoch, the end being out. Several are in order and do not overlap."""


class Share(Model):
    """Of a time: `seconds` that were asked about, `watched` of them, `up` of these. `percent` of what was watched, None
    where nothing was."""

    seconds: int
    watched: int
    up: int
    percent: float | None


class Incident(Model):
    """`reasons`: in their order, by their names in docs/runbook.md. `down`: seconds in which nobody could trade;
    `in_hours`: of them, in trading hours. `ended`: None where it goes on, or nobody saw its end. `earlier`: it began
    before what the report is about."""

    gateway: str
    began: Moment
    ended: Moment | None
    seconds: int
    down: int
    in_hours: int
    reasons: tuple[str, ...]
    earlier: bool


class Login(Model):
    """`seconds`: from the start of the gateway's process, None where that is not known. `by`: password, or a saved
    session. `why`: what ended the process before it."""

    at: Moment
    seconds: int | None
    by: str
    why: str


class SecondFactor(Model):
    """`seconds`: until it was approved, or given up; None where it is awaited, or nobody saw its end."""

    at: Moment
    seconds: int | None
    approved: bool


class Restart(Model):
    at: Moment
    planned: bool
    why: str


class Missed(Model):
    """A planned restart or logoff that did not take place."""

    due: Moment
    event: str


class Latency(Model):
    """In milliseconds. `p50` and `p95` are 5 % exact, as they are kept; `longest` is exact. By whole hours."""

    check: CheckName
    looks: int
    p50: int
    p95: int
    longest: int


class Piece(Model):
    """For a picture: a time in which the same was so."""

    began: Moment
    ended: Moment
    state: str
    """up, warned, down, planned, or unknown."""


class HourOf(Model):
    """For a picture: how the check `authenticated`, which every look makes, did in an hour, in milliseconds."""

    at: Moment
    p50: int
    p95: int


class DayOf(Model):
    """For a picture: a day (UTC) of which something was asked."""

    day: str
    share: Share


class GatewayFacts(Model):
    """`by_day`: in the trading hours, or outside of windows where these are not known."""

    gateway: str
    trading: Share | None
    outside_windows: Share
    unknown: int
    """Seconds in which nobody saw it."""
    incidents: tuple[Incident, ...]
    logins: tuple[Login, ...]
    second_factors: tuple[SecondFactor, ...]
    restarts: tuple[Restart, ...]
    missed: tuple[Missed, ...]
    latencies: tuple[Latency, ...]
    pieces: tuple[Piece, ...]
    by_hour: tuple[HourOf, ...]
    by_day: tuple[DayOf, ...]


class StackFacts(Model):
    """`hours`: the trading hours in words, or why they are not known. `sessions`: these in the report's time.
    `broken`: hours of the history that cannot be read. `error`: why nothing is known."""

    stack: str
    since: Moment | None = None
    until: Moment | None = None
    hours: str | None = None
    sessions: tuple[tuple[Moment, Moment], ...] = ()
    broken: int = 0
    error: str | None = None
    gateways: tuple[GatewayFacts, ...] = ()


class ReportAnswer(Answer):
    exit_code: int
    stacks: tuple[StackFacts, ...]


def facts(
    stack: str,
    hours: Sequence[Hour | None],
    *,
    since: float,
    now: float,
    trading: Hours | None,
    told: str,
) -> StackFacts:
    """`hours`: as they were kept; None for one that cannot be read. `since`, `now`: seconds since the epoch. `told`:
    the trading hours in words, or why they are not known."""
    kept = [hour for hour in hours if hour is not None]
    last = max((one.ended for hour in kept for each in hour.gateways.values() for one in each.stretches), default=0.0)
    until = last if now - RECENT <= last <= now else now
    named = sorted({name for hour in kept for name in hour.gateways})
    markets = None if trading is None else clipped(_sessions(trading, since, until), since, until)
    found = [
        _gateway(
            name,
            [(hour.began, hour.gateways[name]) for hour in kept if name in hour.gateways],
            (since, until),
            markets,
        )
        for name in named
    ]
    return StackFacts(
        stack=stack,
        since=_moment(since),
        until=_moment(until),
        hours=told,
        sessions=tuple((_moment(began), _moment(ended)) for began, ended in markets or ()),
        broken=len(hours) - len(kept),
        gateways=tuple(found),
    )


def _gateway(
    name: str, kept: Sequence[tuple[float, Gateway]], time: Span, markets: Sequence[Span] | None
) -> GatewayFacts:
    since, until = time
    stretches = whole([one for _, hour in kept for one in hour.stretches], since, until)
    told = sorted((one for _, hour in kept for one in hour.told if one.at <= until), key=lambda one: one.at)
    watched = joined((one.began, one.ended) for one in stretches)
    up = joined((one.began, one.ended) for one in stretches if one.up)
    planned = joined((one.began, one.ended) for one in stretches if one.window != "none")
    windowless = without([time], planned)
    durations = [(began, hour.durations) for began, hour in kept if began + 3600 > since and began < until]
    starts = _starts(told)
    return GatewayFacts(
        gateway=name,
        trading=None if markets is None else share(markets, watched, up),
        outside_windows=share(windowless, watched, up),
        unknown=round(length(without([time], watched))),
        incidents=tuple(_incidents(name, stretches, time, markets or [])),
        logins=tuple(_logins(told, starts, since)),
        second_factors=tuple(_factors(told, since)),
        restarts=tuple(one for one in starts.values() if one.at.timestamp() >= since),
        missed=tuple(_missed(told, since)),
        latencies=tuple(_latencies([each for _, each in durations])),
        pieces=tuple(_pieces(stretches, time)),
        by_hour=tuple(_by_hour(durations)),
        by_day=tuple(_by_day(time, windowless if markets is None else markets, watched, up)),
    )


# --- times ------------------------------------------------------------------------------------------------------------


def _sessions(hours: Hours, since: float, until: float) -> Iterator[Span]:
    for opens, closes in sessions(hours, _moment(since), _moment(until)):
        yield opens.timestamp(), closes.timestamp()


def clipped(spans: Iterable[Span], since: float, until: float) -> list[Span]:
    return both(spans, [(since, until)])


def both(some: Iterable[Span], others: Sequence[Span]) -> list[Span]:
    """What lies in one of the first and in one of the second."""
    met = [(max(a, c), min(b, d)) for a, b in some for c, d in others]
    return [(began, ended) for began, ended in met if began < ended]


def joined(spans: Iterable[Span]) -> list[Span]:
    """Those that touch are one."""
    found: list[Span] = []
    for began, ended in spans:
        if found and found[-1][1] == began:
            found[-1] = (found[-1][0], ended)
        else:
            found.append((began, ended))
    return found


def without(some: Iterable[Span], others: Sequence[Span]) -> list[Span]:
    left = [*some]
    for began, ended in others:
        left = [piece for a, b in left for piece in ((a, min(b, began)), (max(a, ended), b)) if piece[0] < piece[1]]
    return left


def length(spans: Iterable[Span]) -> float:
    return sum(ended - began for began, ended in spans)


def share(asked: Sequence[Span], watched: Sequence[Span], up: Sequence[Span]) -> Share:
    """The objective: of `asked`, how much of what was watched was up."""
    seen, could = length(both(watched, asked)), length(both(up, asked))
    percent = round(100 * could / seen, 3) if seen else None
    return Share(seconds=round(length(asked)), watched=round(seen), up=round(could), percent=percent)


def whole(stretches: Iterable[Stretch], since: float, until: float) -> list[Stretch]:
    """In order, within that time, and each moment once: a clock that was set back saw some twice, and an hour that was
    written twice is there twice. What goes on is one."""
    found: list[Stretch] = []
    at = since
    for one in sorted(stretches, key=lambda one: (one.began, one.ended)):
        began, ended = max(one.began, at), min(one.ended, until)
        if began >= ended:
            continue
        at = ended
        if found and found[-1].ended == began and found[-1].same(one):
            found[-1] = found[-1].model_copy(update={"ended": ended})
        else:
            found.append(one.model_copy(update={"began": began, "ended": ended}))
    return found


# --- what happened ----------------------------------------------------------------------------------------------------


def _problem(one: Stretch) -> Reason | None:
    return unplanned(one.reason, up=one.up, window=one.window)


def _incidents(name: str, stretches: Sequence[Stretch], time: Span, markets: Sequence[Span]) -> Iterator[Incident]:
    """As the watcher itself tells them (healthcheck.monitoring.incidents): one that comes and goes is one."""
    groups: list[list[Stretch]] = []
    for one in stretches:
        if _problem(one) is None:
            continue
        if groups and one.began - groups[-1][-1].ended < CALM:
            groups[-1].append(one)
        else:
            groups.append([one])
    for group in groups:
        began, ended = group[0].began, group[-1].ended
        seen_over = any(0 <= one.began - ended < CALM for one in stretches)
        down = [(one.began, one.ended) for one in group if not one.up]
        yield Incident(
            gateway=name,
            began=_moment(began),
            ended=_moment(ended) if seen_over else None,
            seconds=round(ended - began),
            down=round(length(down)),
            in_hours=round(length(both(down, markets))),
            reasons=tuple(dict.fromkeys(reason.value for one in group if (reason := _problem(one)) is not None)),
            earlier=began <= time[0],
        )


def _starts(told: Sequence[Told]) -> dict[float, Restart]:
    """By when the process started. The first that is known is no restart that anybody saw."""
    found: dict[float, Restart] = {}
    known = heals = 0.0
    for one in told:
        if one.started <= known:
            heals = min(heals, one.heals)
            continue
        if known:
            found[one.started] = _restart(one, healed=one.heals > heals)
        known, heals = one.started, one.heals
    return found


def _restart(told: Told, *, healed: bool) -> Restart:
    at = _moment(told.started)
    if told.done and 0 <= told.started - told.done <= PLANNED_TAKES:
        return Restart(at=at, planned=True, why=_words(told.event))
    return Restart(at=at, planned=False, why="to heal it" if healed else ENDS.get(told.stopped, _words(told.stopped)))


UNKNOWN = "not known"
ENDS = {
    "clean": "stopped, with a logout",
    "killed": "killed, without a logout",
    "stranded": "ended without a logout",
    "ended": "ended by itself",
    "no_session": "was not logged in",
    "none": UNKNOWN,
}
"""How the process before it ended (supervisor.sh, LAST_STOP)."""


def _logins(told: Sequence[Told], starts: dict[float, Restart], since: float) -> Iterator[Login]:
    first = {one.login: one for one in reversed(told) if one.login >= since and one.login}
    before = 0.0
    for at, one in sorted(first.items()):
        start = starts.get(one.started)
        why = "again, in the same process" if one.started == before else start.why if start else UNKNOWN
        took = round(at - one.started) if one.started != before and 0 < one.started <= at else None
        by = {"saved": "saved session", "password": "password"}.get(one.kind, UNKNOWN)
        yield Login(at=_moment(at), seconds=took, by=by, why=why)
        before = one.started


def _factors(told: Sequence[Told], since: float) -> Iterator[SecondFactor]:
    """Approved is one that the login of the same process follows."""
    first = {one.factor: one for one in reversed(told) if one.factor >= since and one.factor}
    for at, asked in sorted(first.items()):
        after = [one for one in told if one.at >= asked.at and one.factor != at]
        logins = [one.login for one in after if one.login >= at and one.started == asked.started]
        ended = logins[0] if logins else after[0].at if after else None
        yield SecondFactor(at=_moment(at), seconds=None if ended is None else round(ended - at), approved=bool(logins))


def _missed(told: Sequence[Told], since: float) -> Iterator[Missed]:
    due = {one.due: one for one in told if one.due >= since and one.due}
    last = told[-1].at if told else 0.0
    for at, one in sorted(due.items()):
        if not any(each.done >= at for each in told) and last - at > DUE:
            yield Missed(due=_moment(at), event=_words(one.event))


# --- latencies --------------------------------------------------------------------------------------------------------


def _latencies(kept: Sequence[dict[CheckName, Durations]]) -> Iterator[Latency]:
    for check in CheckName:
        together = _together(each[check] for each in kept if check in each)
        if together.counted:
            yield Latency(
                check=check,
                looks=sum(together.counted.values()),
                p50=quantile(together, 0.5),
                p95=quantile(together, 0.95),
                longest=together.longest,
            )


def _together(some: Iterable[Durations]) -> Durations:
    found = Durations()
    for one in some:
        for at, count in one.counted.items():
            found.counted[at] = found.counted.get(at, 0) + count
        found.longest = max(found.longest, one.longest)
    return found


def quantile(durations: Durations, which: float) -> int:
    """In milliseconds."""
    left = which * sum(durations.counted.values())
    for at, count in sorted(durations.counted.items()):
        left -= count
        if left <= 0:
            return min(round(milliseconds(at)), durations.longest)
    return durations.longest


def _by_hour(kept: Iterable[tuple[float, dict[CheckName, Durations]]]) -> Iterator[HourOf]:
    for began, durations in kept:
        if (one := durations.get(CheckName.AUTHENTICATED)) is not None:
            yield HourOf(at=_moment(began), p50=quantile(one, 0.5), p95=quantile(one, 0.95))


def _by_day(time: Span, asked: Sequence[Span], watched: Sequence[Span], up: Sequence[Span]) -> Iterator[DayOf]:
    at = time[0] // DAY * DAY
    while at < time[1]:
        if that := clipped(asked, at, at + DAY):
            yield DayOf(day=f"{_moment(at):%Y-%m-%d}", share=share(that, watched, up))
        at += DAY


def _pieces(stretches: Sequence[Stretch], time: Span) -> Iterator[Piece]:
    at = time[0]
    for one in stretches:
        if one.began > at:
            yield Piece(began=_moment(at), ended=_moment(one.began), state="unknown")
        yield Piece(began=_moment(one.began), ended=_moment(one.ended), state=_state(one))
        at = one.ended
    if at < time[1]:
        yield Piece(began=_moment(at), ended=_moment(time[1]), state="unknown")


def _state(one: Stretch) -> str:
    if one.up:
        return "up" if _problem(one) is None else "warned"
    return "down" if _problem(one) is not None else "planned"


def _words(word: str) -> str:
    return word.replace("_", " ")


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
