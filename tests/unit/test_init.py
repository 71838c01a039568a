"""`ibgw init`: a new stack's file, from nothing and from what people run today."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployment.errors import ExitCode
from deployment.names import PROJECT
from infra.settings import Credentials, Settings, load
from infra.settings_reference import MEANINGS, keys, schema
from operations import cli
from operations.compose_file import Imported, read
from operations.stack_file import IMAGE, SCHEMA
from tests.leaks import leaks
from tests.unit.test_settings import ROOT, as_engine

GIVEN = ("--docker-host", "unix:///var/run/docker.sock", "--region", "us-east-1", "--secret-id", "ibgw/paper/main")
PASSWORD = "hunter-2-hunter"  # noqa: S105 - to be searched for

GUIDE = """
ib-gateway:
  image: ghcr.io/gnzsnz/ib-gateway:latest
  container_name: spreadpilot-ib-gateway
  environment:
    - TWS_USERID=${IB_USERNAME}
    - TWS_PASSWORD=${IB_PASSWORD}
    - TRADING_MODE=paper  # or live
    - TWS_ACCEPT_INCOMING=accept
    - TWS_LOGOFF_TIME=22:00
    - TWS_RESTART_TIME=06:00
    - TWS_TIMEZONE=America/New_York
  ports: ["4002:4002", "5900:5900"]
  volumes: [ib_gateway_settings:/root/Jts]
  restart: unless-stopped
  healthcheck: {test: ["CMD", "nc", "-z", "localhost", "4002"], interval: 30s}
"""
GUIDE_ENV = f"""
IB_USERNAME=paper123456  # with its prefix
IB_PASSWORD="{PASSWORD}"
IB_2FA_SECRET={PASSWORD}
IB_CLIENT_ID=1
IB_GATEWAY_PORT=4002
IB_TRADING_MODE=paper
IB_READ_ONLY_API=false
IB_MASTER_CLIENT_ID=100
"""
GUIDE_GATEWAY = {
    "session.offline.from": "22:00",
    "session.offline.until": "06:00",
    "session.timeZone": "America/New_York",
    "api.acceptIncoming": "accept",
    "api.readOnly": False,
    "api.masterClientId": 100,
}
SAMPLE = """
name: trader
services:
  ib-gateway:
    restart: always
    image: ghcr.io/gnzsnz/ib-gateway:10.45.1j
    environment:
      TWS_USERID: ${TWS_USERID}
      TWS_PASSWORD: ${TWS_PASSWORD}
      TRADING_MODE: ${TRADING_MODE:-paper}
      TWS_USERID_PAPER: ${TWS_USERID_PAPER:-}
      READ_ONLY_API: ${READ_ONLY_API:-}
      VNC_SERVER_PASSWORD: ${VNC_SERVER_PASSWORD:-}
      TWOFA_TIMEOUT_ACTION: ${TWOFA_TIMEOUT_ACTION:-exit}
      AUTO_RESTART_TIME: ${AUTO_RESTART_TIME:-}
      AUTO_LOGOFF_TIME: ${AUTO_LOGOFF_TIME:-}
      TWS_COLD_RESTART: ${TWS_COLD_RESTART:-}
      SAVE_TWS_SETTINGS: ${SAVE_TWS_SETTINGS:-}
      RELOGIN_AFTER_TWOFA_TIMEOUT: ${RELOGIN_AFTER_TWOFA_TIMEOUT:-no}
      TWOFA_EXIT_INTERVAL: ${TWOFA_EXIT_INTERVAL:-60}
      TIME_ZONE: ${TIME_ZONE:-Etc/UTC}
      TZ: ${TIME_ZONE:-Etc/UTC}
      JAVA_HEAP_SIZE: ${JAVA_HEAP_SIZE:-}
      X_SCRIPTS: ${X_SCRIPTS:-}
    ports: ["127.0.0.1:4001:4003", "127.0.0.1:4002:4004"]
  strategy:
    image: strategy:1
