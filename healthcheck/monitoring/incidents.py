"""What of a stack is news, and to whom: changes to lines, incidents to pages. Pure.

One cause is one page. A gateway has one incident at a time, whatever its reason turns into; what IBKR or the way to it
does to several is one incident of all of them; what begins at once is told at once; and while the prober tells nothing,
that is all there is to tell.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from healthcheck.monitoring.channels import Message
from healthcheck.monitoring.handover import GatewaySeen, Seen, Window
from healthcheck.monitoring.metrics import UP
from healthcheck.reasons import EXPLANATIONS, Reason
from healthcheck.verdict import CheckVerdict

CALM = 60.0
"""Seconds for which all must be well before an incident counts as over: one that comes and goes is one."""
UNWATCHED = 120.0
"""Seconds of silence of the prober's: an update replaces it."""
KEPT = 200
"""Incidents that are over and still shown."""
FIRST_REMINDER, LAST_REMINDER = 3600.0, 86_400.0
"""Seconds until an incident is told again; twice as long each time, up to a day."""
AHEAD = (3600.0, 86_400.0)
"""Seconds before a weekly login at which somebody is told of it, the later first."""
PUSH_LASTS = 180.0
"""Seconds in which a push message can be approved (IBC, SecondFactorAuthenticationTimeout)."""
ALL, OUTSIDE = "the stack", "IBKR, or the way to it"
"""Causes that are no gateway's: a gateway's name has no space."""


class Urgency(StrEnum):
    AT_ONCE = "at once"
    PERSON = "somebody has to do something"
    MAY_HEAL = "may heal"
    DEGRADED = "a trader could trade"


PATIENCE = {Urgency.AT_ONCE: 0.0, Urgency.PERSON: 0.0, Urgency.MAY_HEAL: 120.0, Urgency.DEGRADED: 600.0}
"""Seconds until it is told, and some more in which others may come to it."""

PLANNED = frozenset({Reason.PLANNED_RESTART, Reason.OFFLINE, Reason.PAUSED, Reason.MARKET_CLOSED})
"""What somebody wanted, or is at its time."""
OF_OUTSIDE = frozenset(
    {Reason.CONNECTIVITY_LOST, Reason.SERVER_UNREACHABLE, Reason.SYSTEM_UNAVAILABLE, Reason.MAINTENANCE_WINDOW}
)
FOR_A_PERSON = frozenset(
    {
        Reason.SECOND_FACTOR_TIMEOUT,
        Reason.SECOND_FACTOR_DENIED,
        Reason.COMPETING_SESSION,
        Reason.SESSION_TAKEN_OVER,
        Reason.DIALOG_BLOCKING,
    }
)
"""Of those that may heal without one. What cannot is for one anyway."""


def urgency(reason: Reason, *, up: bool) -> Urgency:
    if up:
        return Urgency.DEGRADED
    if reason is Reason.SECOND_FACTOR_PENDING:
        return Urgency.AT_ONCE
    if reason in OF_OUTSIDE or (EXPLANATIONS[reason].heals and reason not in FOR_A_PERSON):
        return Urgency.MAY_HEAL
    return Urgency.PERSON


def reason_of(seen: GatewaySeen) -> Reason | None:
    """The first that fails it; else the first that warns."""
    for verdict in (CheckVerdict.FAIL, CheckVerdict.WARN):
        for check in seen.checks:
            if check.verdict is verdict:
                return check.reason
    return None if seen.verdict in UP else Reason.VERIFIER_FAILED


def unplanned(reason: Reason | None, *, up: bool, window: Window) -> Reason | None:
    """What is wrong with a gateway that nobody planned. `reason`: as `reason_of` has it."""
    if reason is None or reason in PLANNED:
        return None
    expected_away = window != "none" and urgency(reason, up=up) in (Urgency.MAY_HEAL, Urgency.DEGRADED)
    return None if expected_away else reason


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Incident(_Kept):
    """`members`: the gateways, and what is wrong with each. `calm`: since when those are well that are. `due`: when it
    is to be told; `told`: when it was last, 0 for not yet; `reminders`: how often since the first time."""

    cause: str
    members: dict[str, Reason]
    began: float
    urgency: Urgency
    due: float
    told: float = 0.0
    reminders: int = 0
    factor: float = 0.0
    calm: dict[str, float] = Field(default_factory=dict)


class Past(_Kept):
    """An incident that is over."""

    cause: str
    members: dict[str, Reason]
    began: float
    ended: float


class Memory(_Kept):
    """What outlives the watcher, so that a new one tells nothing twice. `last`: of each gateway, what was last written
    of it. `weekly`: until when its weekly login needs no other word."""

    incidents: list[Incident] = Field(default_factory=list)
    past: list[Past] = Field(default_factory=list)
    last: dict[str, tuple[str, str, str]] = Field(default_factory=dict)
    silent_since: float = 0.0
    weekly: dict[str, float] = Field(default_factory=dict)


Line = dict[str, Any]
"""An event, as it is logged."""


