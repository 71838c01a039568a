"""What the prober hands over to the watcher, through a file: closed words and bounded numbers, and nothing else.

The prober reaches the gateways' APIs, the watcher is reached by others: this file is all that there is between them.
Times are seconds since the epoch.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deployment.description import MONITORING_FOLDER, Mode
from healthcheck.observation import CheckName
from healthcheck.reasons import Reason
from healthcheck.schedule import Event
from healthcheck.verdict import CheckVerdict, GatewayVerdict

FILE = Path(MONITORING_FOLDER, "seen.json")

LONGEST = 512 * 1024
"""Bytes. A gateway has some 1,500, and a stack some dozens of gateways."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Word = Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
Time = Annotated[float, Field(ge=0, le=1e11)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
Bytes = Annotated[int, Field(ge=0, le=2**50)]
Offset = Annotated[float, Field(ge=-1e9, le=1e9)]


Window = Literal["none", "planned_restart", "maintenance", "offline", "paused"]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CheckSeen(_Closed):
    """`at`: when it was run, 0 for never."""

    name: CheckName
    verdict: CheckVerdict
    reason: Reason | None
    duration_ms: Count
    at: Time = 0.0


class Supervised(_Closed):
    """What a gateway's first process tells of itself (healthcheck.automation.status). `restarts`: starts of the
    gateway's process that were seen since the prober began, but for the first. `unclean`: when it was started after a
    session that ended without a logout, 0 where its last start was not such a one."""

    hold: Word
    until: Time
    started: Time
    login: Time
    attempts: Count
    limit: Count
    logins: Count
    factor: Time
    event: Word
    due: Time
    done: Time
    heals: Count
    memory: Bytes
    clients: Count
    stopped: Word
    restarts: Count
    unclean: Time = 0
    kind: Word = "none"


class Farms(_Closed):
    """How many of IBKR's data farms the gateway has lost, by their kind."""

    market_data: Count = 0
    historical: Count = 0
    definitions: Count = 0


class Planned(_Closed):
    event: Event
    at: Time


class Weekly(_Closed):
    """The week's full login: when the last one was due, and when the next one is."""

    last: Time
    coming: Time


class Disk(_Closed):
    """Where Docker keeps the logs of containers, in bytes."""

    size: Bytes
    free: Bytes


class GatewaySeen(_Closed):
    """One gateway. `since`: when its verdict became this; `looked`: the last look; `verified`: when all checks that the
    prober runs were last passed, 0 for never. `connectivity`: between the gateway and IBKR. `clock`: IBKR's less ours,
    in seconds. `window`: why it may be away with nobody at fault. `memory_limit`: MiB, 0 for none. `expected`: how many
    clients are declared."""

    gateway: Name
    mode: Mode
    verdict: GatewayVerdict
    since: Time
    looked: Time
    verified: Time
    checks: Annotated[tuple[CheckSeen, ...], Field(max_length=len(CheckName))]
    session: bool
    connectivity: bool
    farms: Farms
    clock: Offset | None
    window: Window
    planned: Planned | None
    weekly: Weekly | None
    memory_limit: Count
    expected: Count = 0
    supervised: Supervised | None


class Seen(_Closed):
    """`interval`: seconds between two looks. `written`: when this was."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    stack: Name
    interval: Annotated[float, Field(ge=1, le=3600)]
    written: Time
    disk: Disk
    gateways: Annotated[tuple[GatewaySeen, ...], Field(max_length=256)]

    @property
    def patience(self) -> float:
        """Seconds for which what was seen says how it is: a look takes a while, and one may be missed."""
        return 3 * self.interval + 30

    def fresh(self, now: float) -> bool:
        """Whether the prober still writes."""
        return now - self.written <= self.patience


def write(seen: Seen, file: Path = FILE) -> None:
    """Whole or not at all: who reads meanwhile has the one before. Raises OSError."""
    unfinished = file.with_suffix(".new")
    unfinished.write_text(seen.model_dump_json(by_alias=True), encoding="ascii")
    unfinished.replace(file)


def read(file: Path = FILE) -> Seen | None:
    """None while there is none yet. Raises ValueError for anything else than a hand-over; its text repeats nothing of
    it. Raises OSError."""
    try:
        with file.open("rb") as opened:
            text = opened.read(LONGEST + 1)
    except FileNotFoundError:
        return None
    if len(text) > LONGEST:
        raise ValueError(f"{file}: longer than {LONGEST} bytes")
    try:
        return Seen.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(f"{file}: no hand-over of the prober's: {error.error_count()} faults") from None
