"""What git says of the project folder: which commit, whether anything differs from it, and who works here."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.errors import ExitCode, IbgwError

SHOWN = 5
"""How many of the differing files a refusal names."""


@dataclass(frozen=True)
class Checkout:
    commit: str
    who: str


def read_checkout(folder: Path, *, apart_from: Sequence[str]) -> Checkout:
    """The commit that is checked out around `folder`. Raises IbgwError (REFUSED) where anything differs from it, but
    for the paths `apart_from` below `folder`, and where git does not know who works here."""
    apart = [f":(exclude){path}" for path in apart_from]
    changed = _git(folder, "status", "--porcelain", "--", ":/", *apart).splitlines()
    if changed:
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise IbgwError(
            f"the work tree differs from its commit: {', '.join(line[3:] for line in changed[:SHOWN])}{more}. "
            "A release names the commit that was verified: commit this, or take it back, and promote again",
            exit_code=ExitCode.REFUSED,
        )
    who = _git(folder, "config", "--get", "user.email", may_fail=True)
    if not who:
        raise IbgwError(
            "git does not know who you are, and a release says who promoted it: git config user.email YOU@EXAMPLE.COM",
            exit_code=ExitCode.REFUSED,
        )
    return Checkout(commit=_git(folder, "rev-parse", "--verify", "HEAD"), who=who)


DEPLOYED = ("infra", "contract", "healthcheck", "Pulumi.yaml", "uv.lock")
"""What an update runs, beside the stack's own file."""


def check_same_program(folder: Path, commit: str) -> None:
    """Raises IbgwError (REFUSED) where what an update runs is not what it was at `commit`, which paper ran."""
    try:
        changed = _git(folder, "diff", "--name-only", commit, "--", *DEPLOYED).splitlines()
    except IbgwError:
        raise IbgwError(
            f"the release was verified at commit {commit}, which this checkout does not have: git fetch it first",
            exit_code=ExitCode.REFUSED,
        ) from None
    if changed:
        raise IbgwError(
            f"what an update runs has changed since commit {commit[:12]}, at which paper was verified: "
            f"{', '.join(changed[:SHOWN])}. Check that commit's program out, or promote anew",
            exit_code=ExitCode.REFUSED,
        )


def _git(folder: Path, *arguments: str, may_fail: bool = False) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise IbgwError(
            "There is no `git` on PATH, and a release names the commit that was verified: install git"
        ) from None
    if done.returncode != 0 and not may_fail:
        raise IbgwError(
            f"`git {arguments[0]}` failed in {folder}: {done.stderr.strip() or 'it said nothing'}. Promote from a git "
            "checkout of the project, with at least one commit",
            exit_code=ExitCode.REFUSED,
        )
    return done.stdout.rstrip("\n")
