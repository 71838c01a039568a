"""The stack of a command that names none, and what completion offers: out of this machine's files alone."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from operations.known_here import default_stack

BACKEND = "file:///state"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With stacks live and paper, nothing selected."""
    folder = tmp_path / "project"
    (folder / "below").mkdir(parents=True)
    for name in ("Pulumi.yaml", "Pulumi.paper.yaml", "Pulumi.live.yaml"):
        (folder / name).write_text("name: ibgw\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PWD", str(folder))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PULUMI_BACKEND_URL", BACKEND)
    for name in ("PULUMI_STACK", "PULUMI_OPTION_CWD"):
        monkeypatch.delenv(name, raising=False)
    return folder


def select(folder: Path, settings: object) -> None:
    """As the CLI 3.256 writes it, for a folder as the shell calls it."""
    name = hashlib.sha1(f"{folder}/Pulumi.yaml".encode()).hexdigest()
    file = Path(os.environ["PULUMI_HOME"]) / "workspaces" / f"ibgw-{name}-workspace.json"
    file.parent.mkdir(parents=True)
    file.write_text(settings if isinstance(settings, str) else json.dumps(settings))


def test_nothing_is_chosen(project: Path) -> None:
    assert default_stack() is None


def test_the_variable_goes_before_what_was_selected(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    select(project, {"stacks": {BACKEND: "organization/ibgw/paper"}})
    assert default_stack() == ("paper", "pulumi stack select")
    monkeypatch.setenv("PULUMI_STACK", "organization/ibgw/paper-2")
    assert default_stack() == ("paper-2", "PULUMI_STACK")


@pytest.mark.parametrize(
    ("settings", "chosen"),
    [
        ({"stacks": {"file:///other": "live", BACKEND: "paper"}}, "paper"),
        ({"stacks": {"file:///other": "live"}}, "live"),
        ({"stacks": {"file:///other": "live", "s3://third": "paper"}}, None),
        ({"stack": "paper"}, "paper"),
        ({}, None),
        ([], None),
        ("{", None),
    ],
)
def test_what_was_selected_is_by_backend(project: Path, settings: object, chosen: str | None) -> None:
    select(project, settings)
    default = default_stack()
    assert (default and default.stack) == chosen


def test_the_backend_is_also_the_one_of_the_login(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    select(project, {"stacks": {"file:///other": "live", BACKEND: "paper"}})
    monkeypatch.delenv("PULUMI_BACKEND_URL")
    (Path(os.environ["PULUMI_HOME"]) / "credentials.json").write_text(json.dumps({"current": "file:///other"}))
    assert default_stack() == ("live", "pulumi stack select")


def test_a_folder_may_be_called_by_a_link(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "link"
    link.symlink_to(project)
    monkeypatch.chdir(link / "below")
    monkeypatch.setenv("PWD", str(link / "below"))
    select(link, {"stacks": {BACKEND: "paper"}})
    assert default_stack() == ("paper", "pulumi stack select")
