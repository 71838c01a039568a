"""What a gateway's first process and its code helper tell each other: a line each, of closed words and numbers. Pure.

The first process writes WANTED beside the display's socket, which the helper may only read; the helper writes TOLD on a
volume of its own, which the first process may only read. Both replace the file in one go.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

DISPLAY_FOLDER = "/tmp/.X11-unix"
DISPLAY = f"{DISPLAY_FOLDER}/X1"
"""The image's display is :1."""
WANTED = "ibgw-wanted"
"""In the display's folder."""
TOLD_FOLDER = "/var/lib/ibgw-codes"
TOLD = "told"
"""In the helper's own folder."""
SEED_FILE = "/run/secrets/seed"
LONGEST = 500
"""Characters of a line."""


class Kind(StrEnum):
    """What a login asks for, as its first process knows."""

    NONE = "none"
    CODE = "code"
    PUSH = "push"
    OTHER = "other"
    """A text message, or what else is neither."""
    UNNAMED = "unnamed"
    """A second factor, and nothing said of which."""
    DEVICES = "devices"
    """The login waits for somebody to choose one of several devices."""
    IN = "in"
    """It has succeeded."""


class Phase(StrEnum):
    """What the helper does. From STOPPED on: what made it type no further for this login."""

    IDLE = "idle"
    WAITING = "waiting"
    TYPING = "typing"
    SUBMITTED = "submitted"
    HELD = "held"
    PUSH = "push"
    OTHER_DEVICE = "other_device"
    UNNAMED_DEVICE = "unnamed_device"
    DEVICE_LIST = "device_list"
    NO_DIALOG = "no_dialog"
    NO_FIELD = "no_field"
    SECOND_DIALOG = "second_dialog"
    WINDOW_IN_FRONT = "window_in_front"
    FOCUS_ELSEWHERE = "focus_elsewhere"
    KEY_NOT_SHOWN = "key_not_shown"
    TOO_SLOW = "too_slow"
    NOT_TAKEN = "not_taken"
    CLOCK = "clock"
    DISPLAY = "display"


MEANINGS: dict[Phase, str] = {
    Phase.IDLE: "no code is asked for",
    Phase.WAITING: "the dialog, or a code with enough life left, is waited for",
    Phase.TYPING: "a code is being typed",
    Phase.SUBMITTED: "a code was submitted",
    Phase.HELD: "two codes were submitted without a login",
    Phase.PUSH: "the login asks for a push message, not for a code",
    Phase.OTHER_DEVICE: "the login asks for another device than an authenticator",
    Phase.UNNAMED_DEVICE: "the program does not say which second factor it asks for",
    Phase.DEVICE_LIST: "the login waits for somebody to choose one of several devices",
    Phase.NO_DIALOG: "the dialog for the code is not there, or went while it was typed",
    Phase.NO_FIELD: "the dialog has no empty field for a code",
    Phase.SECOND_DIALOG: "there are two dialogs for a second factor",
    Phase.WINDOW_IN_FRONT: "a window is in front of the dialog",
    Phase.FOCUS_ELSEWHERE: "keys would go to another window",
    Phase.KEY_NOT_SHOWN: "the field did not show a key that was pressed",
    Phase.TOO_SLOW: "typing took longer than the code had to live",
    Phase.NOT_TAKEN: "nothing followed on a submitted code",
    Phase.CLOCK: "nothing keeps the Docker host's clock right",
    Phase.DISPLAY: "the gateway's display does not answer",
}
AT_WORK = frozenset({Phase.IDLE, Phase.WAITING, Phase.TYPING, Phase.SUBMITTED})
STOPS = frozenset(Phase) - AT_WORK - {Phase.HELD}

Count = Annotated[int, Field(ge=0)]
Line = TypeVar("Line", bound="_Line")


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    @property
    def line(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.model_dump(mode="json").items())


class Wanted(_Line):
    """`login`: which one asks, so that no two are taken for one. `at`: since when, in seconds since the epoch. `again`:
    when a person last let the gateway go on (`ibgw login --again`)."""

    v: Annotated[int, Field(ge=1)] = 1
    login: Annotated[str, Field(pattern=r"^[0-9:]{1,60}$")] = "0"
    at: Count = 0
    kind: Kind = Kind.NONE
    again: Count = 0


class Told(_Line):
    """`version`: of the seed's secret. `step`: of the last code that was submitted, by RFC 6238 the number of its half
    minute. `codes`: submitted since the last login. `held`: since when no code is typed, in seconds; 0 where not."""

    v: Annotated[int, Field(ge=1)] = 1
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] = "none"
    phase: Phase = Phase.IDLE
    step: Count = 0
    codes: Count = 0
    held: Count = 0


def wanted(path: Path) -> Wanted:
    """Nothing is wanted where there is no such line: what it says decides that a code is typed."""
    return _parsed(Wanted, path) or Wanted()


def told(path: Path) -> Told | None:
    """None where there is no such line, or one that cannot be read."""
    return _parsed(Told, path)


def write(path: Path, line: _Line) -> None:
    """On disk before its name is. Raises OSError."""
    draft = path.with_suffix(".new")
    with draft.open("w", encoding="ascii") as file:
        file.write(f"{line.line}\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _parsed(kind: type[Line], path: Path) -> Line | None:
    try:
        with path.open(encoding="ascii") as file:
            text = file.read(LONGEST + 1)
        if len(text) > LONGEST:
            return None
        return kind.model_validate(dict(word.partition("=")[::2] for word in text.split()))
    except (OSError, ValueError, ValidationError):
        return None
