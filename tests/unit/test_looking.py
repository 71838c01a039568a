"""Whoever looks changes nothing, whatever is found: only `ibgw verify` and an update stop a gateway."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from healthcheck import docker_host
from operations import cli, verification
from operations.promotion.live import LiveStack
from operations.stack import Stack, parse_contract
from tests.unit.fake_docker import VerifyingDocker
from tests.unit.operations_contract import MONITORING
from tests.unit.operations_pulumi import FakePulumi, install
from tests.unit.test_healthcheck_runner import LOCKED, REJECTED, add_gateway, failing, healthy_host, report_line

GATEWAY = "a" * 64


@pytest.fixture(params=[REJECTED, LOCKED], ids=["rejected", "locked"])
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> VerifyingDocker:
    """A gateway that IBKR has rejected, and a stack that knows it."""
    found = healthy_host(monkeypatch)
    add_gateway(found, log=request.param)
    found.verifier_lines = [report_line(failing("connected", "relay_only"))]
    monkeypatch.setattr(docker_host, "DockerHost", lambda _: found)
    deployment = contract()
    pulumi = install(tmp_path / "pulumi", monkeypatch, sys.executable)
    pulumi.answers({"stack output": (0, json.dumps({"contract": json.loads(deployment)}), "")})
    (tmp_path / "Pulumi.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return found


def contract() -> str:
    from tests.unit.gateways import stack

    return stack().model_dump_json(by_alias=True)


def changes(host: VerifyingDocker) -> list[Any]:
    """What was done to anything but the verifier's own containers and networks."""
    return [
        done
        for done in host.done
        if done[0] not in ("create", "create_network") and not any("verifier" in str(word) for word in done)
    ]


def soak(_: Path) -> None:
    verification.run(
        parse_contract(contract(), "x"), [], checks=None, wait=0, watch=0, strict=False, show_accounts=False,
        progress=lambda _: None, looking=True,
    )  # fmt: skip


LOOKING: dict[str, Callable[[Path], Any]] = {
    "status": lambda _: cli.run(["status", "--stack", "paper"]),
    "status --json": lambda _: cli.run(["status", "--stack", "paper", "--json"]),
    "doctor": lambda _: cli.run(["doctor", "--stack", "paper"]),
    "doctor --json": lambda _: cli.run(["doctor", "--stack", "paper", "--json"]),
    "logs": lambda _: cli.run(["logs", "--stack", "paper"]),
    "a promotion's soak": soak,
    "after an update that broke off": lambda _: LiveStack(Stack("paper"), lambda _: None)._look(),
}


@pytest.mark.parametrize("look", LOOKING)
def test_looking_leaves_a_rejected_gateway_as_it_is(host: VerifyingDocker, tmp_path: Path, look: str) -> None:
    LOOKING[look](tmp_path)
    assert host.asked
    assert changes(host) == []


def test_status_says_what_would_stop_it(host: VerifyingDocker, capsys: pytest.CaptureFixture[str]) -> None:
    command = "`ibgw verify --stack paper --gateway main` stops it"
    cli.run(["status", "--stack", "paper"])
    assert command in capsys.readouterr().out
    cli.run(["status", "--stack", "paper", "--json"])
    [of_stack] = json.loads(capsys.readouterr().out)["stacks"]
    [row] = of_stack["gateways"]
    assert command in row["note"]
    cli.run(["status", "--stack", "paper", "--json-0.2"])
    assert json.loads(capsys.readouterr().out) == [row | {"description": None}]


ANSWER = """
version\t178\t1400
15\t1\tDU1234567
9\t1\t1
49\t1\t1795446000
"""


