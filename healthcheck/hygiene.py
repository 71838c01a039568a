"""hygiene: what really runs is what a gateway must be, from Docker's records. Pure.

`deployment.rules` about the container itself, what updates apply in place, the image that was deployed, the owner of
the settings, and whether it ran through. Who can reach it is `healthcheck.isolation`'s business.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import JsonValue

from deployment.abilities import Lack, Lacking
from deployment.description import Gateway
from deployment.properties import row
from deployment.rules import (
    CONFINEMENT,
    GatewayRecord,
    Rule,
    credential_in,
    no_credential_in_sight,
    shows_credential,
    unlike,
    visible_credential,
)
from deployment.tables import CONTAINER
from healthcheck.automation.status import Status
from healthcheck.observation import Observation, timestamp
from healthcheck.reasons import Reason

OWNER = (1000, 1000)
"""`ibgateway` in the image (Dockerfile, USER)."""

RECENT = timedelta(days=1)
"""A restart by Docker longer ago is no news."""

PLAN_TAKES = timedelta(minutes=15)
"""After its time a planned restart has taken place, or will not; the supervisor waits for ten minutes."""

PLANNED_ENDS = frozenset({"clean", "no_session"})
"""How a session ends that the supervisor ended: for a pause, in offline hours, to heal. Docker restarts it then too."""

DROPPED = {Lacking.MEMORY_LIMIT: ("memory", "memory_swap"), Lacking.SWAP_LIMIT: ("memory_swap",)}
"""What Docker leaves out of a container on a host that cannot keep it."""

# Of the inspect output, what the rules look at already.
JUDGED = frozenset({"Config", "Path", "Args"})


@dataclass(frozen=True)
class Facts:
    """`digests`: of the image that the container runs. `owner`: of its settings, None where none are mounted, as the
    container has it or, where Docker remaps users, as the host has it: `first_user` is what the host has for root.
    `unheard`: nobody outside notices when the stack's watching ends, and should. `lacking`: of the limits, what the
    Docker host cannot keep; `accepted`: what the configuration accepts."""

    record: GatewayRecord
    inspected: Mapping[str, Any]
    digests: tuple[str, ...]
    owner: tuple[int, int] | None
    restarts: int
    out_of_memory: bool
    started_at: datetime | None
    status: Status | None = None
    unheard: bool = False
    lacking: Sequence[Lack] = ()
    accepted: tuple[Lacking, ...] = ()
    first_user: tuple[int, int] = (0, 0)

    def judged(self, accepted: Iterable[Lacking]) -> GatewayRecord:
        return replace(self.record, accepted=tuple(accepted))


def judge(gateway: Gateway, facts: Facts, now: datetime) -> Observation:
    """Several faults are all told, under the first one's reason."""
    faults = list(_faults(gateway, facts, now))
    rules: dict[str, JsonValue] = {rule.name: _standing(rule, facts.judged(facts.accepted)) for rule in CONFINEMENT}
    data: dict[str, JsonValue] = {
        "restarts": facts.restarts,
        "out_of_memory": facts.out_of_memory,
        "running_since": timestamp(facts.started_at) if facts.started_at is not None else None,
        "rules": rules,
    }
    if facts.status is not None:
        data |= {"heals": facts.status.heals, "last_stop": facts.status.stopped, "planned": planned(facts.status)}
    if faults:
        return Observation("; ".join(text for _, text in faults), faults[0][0], data)
    seen = "as declared, the recorded image, no credential in sight"
    if facts.accepted:
        seen += f"; the Docker host lacks {', '.join(facts.accepted)}, as ibgw:acceptHost accepts"
    return Observation(seen, data=data)


def _standing(rule: Rule, record: GatewayRecord) -> str:
    if rule.unseen(record):
        return "unseen"
    if rule.violations(record):
        return "broken"
    return "accepted" if rule.violations(replace(record, accepted=())) else "kept"


Faults = Iterator[tuple[Reason, str]]


def _faults(gateway: Gateway, facts: Facts, now: datetime) -> Faults:
    """Worst first."""
    yield from _credentials(facts)
    yield from _not_as_declared(gateway, facts)
    yield from _other_image(gateway, facts)
    yield from _other_owner(gateway, facts)
    yield from _ran_badly(facts, now)


