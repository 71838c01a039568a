"""What ibgw writes lies beside Pulumi.yaml; and the one version."""

import re
from pathlib import Path

import pytest
import yaml

import deployment
from deployment import paths
from deployment.errors import IbgwError
from operations.stack import program_folder

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / "deep" / "below").mkdir(parents=True)
    (folder / "Pulumi.yaml").write_text("name: ibgw\nmain: ../program/infra/\n")
    monkeypatch.delenv("PULUMI_OPTION_CWD", raising=False)
    return folder


def test_the_project_is_found_upwards_from_where_one_works(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for below in (".", "deep", "deep/below"):
        monkeypatch.chdir(project / below)
        assert paths.project_folder() == paths.find_project() == project


def test_the_cli_s_option_for_another_folder_counts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.parent)
    monkeypatch.setenv("PULUMI_OPTION_CWD", "project/deep")
    assert paths.project_folder() == project


def test_without_a_project_there_is_nowhere_to_write(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.parent)
    assert paths.find_project() is None
    with pytest.raises(IbgwError, match="No Pulumi project here"):
        paths.project_folder()


def test_in_the_checkout_everything_is_where_git_ignores_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "docs")
    monkeypatch.delenv("PULUMI_OPTION_CWD", raising=False)
    found = paths.project_folder()
    assert found == ROOT
    assert paths.update_report(found, "paper") == ROOT / ".ibgw" / "reports" / "paper.update.json"
    assert paths.backups(found) == ROOT / ".ibgw" / "backups"
    assert ".ibgw/" in (ROOT / ".gitignore").read_text().splitlines()
    assert program_folder(found) == ROOT / "infra"


def test_the_program_is_where_pulumi_yaml_says(project: Path) -> None:
    assert program_folder(project) == project.parent / "program" / "infra"
    (project / "Pulumi.yaml").write_text("name: ibgw\n")
    assert program_folder(project) == project


def test_there_is_one_version() -> None:
    """PulumiPolicy.yaml can take it from nowhere; the engine names the pack by it."""
    pack = yaml.safe_load((ROOT / "infra" / "policy" / "PulumiPolicy.yaml").read_text())
    assert pack["version"] == deployment.VERSION
    assert re.search(r'^dynamic = \["version"\]$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
