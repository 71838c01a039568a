"""The package as `uv tool install` leaves it: it has all that it reads, works on a project elsewhere and writes nothing
into itself."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths

import deployment
from sandbox.environment import default_cache
from tests.unit import operations_pulumi
from tests.unit.operations_contract import contract_document, contract_json
from tests.unit.promotion_reports import report

ROOT = Path(__file__).parents[2]
READS = (
    ".dockerignore",
    "healthcheck/Dockerfile",
    "healthcheck/requirements.txt",
    "infra/supervisor/supervisor.sh",
)
VERIFY = """
import sys
from healthcheck.report import Report
from operations import cli, verification
verification.verify = lambda *_, **__: Report.model_validate_json(sys.argv[1])
sys.exit(cli.run(["verify", "--contract", "-"]))
"""


@dataclass(frozen=True)
class Installed:
    environment: Path
    packages: Path

    def run(self, *command: str, cwd: Path, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self.environment / "bin" / command[0]), *command[1:]],
            env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
            | {"PYTHONDONTWRITEBYTECODE": "1"},
            cwd=cwd,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    def files(self) -> dict[str, str]:
        found = (path for path in self.packages.rglob("*") if path.is_file())
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def uv(*arguments: str) -> None:
    program = shutil.which("uv") or str(default_cache() / "uv" / "bin" / "uv")
    # From the cache; where that is empty, from the index that uv is configured with.
    for offline in (["--offline"], []):
        done = subprocess.run([program, *arguments, *offline], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
    pytest.fail(f"uv {' '.join(arguments)}: {done.stderr}")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, in an environment that has its dependencies from the one that the tests run in."""
    folder = tmp_path_factory.mktemp("installed")
    environment = folder / "environment"
    uv("build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT))
    uv("venv", "--quiet", "--python", sys.executable, str(environment))
    [wheel] = folder.glob("*.whl")
    uv("pip", "install", "--quiet", "--no-deps", "--python", str(environment / "bin" / "python"), str(wheel))
    [packages] = environment.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(environment, packages)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / "deep").mkdir(parents=True)
    (folder / "Pulumi.yaml").write_text("name: ibgw\n")
    monkeypatch.delenv("PULUMI_OPTION_CWD", raising=False)
    return folder


def test_it_has_what_it_reads(installed: Installed) -> None:
    for name in READS:
        assert (installed.packages / name).read_bytes() == (ROOT / name).read_bytes(), name
    assert not (installed.packages / "infra" / "policy").exists(), "it names an environment that only a checkout has"


def test_the_verifier_s_image_is_built_from_the_same_files(installed: Installed) -> None:
    """`infra.components.images` takes the folder of the packages as the context, with everybody's else in it."""

    def context(folder: Path) -> set[str]:
        patterns = [line for line in (folder / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
        return {path for path in exclude_paths(str(folder), patterns) if (folder / path).is_file()}

    assert context(installed.packages) == context(ROOT)
    done = installed.run(
        "python", "-c", "from infra.components import images; print(images.ROOT)", cwd=installed.packages.parent
    )
    assert done.stdout.strip() == str(installed.packages)


def test_its_commands_work_on_a_project_elsewhere_and_write_there(
    installed: Installed, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = installed.files()
    contract = contract_document() | {"docker_host": f"unix://{tmp_path}/none.sock"}
    fake = operations_pulumi.install(tmp_path / "bin", monkeypatch, sys.executable)
    monkeypatch.delenv("PULUMI_OPTION_CWD")
    fake.answers({"stack output": (0, json.dumps({"contract": contract}), "")})
    assert installed.run("ibgw", "--version", cwd=project).stdout.strip() == deployment.VERSION
    help_text = installed.run("ibgw", "--help", cwd=project)
    assert (help_text.returncode, "sandbox" in help_text.stdout) == (0, True)
    status = installed.run("ibgw", "status", "--stack", "paper", cwd=project)
    assert (status.returncode, "none.sock" in status.stderr) == (5, True), status.stderr
    good = report(stack="paper").model_dump_json(by_alias=True)
    verified = installed.run("python", "-c", VERIFY, good, cwd=project / "deep", stdin=contract_json())
    assert verified.returncode == 0, verified.stderr
    written = sorted(str(path.relative_to(project)) for path in project.rglob("*.json"))
    assert written == [".ibgw/descriptions/paper.json", ".ibgw/reports/paper.json"]
    assert installed.files() == before


def test_the_sandbox_is_refused_outside_a_checkout(installed: Installed, project: Path) -> None:
    before = installed.files()
    for command in ("up", "down"):
        done = installed.run("ibgw", "sandbox", command, cwd=project)
        assert (done.returncode, "is no checkout" in done.stderr) == (7, True), done.stderr
    assert installed.files() == before