"""
SAMPLE_ENV = f"""
TWS_USERID=someuser
TWS_PASSWORD='{PASSWORD}'
TIME_ZONE=Europe/Zurich
JAVA_HEAP_SIZE=1280
TRADING_MODE=paper
READ_ONLY_API=no
AUTO_RESTART_TIME=11:59 PM
AUTO_LOGOFF_TIME=11:00 PM
TWS_COLD_RESTART=08:15
SAVE_TWS_SETTINGS=08:00 12:30
RELOGIN_AFTER_TWOFA_TIMEOUT=yes
VNC_SERVER_PASSWORD={PASSWORD}
X_SCRIPTS=scripts
"""
SAMPLE_GATEWAY = {
    "api.readOnly": False,
    "secondFactor.onTimeout": "exit",
    "secondFactor.exitInterval": "60s",
    "session.autoRestart": "23:59",
    "session.coldRestart": "08:15",
    "session.saveSettings": ["08:00", "12:30"],
    "session.timeZone": "Europe/Zurich",
    "resources.javaHeap": 1280,
    "resources.memory": 1792,
}
# Public shapes: a list with inline credentials and limits, an env_file, and another image with names of its own.
LIMITS = f"""
services:
  ibkr:
    image: ghcr.io/gnzsnz/ib-gateway@sha256:{"a" * 64}
    platform: linux/arm64
    environment:
      [TWS_USERID=someuser, "TWS_PASSWORD={PASSWORD}", TRADING_MODE=paper, TWOFA_DEVICE=IB Key, READ_ONLY_API=yes]
    mem_limit: 2g
    stop_grace_period: 120s
    logging: {{driver: json-file, options: {{max-size: 50M, max-file: "7"}}}}
    deploy: {{resources: {{limits: {{cpus: "1"}}}}}}
"""
LIMITS_GATEWAY = {
    "secondFactor.device": "IB Key",
    "secondFactor.method": "push",
    "api.readOnly": True,
    "resources.memory": 2048,
    "container.stopGrace": "120s",
    "container.logMaxSize": "50m",
    "container.logMaxFiles": 7,
}
OWN_FILE = """
services:
  gw:
    build: .
    env_file: [{path: gateway.env}]
    environment: {TWS_USERID: me, EXISTING_SESSION_DETECTED_ACTION: primaryoverride, ALLOW_BLIND_TRADING: true}
"""
OWN_FILE_GATEWAY = {
    "session.autoLogoff": "23:00",
    "session.existingSession": "primaryoverride",
    "api.allowBlindTrading": True,
}
OTHER = """
services:
  ib:
    image: other/ibgateway:1.0
    environment: {IB_USERNAME: me, IB_TRADING_MODE: paper, GATEWAY_OR_TWS: gateway, TWS_OVERRIDE_TIME_ZONE: Asia/Tokyo}
"""
# Three more public shapes: an image that hands IBC_ variables to IBC, one on the host's network whose variables all
# come from .env, and gateways that share what stands under an anchor.
IBC_NAMES = """
services:
  ibkr:
    image: ghcr.io/extrange/ibkr:10.21
    ports: ["127.0.0.1:6080:6080", "127.0.0.1:8888:8888"]
    ulimits: {nofile: 10000}
    environment:
      IBKRUSER: ${IBKRUSER}
      IBKRPASS: ${IBKRPASS}
      TWOFA_TIMEOUT_ACTION: restart
      GATEWAY_OR_TWS: tws
      IBC_TradingMode: paper
      IBC_ReadOnlyApi: 'yes'
      IBC_AutoRestartTime: 11:45 PM
"""
IBC_ENV = f"""
IBKRUSER=someuser
IBKRPASS='{PASSWORD}'
"""
IBC_GATEWAY = {"api.readOnly": True, "session.autoRestart": "23:45", "secondFactor.onTimeout": "restart"}
ON_THE_HOST = """
version: '3.4'
services:
  ibgateway:
    image: dvasdekis/ib-gateway-docker:v978
    network_mode: "host"
    environment: [TWSUSERID, TWSPASSWORD, TRADING_MODE, 'XVFB_ARGS="-ac -screen 0 1024x768x16 +extension RANDR"']
    restart: always
  trader:
    build: .
    depends_on: [ibgateway]
    network_mode: "host"
"""
ANCHORED = f"""
x-gateway: &gateway
  image: ghcr.io/gnzsnz/ib-gateway:10.45.1j
  environment: &shared
    TWS_USERID: someuser
    TWS_PASSWORD: {PASSWORD}
    TIME_ZONE: Europe/London
    TWS_COLD_RESTART: "11:59 PM"
services:
  gw-paper:
    <<: *gateway
    environment: {{<<: *shared, TRADING_MODE: paper, AUTO_RESTART_TIME: "11:30 PM", BYPASS_WARNING: "yes"}}
    networks: {{trading: {{ipv4_address: 10.5.0.2}}}}
  bot: {{image: "bot:1", depends_on: {{gw-paper: {{condition: service_healthy}}}}}}