@pytest.mark.parametrize(
    ("answer", "health", "verifiers"), [(ANSWER, "healthy", 0), ("", "healthy", 1), (ANSWER, "unhealthy", 1)]
)
def test_status_needs_no_verifier_where_the_gateway_answers(
    host: VerifyingDocker, capsys: pytest.CaptureFixture[str], answer: str, health: str, verifiers: int
) -> None:
    container = add_gateway(host)
    container["State"] |= {"Health": {"Status": health}, "Paused": False}
    host.prints["ask 127.0.0.1 4004"] = answer
    code = cli.run(["status", "--stack", "paper", "--json"])
    assert len(host.verifiers) == verifiers
    [of_stack] = json.loads(capsys.readouterr().out)["stacks"]
    [row] = of_stack["gateways"]
    assert code == of_stack["exit_code"] == (3 if verifiers else 0)
    assert row["state"] == ("relay_only" if verifiers else "logged in")
    assert (row["accounts"], row["latency_ms"]) == (("", None) if verifiers else ("DU***567", 1))


def test_status_asks_beside_the_prober_and_says_so(host: VerifyingDocker, capsys: pytest.CaptureFixture[str]) -> None:
    add_gateway(host)["State"] |= {"Health": {"Status": "healthy"}, "Paused": False}
    host.add_container("ibgw-paper.prober", container_id=MONITORING["prober"]["id"], networks=("ibgw-paper-main-api",))
    host.prints["main 127.0.0.1 4004 949 4010"] = f"= main\n{ANSWER}"
    described = json.dumps({"contract": {**json.loads(contract()), "monitoring": MONITORING}})
    FakePulumi(Path("pulumi").resolve()).answers({"stack output": (0, described, "")})
    assert cli.run(["status", "--stack", "paper", "--json"]) == 0
    [of_stack] = json.loads(capsys.readouterr().out)["stacks"]
    assert of_stack["by_prober"] == ["main"]
    assert of_stack["gateways"][0]["accounts"] == "DU***567"
    assert cli.run(["status", "--stack", "paper"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "paper: asked beside the prober"
    assert host.verifiers == []


def test_doctor_tells_programs_the_next_step_and_what_it_told_before(
    host: VerifyingDocker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["doctor", "--stack", "paper", "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == 3
    assert "secret ibgw/paper/main into Secrets Manager" in told["next"]
    cli.run(["doctor", "--stack", "paper", "--json-0.2"])
    assert json.loads(capsys.readouterr().out).keys() == {*told["gateways"], told["docker_host"]}


def test_status_of_all_stacks_passes_by_what_was_never_deployed(
    host: VerifyingDocker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / "pulumi"
    for name in ("live", "paper"):
        (project / f"Pulumi.{name}.yaml").touch()
    FakePulumi(project).answers(
        {
            "stack output --json --stack live": (1, "", "error: no stack named 'live' found"),
            "stack output --json --stack paper": (0, json.dumps({"contract": json.loads(contract())}), ""),
            "stack ls": (0, '[{"name": "paper"}]', ""),
        }
    )
    assert cli.run(["status", "--all", "--json"]) == 3
    live, paper = json.loads(capsys.readouterr().out)["stacks"]
    assert (live["exit_code"], live["gateways"]) == (0, [])
    assert "no stack 'live' in this backend" in live["error"]
    assert [row["gateway"] for row in paper["gateways"]] == ["main"]
    assert cli.run(["status", "--all", "paper"]) == 2


@pytest.mark.parametrize("command", ["verify", "doctor"])
def test_colours_are_there_in_a_pipe_where_they_are_wanted(
    host: VerifyingDocker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    cli.run([command, "--stack", "paper"])
    assert "\x1b[" not in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    cli.run([command, "--stack", "paper"])
    assert "\x1b[" in capsys.readouterr().out


def test_verify_stops_it_and_says_so_to_people_and_to_programs(
    host: VerifyingDocker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["verify", "--stack", "paper", "--wait", "0s", "--json"]) == 3
    assert ("stop", GATEWAY, 75) in changes(host)
    [gateway] = json.loads(capsys.readouterr().out)["gateways"]
    assert gateway["stopped"]
    assert "was stopped by this verification" in gateway["note"]
