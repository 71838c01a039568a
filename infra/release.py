"""The promoted release that a live stack runs: a file of `releases/`, named in the stack's configuration.

Live runs nothing but an image digest that was verified on paper; this record says which.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contract.errors import ExitCode, IbgwError
from contract.target import DIGEST_PATTERN, Mode

NO_RELEASE = "unreleased@sha256:" + "0" * 64
"""Stands in a live preview where no release was promoted: visibly no image, and never deployed."""


class PaperReport(BaseModel):
    """What must be known of the verification on paper; the report holds more."""

    model_config = ConfigDict(frozen=True)

    stack: str
    verdict: Literal["verified", "verified_with_warnings"]


class Release(BaseModel):
    """One promoted release. `image` is the repository without tag or digest."""

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = Field(alias="schema")
    image: Annotated[str, Field(pattern=r"^[^\s@]+$")]
    digest: Annotated[str, Field(pattern=DIGEST_PATTERN)]
    report: PaperReport

    @property
    def reference(self) -> str:
        return f"{self.image}@{self.digest}"


def read_release(folder: Path, release_id: str) -> Release:
    """Reads one record. Raises IbgwError (REFUSED) when it is missing, does not validate or is not of a paper stack."""
    path = folder / f"{release_id}.json"
    try:
        release = Release.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise IbgwError(
            f"ibgw:release: {release_id!r} has no file releases/{release_id}.json; name one that is committed there",
            exit_code=ExitCode.REFUSED,
        ) from None
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise IbgwError(
            f"ibgw:release: releases/{release_id}.json is not a release record: {faults}", exit_code=ExitCode.REFUSED
        ) from None
    if release.report.stack.split("-", 1)[0] != Mode.PAPER:
        raise IbgwError(
            f"ibgw:release: releases/{release_id}.json was verified on stack {release.report.stack!r}, "
            "and only a paper stack's verification counts",
            exit_code=ExitCode.REFUSED,
        )
    return release
