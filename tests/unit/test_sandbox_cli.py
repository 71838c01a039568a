"""`ibgw sandbox`, without bringing anything up."""

import os
import re
import shlex
import stat
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deployment.errors import IbgwError
from sandbox import cli, environment
from sandbox.environment import Sandbox

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The commands work on a sandbox in a folder of the test's own."""
    folder = tmp_path / "with space"

    def elsewhere(**given: Any) -> Sandbox:
        return Sandbox(folder, "ibgw-unit", 63, cache=tmp_path / "cache", **given)

    monkeypatch.setattr(cli, "Sandbox", elsewhere)
    monkeypatch.delenv("IBGW_SANDBOX", raising=False)
    return folder


def fake_record(folder: Path) -> None:
    (folder / "project").mkdir(parents=True)
    (folder / "project" / "Pulumi.yaml").write_text("name: ibgw")
    (folder / "record.json").write_text(
        '{"prefix": "ibgw-unit", "index": 63, "tool_folders": ["/opt/tool box"], "ports": {"secrets-manager": 5123}}'
    )


def test_env_prints_exports_only_and_a_shell_reads_them(state: Path) -> None:
    fake_record(state)
    result = CliRunner().invoke(cli.app, ["env"])
    assert result.exit_code == 0
    assert all(line.startswith("export ") for line in result.stdout.splitlines())
    shell = subprocess.run(
        ["bash", "-c", f"{result.stdout}\nenv -0"], env={"PATH": os.defpath}, capture_output=True, text=True, check=True
    )
    seen = dict(entry.split("=", 1) for entry in shell.stdout.split("\0") if entry)
    assert seen["PULUMI_OPTION_CWD"] == f"{state}/project"
    assert seen["PULUMI_BACKEND_URL"] == (state / "state").as_uri()
    assert seen["PULUMI_CONFIG_PASSPHRASE_FILE"] == f"{state}/passphrase"
    assert seen["AWS_ENDPOINT_URL"] == "http://127.0.0.1:5123"
    assert seen["AWS_REGION"] == "us-east-1"
    assert seen["PATH"].split(":")[:3] == [f"{state}/bin", "/opt/tool box", str(ROOT / ".venv" / "bin")]
    assert seen["IBGW_SANDBOX"] == str(state)
    assert "PASSWORD" not in shlex.quote(result.stdout).upper()


