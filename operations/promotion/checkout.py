"""What git says of the project folder: which commit, whether anything differs from it, and who works here; and the
program of another commit, to deploy a release with."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from deployment.errors import ExitCode, IbgwError
from deployment.names import PROJECT
from deployment.paths import RELEASES
from infra.release import Release
from operations import yaml_text
from operations.stack import Stack, program_folder

GATEWAYS_FILE = f"{PROJECT}:gatewaysFile"
"""The setting that names the file of the gateways, beside the stack's."""

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


DEPLOYED = ("infra", "deployment", "healthcheck", "Pulumi.yaml", "uv.lock")
"""What an update runs, beside the stack's own file."""


def check_same_program(folder: Path, commit: str) -> None:
    """Raises IbgwError (REFUSED) where what an update runs is not what it was at `commit`, which paper ran."""
    check_commit(folder, commit)
    changed = changed_program(folder, commit)
    if changed:
        raise IbgwError(
            f"what an update runs has changed since commit {commit[:12]}, at which paper was verified: "
            f"{', '.join(changed[:SHOWN])}. Check that commit's program out, or promote anew",
            exit_code=ExitCode.REFUSED,
        )


def check_commit(folder: Path, commit: str) -> None:
    """Raises IbgwError (REFUSED) where the program's repository does not have this commit of a release."""
    if not _git(
        program_folder(folder).parent, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}", may_fail=True
    ):
        raise IbgwError(
            f"the release was verified at commit {commit}, which this repository does not have, and it is deployed by "
            f"the program of that commit: git fetch origin {commit}",
            exit_code=ExitCode.REFUSED,
        )


def changed_program(folder: Path, *commits: str) -> list[str]:
    """The files of what an update runs that differ between two commits, or between one and what is checked out."""
    return _git(program_folder(folder).parent, "diff", "--name-only", *commits, "--", *DEPLOYED).splitlines()


@dataclass(frozen=True)
class Program:
    """`stack`: the one that was asked for, deployed by this program. `project`: the folder whose Pulumi.yaml leads to
    it. `commit`: of the work tree that was made for it; None where it is the one that is checked out."""

    stack: Stack
    project: Path
    commit: str | None = None


@contextmanager
def program_of(release: Release, stack: Stack, folder: Path) -> Iterator[Program]:
    """The program of the release's commit, while the context lasts: what is checked out, where it is the same, or else
    a work tree in a temporary folder. The stack's file is today's, as it is in `folder` now.

    Raises IbgwError (REFUSED) where the repository does not have the commit, or `folder` lies outside it.
    """
    check_commit(folder, release.commit)
    if not changed_program(folder, release.commit):
        yield Program(stack, folder)
        return
    root = program_folder(folder).parent
    top = Path(_git(root, "rev-parse", "--show-toplevel"))
    folder = folder.resolve()
    if not folder.is_relative_to(top):
        raise IbgwError(
            f"release {release.id} is deployed by the program of commit {release.commit[:12]}, for which the project "
            f"must lie in its repository: {folder} is outside {top}. Check that commit out and deploy from there",
            exit_code=ExitCode.REFUSED,
        )
    with TemporaryDirectory(prefix="ibgw-") as temporary:
        tree = Path(temporary).resolve() / "release"
        # One that was killed left its folder's entry behind.
        _git(top, "worktree", "prune")
        _git(top, "worktree", "add", "--detach", "--quiet", str(tree), release.commit)
        try:
            yield _program_in(tree, top, release, stack, folder)
        finally:
            # What was deployed is not in doubt if this fails; the folder goes anyway.
            _git(top, "worktree", "remove", "--force", str(tree), may_fail=True)


def _program_in(tree: Path, top: Path, release: Release, stack: Stack, folder: Path) -> Program:
    root, project = tree / program_folder(folder).parent.relative_to(top), tree / folder.relative_to(top)
    (project / RELEASES).mkdir(parents=True, exist_ok=True)
    # Written after the commit, and today's; a project that git ignores has nothing there.
    own = f"Pulumi.{stack.name}.yaml"
    document = yaml_text.read((folder / own).read_text(encoding="utf-8"))
    config = document.get("config", {}) if isinstance(document, Mapping) else {}
    for name in filter(None, (own, config.get(GATEWAYS_FILE), f"{RELEASES}/{release.id}.json")):
        shutil.copy(folder / name, project / name)
    if not (project / "Pulumi.yaml").exists():
        shutil.copy(folder / "Pulumi.yaml", project)
    environment = {
        **stack.environment,
        "PULUMI_OPTION_CWD": str(project),
        # Before whatever this environment has of the same packages.
        "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")])),
    }
    pack = Path(os.environ.get("PULUMI_OPTION_POLICY_PACK") or "/").resolve()
    if pack.is_relative_to(top):
        environment["PULUMI_OPTION_POLICY_PACK"] = str(tree / pack.relative_to(top))
    made = replace(stack, environment=environment)
    return Program(made, project, commit=release.commit)


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
