"""`ibgw screen` as a whole: what it prints and writes, what it asks for, and what follows hands on a screen."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from healthcheck import docker_host
from healthcheck.screen.display import Area
from healthcheck.screen_run import SOCKET
from operations import cli, screen_control, verification
from tests.displays import display
from tests.unit.local_commands import LocalDocker
from tests.unit.operations_contract import contract_json
from tests.unit.operations_pulumi import install
from tests.unit.test_operations_verification import report
from tests.unit.test_screen import BLUE, Client
from tests.unit.test_screen_look import FACTOR, GATEWAY

NAMED = ["screen", "--stack", "paper", "--gateway", "main"]


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalDocker]:
    with display(width=120, height=80) as shown:
        client = Client(shown.name)
        client.window(FACTOR, Area(50, 10, 60, 40), BLUE)
        found = LocalDocker({SOCKET: shown.path})
        found.add_container("ibgw-paper-main", container_id=GATEWAY.container.id)
        found.containers[GATEWAY.container.id] = found.containers["ibgw-paper-main"]
        found.containers["ibgw-paper-main"]["State"]["Running"] = True
        monkeypatch.setattr(docker_host, "DockerHost", lambda _: found)
        pulumi = install(tmp_path / "pulumi", monkeypatch, sys.executable)
        pulumi.answers({"stack output": (0, json.dumps({"contract": json.loads(contract_json())}), "")})
        monkeypatch.chdir(tmp_path / "pulumi")
        yield found
        client.display.close()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """In place of a viewer."""
    asked: list[dict[str, Any]] = []

    def serve(_: object, container: str, **options: Any) -> str:
        asked.append({"container": container, **options})
        return "the viewer left"

    monkeypatch.setattr(screen_control, "serve", serve)
    return asked


def test_a_picture_lies_in_the_project_s_folder(docker: LocalDocker, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*NAMED, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(window["title"], window["pictured"]) for window in told["windows"]] == [(FACTOR, True)]
    file = Path(told["picture"])
    assert file == Path(".ibgw/screens/paper.main.png").absolute()
    assert file.read_bytes().startswith(b"\x89PNG")


def test_whoever_only_looks_is_asked_nothing(docker: LocalDocker, served: list[dict[str, Any]]) -> None:
    assert cli.run([*NAMED, "--open", "--port", "0"]) == 0
    assert [(one["container"], one["port"], one["control"]) for one in served] == [(GATEWAY.container.id, 0, False)]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--control", "--yes-live", "live"], 8),
        (["--open", "--json"], 2),
        (["--control", "--show-accounts"], 2),
        (["--open", "--to", "x.png"], 2),
    ],
)
def test_what_does_not_go_is_refused_before_anything_is_opened(
    docker: LocalDocker, served: list[dict[str, Any]], words: list[str], code: int
) -> None:
    assert cli.run([*NAMED, *words]) == code
    assert served == []
    assert not Path(".ibgw/reports").exists()


def test_hands_on_it_take_no_default_stack(
    docker: LocalDocker, served: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_STACK", "paper")
    assert cli.run(["screen", "--control", "--yes-live", "paper"]) == 2
    assert served == []


@pytest.mark.parametrize(
    ("verdict", "verified", "ini", "code"),
    [("verified", 0, "", 0), ("failed", 3, "", 3), ("verified", 0, "TrustedIPs=0.0.0.0\n", 3)],
)
def test_after_hands_on_it_the_gateway_is_verified_and_its_settings_are_compared(
    docker: LocalDocker,
    served: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verdict: str,
    verified: int,
    ini: str,
    code: int,
) -> None:
    monkeypatch.setattr(verification, "verify", lambda *_, **__: report(verdict, verified))
    docker.files["/home/ibgateway/tws_settings/jts.ini"] = ini
    assert cli.run([*NAMED, "--control", "--yes-live", "paper"]) == code
    assert [one["control"] for one in served] == [True]
    printed = capsys.readouterr().out
    assert printed.index("paper/main  paper") < printed.index("The API's settings that can be read:")
    assert ("DIFFERS  TrustedIPs" in printed) is bool(ini)
    lines = Path(".ibgw/reports/paper.screen.jsonl").read_text().splitlines()
    assert [json.loads(line)["ended"] for line in lines] == [None, "the viewer left"]