def _credentials(facts: Facts) -> Faults:
    for text in no_credential_in_sight.violations(facts.record):
        yield Reason.CREDENTIAL_VISIBLE, text
    for place in credentials_in({key: value for key, value in facts.inspected.items() if key not in JUDGED}):
        yield Reason.CREDENTIAL_VISIBLE, visible_credential("inspect output", place)


def _not_as_declared(gateway: Gateway, facts: Facts) -> Faults:
    # What the host cannot keep no update can put right, with a login or without one.
    unable = {lack.acceptable for lack in facts.lacking if lack.acceptable is not None}
    excused = {field for lacking in unable for field in DROPPED.get(lacking, ())}
    # The rules are broken by some of these too; this reason's remedy needs no login.
    for field, expected in gateway.in_place or ():
        if field not in excused and (actual := getattr(facts.record, field)) != expected:
            unit = " MiB" if isinstance(expected, int) else ""
            yield Reason.NOT_APPLIED, unlike(row(CONTAINER, field).item, f"{actual}{unit}", f"{expected}{unit}")
    for rule in CONFINEMENT:
        if rule is not no_credential_in_sight:
            for text in rule.violations(facts.judged({*facts.accepted, *unable})):
                yield Reason.RULE_BROKEN, text
    for lack in facts.lacking:
        if not lack.accepted_by(facts.accepted):
            yield Reason.HOST_LACKS, str(lack)


def _other_image(gateway: Gateway, facts: Facts) -> Faults:
    if gateway.image.digest not in facts.digests:
        digests = ", ".join(facts.digests) or "one without a digest"
        yield Reason.IMAGE_DIFFERS, unlike("image", digests, gateway.image.digest)


def _other_owner(gateway: Gateway, facts: Facts) -> Faults:
    if facts.owner is None:
        yield Reason.SETTINGS_OWNER, unlike("settings", "not mounted", f"volume {gateway.volumes.settings}")
    elif facts.owner not in (OWNER, (OWNER[0] + facts.first_user[0], OWNER[1] + facts.first_user[1])):
        owner = ":".join(map(str, facts.owner))
        yield Reason.SETTINGS_OWNER, unlike("owner of the settings", owner, ":".join(map(str, OWNER)))


def _ran_badly(facts: Facts, now: datetime) -> Faults:
    if facts.out_of_memory:
        yield Reason.OUT_OF_MEMORY, f"a process was ended for want of memory (limit {facts.record.memory} MiB)"
    if facts.status is not None and (missed := missed_plan(facts.status, now)) is not None:
        yield Reason.PLAN_MISSED, missed
    by_itself = facts.status is None or facts.status.stopped not in PLANNED_ENDS
    if by_itself and facts.restarts and facts.started_at is not None and now - facts.started_at < RECENT:
        times = "once" if facts.restarts == 1 else f"{facts.restarts} times"
        yield Reason.RESTARTED, f"restarted {times} by Docker, last at {timestamp(facts.started_at)}"
    if facts.unheard:
        yield (
            Reason.SILENCE_UNNOTICED,
            "no outside monitor is told that it is watched (ibgw:monitoring.heartbeat)",
        )


def planned(status: Status) -> dict[str, JsonValue] | None:
    """The last planned restart or logoff: what, when it was due, and when it took place."""
    if status.due is None:
        return None
    done = None if status.done is None else timestamp(status.done)
    return {"event": status.event, "due": timestamp(status.due), "done": done}


def missed_plan(status: Status, now: datetime) -> str | None:
    """That the last planned event did not take place, although a setting says when it does."""
    if status.due is None or status.done is not None or now - status.due < PLAN_TAKES:
        return None
    return f"the planned {status.event.replace('_', ' ')} of {timestamp(status.due)} did not take place"


def credentials_in(value: JsonValue, place: str = "") -> Iterator[str]:
    """Where an inspect output shows what looks like a credential; places, never values."""
    if isinstance(value, dict):
        for key, part in value.items():
            inner = f"{place}.{key}".lstrip(".")
            if isinstance(part, str) and shows_credential(key, part):
                yield inner
            elif not isinstance(part, str):
                yield from credentials_in(part, inner)
    elif isinstance(value, list):
        for part in value:
            yield from credentials_in(part, place)
    elif isinstance(value, str) and credential_in(value):
        yield place
