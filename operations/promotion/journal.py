"""The journal of a deployment that is not over: where it was going, where it is, and how it goes on.

One file a stack, beside the project (`.ibgw/promotion-<stack>.json`), written before every side effect on live. There
is none while nothing is under way.
"""

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deployment.errors import ExitCode, IbgwError
from deployment.paths import written
from operations.answers import Answer


class Phase(StrEnum):
    DEPLOYING = "deploying"
    """Live's file is about to name the release, or names it, and an update runs or was killed."""
    ROLLING_BACK = "rolling_back"
    """The same, with the release before it."""
    WAITING = "waiting"
    """Deployed, and not verified yet: for a second factor, or for IBKR."""
    STOPPED = "stopped"
    """Deployed, and a person must act."""


class Entry(BaseModel):
    """`release` is what was asked for, `previous` what ran before (None: nothing), `target` the one of the two that
    live is being brought to. `asked`: a person asked to go back; nothing has failed. `why`: reasons, for people.
    `unapproved`: the gateways that were stopped because nobody approved their login."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    stack: str
    release: str | None
    previous: str | None
    target: str
    phase: Phase
    asked: bool = False
    why: tuple[str, ...] = ()
    unapproved: tuple[str, ...] = ()

    @property
    def can_go_back(self) -> bool:
        return self.previous not in (None, self.target)

    @property
    def back(self) -> bool:
        return self.target != self.release

    def at(self, phase: Phase, why: tuple[str, ...] = (), unapproved: tuple[str, ...] = ()) -> "Entry":
        return self.model_copy(update={"phase": phase, "why": why, "unapproved": unapproved})

    def going_back(self) -> "Entry":
        """To `previous`, where it `can_go_back`."""
        return self.model_copy(update={"target": self.previous, "phase": Phase.ROLLING_BACK, "why": ()})

    def resumed(self) -> "Entry":
        return self.at(Phase.ROLLING_BACK if self.back else Phase.DEPLOYING)

    @property
    def next_command(self) -> str:
        return f"ibgw promote --continue --to {self.stack}"

    def describe(self) -> str:
        why = f" ({', '.join(self.why)})" if self.why else ""
        return f"{self.stack} is on its way to release {self.target}, phase {self.phase}{why}"


class PromotionAnswer(Answer):
    """How a promotion or a rollback ended, and what of it is still under way: null where nothing is, and then `next` is
    too."""

    stack: str
    exit_code: int
    under_way: Entry | None
    next: str | None


@dataclass(frozen=True)
class Journal:
    path: Path

    @classmethod
    def of(cls, folder: Path, stack: str) -> "Journal":
        return cls(written(folder) / f"promotion-{stack}.json")

    def read(self) -> Entry | None:
        """None where nothing is under way. Raises IbgwError for a file that is not ours."""
        try:
            return Entry.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            fields = ", ".join(sorted({".".join(map(str, fault["loc"])) or "the whole" for fault in error.errors()}))
            raise IbgwError(
                f"{self.path} is not a promotion's journal of this version of ibgw ({fields}). Look at what live runs "
                "(`ibgw releases`, `ibgw verify`), then remove the file",
                exit_code=ExitCode.REFUSED,
            ) from None

    def answer(self, stack: str, code: int) -> PromotionAnswer:
        """After a command has ended with this exit code."""
        entry = self.read()
        return PromotionAnswer(
            stack=stack, exit_code=code, under_way=entry, next=None if entry is None else entry.next_command
        )

    def write(self, entry: Entry) -> None:
        """Whole or not at all, and on the disk before this returns."""
        self.path.parent.mkdir(exist_ok=True)
        draft = self.path.with_suffix(".new")
        with draft.open("w") as file:
            file.write(entry.model_dump_json(by_alias=True, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, self.path)

    def close(self) -> None:
        self.path.unlink(missing_ok=True)