class Tracker:
    """`memory` is its own, and kept by whoever has it."""

    def __init__(self, stack: str, memory: Memory | None = None) -> None:
        self.stack = stack
        self.memory = memory or Memory()
        self._over: list[Message] = []

    def step(self, seen: Seen | None, now: float) -> tuple[list[Line], list[Message]]:
        """What is new at `now` (seconds since the epoch). `seen`: None while the prober tells nothing."""
        lines: list[Line] = []
        if seen is None:
            lines += self._silence(now)
            gather, ahead = 0.0, None
        else:
            gather = seen.interval
            self.memory.silent_since = 0.0
            lines += self._end([incident for incident in self.memory.incidents if incident.cause == ALL], now)
            ahead = self._ahead(seen.gateways, now)
            known = {gateway.gateway for gateway in seen.gateways}
            for gateway in seen.gateways:
                lines += self._note(gateway, now)
                lines += self._judge(gateway, now)
            for incident in [*self.memory.incidents]:
                for gone in incident.members.keys() - known - {ALL}:
                    lines += self._leave(incident, gone, now)
        pages = [*self._over, *self._news(now, gather), *([] if ahead is None else [ahead])]
        self._over = []
        return lines, pages

    def _line(self, now: float, event: str, **told: Any) -> Line:
        return {"at": _iso(now), "event": event, "stack": self.stack, **told}

    def _silence(self, now: float) -> Iterator[Line]:
        self.memory.silent_since = self.memory.silent_since or now
        if self._of(ALL) is None and now - self.memory.silent_since >= UNWATCHED:
            yield self._begin(ALL, ALL, Reason.VERIFIER_FAILED, Urgency.PERSON, self.memory.silent_since, now)

    def _note(self, seen: GatewaySeen, now: float) -> Iterator[Line]:
        """A change of state."""
        reason = reason_of(seen)
        state = (seen.verdict.value, reason.value if reason else "none", seen.window)
        before = self.memory.last.get(seen.gateway)
        if state != before:
            self.memory.last[seen.gateway] = state
            was = before or ("unknown", "none", "none")
            told = {"verdict": state[0], "reason": state[1], "window": state[2], "was": was[0], "was_reason": was[1]}
            yield self._line(now, "state", gateway=seen.gateway, **told)

    def _judge(self, seen: GatewaySeen, now: float) -> Iterator[Line]:
        up = seen.verdict in UP
        name, reason = seen.gateway, unplanned(reason_of(seen), up=up, window=seen.window)
        incident = self._of(name)
        if reason is None:
            if incident is not None:
                since = incident.calm.setdefault(name, now)
                if now - since >= CALM:
                    yield from self._leave(incident, name, now)
            return
        how = urgency(reason, up=up)
        if incident is not None:
            incident.calm.pop(name, None)
            worse = list(Urgency).index(how) < list(Urgency).index(incident.urgency)
            outside = reason in OF_OUTSIDE and incident.cause == name and not incident.told
            if outside or (incident.cause == OUTSIDE and how in (Urgency.AT_ONCE, Urgency.PERSON)):
                # It was another's from the beginning; or is its own now, since somebody has to do something.
                del incident.members[name]
                if not incident.members:
                    self.memory.incidents.remove(incident)
                incident = None
            else:
                incident.members[name] = reason
                if worse:
                    incident.urgency, incident.due, incident.told = how, now + PATIENCE[how], 0.0
        if incident is None:
            cause = OUTSIDE if reason in OF_OUTSIDE else name
            same = next((one for one in self.memory.incidents if one.cause == cause), None)
            if same is not None:
                same.members[name] = reason
                yield self._line(now, "joined", cause=cause, gateway=name, reason=reason.value)
                return
            yield self._begin(cause, name, reason, how, now, now)
            incident = self._of(name)
        if incident is not None and seen.supervised is not None:
            incident.factor = seen.supervised.factor

    def _begin(self, cause: str, member: str, reason: Reason, how: Urgency, began: float, now: float) -> Line:
        due = began + PATIENCE[how]
        self.memory.incidents.append(Incident(cause=cause, members={member: reason}, began=began, urgency=how, due=due))
        told = "prober_silent" if cause == ALL else reason.value
        return self._line(now, "incident", cause=cause, gateway=None if cause == ALL else member, reason=told)

    def _leave(self, incident: Incident, name: str, now: float) -> Iterator[Line]:
        if incident.members.keys() == {name}:
            yield from self._end([incident], now)
        else:
            del incident.members[name]
            incident.calm.pop(name, None)
            yield self._line(now, "left", cause=incident.cause, gateway=name)

    def _end(self, incidents: Iterable[Incident], now: float) -> Iterator[Line]:
        for incident in incidents:
            self.memory.incidents.remove(incident)
            ended = min(incident.calm.values(), default=now)
            lasted = ended - incident.began
            over = Past(cause=incident.cause, members=incident.members, began=incident.began, ended=ended)
            self.memory.past = [*self.memory.past, over][-KEPT:]
            yield self._line(now, "over", cause=incident.cause, lasted_seconds=round(lasted))
            if incident.told:
                title = f"ibgw {self._whom([incident])}: over"
                self._over = [*self._over, Message(title, f"It lasted {length(lasted)}.", "success")]

    def _of(self, name: str) -> Incident | None:
        return next((incident for incident in self.memory.incidents if name in incident.members), None)

    def _ahead(self, gateways: Iterable[GatewaySeen], now: float) -> Message | None:
        """A day and an hour before a weekly login, for which somebody has to have the phone at hand."""
        coming: dict[str, float] = {}
        for seen in gateways:
            if seen.weekly is None or now < self.memory.weekly.get(seen.gateway, 0.0):
                continue
            left = seen.weekly.coming - now
            near = [before for before in AHEAD if 0 < left <= before]
            if near:
                coming[seen.gateway] = seen.weekly.coming
            # Of the next stage: an hour before this one, or a day before the next week's.
            later = [before for before in AHEAD if before < left]
            self.memory.weekly[seen.gateway] = seen.weekly.coming - max(later) if later else seen.weekly.coming
        if not coming:
            return None
        names = ", ".join(sorted(coming))
        body = "\n".join(f"{name}: at {_iso(at)}, in {length(at - now)}." for name, at in sorted(coming.items()))
        why = "IBKR ends each session once a week. Where a second factor is asked for, have the phone at hand."
        return Message(f"ibgw {self.stack} ({names}): the weekly login comes", f"{body}\n{why}", "info")

    # --- what is told ---------------------------------------------------------------------------------------------

    def _news(self, now: float, gather: float) -> Iterator[Message]:
        silent = bool(self.memory.silent_since)
        mine = [
            incident
            for incident in self.memory.incidents
            if (incident.cause == ALL) is silent and incident.calm.keys() != incident.members.keys()
        ]
        waiting = [incident for incident in mine if not incident.told and incident.due <= now]
        at_once = any(incident.urgency is Urgency.AT_ONCE for incident in waiting)
        if waiting and (at_once or now >= min(incident.due for incident in waiting) + gather):
            yield self._page(waiting, now)
            for incident in waiting:
                incident.told, incident.reminders = now, 0
        again = [
            incident
            for incident in mine
            if incident.told
            and incident.urgency is not Urgency.DEGRADED
            and now >= incident.told + min(FIRST_REMINDER * 2**incident.reminders, LAST_REMINDER)
        ]
        if again:
            yield self._page(again, now, still=True)
            for incident in again:
                incident.told, incident.reminders = now, min(incident.reminders + 1, 10)

    def _page(self, incidents: list[Incident], now: float, *, still: bool = False) -> Message:
        degraded = all(incident.urgency is Urgency.DEGRADED for incident in incidents)
        reasons = {"prober silent" if one.cause == ALL else _words(*one.members.values()) for one in incidents}
        what = " and ".join(sorted(reasons)) if len(reasons) <= 2 else f"{len(reasons)} causes"
        title = f"ibgw {self._whom(incidents)}: {'still ' if still else ''}{what}"
        body = "\n".join(line for incident in incidents for line in self._told(incident, now))
        return Message(title, body, "warning" if degraded else "failure")

    def _whom(self, incidents: Iterable[Incident]) -> str:
        names = sorted({name for incident in incidents for name in incident.members} - {ALL})
        if not names:
            return self.stack
        return f"{self.stack}/{names[0]}" if len(names) == 1 else f"{self.stack} ({', '.join(names)})"

    def _told(self, incident: Incident, now: float) -> Iterator[str]:
        since = f"since {_iso(incident.began)}, for {length(now - incident.began)}"
        if incident.cause == ALL:
            yield f"Nothing is known of any gateway of {self.stack} {since}: the prober hands nothing over."
            yield f"First: ibgw verify --stack {self.stack}"
            return
        if incident.cause == OUTSIDE:
            yield f"{OUTSIDE}: one cause for {', '.join(sorted(incident.members))}."
        for name, reason in sorted(incident.members.items()):
            yield f"{name}: {reason.value}, {since}. {EXPLANATIONS[reason].meaning}"
            if reason is Reason.SECOND_FACTOR_PENDING:
                left = (incident.factor or incident.began) + PUSH_LASTS - now
                if left > 0:
                    yield f"Approve it in IBKR Mobile: {length(left)} left."
                else:
                    yield "The time to approve it is over."
            yield f"First: ibgw verify --stack {self.stack} --gateway {name}; then docs/runbook.md#{reason.value}"


def _words(*reasons: Reason) -> str:
    return ", ".join(sorted({reason.value.replace("_", " ") for reason in reasons}))


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def length(seconds: float) -> str:
    """Two units at most: `2 h 5 min`."""
    whole = max(round(seconds), 0)
    units = ((whole // 86_400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s"))
    first = next((at for at, (count, _) in enumerate(units) if count), len(units) - 1)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2] if count or first == len(units) - 1)
