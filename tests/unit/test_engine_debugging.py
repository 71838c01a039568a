"""What makes Pulumi's engine write credentials in plain text: refused in CI, and found by `ibgw doctor`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from healthcheck.report import GatewayReport
from operations import engine_debugging
from operations.doctor import collect, examine
from tests.leaks import leaks
from tests.unit.fake_docker import FakeDocker
from tests.unit.test_operations_doctor import CONTRACT, report
from tests.unit.test_workflows import FOLDER, recipe

ROOT = Path(__file__).parents[2]
VALUE = "/somewhere/that/nobody/needs/to/know"
SWITCHES = (
    "PULUMI_DEBUG_GRPC",
    "PULUMI_OPTION_VERBOSE",
    "PULUMI_OPTION_LOGTOSTDERR",
    "PULUMI_OPTION_TRACING",
    "PULUMI_OPTION_OTEL_TRACES",
    "PULUMI_OPTION_SHOW_SECRETS",
    "PULUMI_LOG_OTLP_ENDPOINT",
    "TF_LOG",
    "TF_LOG_PROVIDER",
    "GRPC_TRACE",
    "SSLKEYLOGFILE",
)
# As the sandbox and the workflows set them.
HARMLESS = ("PULUMI_OPTION_CWD", "PULUMI_OPTION_POLICY_PACK", "PULUMI_BACKEND_URL", "PULUMI_HOME", "AWS_PROFILE")


def test_gos_own_debugging_is_refused_where_it_shows_what_is_sent() -> None:
    assert engine_debugging.switches({"GODEBUG": "netdns=go,http2debug=2"}) == ["GODEBUG"]
    assert engine_debugging.switches({"GODEBUG": "netdns=go"}) == []


def asked(*command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)


def test_each_switch_is_refused_by_name_and_without_its_value() -> None:
    module = (sys.executable, "-m", "operations.engine_debugging")
    assert asked(*module, **dict.fromkeys(HARMLESS, VALUE), PULUMI_DEBUG_GRPC="").returncode == 0
    assert engine_debugging.switches(dict.fromkeys((*HARMLESS, *SWITCHES), VALUE)) == sorted(SWITCHES)
    done = asked(*module, **dict.fromkeys(SWITCHES, VALUE))
    assert done.returncode == 7
    assert done.stderr.startswith(f"{', '.join(sorted(SWITCHES))}: set here")
    assert leaks(done.stderr, VALUE) == []


@pytest.mark.parametrize("target", ["plan", "drift", "release"])
def test_what_ci_asks_of_a_real_stack_refuses_them_first(target: str) -> None:
    first, *_ = recipe(target).splitlines()
    assert first == ".venv/bin/python -m operations.engine_debugging"


def test_a_job_ends_where_one_is_set() -> None:
    make = ("make", "--no-print-directory", "--old-file=environment", "drift", "STACK=paper")
    for variable in ({"PULUMI_OPTION_VERBOSE": "9"}, {"PULUMI_DEBUG_GRPC": VALUE}):
        done = asked(*make, **variable)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"{next(iter(variable))}: set here")


def test_no_script_of_ci_sets_one() -> None:
    files = (*FOLDER.glob("*.yml"), ROOT / ".ci" / "run", ROOT / "Makefile")
    flags = r"-v[= ]?\d|--(verbose|logtostderr|logflow|tracing|otel-traces|event-log|debug|show-secrets|profiling)\b"
    for file in files:
        assert not re.search(rf"\bpulumi\b.*({flags})|{engine_debugging.SWITCH.pattern}", file.read_text()), file


def test_doctor_names_what_debugging_has_left_and_shows_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = (
        "pulumi.host.trader.log.INFO.20261127-041500.4711",
        "pulumi-language-python.host.trader.log.WARNING.20261127-041500.4712",
        "pulumi-resource-docker.my-host.root.log.ERROR.20261127-041500.4713",
    )
    (tmp_path / "elsewhere").mkdir()
    messages, trace = tmp_path / "elsewhere" / "grpc.json", tmp_path / "elsewhere" / "a trace"
    for path in (*(tmp_path / name for name in left), messages, trace):
        path.write_text("IbPassword=hunter2")
    (tmp_path / "pulumi.INFO").symlink_to(left[0])
    # Of something else.
    (tmp_path / "pulumi-cache").mkdir()
    (tmp_path / "pulumi.yaml").touch()
    (tmp_path / "other.host.trader.log.INFO.20261127-041500.4711").touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    docker = FakeDocker()

    def debugging() -> tuple[bool | None, str, str | None]:
        seen: GatewayReport = report()
        [found] = [one for one in examine(collect(docker, CONTRACT, seen)) if one.topic == "debugging"]
        return found.ok, found.found, found.next

    ok, text, remedy = debugging()
    assert not ok
    names = " ".join(f"{tmp_path}/{name}" for name in sorted((*left, "pulumi.INFO")))
    assert remedy == f"`rm -- {names}`"
    assert all(name in text for name in left)

    monkeypatch.setenv("PULUMI_DEBUG_GRPC", str(messages))
    monkeypatch.setenv("PULUMI_OPTION_TRACING", f"file:{trace}")
    ok, text, remedy = debugging()
    assert remedy is not None
    assert remedy.startswith(f"`rm -- '{trace}' {messages} {tmp_path}/pulumi")
    assert leaks(text + remedy, "hunter2") == []

    subprocess.run(remedy.strip("`"), shell=True, check=True)
    assert debugging() == (True, "no log or trace of the engine's in sight", None)
