"""`ibgw status --watch`: what Docker and the gateways' first processes know, again and again."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployment.errors import IbgwError
from healthcheck import docker_host
from healthcheck.automation.status import PATH
from operations import cli, watch
from operations.watch import Watched
from tests.unit.fake_docker import VerifyingDocker
from tests.unit.gateways import stack
from tests.unit.operations_pulumi import install
from tests.unit.test_healthcheck_runner import HELD, PUSH, add_gateway, healthy_host
from tests.unit.test_healthcheck_status import LINE

WELL = LINE.replace("phase=held", "phase=in").replace("hold=attempts", "hold=none").replace("api=unknown", "api=ok")
PAUSED = LINE.replace("until=0", "until=1795373400")
# The second factor is awaited since 18:29 UTC, 13:29 in the gateway's zone.
PENDING = WELL.replace("api=ok", "api=closed").replace("factor=0", "factor=1795372140")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> VerifyingDocker:
    found = healthy_host(monkeypatch)
    found.files[PATH] = WELL
    monkeypatch.setattr(watch, "DockerHost", lambda _: found)
    return found


def told(
    host: VerifyingDocker,
    changes: list[Callable[[], Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """What is printed while this happens, a change before each further look."""
    left = iter(changes)

    def go_on() -> None:
        next(left, lambda: None)()

    monkeypatch.setattr(watch, "pause", go_on)
    watch.watch([Watched("paper", stack)], looks=len(changes) + 1)
    return capsys.readouterr().out


def test_a_pipe_gets_a_line_at_each_change_and_nobody_is_asked(
    host: VerifyingDocker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pend() -> None:
        add_gateway(host, log=PUSH)
        host.files[PATH] = PENDING

    def well() -> None:
        add_gateway(host)
        host.files[PATH] = WELL

    lines = told(host, [lambda: None, pend, lambda: None, well], monkeypatch, capsys).splitlines()
    first, second, third = (line.partition(" ")[2] for line in lines)
    assert first == third == "paper/main: logged in"
    assert second.startswith("paper/main: second_factor_pending, waits until Sun 13:32:20 EST. approve the login")
    assert host.done == [], "no verifier, and nothing else either"


@pytest.mark.parametrize(
    ("status", "log", "expected"),
    [
        (LINE, HELD, "guard_held. end the other session"),
        (
            LINE.replace("until=0", "until=1795373400"),
            "ibgw: waiting: pause",
            "login_delayed, waits until Sun 13:50:00",
        ),
        (WELL.replace("api=ok", "api=closed"), "ibgw: starting", "start_stuck"),
    ],
)
def test_what_a_gateway_waits_for_and_until_when(
    host: VerifyingDocker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: str,
    log: str,
    expected: str,
) -> None:
    add_gateway(host, log=log)
    host.files[PATH] = status
    host.logged_at = "2026-11-22T18:01:00Z"
    assert f"paper/main: {expected}" in told(host, [], monkeypatch, capsys)


def test_a_stack_of_which_nothing_is_known_keeps_nobody_from_the_others(
    host: VerifyingDocker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> Any:
        raise IbgwError("the cloud is away")

    monkeypatch.setattr(watch, "pause", lambda: None)
    watch.watch([Watched("live", refuse), Watched("paper", stack)], looks=2)
    lines = [line.partition(" ")[2] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["live: unknown. the cloud is away", "paper/main: logged in"]


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("terminal", [True, False])
def test_ctrl_c_is_its_usual_end_and_leaves_the_terminal_as_it_was(
    host: VerifyingDocker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    terminal: bool,
) -> None:
    pulumi = install(tmp_path / "pulumi", monkeypatch, sys.executable)
    contract = json.loads(stack().model_dump_json(by_alias=True))
    pulumi.answers({"stack output": (0, json.dumps({"contract": contract}), "")})
    (tmp_path / "Pulumi.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(docker_host, "DockerHost", lambda _: host)
    monkeypatch.setattr(watch, "pause", interrupt)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert cli.run(["status", "--stack", "paper", "--watch"]) == 0
    printed = capsys.readouterr().out
    assert "paper/main" in printed
    assert printed.count("\x1b[?25l") == printed.count("\x1b[?25h") == int(terminal), "the cursor"


def test_watching_prints_no_json() -> None:
    assert cli.run(["status", "--stack", "paper", "--watch", "--json"]) == 2
