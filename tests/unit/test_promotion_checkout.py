"""The program of a release's commit, out of a real repository: when a work tree is made, what is in it, its end."""

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deployment.errors import ExitCode, IbgwError
from deployment.paths import RELEASES
from infra.release import PaperReport, Release, Soak, write_release
from operations.promotion.checkout import Program, changed_program, check_commit, program_of
from operations.stack import Stack
from tests.helpers import git

LIVE = Stack("live", environment={"IBGW_TRIED": "yes"})


def commit(folder: Path, **files: str) -> str:
    """Keys are names in `infra/`."""
    (folder / "infra").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "infra" / f"{name}.py").write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "a change")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    git(made, "init", "--quiet")
    git(made, "config", "user.email", "trader@example.com")
    git(made, "config", "user.name", "A Trader")
    (made / "Pulumi.yaml").write_text("main: infra/\n")
    (made / ".gitignore").write_text(f"{RELEASES}/\nPulumi.live.yaml\ngateways.yaml\n.generated/\n")
    (made / "Pulumi.live.yaml").write_text("config: {ibgw:gatewaysFile: gateways.yaml}\n")
    (made / "gateways.yaml").write_text("today: yes\n")
    for name in ("PYTHONPATH", "PULUMI_OPTION_POLICY_PACK"):
        monkeypatch.delenv(name, raising=False)
    return made


def release(folder: Path, of: str) -> Release:
    made = Release(
        image="registry.invalid/gateway",
        digest=f"sha256:{'1' * 64}",
        version=None,
        commit=of,
        created=datetime(2026, 11, 1, tzinfo=UTC),
        who="trader@example.com",
        soak=Soak(seconds=0, verifications=3),
        live_quote=True,
        report=PaperReport(stack="paper", verdict="verified"),
    )
    write_release(folder / RELEASES, made)
    return made


def test_the_program_that_is_checked_out_is_used_where_it_is_the_same(folder: Path) -> None:
    first = commit(folder, spec="1")
    (folder / "README.md").write_text("no part of the program")
    commit(folder)
    with program_of(release(folder, first), LIVE, folder) as program:
        assert program == Program(LIVE, folder, commit=None)
        assert len(git(folder, "worktree", "list").splitlines()) == 1


def test_another_one_is_a_work_tree_with_today_s_configuration_and_goes_afterwards(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = commit(folder, spec="1")
    commit(folder, spec="2")
    one = release(folder, first)
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("PULUMI_OPTION_POLICY_PACK", str(folder / "infra" / "policy"))
    with program_of(one, LIVE, folder) as program:
        environment = program.stack.environment
        tree = Path(environment["PULUMI_OPTION_CWD"])
        assert (tree / "infra" / "spec.py").read_text() == "1"
        assert (tree / "Pulumi.live.yaml").read_text() == (folder / "Pulumi.live.yaml").read_text()
        assert (tree / "gateways.yaml").read_text() == "today: yes\n"
        assert (tree / RELEASES / f"{one.id}.json").exists()
        assert environment == {
            "IBGW_TRIED": "yes",
            "PULUMI_OPTION_CWD": str(tree),
            "PYTHONPATH": f"{tree}{os.pathsep}/elsewhere",
            "PULUMI_OPTION_POLICY_PACK": str(tree / "infra" / "policy"),
        }
        assert (program.stack.name, program.commit) == ("live", first)
        assert program.project == tree
        assert (folder / "infra" / "spec.py").read_text() == "2"
    assert not tree.exists()
    assert len(git(folder, "worktree", "list").splitlines()) == 1


def test_a_generated_project_gets_its_place_in_the_work_tree(folder: Path) -> None:
    """Its folder is ignored by git, and its paths are relative."""
    first = commit(folder, spec="1")
    commit(folder, spec="2")
    generated = folder / ".generated" / "project"
    generated.mkdir(parents=True)
    (generated / "Pulumi.yaml").write_text("main: ../../infra/\n")
    (generated / "Pulumi.live.yaml").write_text("generated: yes\n")
    with program_of(release(generated, first), LIVE, generated) as program:
        place = Path(program.stack.environment["PULUMI_OPTION_CWD"])
        assert (place / "../../infra/spec.py").resolve().read_text() == "1"
        assert (place / "Pulumi.yaml").read_text() == "main: ../../infra/\n"
        assert (place / "Pulumi.live.yaml").read_text() == "generated: yes\n"
        assert (place / "../../").resolve() == Path(program.stack.environment["PYTHONPATH"])


def test_a_project_outside_the_program_s_repository_is_refused(folder: Path, tmp_path: Path) -> None:
    first = commit(folder, spec="1")
    commit(folder, spec="2")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "Pulumi.yaml").write_text("main: ../project/infra/\n")
    with (
        pytest.raises(IbgwError, match=r"outside .*project\. Check that commit out") as refused,
        program_of(release(outside, first), LIVE, outside),
    ):
        pass
    assert refused.value.exit_code is ExitCode.REFUSED


def test_it_goes_also_where_what_was_done_with_it_fails_and_after_one_that_was_killed(folder: Path) -> None:
    first = commit(folder, spec="1")
    commit(folder, spec="2")
    git(folder, "worktree", "add", "--detach", "--quiet", str(folder.parent / "killed"), first)
    subprocess.run(["rm", "-r", str(folder.parent / "killed")], check=True)
    with pytest.raises(KeyboardInterrupt), program_of(release(folder, first), LIVE, folder):
        raise KeyboardInterrupt
    assert len(git(folder, "worktree", "list").splitlines()) == 1


def test_a_commit_that_the_repository_lacks_is_refused(folder: Path) -> None:
    commit(folder, spec="1")
    for act in (
        lambda: check_commit(folder, "c" * 40),
        lambda: program_of(release(folder, "c" * 40), LIVE, folder).__enter__(),
    ):
        with pytest.raises(IbgwError, match=f"commit {'c' * 40}, which this repository does not have.*git fetch") as no:
            act()
        assert no.value.exit_code is ExitCode.REFUSED


def test_what_is_changed_between_two_commits_is_the_program_s_alone(folder: Path) -> None:
    first = commit(folder, spec="1")
    (folder / "README.md").write_text("no part of the program")
    second = commit(folder, spec="2")
    assert changed_program(folder, first, second) == ["infra/spec.py"]
    assert changed_program(folder, second) == []
    for path in ("deployment/names.py", "healthcheck/requirements.txt", "Pulumi.yaml", "uv.lock"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text("main: infra/ # changed\n")
        git(folder, "add", "-A")
        assert changed_program(folder, second) == [path]
        second = commit(folder)
