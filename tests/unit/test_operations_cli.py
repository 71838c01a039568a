"""The command line: exit codes, one-block messages, quick help, and subcommands of other packages."""

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from deployment.description import Gateway
from deployment.errors import ExitCode, IbgwError
from healthcheck import docker_host
from operations import batches, cli, lifecycle
from operations.answers import Failed
from operations.reference import ANSWERS
from tests.helpers import until
from tests.leaks import leaks
from tests.unit.commands import GROUP
from tests.unit.fake_docker import FakeDocker
from tests.unit.operations_contract import outputs_json
from tests.unit.operations_pulumi import FakePulumi, install

# Who runs the tests in the background of a shell has SIGINT ignored, by nohup SIGHUP too, and Python inherits that.
IBGW = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "signal.signal(signal.SIGHUP, signal.SIG_DFL); from operations.cli import main; main()",
]


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePulumi:
    return install(tmp_path / "pulumi", monkeypatch, sys.executable)


@pytest.fixture(autouse=True)
def no_foreign_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign(monkeypatch)
    monkeypatch.delenv("PULUMI_STACK", raising=False)


def foreign(monkeypatch: pytest.MonkeyPatch, *entries: EntryPoint) -> None:
    monkeypatch.setattr(cli, "entry_points", lambda group: entries if group == "ibgw.commands" else ())


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group="ibgw.commands")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["env", "paper", "--json"], 5, "no stack 'paper' in this backend"),
        (["status", "--json", "paper"], 5, "no stack 'paper' in this backend"),
        (["verify", "paper", "--format", "json"], 5, "no stack 'paper' in this backend"),
        (["plan", "paper", "--format=json"], 5, "no stack 'paper' in this backend"),
        (["rollout", "--json"], 2, "Name the stack"),
        (["doctor", "--json", "--nonsense"], 2, "No such option: --nonsense"),
        (["logs", "--json", "--tail", "x"], 2, "'--tail' / '-n': found 'x'; expected a valid integer"),
        (["logs", "--json", "--tail", "-1"], 2, "found '-1'; expected a number greater than or equal to 0"),
        (["env", "--json", "--names", "gide"], 2, "'--names': 'gide' is not one of 'ibgw', 'guide'."),
    ],
)
def test_a_failure_is_json_too_where_json_is_asked_for(
    pulumi: FakePulumi, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    pulumi.answers({"stack ls": (0, "[]", ""), "": (1, "", "error: no stack named 'paper' found")})
    assert cli.run(words) == code
    shown = capsys.readouterr()
    told = Failed.model_validate_json(shown.out)
    assert (told.schema_version, told.exit_code) == (1, code)
    assert said in told.error
    assert told.error.splitlines()[-1] in shown.err


def test_a_bug_is_json_too_where_json_is_asked_for() -> None:
    done = crash({}, "status", "--json")
    assert Failed.model_validate_json(done.stdout).exit_code == done.returncode == 1
    assert leaks(done.stdout, "hunter2") == []
    assert crash({}).stdout == ""


def all_commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield f"{before}{name}", command
        if hasattr(command, "commands"):
            yield from all_commands(command, f"{before}{name}-")


def test_each_json_has_a_schema() -> None:
    speaking = {
        name for name, command in all_commands(GROUP) if any("--json" in option.opts for option in command.params)
    }
    assert speaking == set(ANSWERS) - {"error"}


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in ("verify", "env", "forward", "start", "stop", "repair"))


def test_help_needs_none_of_the_heavy_libraries() -> None:
    probe = (
        "import sys; from operations.cli import run; run(['--help']); "
        "print([name for name in ('pydantic', 'docker', 'rich', 'pulumi', 'ib_async') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "words", [["nonsense"], ["env"], ["env", "--stack", "paper", "--bogus"], ["forward", "-s", "paper", "-p", "0"], []]
)
def test_bad_usage_is_2(words: list[str]) -> None:
    assert cli.run(words) == 2


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([option]) == 0
    assert capsys.readouterr().out.strip()[0].isdigit()


@pytest.mark.parametrize("words", [[], ["verify"], ["reset-settings"]])
def test_help_as_a_command_is_help_as_an_option(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["help", *words]) == 0
    asked = capsys.readouterr().out
    assert cli.run([*words, "--help"]) == 0
    assert asked == capsys.readouterr().out


