"""The plug-ins as processes of the real engine: policy packs, secrets from AWS, and their end."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from tests.engine.conftest import RUNTIME
from tests.engine.plugins.conftest import Project, resource

pytestmark = pytest.mark.timeout(300)

SECRET = "value that must not be shown"  # noqa: S105 - looked for where it must not be

AWS_PROGRAM = """
import json
from pathlib import Path

import pulumi
import pulumi_aws as aws

ids = json.loads(Path(__file__).with_name("ids.json").read_text())
provider = aws.Provider("aws", region="eu-west-1")
options = pulumi.InvokeOptions(provider=provider)
for number, secret_id in enumerate(ids):
    found = aws.secretsmanager.get_secret_version_output(secret_id=secret_id, opts=options)
    pulumi.export(f"version-{number}", found.version_id)
    pulumi.export(f"stages-{number}", found.version_stages)
    pulumi.export(f"value-{number}", pulumi.Output.secret(found.secret_string))
"""


@pytest.fixture
def secrets_manager(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The endpoint of a Secrets Manager on loopback, in the project's environment too."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    variables = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    project.environment.update(variables)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    yield endpoint
    server.stop()


def test_secrets_from_aws(project: Project, secrets_manager: str) -> None:
    """Fifty secrets at once, by the official SDK; an unknown one is refused in the official plug-in's words."""
    client = boto3.client("secretsmanager", region_name="eu-west-1")
    count = 50
    made = [client.create_secret(Name=f"test/{n}", SecretString=f"{SECRET} {n}") for n in range(count)]
    (project.program / "__main__.py").write_text(AWS_PROGRAM)
    (project.program / "ids.json").write_text(json.dumps([f"test/{n}" for n in range(count)]))
    done = project.up()
    assert done.code == 0, done.text
    assert SECRET not in done.text + project.state_text()
    outputs = project.outputs("plugins-t")
    assert [outputs[f"version-{n}"] for n in range(count)] == [answer["VersionId"] for answer in made]
    assert outputs["stages-0"] == ["AWSCURRENT"]

    (project.program / "ids.json").write_text(json.dumps(["test/missing"]))
    failed = project.preview()
    assert failed.code != 0
    words = " ".join(failed.text.split())
    assert "reading Secrets Manager Secret Version (test/missing|AWSCURRENT): couldn't find resource" in words
    assert "ResourceNotFoundException" in words


def test_policy_pack(project: Project, tmp_path: Path, prefix: str) -> None:
    """A Python policy pack is run by our language host: a mandatory violation fails the preview."""
    pack = tmp_path / "policy"
    pack.mkdir()
    (pack / "PulumiPolicy.yaml").write_text(yaml.safe_dump({"runtime": RUNTIME, "description": "test"}))
    (pack / "__main__.py").write_text(
        "from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy\n"
        "def check(args, report):\n"
        "    if args.resource_type.endswith(':Network') and not args.props.get('internal'):\n"
        "        report('a network must be internal')\n"
        "policy = ResourceValidationPolicy('internal', 'networks are internal', check)\n"
        "PolicyPack('test', enforcement_level=EnforcementLevel.MANDATORY, policies=[policy])\n"
    )
    project.declare(resource("Network", "open", name=f"{prefix}-open"))
    refused = project.preview("--policy-pack", str(pack))
    assert refused.code != 0
    assert "a network must be internal" in refused.text
    project.declare(resource("Network", "closed", name=f"{prefix}-closed", internal=True))
    accepted = project.preview("--policy-pack", str(pack))
    assert accepted.code == 0, accepted.text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "name the virtualenv None"),
        ({"virtualenv": "venv"}, "name the virtualenv 'venv'"),
        (RUNTIME["options"], "Could not find `uv` executable."),
    ],
)
def test_runtime_options_that_would_run_another_python_are_refused(
    project: Project, options: dict[str, str], told: str
) -> None:
    """What the official host would run then is whatever is on PATH; without uv there it runs nothing."""
    document = {"name": "plugins", "runtime": {"name": "python", "options": options}, "main": "prog/"}
    (project.folder / "Pulumi.yaml").write_text(yaml.safe_dump(document))
    without_uv = [f for f in project.environment["PATH"].split(os.pathsep) if not os.access(Path(f) / "uv", os.X_OK)]
    project.environment["PATH"] = os.pathsep.join(without_uv)
    done = project.preview()
    assert done.code != 0
    assert told in " ".join(done.text.split()), done.text


@pytest.mark.parametrize(
    ("ending", "told", "second"),
    [
        ("raise pulumi.RunError('the reason')", "error: the reason", True),
        ("raise ValueError('the reason')", "Program failed with an unhandled exception", False),
        ("pulumi.log.error('the reason'); raise SystemExit(32)", "error: the reason", False),
    ],
)
def test_how_a_program_ends_is_told(project: Project, ending: str, told: str, second: bool) -> None:
    """After a RunError the engine reports the exit code as a second error; only 32 says that all is told."""
    (project.program / "__main__.py").write_text(f"import pulumi\n{ending}\n")
    done = project.preview()
    assert done.code != 0
    assert told in done.text
    false_error = "an unhandled error occurred: program exited with non-zero exit code: 1"
    assert (false_error in " ".join(done.text.split())) is second, done.text


WAITING_PROGRAM = """
import asyncio
from pathlib import Path

import pulumi
import pulumi_docker as docker


async def wait(_: object) -> None:
    Path("{mark}").write_text("the plug-in has answered")
    await asyncio.sleep(600)


host = docker.Provider("host")
docker.Network("never", name="{prefix}-never", opts=pulumi.ResourceOptions(provider=host)).urn.apply(wait)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_the_engine(project: Project, tmp_path: Path, prefix: str, number: signal.Signals) -> None:
    """Killed or interrupted, the engine leaves no plug-in and no program behind."""
    mark = tmp_path / "mark"
    (project.program / "__main__.py").write_text(WAITING_PROGRAM.format(prefix=prefix, mark=mark))
    with _running_preview(project) as engine:
        _until(mark.exists)
        family = _descendants(engine.pid)
        for module in ("sandbox.plugins.docker", "sandbox.plugins.language", "sandbox.plugins.language.program"):
            assert any(f"-m {module} " in line for line in family.values()), module
        engine.send_signal(number)
        if number == signal.SIGINT:
            engine.send_signal(number)  # the second one does not wait for the program
        engine.wait(timeout=30)
        _until(lambda: not any(_alive(pid, line) for pid, line in family.items()))


@contextmanager
def _running_preview(project: Project) -> Iterator["subprocess.Popen[bytes]"]:
    """The engine at work on a preview, in a process group of its own; ended with the block, whatever happened."""
    engine = subprocess.Popen(
        project.command("preview", "--stack", "t"),
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield engine
    finally:
        engine.kill()
        engine.wait()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in 60 s"
        time.sleep(0.1)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _alive(pid: int, line: str) -> bool:
    return _command_line(pid) == line


def _descendants(root: int) -> dict[int, str]:
    """Process id and command line of everything that `root` started, directly or not."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                status = Path(f"/proc/{entry}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if found := re.search(r"^PPid:\s+(\d+)", status, re.MULTILINE):
                parents[int(entry)] = int(found.group(1))
    family = {root}
    while grown := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= grown
    return {pid: _command_line(pid) for pid in family - {root}}
