"""The plug-ins as processes of the real engine: the Python that they run, what they tell, and their end.

Secrets from AWS and policy packs: tests/engine/test_main_job.py, test_bad_input.py and test_policy.py.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.engine.conftest import RUNTIME
from tests.engine.plugins.conftest import Project
from tests.helpers import until

pytestmark = pytest.mark.timeout(300)


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
        until(mark.exists)
        family = _descendants(engine.pid)
        for module in ("sandbox.plugins.docker", "sandbox.plugins.language", "sandbox.plugins.language.program"):
            assert any(f"-m {module} " in line for line in family.values()), module
        engine.send_signal(number)
        if number == signal.SIGINT:
            engine.send_signal(number)  # the second one does not wait for the program
        engine.wait(timeout=30)
        until(lambda: not any(_alive(pid, line) for pid, line in family.items()))


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
