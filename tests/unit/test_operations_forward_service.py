"""`ibgw forward --service`: a unit that systemd accepts, without a secret, that comes back."""

import configparser
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deployment.errors import IbgwError
from operations import cli
from operations.forward_service import ServiceAnswer, unit
from operations.stack import parse_contract
from tests.leaks import leaks
from tests.unit.operations_contract import contract_json, outputs_json
from tests.unit.operations_pulumi import install

SECRET = "correct horse"  # noqa: S105 - made up


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with a name that systemd reads in its own way, and a Pulumi that knows its stacks."""
    folder = tmp_path / "my bots 100%"
    folder.mkdir()
    (folder / "Pulumi.yaml").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("PULUMI_CONFIG_PASSPHRASE", "AWS_SECRET_ACCESS_KEY", "TWS_PASSWORD"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://bucket")
    monkeypatch.setenv("AWS_PROFILE", "trading")
    return folder


def deployed(project: Path, monkeypatch: pytest.MonkeyPatch, mode: str = "paper") -> None:
    pulumi = install(project.parent / "pulumi", monkeypatch, sys.executable)
    pulumi.answers({"stack output": (0, outputs_json(mode=mode), "")})
    monkeypatch.setenv("PULUMI_OPTION_CWD", str(project))


def test_a_backend_s_address_with_a_password_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"postgres://me:{SECRET}@host/state")
    text = unit("paper", parse_contract(contract_json(), "x").gateways["main"], 4002, Path("/project"))
    assert "PULUMI_BACKEND_URL" not in text


def written(tmp_path: Path, mode: str = "paper") -> Path:
    return tmp_path / "config" / "systemd" / "user" / f"ibgw-{mode}-main-forward.service"


def test_the_unit_is_one_that_systemd_takes_and_holds_no_secret(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed(project, monkeypatch)
    assert cli.run(["forward", "--stack", "paper", "--service"]) == 0
    path = written(tmp_path)
    text = path.read_text()
    assert leaks(text, SECRET) == []
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read_string(text)
    service = parsed["Service"]
    assert (service["Restart"], parsed["Unit"]["StartLimitIntervalSec"]) == ("always", "0")
    assert service["WorkingDirectory"] == str(project).replace("%", "%%")
    program, *words = shlex.split(service["ExecStart"])
    assert program == str(Path(sys.executable).with_name("ibgw"))
    assert words == ["forward", "--stack", "paper", "--gateway", "main", "--port", "4002"]
    # Where programs and the state are, and no other variable.
    carried = ("PATH", "PULUMI_HOME", "PULUMI_BACKEND_URL", "AWS_PROFILE")
    assert shlex.split(service["Environment"]) == [f"{name}={os.environ[name]}" for name in carried]
    assert f"systemctl --user enable --now {path.name}" in capsys.readouterr().err
    if shutil.which("systemd-analyze") is None:
        return
    # A key that only a later systemd knows is named, and no error.
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    checked = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(path)], env=environment, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_programs_are_told_what_was_written_and_how_it_runs(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed(project, monkeypatch)
    assert cli.run(["forward", "--stack", "paper", "--service", "--json"]) == 0
    answer = ServiceAnswer.model_validate_json(capsys.readouterr().out)
    assert answer.file == str(written(tmp_path))
    assert answer.enable[-1] == f"systemctl --user enable --now {written(tmp_path).name}"
    # Without --service it goes on, and has nothing to answer.
    assert cli.run(["forward", "--stack", "paper", "--json"]) == 2


def test_on_live_the_name_is_asked_for_and_the_unit_says_it(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed(project, monkeypatch, "live")
    assert cli.run(["forward", "--stack", "live", "--service", "--yes-live", "paper"]) != 0
    assert not written(tmp_path, "live").exists()
    assert cli.run(["forward", "--stack", "live", "--service", "--yes-live", "live"]) == 0
    assert '"--yes-live" "live"' in written(tmp_path, "live").read_text()


def test_what_means_something_to_systemd_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", '/opt/50% "odd"\\$HOME')
    gateway = parse_contract(contract_json(), "x").gateways["main"]
    assert 'Environment="PATH=/opt/50%% \\"odd\\"\\\\$HOME"' in unit("paper", gateway, 4002, Path("/project"))


def test_an_interpreter_without_the_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(IbgwError, match="ibgw is not there"):
        unit("paper", parse_contract(contract_json(), "x").gateways["main"], 4002, tmp_path)
