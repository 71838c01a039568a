"""What a shell offers behind `ibgw`: commands, options, stacks, gateways and releases, out of files alone."""

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from deployment.paths import kept_file
from operations import cli
from tests.unit.operations_pulumi import FakePulumi, install


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePulumi:
    """Stacks live, of which an update has left a description, and paper; two releases."""
    found = install(tmp_path / "project", monkeypatch, sys.executable)
    (found.home / "Pulumi.live.yaml").write_text("config:\n  ibgw:gateways:\n    planned: {}\n")
    (found.home / "Pulumi.paper.yaml").write_text("config:\n  ibgw:gateways:\n    main: {}\n    margin: {}\n")
    kept = kept_file(found.home, "live")
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps({"gateways": {"deployed": {"clients": [{"container": "bot"}, {"label": "a=b"}]}}}))
    for name in ("20261101-aaa", "20261102-bbb"):
        (found.home / "releases").mkdir(exist_ok=True)
        (found.home / "releases" / f"{name}.json").touch()
    return found


def offered(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """As bash asks for it; what is being typed is behind the last blank."""
    monkeypatch.setenv("_IBGW_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    assert cli.run([]) == 0
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ibgw sta", ["status", "start"]),
        ("ibgw verify ", ["live", "paper"]),
        ("ibgw verify --stack p", ["paper"]),
        ("ibgw stop paper --gateway ", ["main", "margin"]),
        ("ibgw stop --stack paper -g ma", ["main", "margin"]),
        ("ibgw rollout paper -g ", ["main", "margin"]),
        ("ibgw logs live -g ", ["deployed"]),
        ("ibgw rollback --to ", ["20261102-bbb", "20261101-aaa"]),
        ("ibgw promote --release 20261101", ["20261101-aaa"]),
        ("ibgw promote --from ", ["live", "paper"]),
        ("ibgw plan --format ", ["human", "json", "markdown"]),
        ("ibgw completion ", ["bash", "zsh", "fish"]),
        ("ibgw sandbox scenari", ["scenario", "scenarios"]),
        ("ibgw sandbox scenario wrong-", ["wrong-password"]),
        ("ibgw help re", ["restart", "reset-settings", "repair", "releases", "report"]),
        ("ibgw help sand", ["sandbox"]),
        ("ibgw verify --checks rea", ["reachable"]),
        ("ibgw verify --checks reachable,h", ["reachable,hygiene"]),
        ("ibgw logs --zone Europe/Berl", ["Europe/Berlin"]),
        ("ibgw logs --zone loc", ["local"]),
        ("ibgw doctor live --from ", ["bot"]),
        ("ibgw doctor paper --from ", []),
    ],
)
def test_what_is_offered(
    line: str,
    words: list[str],
    pulumi: FakePulumi,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert offered(line, monkeypatch, capsys) == words
    assert pulumi.calls == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_are_offered_the_same(
    shell: str, pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As their scripts ask, which were tried in zsh 5.9 and fish 3.6 by hand."""
    monkeypatch.setenv("_IBGW_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "ibgw doctor live --from b")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    assert cli.run([]) == 0
    assert "bot" in capsys.readouterr().out


def test_without_a_stack_the_gateways_are_the_default_ones(
    pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert offered("ibgw verify -g ", monkeypatch, capsys) == []
    monkeypatch.setenv("PULUMI_STACK", "live")
    assert offered("ibgw verify -g ", monkeypatch, capsys) == ["deployed"]


def test_nothing_is_offered_where_there_is_no_project(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PULUMI_OPTION_CWD", str(tmp_path))
    for line in ("ibgw verify ", "ibgw verify paper -g ", "ibgw rollback --to "):
        assert offered(line, monkeypatch, capsys) == []


def test_it_needs_none_of_the_libraries_that_talk_to_others(pulumi: FakePulumi) -> None:
    probe = (
        "import os, sys; os.environ |= {'_IBGW_COMPLETE': 'complete_bash', 'COMP_WORDS': 'ibgw logs paper -g ', "
        "'COMP_CWORD': '4'}; from operations.cli import run; run([]); "
        "heavy = ('docker', 'rich', 'pulumi', 'boto3', 'ib_async', 'infra.settings'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["main", "margin", "[]"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str, pulumi: FakePulumi, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["completion", shell]) == 0
    assert f"_IBGW_COMPLETE=complete_{shell}" in capsys.readouterr().out


@pytest.fixture
def program(pulumi: FakePulumi) -> None:
    """A program named ibgw on PATH, as the script calls it."""
    program = pulumi.home / "ibgw"
    program.write_text(f"#!{sys.executable}\nfrom operations.cli import main\nmain()\n")
    program.chmod(0o755)


@pytest.mark.usefixtures("program")
def test_bash_completes_by_the_script() -> None:
    script = (
        'eval "$(ibgw completion bash)"; COMP_WORDS=(ibgw stop paper -g ma); COMP_CWORD=4; _ibgw_completion ibgw; '
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("main margin\n", "")


@pytest.mark.usefixtures("program")
def test_an_interactive_bash_completes_what_is_typed() -> None:
    terminal, end = pty.openpty()
    # A shell of its own session, for which this is the terminal.
    bash = subprocess.Popen(
        ["bash", "--noprofile", "--norc", "-i"],
        stdin=end, stdout=end, stderr=end, start_new_session=True,
        env={**os.environ, "TERM": "dumb", "INPUTRC": "/dev/null"},
    )  # fmt: skip
    os.close(end)

    def shown_until(what: bytes) -> bytes:
        text = b""
        while what not in text:
            readable, _, _ = select.select([terminal], [], [], 60)
            assert readable, text
            text += os.read(terminal, 65536)
        return text

    try:
        os.write(terminal, b'eval "$(ibgw completion bash)"; echo rea""dy\n')
        shown_until(b"ready\r\n")
        os.write(terminal, b"ibgw stop paper -g mar\t")
        shown_until(b"ibgw stop paper -g margin ")
    finally:
        bash.kill()
        bash.wait()
        os.close(terminal)
