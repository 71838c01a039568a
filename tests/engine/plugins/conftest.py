"""The real engine and the real Docker, driven with the plug-ins of `sandbox.plugins`, from data.

A test declares resources with `resource(...)`, gives them to a `Project` and runs the CLI; what happened is read from
the engine's event log, and what is there from Docker itself. What is held against the stand-ins was measured with
pulumi-docker 5.1.0 (on terraform-provider-docker 4.5.0) and Docker 20.10, or read in the official plug-ins' sources.
What tests of our own stacks would notice too, if a stand-in changed, is exhaustive here.
"""

import json
import os
import secrets
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from docker import APIClient

from sandbox.toolchain import default_cache, ensure
from tests.engine.conftest import RUNTIME

COMMAND_SECONDS = 240
# The label of every image that these tests make; its value is their prefix.
LABEL = "ibgw.test"
APPLETS = ("sh", "sleep", "cat", "true", "false", "nc", "ls", "stat", "id", "wget", "trap", "test")

# Turns declaration.json into resources. {"$of": [name, attribute]} is another's output, {"$secret": text} a secret,
# {"$call": [function, arguments, attribute]} a part of a function's result.
PROGRAM = """
import json
from pathlib import Path

import pulumi
import pulumi_docker as docker

declared = {}


def value(found):
    if isinstance(found, list):
        return [value(item) for item in found]
    if not isinstance(found, dict):
        return found
    if "$of" in found:
        name, attribute = found["$of"]
        return getattr(declared[name], attribute)
    if "$secret" in found:
        return pulumi.Output.secret(found["$secret"])
    if "$call" in found:
        function, arguments, attribute = found["$call"]
        return getattr(getattr(docker, function)(**arguments, opts=pulumi.InvokeOptions(provider=host)), attribute)
    return {key: value(item) for key, item in found.items()}


declaration = json.loads(Path(__file__).with_name("declaration.json").read_text())
host = docker.Provider("host", **declaration["provider"])
for item in declaration["resources"]:
    options = pulumi.ResourceOptions(provider=host, **value(item["options"]))
    declared[item["name"]] = getattr(docker, item["kind"])(item["name"], **value(item["arguments"]), opts=options)
for key, item in declaration["outputs"].items():
    pulumi.export(key, value(item))
"""


def resource(kind: str, name: str, opts: dict[str, Any] | None = None, /, **arguments: Any) -> dict[str, Any]:
    """A resource of pulumi_docker, with the Python SDK's names for arguments and resource options."""
    return {"kind": kind, "name": name, "arguments": arguments, "options": opts or {}}


def of(name: str, attribute: str) -> dict[str, Any]:
    return {"$of": [name, attribute]}


def secret(text: str) -> dict[str, Any]:
    return {"$secret": text}


def call(function: str, attribute: str, **arguments: Any) -> dict[str, Any]:
    return {"$call": [function, arguments, attribute]}


@dataclass(frozen=True)
class Run:
    """One run of the CLI: its exit code and text, each resource's steps in their order, and its detailed diff."""

    code: int
    text: str
    operations: dict[str, list[str]] = field(default_factory=dict)
    differences: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def changed(self) -> dict[str, list[str]]:
        """What was not left as it was, without the stack itself and its provider."""
        return {name: done for name, done in self.operations.items() if done != ["same"]}


