"""The promoted release that a live stack runs: a file of `releases/`, named in the stack's configuration.

Live runs nothing but an image digest that was verified on paper; this record says which, by whom, and what was seen.
`releases/` lies beside Pulumi.yaml and is committed with it.
"""

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from deployment.description import DIGEST_PATTERN, Mode
from deployment.errors import ExitCode, IbgwError, faults_in_words
from deployment.paths import RELEASES

NO_RELEASE = "unreleased@sha256:" + "0" * 64
"""Stands in a live preview where no release was promoted: visibly no image, and never deployed."""


class PaperReport(BaseModel):
    """The last verification on paper, as the report writes it (healthcheck.report), account numbers masked. Only what
    must be known is read; the rest is kept for people."""

    model_config = ConfigDict(frozen=True, extra="allow")

    stack: str
    verdict: Literal["verified", "verified_with_warnings"]


class Soak(BaseModel):
    """For how long, and how often, paper was verified before the release was written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: Annotated[int, Field(ge=0)]
    verifications: Annotated[int, Field(ge=1)]


class Release(BaseModel):
    """One promoted release. `image`: the repository without tag or digest; `version`: the tag that paper named, None
    where it named a digest; `who`: git's user.email; `live_quote`: whether paper's last verification saw one."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    image: Annotated[str, Field(pattern=r"^[^\s@]+$")]
    digest: Annotated[str, Field(pattern=DIGEST_PATTERN)]
    version: str | None
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
    created: AwareDatetime
    who: Annotated[str, Field(min_length=1)]
    soak: Soak
    live_quote: bool
    report: PaperReport

    @property
    def reference(self) -> str:
        return f"{self.image}@{self.digest}"

    @property
    def id(self) -> str:
        return release_id(self.created, self.digest)


def release_id(created: datetime, digest: str) -> str:
    """`<UTC time>-<first 12 of the digest>`; ids sort by time."""
    return f"{created:%Y%m%dT%H%M%SZ}-{digest.removeprefix('sha256:')[:12]}"


def write_release(folder: Path, release: Release) -> Path:
    """Writes the record, whole or not at all."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{release.id}.json"
    draft = path.with_suffix(".new")
    draft.write_text(release.model_dump_json(by_alias=True, indent=2) + "\n")
    os.replace(draft, path)
    return path


def read_release(folder: Path, name: str) -> Release:
    """Reads one record. Raises IbgwError (REFUSED) when it is missing, does not validate, is not the one that its name
    says, or is not of a paper stack."""

    def refused(fault: str) -> IbgwError:
        return IbgwError(f"ibgw:release: {RELEASES}/{name}.json {fault}", exit_code=ExitCode.REFUSED)

    try:
        release = Release.model_validate_json((folder / f"{name}.json").read_bytes())
    except FileNotFoundError:
        raise IbgwError(
            f"ibgw:release: {name!r} has no file {RELEASES}/{name}.json; name one that is committed there "
            "(`ibgw releases` lists them), or promote one: `ibgw promote`",
            exit_code=ExitCode.REFUSED,
        ) from None
    except ValidationError as error:
        raise refused(f"is not a release record: {faults_in_words(error.errors())}") from None
    if release.id != name:
        raise refused(f"holds the release {release.id}; a record keeps the name that it was written under")
    if release.report.stack.split("-", 1)[0] != Mode.PAPER:
        raise refused(f"was verified on stack {release.report.stack!r}, and only a paper stack's verification counts")
    return release
