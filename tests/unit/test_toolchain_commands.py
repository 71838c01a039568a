"""What the Makefile asks of the toolchain: actionlint, and the official tools or none."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.toolchain import Toolchain, __main__, ensure_actionlint, modules

SOURCE = Path(modules.__file__).parent / "actionlint"


def test_actionlint_is_built_once_as_its_module_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "path" / "go"
    go.parent.mkdir()
    go.write_text("#!/bin/sh\necho go1.26.8\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    commands: list[list[str]] = []

    def run(command: list[str], what: str, *, cwd: Path, **options: object) -> None:
        assert cwd == SOURCE
        commands.append(command)
        built = Path(command[command.index("-o") + 1])
        built.parent.mkdir(parents=True)
        built.touch()

    monkeypatch.setattr(modules, "_run", run)
    (version,) = re.findall(r"github.com/rhysd/actionlint v([0-9.]+) ", (SOURCE / "go.mod").read_text())
    assert f"github.com/rhysd/actionlint v{version} h1:" in (SOURCE / "go.sum").read_text()
    said: list[str] = []
    for _ in range(2):
        found = ensure_actionlint(tmp_path / "cache", said.append)
        assert found == tmp_path / "cache" / f"actionlint-{version}" / "actionlint"
        assert found.exists()
    (build,) = commands
    assert build[:2] == [str(go), "build"]
    assert build[-1] == "github.com/rhysd/actionlint/cmd/actionlint"
    assert said == [f"building actionlint {version} from its Go modules (once; a minute)"]


Call = Callable[[Toolchain, str], int]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    def called(found: Toolchain, wanted: str) -> int:
        monkeypatch.setattr(__main__, "ensure", lambda cache, say: found)
        monkeypatch.setattr(sys, "argv", ["toolchain", wanted])
        try:
            __main__.main()
        except SystemExit as ended:
            return int(str(ended.code))
        return 0

    return called


def test_a_real_stack_gets_no_stand_in(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 5: could not run. Nothing reaches PATH."""
    assert call(Toolchain(path=(Path("/made/here"),), embedded=("docker", "aws")), "official") == 5
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "not official releases on this machine: docker, aws" in printed.err


@pytest.mark.parametrize(("embedded", "wanted"), [((), "official"), (("docker",), "path")])
def test_tools_are_named_one_folder_a_line(
    embedded: tuple[str, ...], wanted: str, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    """The official ones, and for a sandbox the stand-ins too."""
    assert call(Toolchain(path=(Path("/one"), Path("/two")), embedded=embedded), wanted) == 0
    assert capsys.readouterr().out == "/one\n/two\n"