class Project:
    """A Pulumi project in a folder, with a `file://` backend beside it and one stack, `t`."""

    def __init__(self, folder: Path, path: str) -> None:
        self.folder = folder
        self.program = folder / "prog"
        self.program.mkdir(parents=True)
        (folder / "state").mkdir()
        project = {"name": "plugins", "runtime": RUNTIME, "main": "prog/"}
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump(project))
        (self.program / "__main__.py").write_text(PROGRAM)
        self.environment = {
            "PATH": path,
            "HOME": str(folder),
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": (folder / "state").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DEBUG_COMMANDS": "true",
        }
        self.declare()
        self.cli("stack", "init", "t")

    def declare(self, *resources: dict[str, Any], **outputs: Any) -> None:
        self.provider({"host": "unix:///var/run/docker.sock"}, *resources, **outputs)

    def provider(self, arguments: dict[str, Any], *resources: dict[str, Any], **outputs: Any) -> None:
        declaration = {"provider": arguments, "resources": resources, "outputs": outputs}
        (self.program / "declaration.json").write_text(json.dumps(declaration))

    def command(self, *arguments: str) -> list[str]:
        return ["pulumi", *arguments, "--cwd", str(self.folder), "--non-interactive"]

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def run(self, command: str, *flags: str) -> Run:
        log = self.folder / "events.json"
        log.unlink(missing_ok=True)
        done = self.cli(command, "--stack", "t", "--event-log", str(log), *flags)
        return _read(done.returncode, done.stdout, log)

    def up(self, *flags: str) -> Run:
        return self.run("up", "--yes", "--skip-preview", *flags)

    def preview(self, *flags: str) -> Run:
        return self.run("preview", *flags)

    def destroy(self) -> Run:
        return self.run("destroy", "--yes", "--skip-preview")

    def state_text(self) -> str:
        return (self.folder / "state" / ".pulumi" / "stacks" / "plugins" / "t.json").read_text()

    def recorded(self, name: str) -> dict[str, Any]:
        """A resource as the state has it."""
        found = json.loads(self.state_text())["checkpoint"]["latest"]["resources"]
        return next(item for item in found if item["urn"].endswith(f"::{name}"))

    def outputs(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.recorded(name)["outputs"]
        return found


def _read(code: int, text: str, log: Path) -> Run:
    run = Run(code, text)
    for line in log.read_text().splitlines() if log.exists() else ():
        event = json.loads(line)
        metadata = event.get("resourcePreEvent", {}).get("metadata")
        if metadata is None:
            continue
        name, operation = metadata["urn"].rsplit("::", 1)[-1], metadata["op"]
        if operation == "refresh" or metadata["type"].startswith("pulumi:"):
            continue
        run.operations.setdefault(name, []).append(operation)
        for path, change in (metadata.get("detailedDiff") or {}).items():
            run.differences.setdefault(name, {})[path] = change["diffKind"]
    return run


@pytest.fixture(scope="package")
def engine_path() -> str:
    """PATH with the toolchain's folders in front."""
    found = ensure(default_cache(), lambda line: None)
    return os.pathsep.join([*map(str, found.path), os.environ["PATH"]])


@pytest.fixture(scope="package")
def client() -> Iterator[Any]:
    """The low-level client, as Any: half of its methods have no types."""
    found = APIClient(version="auto")
    yield found
    found.close()


@pytest.fixture(scope="package")
def prefix(client: Any) -> Iterator[str]:
    """The prefix of these tests' names; whatever carries it after the last of them is removed."""
    chosen = f"ibgw-test-plugins-{secrets.token_hex(3)}"
    yield chosen
    for found in client.containers(all=True, filters={"name": chosen}):
        client.remove_container(found["Id"], force=True, v=True)
    for found in client.networks(names=[chosen]):
        client.remove_network(found["Id"])
    for found in client.volumes(filters={"name": chosen})["Volumes"] or ():
        client.remove_volume(found["Name"], force=True)
    for found in client.images(filters={"label": f"{LABEL}={chosen}"}):
        client.remove_image(found["Id"], force=True)


@pytest.fixture(scope="package")
def subnet() -> str:
    """The first two numbers of these tests' subnets and a third: `{subnet}.0/28`, `{subnet}.16/28`, ..."""
    return f"10.251.{secrets.randbelow(200)}"


@pytest.fixture(scope="package")
def busybox() -> Path:
    """A static busybox of the distribution, kept in the cache."""
    kept = default_cache().parent / "tests" / "busybox"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "busybox-static"], cwd=kept.parent, check=True, capture_output=True)
        package = next(kept.parent.glob("busybox-static_*.deb"))
        subprocess.run(["dpkg", "-x", package, kept.parent / "unpacked"], check=True)
        (kept.parent / "unpacked" / "bin" / "busybox").rename(kept)
        package.unlink()
    return kept


@pytest.fixture(scope="package")
def image(client: Any, prefix: str, busybox: Path) -> str:
    """The name of a small local image with a shell."""
    name = f"{prefix}:1"
    client.import_image(_root(busybox), repository=prefix, tag="1", changes=[f"LABEL {LABEL}={prefix}"])
    return name


def _root(busybox: Path) -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("bin", "tmp", "data", "run", "etc"):
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        tar.add(busybox, arcname="bin/busybox")
        for applet in APPLETS:
            member = tarfile.TarInfo(f"bin/{applet}")
            member.type, member.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(member)
    return buffer.getvalue()


@pytest.fixture
def project(tmp_path: Path, engine_path: str, prefix: str) -> Project:
    """A project of this test's own. What it leaves is removed after the last test: a destroy would cost seconds."""
    return Project(tmp_path / "project", engine_path)