def test_env_twice_does_not_lengthen_the_path(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_record(state)
    once = Sandbox(state, "ibgw-unit", 63, say=lambda text: None).env()["PATH"]
    monkeypatch.setenv("PATH", once)
    assert Sandbox(state, "ibgw-unit", 63, say=lambda text: None).env()["PATH"] == once


def test_env_before_up_prints_nothing_that_a_shell_would_run(state: Path) -> None:
    result = CliRunner().invoke(cli.app, ["env"])
    assert result.exit_code == 7  # refused: a precondition is missing (docs/reference.md)
    assert result.stdout == ""
    assert result.stderr == "error: the sandbox is not up; run: make sandbox\n"


def test_a_stack_or_gateway_that_is_not_there_is_bad_usage(state: Path) -> None:
    fake_record(state)
    result = CliRunner().invoke(cli.app, ["scenario", "wrong-password", "--stack", "paper-x", "--gateway", "main"])
    assert result.exit_code == 2
    assert "the sandbox has no stack paper-x" in result.stderr


def test_two_commands_on_one_sandbox_take_turns(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def turn() -> None:
        with Sandbox(tmp_path / "s", "ibgw-unit", 63, say=lambda text: None, cache=tmp_path / "cache").alone():
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    threads = [threading.Thread(target=turn) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_broker_that_does_not_answer_is_said(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.internet.Internet.broker", "127.0.0.1")
    result = CliRunner().invoke(cli.app, ["scenario", "wrong-password"])
    assert result.exit_code == 5  # could not run (docs/reference.md)
    assert result.stderr == "error: the broker at 127.0.0.1 does not answer; run: make sandbox\n"


def test_scenarios_lists_each_with_one_line() -> None:
    result = CliRunner().invoke(cli.app, ["scenarios"])
    assert result.exit_code == 0
    listed = {line.split()[0] for line in result.stdout.splitlines()}
    assert {"normal", "wrong-password", "locked-out", "api-wedged"} <= listed
    assert all(len(line.split()) > 1 for line in result.stdout.splitlines())


def test_continuous_integration_runs_what_people_run() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    assert script.read_text().endswith("\nmake no-debugging\nexec make test\n")


@pytest.mark.parametrize(
    "target", ["sandbox", "sandbox-env", "sandbox-down", "test", "test-exhaustive", "mutants", "lint", "format"]
)
def test_the_documented_targets_exist(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def dry_run(target: str) -> list[str]:
    """What make would do. These tests run below a make themselves, and what it hands down changes what is printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--dry-run", target]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def test_pytests_summary_is_the_last_thing_that_make_test_prints() -> None:
    assert "pytest" in dry_run("test")[-1]


def test_an_eval_of_a_sandbox_env_that_fails_fails() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    script = 'eval "$(make -s sandbox-env SANDBOX=false)"'
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")


def test_a_failing_sandbox_env_never_lets_pulumi_run_in_the_callers_own_environment() -> None:
    """`eval "$(false)"` succeeds; `pulumi up` would then work on whatever the shell is logged in to."""
    lines = "\n".join(dry_run("previews"))
    assert 'environment="$(.venv/bin/python -m sandbox.cli env)" && eval "$environment"' in lines


def test_a_long_installation_is_not_silent() -> None:
    """The makefile's own words, with shorter pauses."""
    [alive] = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("ALIVE := ")]
    script = alive.removeprefix("ALIVE := ").replace("$$", "$").replace("sleep 10", "sleep 0.05") + " sleep 0.5"
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert len(re.findall(r"^still at work \(\d+ s\)$", done.stdout, re.MULTILINE)) > 1


# Which sandbox, and with which files


def test_another_checkouts_sandbox_is_not_worked_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBGW_SANDBOX", str(tmp_path))
    result = CliRunner().invoke(cli.app, ["status"])
    assert result.exit_code == 7  # refused (docs/reference.md)
    assert f"IBGW_SANDBOX is '{tmp_path}', which is no sandbox of {ROOT}; run: unset IBGW_SANDBOX" in result.stderr


FILES = ("Pulumi.yaml", "Pulumi.live.yaml", "Pulumi.paper-mine.yaml")


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A checkout whose files the sandbox has taken over; and its `pulumi`, where taking over again only says so."""
    checkout, tools = tmp_path / "a checkout", tmp_path / "tools"
    checkout.mkdir()
    tools.mkdir()
    for name, script in {"pulumi": 'echo "engine $*"', "python": 'echo "taken over: $* in $IBGW_SANDBOX" >&2'}.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    for name in FILES:
        (checkout / name).write_text(name)
    monkeypatch.setattr(environment, "ROOT", checkout)
    monkeypatch.setattr("sys.executable", str(tools / "python"))
    monkeypatch.setenv("PATH", f"{tools}:{os.defpath}")
    made = Sandbox(tmp_path / "a sandbox", "ibgw-unit", 63, say=lambda text: None, cache=tmp_path / "cache")
    made.folder.mkdir()
    made._write_engine({name: name.encode() for name in FILES})
    return checkout, made.folder / "bin" / "pulumi"


@pytest.mark.parametrize("name", FILES)
def test_the_next_command_of_the_engine_takes_over_what_was_edited(edited: tuple[Path, Path], name: str) -> None:
    checkout, pulumi = edited
    run = partial(subprocess.run, [str(pulumi), "up"], capture_output=True, text=True)
    assert (run().stdout, run().stderr) == ("engine up\n", "")
    (checkout / name).write_text("another line")
    sandbox = pulumi.parent.parent
    assert (run().stdout, run().stderr) == ("engine up\n", f"taken over: -m sandbox.cli up in {sandbox}\n")


def test_a_stack_file_that_is_new_is_taken_over_too(edited: tuple[Path, Path]) -> None:
    checkout, pulumi = edited
    (checkout / "Pulumi.paper-more.yaml").write_text("config: {}")
    assert "taken over: " in subprocess.run([str(pulumi), "up"], capture_output=True, text=True).stderr


def test_what_was_edited_and_cannot_be_taken_over_is_not_passed_over(edited: tuple[Path, Path]) -> None:
    checkout, pulumi = edited
    Path(sys.executable).write_text("#!/bin/sh\nexit 7\n")
    (checkout / "Pulumi.live.yaml").write_text("another line")
    done = subprocess.run([str(pulumi), "up"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (7, "")


def test_the_engine_is_not_looked_for_in_a_sandboxs_own_commands(
    edited: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, pulumi = edited
    monkeypatch.setenv("IBGW_SANDBOX", str(pulumi.parent.parent))
    monkeypatch.setenv("PATH", f"{pulumi.parent}:{os.environ['PATH']}")
    made = Sandbox(tmp_path / "s", "ibgw-unit", 63, say=lambda text: None, cache=tmp_path / "cache")
    assert made._engine() == str(tmp_path / "tools" / "pulumi")
    monkeypatch.setenv("PATH", f"{pulumi.parent}:/usr/bin")
    with pytest.raises(IbgwError, match="the command pulumi is gone"):
        made._engine()
