"""The line in which a gateway's first process tells how it is (infra/supervisor): closed words and numbers. Pure.

It is answered on deployment.description.STATUS_PORT of the `api` network, and lies in the container under PATH.
"""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

PATH = "/tmp/ibgw/status"

LONGEST = 4096
"""Characters; the line has some 600."""


def _words(value: object) -> object:
    return () if value == "none" else tuple(str(value).split(","))


def _moment(value: object) -> object:
    """Seconds since the epoch, in UTC; 0 is never."""
    seconds = int(str(value))
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


Word = Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
Words = Annotated[tuple[Word, ...], BeforeValidator(_words)]
Moment = Annotated[datetime | None, BeforeValidator(_moment)]
Count = Annotated[int, Field(ge=0)]


class Status(BaseModel):
    """`hold`: why no login is made, `none` while one may be; `until`: when that ends by itself. `started`: when the
    gateway's process did; `kind`: how it logs in, by `password` or with a `saved` session. `outcomes`: how each attempt
    since the last good login ended. `logins`: those of the last hour that ended by themselves. `factor`: since when a
    second factor is awaited. `event`, `due`, `done`: the last planned restart or logoff. `heals`: within a day.
    `memory` in bytes. `clients`: connections to the relay. `stopped`: how the session before this one ended. `code`:
    what types its codes does (healthcheck.second_factor.handover.Phase); none where nothing does."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    v: Annotated[int, Field(ge=1)]
    phase: Word
    since: Moment
    hold: Word
    until: Moment
    now: Moment
    mode: Word
    automation: Word
    started: Moment
    kind: Word
    login: Moment
    api: Word
    attempts: Count
    limit: Count
    outcomes: Words
    logins: Count
    factor: Moment
    event: Word
    due: Moment
    done: Moment
    heals: Count
    healed: Word
    memory: Count
    clients: Count
    stopped: Word
    code: Word = "none"


def parse(line: str) -> Status:
    """Raises ValueError for anything else than a status line; its text repeats nothing of it."""
    if len(line) > LONGEST:
        raise ValueError("not a status line: too long")
    fields = dict(word.partition("=")[::2] for word in line.split())
    try:
        return Status.model_validate(fields)
    except (ValidationError, ValueError, OverflowError, OSError):
        raise ValueError("not a status line: a field is missing or of another form") from None