"""
ANCHORED_GATEWAY = {
    "session.timeZone": "Europe/London",
    "session.autoRestart": "23:30",
    "api.bypassWarnings": True,
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "Pulumi.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PULUMI_OPTION_CWD", raising=False)
    return tmp_path


def config(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text())["config"])


def loaded(path: Path) -> Settings:
    return load(path.name.split(".")[1], as_engine(config(path)))


def at(document: Any, key: str) -> Any:
    for part in key.split("."):
        document = document[part]
    return document


def test_from_nothing_the_file_loads_and_has_every_key(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["init", "--stack", "paper", *GIVEN]) == ExitCode.OK
    written = project / "Pulumi.paper.yaml"
    assert loaded(written).gateways["main"].credentials == Credentials(secretId="ibgw/paper/main")
    text = written.read_text()
    names = {key.path.rpartition(".")[2] for key in keys() if key.path != "release"} - {"from", "until"}
    # Clients are a list, and offline hours one line.
    missing = {name for name in names if f"{name}:" not in text} - {"container", "label"}
    assert missing == set()
    said = capsys.readouterr().out
    assert "pulumi up --stack paper" in said
    assert "ibgw credentials put paper --gateway main" in said


def test_what_no_option_says_is_asked_for(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["ssh://me@host\n", "\n", "\n", "U1234567\n"])
    monkeypatch.setattr("sys.stdin.readline", lambda: next(answers))
    assert cli.run(["init", "--stack", "live-x", "--gateway", "one"]) == ExitCode.OK
    settings = loaded(project / "Pulumi.live-x.yaml")
    assert settings.docker_host == "ssh://me@host"
    assert settings.gateways["one"].credentials == Credentials(secretId="ibgw/live-x/one")
    assert settings.gateways["one"].account.expected == ("U1234567",)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], ExitCode.BAD_USAGE, "--stack is missing"),
        (["--stack", "paper"], ExitCode.BAD_USAGE, "--docker-host"),
        (["--stack", "demo", *GIVEN], ExitCode.REFUSED, "trading mode"),
        (["--stack", "paper", *GIVEN, "--docker-host", "tcp://1.2.3.4"], ExitCode.BAD_USAGE, "--docker-host: "),
        (["--stack", "paper", *GIVEN, "--gateway", "Main"], ExitCode.BAD_USAGE, "lower-case"),
        (["--stack", "paper", *GIVEN, "--region", "US East"], ExitCode.BAD_USAGE, "such as us-east-1"),
        (["--stack", "live", *GIVEN, "--account", "DU1234567"], ExitCode.BAD_USAGE, "begin with D"),
        (["--stack", "paper_2", *GIVEN], ExitCode.REFUSED, "single hyphens"),
        (["--stack", "paper", *GIVEN, "--from", "nothing.yaml"], ExitCode.BAD_USAGE, "nothing.yaml cannot be read"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: ExitCode,
    said: str,
) -> None:
    monkeypatch.setattr("sys.stdin.readline", lambda: "")
    assert cli.run(["init", *arguments]) == code
    assert said in capsys.readouterr().err
    assert list(project.glob("Pulumi.*.yaml")) == []


def test_the_stack_is_asked_for_too(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.readline", lambda: "paper-2\n")
    assert cli.run(["init", *GIVEN]) == ExitCode.OK
    assert loaded(project / "Pulumi.paper-2.yaml").mode == "paper"


def test_at_a_terminal_what_cannot_be_is_asked_for_again(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter(["tcp://host:2375\n", "ssh://me@host\n", "\n", "my password\n", "\n", "DU1\n", "U1234567\n"])
    monkeypatch.setattr("sys.stdin.readline", lambda: next(answers))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert cli.run(["init", "--stack", "live"]) == ExitCode.OK
    assert loaded(project / "Pulumi.live.yaml").gateways["main"].account.expected == ("U1234567",)
    said = capsys.readouterr().err
    assert "'tcp://host:2375' is not supported" in said
    assert leaks(said, "my password") == []


def test_ctrl_c_leaves_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin.readline", interrupt)
    assert cli.run(["init", "--stack", "paper"]) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err.endswith("\nNothing was changed.\n")
    assert list(project.glob("Pulumi.*.yaml")) == []


def test_nothing_is_asked_where_a_file_is_already(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "Pulumi.paper.yaml").touch()
    monkeypatch.setattr("sys.stdin.readline", lambda: pytest.fail("asked"))
    assert cli.run(["init", "--stack", "paper"]) == ExitCode.REFUSED
    assert "--replace writes over it, and another name, such as paper-two," in capsys.readouterr().err


def test_a_file_that_is_there_stays_unless_it_is_to_be_replaced(project: Path) -> None:
    file = project / "Pulumi.paper.yaml"
    file.write_text("mine")
    assert cli.run(["init", "--stack", "paper", *GIVEN]) == ExitCode.REFUSED
    assert file.read_text() == "mine"
    assert cli.run(["init", "--stack", "paper", *GIVEN, "--replace"]) == ExitCode.OK
    assert loaded(file).mode == "paper"


@pytest.mark.parametrize(
    ("compose", "env", "expected", "not_kept"),
    [
        pytest.param(
            GUIDE,
            GUIDE_ENV,
            GUIDE_GATEWAY,
            {"TWS_PASSWORD", "IB_2FA_SECRET", "IB_CLIENT_ID", "ports", "volumes", "image", "healthcheck.test"},
            id="guide",
        ),
        pytest.param(
            SAMPLE,
            SAMPLE_ENV,
            SAMPLE_GATEWAY,
            {
                *("TWS_PASSWORD", "VNC_SERVER_PASSWORD", "AUTO_LOGOFF_TIME", "TZ", "X_SCRIPTS"),
                *("RELOGIN_AFTER_TWOFA_TIMEOUT", "strategy"),
            },
            id="sample",
        ),
        pytest.param(LIMITS, "", LIMITS_GATEWAY, {"TWS_PASSWORD", "deploy.resources.limits.cpus"}, id="limits"),
        pytest.param(OWN_FILE, "", OWN_FILE_GATEWAY, {"build", "env_file", "TWS_PASSWORD"}, id="env-file"),
        pytest.param(OTHER, "", {"session.timeZone": "Asia/Tokyo"}, {"image", "IB_USERNAME"}, id="other-image"),
        pytest.param(IBC_NAMES, IBC_ENV, IBC_GATEWAY, {"IBKRPASS", "ports", "ulimits.nofile"}, id="ibc-names"),
        pytest.param(
            ON_THE_HOST,
            f"TWSUSERID=someuser\nTWSPASSWORD={PASSWORD}\nTRADING_MODE=paper\n",
            {"session.autoRestart": "23:59"},
            {"TWSPASSWORD", "XVFB_ARGS", "network_mode", "image", "trader"},
            id="on-the-host",
        ),
        pytest.param(
            ANCHORED,
            "",
            ANCHORED_GATEWAY,
            {"TWS_PASSWORD", "TWS_COLD_RESTART", "networks.trading.ipv4_address", "bot"},
            id="anchored",
        ),
    ],
)
def test_what_runs_today_is_kept_or_explained(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    compose: str,
    env: str,
    expected: dict[str, Any],
    not_kept: set[str],
) -> None:
    (project / "compose.yaml").write_text(compose)
    (project / ".env").write_text(env)
    (project / "gateway.env").write_text(f"TWS_PASSWORD={PASSWORD}\nAUTO_LOGOFF_TIME=11:00 PM\n")
    arguments = ["init", "--stack", "paper", *GIVEN, "--from", "compose.yaml"]
    assert cli.run(arguments) == ExitCode.OK
    said = capsys.readouterr()
    written = project / "Pulumi.paper.yaml"
    assert loaded(written)
    gateway = config(written)["ibgw:gateways"]["main"]
    assert {key: at(gateway, key) for key in expected} == expected
    assert cli.run([*arguments, "--replace", "--json"]) == ExitCode.OK
    rows = json.loads(capsys.readouterr().out)["settings"]
    assert not_kept <= {row["setting"] for row in rows if row["key"] is None}
    assert all(row["note"] for row in rows if row["key"] is None)
    for text in (said.out, said.err, written.read_text(), json.dumps(rows)):
        assert leaks(text, PASSWORD, "someuser", "paper123456") == []


def taken(text: str, project: Path, name: str = "compose.yaml") -> Imported:
    (project / name).write_text(text)
    return read(project / name)


def test_an_env_file_alone_is_read(project: Path) -> None:
    assert taken(SAMPLE_ENV, project, "today.env").values()["session.timeZone"] == "Europe/Zurich"


def test_a_variable_that_refers_to_a_credential_is_never_filled_in(project: Path) -> None:
    (project / ".env").write_text(f"TWS_PASSWORD={PASSWORD}\n")
    text = "services: {gw: {environment: {TWS_USERID: x, TWOFA_DEVICE: 'my $TWS_PASSWORD'}}}"
    [device] = [answer for answer in taken(text, project).answers if answer.setting == "TWOFA_DEVICE"]
    assert device.key is None
    assert "credential" in device.note


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("services: {a: {image: x/ib-gateway:1}, b: {image: y/ib-gateway:1}}", "a, b"),
        ("services: {bot: {image: bot}}", "bot"),
        ("services: [", "not YAML"),
        ("- a list", "no services"),
    ],
)
def test_a_gateway_that_cannot_be_told_is_asked_for(
    project: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (project / "c.yml").write_text(text)
    assert cli.run(["init", "--stack", "paper", *GIVEN, "--from", "c.yml"]) == ExitCode.BAD_USAGE
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mode", "stack", "code"), [("live", "paper", ExitCode.REFUSED), ("both", "paper", 0), ("paper", "live", 7)]
)
def test_the_trading_mode_must_be_the_stacks(project: Path, mode: str, stack: str, code: int) -> None:
    (project / "today.env").write_text(f"TRADING_MODE={mode}\n")
    account = "DU1234567" if stack == "paper" else "U1234567"
    arguments = ["init", "--stack", stack, *GIVEN, "--account", account, "--from", "today.env"]
    assert cli.run(arguments) == code


@pytest.mark.parametrize("line", ["JAVA_HEAP_SIZE=4g", "TWS_MASTER_CLIENT_ID=one", "TWOFA_EXIT_INTERVAL=1m"])
def test_what_is_no_number_is_told_in_words(project: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "today.env").write_text(f"{line}\n")
    assert cli.run(["init", "--stack", "paper", *GIVEN, "--from", "today.env"]) == ExitCode.OK
    assert f"{line.partition('=')[0]} -> not taken: expected a whole number (" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (
            "services:\n  ib-gateway:\n    image: ghcr.io/gnzsnz/ib-gateway:10.30.1\n    mem_limit: " + "9" * 5000,
            ExitCode.OK,
        ),
        (
            "services:\n  ib-gateway:\n    image: ghcr.io/gnzsnz/ib-gateway:10.30.1\n    mem_limit: "
            + "9" * 5000
            + "."
            + "9" * 5000,
            ExitCode.OK,
        ),
        ("services: " + "[" * 5000, ExitCode.BAD_USAGE),
        ("services:\n  ib-gateway: " + "{a: " * 5000, ExitCode.BAD_USAGE),
    ],
)
def test_what_is_too_deep_or_too_long_is_told_in_words(project: Path, text: str, code: ExitCode) -> None:
    (project / "compose.yaml").write_text(text)
    assert cli.run(["init", "--stack", "paper", *GIVEN, "--from", "compose.yaml"]) == code


def test_a_value_that_no_stack_may_have_is_left_out_and_explained(project: Path) -> None:
    lines = ("TIME_ZONE=Mars/Base", "TWS_COLD_RESTART=00:30", "TWS_ACCEPT_INCOMING=perhaps", "READ_ONLY_API=yes")
    (project / "today.env").write_text("\n".join(lines))
    assert cli.run(["init", "--stack", "paper", *GIVEN, "--from", "today.env"]) == ExitCode.OK
    [gateway] = loaded(project / "Pulumi.paper.yaml").gateways.values()
    assert gateway.session.time_zone == "America/New_York"
    assert gateway.session.cold_restart == "07:05"
    assert gateway.api.read_only


def test_a_credential_that_comes_from_the_shell_is_told_too(project: Path) -> None:
    text = "services: {gw: {environment: {TWS_USERID: '${IB_USER:-}', TWS_PASSWORD:, READ_ONLY_API: '${RO:-}'}}}"
    said = {answer.setting: answer.note for answer in taken(text, project).answers}
    assert list(said) == ["TWS_USERID", "TWS_PASSWORD"]
    assert "ibgw credentials put" in said["TWS_USERID"]


@pytest.mark.parametrize(
    "environment",
    ["[TWS_USERID_PAPER, READ_ONLY_API, TIME_ZONE]", "{TWS_USERID_PAPER: , READ_ONLY_API: null, TIME_ZONE: }"],
)
def test_a_variable_that_is_passed_through_is_what_env_has(project: Path, environment: str) -> None:
    (project / ".env").write_text("READ_ONLY_API=yes\nTWS_USERID_PAPER=somebody\n")
    said = taken(f"services: {{gw: {{image: ib-gateway, environment: {environment}}}}}", project)
    assert said.values() == {"api.readOnly": True}
    notes = {answer.setting: answer.note for answer in said.answers}
    assert "run `ibgw init` for the other" in notes["TWS_USERID_PAPER"]
    # Of a list it is told; in a mapping it looks like an empty text, which says nothing.
    told = environment.startswith("[")
    assert ("TIME_ZONE" in notes) is told
    assert not told or "refers to what .env does not have" in notes["TIME_ZONE"]
    assert leaks(str(said), "somebody") == []


@pytest.mark.parametrize(("source", "held"), [("docker-compose.yml", ".env"), ("today.env", "today.env")])
def test_where_the_credentials_lie_today_the_next_command_takes_them_over(
    project: Path, capsys: pytest.CaptureFixture[str], source: str, held: str
) -> None:
    (project / "docker-compose.yml").write_text("services: {gw: {image: ib-gateway}}")
    (project / held).write_text("TWS_USERID=somebody\nTWS_PASSWORD=hunter2\n")
    assert cli.run(["init", "--stack", "paper", *GIVEN, "--from", source]) == ExitCode.OK
    said = capsys.readouterr().out
    assert f"ibgw credentials migrate paper --gateway main --from {held}" in said
    assert "ibgw credentials put paper" not in said
    assert leaks(said, "somebody", "hunter2") == []
    (project / held).write_text("TWS_USERID=\n")
    assert cli.run(["init", "--stack", "paper", *GIVEN, "--from", source, "--replace"]) == ExitCode.OK
    assert "ibgw credentials put paper" in capsys.readouterr().out


def test_accounts_that_are_named_today_are_the_expected_ones(project: Path) -> None:
    (project / "today.env").write_text("IBKR_ACCOUNT=U1234567, DU1234567, U7654321\n")
    assert cli.run(["init", "--stack", "live", *GIVEN, "--from", "today.env"]) == ExitCode.OK
    [gateway] = loaded(project / "Pulumi.live.yaml").gateways.values()
    assert gateway.account.expected == ("U1234567", "U7654321")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("AUTO_RESTART_TIME=04:30 AM", "TWS_COLD_RESTART=05:00"), "less than an hour apart"),
        (("AUTO_LOGOFF_TIME=04:30 AM", "TWS_COLD_RESTART=11:59 PM"), None),
        (("AUTO_RESTART_TIME=04:30 AM", "TWS_COLD_RESTART=00:30"), "until 01:00 on Sunday"),
    ],
)
def test_times_that_do_not_go_together_leave_the_others_as_they_are(
    project: Path, capsys: pytest.CaptureFixture[str], lines: tuple[str, ...], reason: str | None
) -> None:
    (project / "today.env").write_text("\n".join((*lines, "TIME_ZONE=Europe/London")))
    assert cli.run(["init", "--stack", "paper", *GIVEN, "--from", "today.env"]) == ExitCode.OK
    [gateway] = loaded(project / "Pulumi.paper.yaml").gateways.values()
    assert gateway.session.time_zone == "Europe/London"
    assert "04:30" in (gateway.session.auto_restart, gateway.session.auto_logoff)
    assert (gateway.session.cold_restart == "23:59") == (reason is None)
    assert reason is None or reason in capsys.readouterr().out


def test_a_new_stack_names_the_gateway_that_is_tracked(project: Path) -> None:
    assert config(ROOT / "Pulumi.paper.yaml")["ibgw:image"] == IMAGE


def test_each_key_has_a_meaning_and_no_other() -> None:
    assert {key.path for key in keys()} == set(MEANINGS)


def test_the_schema_knows_each_key_of_the_tracked_files() -> None:
    properties = schema()["properties"]["config"]["properties"]
    # An editor says so of a gateway whose name does not fit.
    assert properties[f"{PROJECT}:gateways"]["additionalProperties"] is False
    for stack in ("paper", "live"):
        ours = {key for key in config(ROOT / f"Pulumi.{stack}.yaml") if key.startswith(f"{PROJECT}:")}
        assert ours <= set(properties)
        header = (ROOT / f"Pulumi.{stack}.yaml").read_text().splitlines()[0]
        assert re.fullmatch(rf"# yaml-language-server: \$schema={SCHEMA}", header)
