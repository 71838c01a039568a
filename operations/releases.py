"""The records in `releases/`, and when live was brought to each: `ibgw releases` lists them, a rollback chooses one.

When a release was deployed is not written down a second time: Pulumi keeps each update's configuration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from deployment.errors import IbgwError
from healthcheck.report import Model
from healthcheck.text import clean, clean_lines
from infra.release import Release, Soak, read_release
from operations.answers import Answer
from operations.formats import columns
from operations.promotion.journal import Entry
from operations.stack import RELEASE

History = Sequence[Mapping[str, Any]]
"""Updates of a stack, newest first, as `pulumi stack history --json` prints them."""


@dataclass(frozen=True)
class Listed:
    """`release` is None where the record is refused, and `fault` says why. `deployed`: the end of the latest update to
    it that succeeded (UTC, as Pulumi writes it)."""

    name: str
    release: Release | None
    fault: str | None
    deployed: str | None
    current: bool

    def cells(self) -> tuple[str, ...]:
        if (release := self.release) is None:
            return ("", self.name, "refused", *[""] * 5)
        return (
            "*" if self.current else "",
            self.name,
            release.version or "-",
            release.commit[:12],
            release.who,
            release.report.verdict.replace("_", " "),
            "yes" if release.live_quote else "no",
            self.deployed or "-",
        )

    @property
    def answer(self) -> "ListedAnswer":
        known = dict(self.release) if self.release else {}
        report = known.pop("report", None)
        return ListedAnswer(
            id=self.name,
            **known,
            verdict=report and report.verdict,
            deployed=self.deployed,
            current=self.current,
            fault=self.fault,
        )


class ListedAnswer(Model):
    """A release's record, without its report; nothing of it where it is refused, and `fault` says why."""

    id: str
    schema_version: int | None = Field(None, alias="schema")
    image: str | None = None
    digest: str | None = None
    version: str | None = None
    commit: str | None = None
    created: datetime | None = None
    who: str | None = None
    soak: Soak | None = None
    live_quote: bool | None = None
    verdict: str | None
    deployed: str | None
    current: bool
    fault: str | None


class ReleasesAnswer(Answer):
    """`under_way`: the promotion that is not at its end, as its journal has it."""

    stack: str
    under_way: Entry | None
    releases: tuple[ListedAnswer, ...]


def listed(folder: Path, history: History, current: str | None) -> list[Listed]:
    """All records, newest first."""
    deployed = deployments(history)
    rows = []
    for name in sorted((path.stem for path in folder.glob("*.json")), reverse=True):
        release, fault = None, None
        try:
            release = read_release(folder, name)
        except IbgwError as error:
            fault = str(error)
        rows.append(Listed(name, release, fault, deployed.get(name), name == current))
    return rows


def deployments(history: History) -> dict[str, str]:
    """Release to the end of the latest update that brought live to it: verified, since an update succeeds only so.
    Newest first."""
    ended: dict[str, str] = {}
    for update in history:
        release = update.get("config", {}).get(RELEASE, {}).get("value")
        if release and update.get("kind") == "update" and update.get("result") == "succeeded":
            ended.setdefault(release, update["endTime"])
    return ended


def before(history: History, current: str) -> str | None:
    """The newest release below `current` that live has run, verified. Ids sort by time."""
    return max((name for name in deployments(history) if name < current), default=None)


HEADINGS = ("", "RELEASE", "VERSION", "COMMIT", "BY", "PAPER", "LIVE QUOTE", "DEPLOYED")
DISPENSABLE = ("BY", "LIVE QUOTE", "PAPER")


def table(rows: Sequence[Listed], width: int | None = None) -> str:
    """For people: `*` marks what live runs. What is wrong with a refused record stands below."""
    if not rows:
        return "no release yet: `ibgw promote` makes the first"
    # A record is a file that anybody may have written: its texts are no commands to a terminal.
    cells = [tuple(map(clean, row.cells())) for row in rows]
    faults = [clean_lines(f"refused: {row.fault}") for row in rows if row.release is None]
    return "\n".join([columns(HEADINGS, cells, width=width, dispensable=DISPENSABLE), *faults])