def test_help_of_no_command_is_bad_usage() -> None:
    assert cli.run(["help", "nonsense"]) == 2


def test_an_expected_failure_is_one_message_and_its_code(
    pulumi: FakePulumi, capsys: pytest.CaptureFixture[str]
) -> None:
    pulumi.answers({"stack output": (1, "", "error: no stack named 'paper' found")})
    assert cli.run(["env", "--stack", "paper"]) == 5
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("ibgw: There is no stack 'paper'")
    assert "Traceback" not in shown.err


def test_env_prints_lines_that_a_shell_can_read(pulumi: FakePulumi, capfd: pytest.CaptureFixture[str]) -> None:
    pulumi.answers({"stack output": (0, outputs_json(), "")})
    assert cli.run(["env", "--stack", "paper"]) == 0
    lines = capfd.readouterr().out
    shown = subprocess.run(
        ["sh", "-c", f"{lines}\necho $IBGW_HOST:$IBGW_PORT"], capture_output=True, text=True, check=True
    )
    assert shown.stdout == "ibgw-paper-main:4004\n"
    assert "\x1b" not in lines


@pytest.mark.parametrize(
    "words",
    [["paper"], ["-s", "paper"], ["--stack", "paper"], ["paper", "--stack", "paper"], ["--names", "ibgw", "paper"]],
)
def test_a_stack_stands_with_or_without_its_option(
    pulumi: FakePulumi, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    pulumi.answers({"stack output --json --stack paper": (0, outputs_json(), "")})
    assert cli.run(["env", *words]) == 0
    shown = capsys.readouterr()
    assert "IBGW_STACK=paper" in shown.out
    assert shown.err == ""


def test_a_stack_that_is_named_twice_is_refused(pulumi: FakePulumi, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["stop", "paper", "--stack", "live"]) == 2
    assert "Two stacks: paper and --stack live" in capsys.readouterr().err
    assert pulumi.calls == []


@pytest.mark.parametrize(
    "name", ["", " ", "../x", "x" * 5000, "a//b", "live ", "\x1b[2J", "-live", "paper\n", "\udcff"]
)
@pytest.mark.parametrize("command", ["stop", "status", "rollback", "rollout", "verify"])
def test_what_is_no_stacks_name_is_refused_and_no_default_takes_its_place(
    command: str, name: str, pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `--stack "$STACK"` where the variable is empty."""
    monkeypatch.setenv("PULUMI_STACK", "live")
    assert cli.run([command, "--stack", name]) == 2
    told = capsys.readouterr().err
    assert "is no stack's name. Name one: " in told
    assert len(told) < 200
    assert pulumi.calls == []


def test_who_looks_may_leave_the_choice_to_pulumi_and_is_told(
    pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pulumi.answers({"stack output --json --stack paper": (0, outputs_json(), "")})
    monkeypatch.setenv("PULUMI_STACK", "paper")
    assert cli.run(["env"]) == 0
    shown = capsys.readouterr()
    assert "IBGW_STACK=paper" in shown.out
    assert shown.err == "ibgw: stack paper (PULUMI_STACK)\n"


@pytest.mark.parametrize("command", ["verify", "plan", "drift", "env", "status", "doctor", "logs"])
def test_each_command_that_looks_has_a_default(
    command: str, pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pulumi.answers({"": (1, "", "error: no stack named 'paper' found")})
    monkeypatch.setenv("PULUMI_STACK", "paper")
    assert cli.run([command]) == 5
    assert "no stack 'paper'" in capsys.readouterr().err


ACTING = ("start", "stop", "restart", "login", "forward", "rollout", "repair", "destroy", "reset-settings")


@pytest.mark.parametrize("command", ACTING)
def test_who_acts_names_the_stack(
    command: str, pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is selected, which may be live."""
    monkeypatch.setenv("PULUMI_STACK", "live")
    (pulumi.home / "Pulumi.paper-2.yaml").touch()
    assert cli.run([command]) == 2
    assert "Name the stack: paper-2." in capsys.readouterr().err
    assert pulumi.calls == []


def test_env_as_json(pulumi: FakePulumi, capsys: pytest.CaptureFixture[str]) -> None:
    pulumi.answers({"stack output": (0, outputs_json("main", "other"), "")})
    assert cli.run(["env", "--stack", "paper", "--gateway", "other", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["IBGW_GATEWAY"] == "other"


def test_env_help_explains_each_variable(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["env", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "IBGW_CLIENT_ID_MIN " in shown
    assert "IBGW_NETWORK " in shown


@pytest.mark.parametrize("typed", ["", "y\n", "paper\n"])
def test_forward_on_live_wants_the_stacks_name(
    pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    pulumi.answers({"stack output": (0, outputs_json(mode="live"), "")})
    done = subprocess.run(
        [*IBGW, "forward", "--stack", "live"], input=typed, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 8
    assert "anyone on this machine can trade" in done.stderr


def test_a_wait_that_is_no_duration_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["verify", "--stack", "paper", "--wait", "ten minutes"]) == 2
    assert "--wait: 'ten minutes' is not a duration such as 60s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "act"),
    [(["start"], "start"), (["stop"], "stop"), (["restart"], "restart"), (["login", "--again"], "login_again")],
)
@pytest.mark.parametrize("fails", [False, True])
def test_acts_on_gateways_reach_each_and_close_docker(
    pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch, words: list[str], act: str, fails: bool
) -> None:
    names = ("main",) if act == "login_again" else ("main", "other")
    pulumi.answers({"stack output": (0, outputs_json(*names), "")})
    docker, acted = FakeDocker(), list[str]()

    def record(given: object, _deployment: object, gateway: Gateway, _say: object) -> None:
        assert given is docker
        acted.append(gateway.name)
        if fails:
            raise IbgwError("no")

    monkeypatch.setattr(docker_host, "DockerHost", lambda host: docker)
    monkeypatch.setattr(lifecycle, act, record)
    monkeypatch.setattr(batches, "logged_in", lambda *_: frozenset())
    monkeypatch.setattr(batches, "_logins", lambda *_: ())
    assert cli.run([*words, "--stack", "paper"]) == (5 if fails else 0)
    # Of several the first is the canary; a stop passes failures by.
    assert sorted(acted) == list(names[:1] if fails and act != "stop" else names)
    assert docker.closed


def test_stop_all_now_passes_failures_by_and_names_them(
    pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pulumi.answers({"stack output": (0, outputs_json("main", "other", "third"), "")})
    acted = list[str]()

    def stop(_docker: object, _deployment: object, gateway: Gateway, _say: object) -> None:
        acted.append(gateway.name)
        if gateway.name == "main":
            raise IbgwError("container gone")

    monkeypatch.setattr(docker_host, "DockerHost", lambda host: FakeDocker())
    monkeypatch.setattr(lifecycle, "stop", stop)
    assert cli.run(["stop", "--stack", "paper", "--all", "--now"]) == 5
    assert sorted(acted) == ["main", "other", "third"]
    assert "main: container gone" in capsys.readouterr().err
    assert cli.run(["stop", "--stack", "paper", "--all", "--gateway", "main"]) == 2


def test_an_unexpected_error_is_1_with_an_apology_and_no_values() -> None:
    done = crash({})
    assert done.returncode == 1
    assert "this is a bug in ibgw" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert "IBGW_TRACE=1" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_trace_on_demand_has_places_but_no_text_of_the_exception() -> None:
    done = crash({"IBGW_TRACE": "1"})
    assert done.returncode == 1
    assert "in broken" in done.stderr
    assert leaks(done.stderr, "hunter2") == []


def crash(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    program = (
        "from operations import cli\n"
        "def broken(words): raise ZeroDivisionError('hunter2')\n"
        "cli.run = broken\n"
        "cli.main()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """`ibgw env` that waits for its contract; ready once the fake pulumi has started."""
    home = tmp_path / "bin"
    home.mkdir()
    program = home / "pulumi"
    program.write_text(f"#!/bin/sh\ntouch {home}/started\nexec sleep 60\n")
    program.chmod(0o755)
    process = subprocess.Popen(
        [*IBGW, "env", "--stack", "paper"],
        env={**os.environ, "PATH": f"{home}{os.pathsep}{os.environ['PATH']}"},
        stderr=subprocess.DEVNULL,
    )
    until((home / "started").exists)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_interrupted(hanging: "subprocess.Popen[bytes]", number: signal.Signals, code: int) -> None:
    hanging.send_signal(number)
    assert hanging.wait(timeout=60) == code


def test_another_packages_subcommand_joins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module(
        monkeypatch,
        tmp_path,
        "extra_ok",
        "import typer\napp = typer.Typer()\n@app.command()\ndef a(): print('ran')\n"
        "@app.command()\ndef b(): raise typer.Exit(9)\n",
    )
    foreign(monkeypatch, entry("extra", "extra_ok:app"))
    assert cli.run(["extra", "a"]) == 0
    assert "ran" in capsys.readouterr().out
    assert cli.run(["extra", "b"]) == 9
    assert cli.run(["--help"]) == 0
    assert "  extra " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("broken_import", "import nothing_of_that_name"),
        ("broken_attribute", ""),
        ("broken_syntax", "def ("),
        ("broken_type", "app = 3"),
    ],
)
def test_a_broken_subcommand_says_so_and_breaks_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    module(monkeypatch, tmp_path, name, text)
    foreign(monkeypatch, entry("extra", f"{name}:app"))
    assert cli.run(["extra", "a"]) == 1
    assert f"'extra' ({name}:app)" in capsys.readouterr().err
    assert cli.run(["--help"]) == 0
    assert cli.run(["env", "--help"]) == 0


def module(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))


def test_every_exit_code_of_an_error_reaches_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    # docs/reference.md, and deployment/errors.py: the exit codes.
    for code in (2, 3, 5, 6, 7, 8, 9, 10, 11):

        def fail(*_: object, code: int = code) -> None:
            raise IbgwError("message", exit_code=ExitCode(code))

        monkeypatch.setattr(cli, "add_foreign_commands", fail)
        assert cli.run(["env"]) == code


def piped(words: str, to: str, home: Path) -> "subprocess.CompletedProcess[str]":
    """A command line as a shell runs it, its own exit code on a line of its own."""
    line = f"{{ {words}; echo code $? >&3; }} {to}"
    return subprocess.run(
        ["bash", "-c", f"exec 3>&1; {line}"],
        cwd=home,
        env={**os.environ, "PATH": f"{home}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ["", "logs", "verify", "releases"])
def test_who_has_read_enough_ends_each_command_quietly(command: str, tmp_path: Path) -> None:
    """As `ibgw logs | head` does."""
    done = piped(f"{shlex.join(IBGW)} {command} --help", "| sleep 0", tmp_path)
    assert (done.stdout, done.stderr) == ("code 141\n", "")


def test_who_has_read_enough_of_a_log_ends_it_quietly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(tmp_path / "pulumi", monkeypatch, sys.executable).answers({"stack output": (0, outputs_json(), "")})
    endless = (
        "from operations import logs; from operations.commands import logs as command; "
        "from datetime import datetime, UTC; "
        "line = logs.Line(datetime.now(UTC), 'main', None, 'x' * 100); "
        "logs.read = lambda *_, **__: iter([line] * 100_000); "
        "command.docker_of = lambda _: __import__('contextlib').nullcontext()"
    )
    run = [sys.executable, "-c", f"import sys; {endless}; from operations.cli import main; main()"]
    done = piped(f"{shlex.join(run)} logs --stack paper --zone UTC", "| head -n 1 >/dev/null", tmp_path)
    assert (done.stdout, done.stderr) == ("code 141\n", "")


@pytest.mark.parametrize(
    ("words", "to", "said"),
    [
        ("--help", ">/dev/full", "what this command prints or keeps: No space left on device"),
        ("verify --help", ">/dev/full", "what this command prints or keeps: No space left on device"),
        ("--help", ">/dev/full 2>/dev/full", ""),
        ("env --stack paper", "2>/dev/full", ""),
    ],
)
def test_a_full_disk_is_told_where_it_can_be_and_is_no_bug(words: str, to: str, said: str, tmp_path: Path) -> None:
    done = piped(f"{shlex.join(IBGW)} {words}", to, tmp_path)
    assert done.stdout == "code 5\n"
    assert said in done.stderr
    assert "bug" not in done.stderr
    assert len(done.stderr.splitlines()) == bool(said)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.ENOSPC])
def test_a_place_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number), "/somewhere/.ibgw/paper.json")

    monkeypatch.setattr(cli, "run", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 5
    assert f"ibgw: /somewhere/.ibgw/paper.json: {os.strerror(number)}" in capsys.readouterr().err
