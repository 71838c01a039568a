"""What a gateway's component tells whoever reads a preview: settings, the secret's version, ibgw's; nothing secret. And
that the program takes what `ibgw init` writes."""

import json
from pathlib import Path

import pulumi
import pytest
import yaml

from deployment import VERSION
from operations import cli
from tests.leaks import leaks
from tests.stack.conftest import PASSWORD, USER, Program
from tests.unit.test_settings import MAIN, changed, tracked


def test_a_gateway_tells_its_settings_and_its_secrets_version_and_no_secret(program: Program) -> None:
    engine = program.run().engine
    [gateway] = [found for found in engine.resources if found.type == "ibgw:gateway:Gateway"]
    assert gateway.secret == set()
    assert gateway.inputs["secretVersion"] == "11111111-2222-3333-4444-555555555555"
    assert gateway.inputs["settings"]["session"]["timeZone"] == "America/New_York"
    assert gateway.inputs["settings"]["credentials"]["secretId"] == "ibgw/paper/main"
    assert gateway.inputs["version"] == VERSION
    told = json.dumps(gateway.inputs)
    assert leaks(told, USER, PASSWORD) == []


def test_a_restart_within_the_trading_hours_is_told(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda text, *_, **__: told.append(text))
    config = tracked("paper")
    program.run(config=config, preview=True)
    assert told == []
    config["ibgw:tradingHours"] = {"days": ["sun", "mon"], "open": "18:00", "close": "17:00"}
    program.run(config=config, preview=True)
    [text] = told
    assert "session.autoRestart 23:59 America/New_York lies within ibgw:tradingHours" in text


def test_a_quote_contract_that_is_over_is_told_and_stands_in_nothing_s_way(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda text, *_, **__: told.append(text))
    future = {"secType": "FUT", "symbol": "ES", "exchange": "CME", "expiry": "202001"}
    program.run(config=changed("paper", {f"{MAIN}.checks.marketData.contract": future}))
    [text] = told
    assert "contract.expiry: 202001 is over" in text


TODAY = """
services:
  ib-gateway:
    image: ghcr.io/gnzsnz/ib-gateway:stable
    environment:
      TWS_USERID: ${TWS_USERID}
      TRADING_MODE: both
      AUTO_RESTART_TIME: 11:45 PM
      SAVE_TWS_SETTINGS: 08:00 17:30
      X_SCRIPTS: scripts
      TIME_ZONE: Europe/Berlin
    labels: {logging: promtail, api_password: s3cret, com.docker.compose.project: x}
    networks: [trading, monitoring]
    ports: ["127.0.0.1:4002:4004"]
    volumes: ["./jts.ini:/home/ibgateway/Jts/jts.ini"]
"""


@pytest.mark.parametrize("stack", ["paper", "live"])
def test_the_program_takes_what_init_writes_as_it_is(
    program: Program,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stack: str,
) -> None:
    (tmp_path / "Pulumi.yaml").touch()
    (tmp_path / "compose.yml").write_text(TODAY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PULUMI_OPTION_CWD", raising=False)
    given = [
        "--docker-host",
        "unix:///var/run/docker.sock",
        "--region",
        "us-east-1",
        "--secret-id",
        f"ibgw/{stack}/main",
    ]
    account = ["--account", "U1234567"] if stack == "live" else []
    assert cli.run(["init", "--stack", stack, *given, *account, "--from", "compose.yml"]) == 0
    said = capsys.readouterr().out
    for what, answer in (
        ("TRADING_MODE", "two stacks"),
        ("X_SCRIPTS", "an image of your own"),
        ("networks", "under clients"),
        ("jts.ini", "A regional server"),
        ("image", "full version"),
    ):
        [line] = [line for line in said.splitlines() if what in line.partition(" -> ")[0].split(", ")[0].split()]
        assert answer in line
    assert "labels: com.docker.compose.project -> " in said
    assert leaks(said, "s3cret") == []
    config = yaml.safe_load((tmp_path / f"Pulumi.{stack}.yaml").read_text())["config"]
    found = program.run(stack, config, preview=True)
    container = found.engine.declared("Container", "main").inputs
    assert "SAVE_TWS_SETTINGS=08:00 17:30" in container["envs"]
    assert "AUTO_RESTART_TIME=11:45 PM" in container["envs"]
    assert {"label": "logging", "value": "promtail"} in container["labels"]
    assert not any(entry["label"].startswith("com.docker") for entry in container["labels"])
