"""What repair reads: the exported state, the locks of a file backend, the processes of a machine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import operations.repair
from deployment.errors import IbgwError
from deployment.parts import Attachment
from deployment.tables import Kind
from operations.repair import processes
from operations.repair.lock import Holder, Lock, backend_folder, holder, read_locks
from operations.repair.processes import Process, end, own_processes, program_of, stray_plugins
from operations.repair.state import Recorded, read_state
from tests.helpers import until

STACK = "urn:pulumi:paper::ibgw::pulumi:pulumi:Stack::ibgw-paper"
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:..."}


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:paper::ibgw::{kind}::{name}"


def export(resources: list[dict[str, Any]], pending: list[dict[str, Any]] | None = None, version: int = 3) -> str:
    deployment: dict[str, Any] = {"manifest": {}, "resources": resources}
    if pending:
        deployment["pending_operations"] = pending
    return json.dumps({"version": version, "deployment": deployment})


# Shapes as `pulumi stack export` 3.256 prints them.
PROVIDER = {
    "urn": urn("pulumi:providers:docker", "docker"),
    "custom": True,
    "type": "pulumi:providers:docker",
    "id": "x",
    "inputs": {"host": "unix:///var/run/docker.sock"},
}
GATEWAY = {
    "urn": urn("docker:index/container:Container", "main"),
    "custom": True,
    "type": "docker:index/container:Container",
    "id": "c1",
    "outputs": {
        "name": "ibgw-paper-main",
        "uploads": SECRET,
        "networksAdvanced": [{"name": "n1", "aliases": ["ibgw-paper-main"]}, {"name": "n2"}],
    },
}
VOLUME = {
    "urn": urn("docker:index/volume:Volume", "main-settings"),
    "custom": True,
    "type": "docker:index/volume:Volume",
    "id": "ibgw-paper-main-settings",
    "outputs": {"name": "ibgw-paper-main-settings"},
}


def test_a_state_is_read_with_hosts_objects_and_pending_operations() -> None:
    creating = {"type": "creating", "resource": {"urn": urn("docker:index/network:Network", "egress")}}
    root = {"urn": STACK, "custom": False, "type": "pulumi:pulumi:Stack"}
    state = read_state(export([root, PROVIDER, GATEWAY, VOLUME], [creating]))
    assert state.hosts == {"unix:///var/run/docker.sock"}
    assert state.pending == ("urn:pulumi:paper::ibgw::docker:index/network:Network::egress",)
    gateway, volume = state.objects
    assert gateway == Recorded(
        urn="urn:pulumi:paper::ibgw::docker:index/container:Container::main",
        kind=Kind.CONTAINER,
        id="c1",
        name="ibgw-paper-main",
        attachments=(Attachment("n1", ("ibgw-paper-main",)), Attachment("n2")),
    )
    assert (volume.kind, volume.id, volume.attachments) == (Kind.VOLUME, "ibgw-paper-main-settings", None)


def test_a_stack_that_was_never_updated_has_an_empty_state() -> None:
    # `pulumi stack export` right after `pulumi stack init` has no list of resources at all.
    assert read_state('{"version": 3, "deployment": {"manifest": {}}}').objects == ()


@pytest.mark.parametrize("mark", ["delete", "pendingReplacement"])
def test_an_object_that_is_only_kept_to_be_deleted_is_marked(mark: str) -> None:
    [found] = read_state(export([{**GATEWAY, mark: True}])).objects
    assert found.doomed


def test_networks_that_are_encrypted_are_unknown_and_not_none() -> None:
    [found] = read_state(export([{**GATEWAY, "outputs": {"name": "x", "networksAdvanced": SECRET}}])).objects
    assert found.attachments is None


def test_a_state_that_uses_newer_features_is_read_alike() -> None:
    # `pulumi state taint` makes the version 4 (pulumi sdk/go/common/apitype, DeploymentSchemaVersionLatest).
    [found] = read_state(export([{**GATEWAY, "taint": True}], version=4)).objects
    assert found.id == "c1"


def test_another_version_of_the_format_is_refused() -> None:
    with pytest.raises(IbgwError, match="version 5") as refusal:
        read_state(export([], version=5))
    assert refusal.value.exit_code == 7


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("file:///var/state", "/var/state"),
        ("file:///var/state?no_tmp_dir=true", "/var/state"),
        ("file://~", str(Path.home())),
        ("file://~/state", str(Path.home() / "state")),
        ("file://./state", "state"),
    ],
)
def test_the_folder_of_a_file_backend(url: str, folder: str) -> None:
    assert str(backend_folder(url)) == folder


@pytest.mark.parametrize("url", ["s3://bucket?region=us-east-1", "https://api.pulumi.com", "azblob://x"])
def test_other_backends_have_no_folder(url: str) -> None:
    assert backend_folder(url) is None
    assert read_locks(url, "ibgw", "paper") == ()


def test_locks_of_this_stack_only_are_read(tmp_path: Path) -> None:
    # pkg/backend/diy/lock.go: .pulumi/locks/organization/<project>/<stack>/<id>.json; the bucket adds *.attrs files.
    for stack, pid in (("paper", 7), ("live", 8)):
        folder = tmp_path / ".pulumi/locks/organization/ibgw" / stack
        folder.mkdir(parents=True)
        content = {"pid": pid, "username": "me", "hostname": "here", "timestamp": "2026-11-22T18:34:01Z"}
        (folder / "aa.json").write_text(json.dumps(content))
        (folder / "aa.json.attrs").write_text("{}")
    assert read_locks(f"file://{tmp_path}", "ibgw", "paper") == (Lock(7, "me", "here", "2026-11-22T18:34:01Z"),)


def test_a_lock_that_was_cut_off_is_still_a_lock_of_somebody(tmp_path: Path) -> None:
    folder = tmp_path / ".pulumi/locks/organization/ibgw/paper"
    folder.mkdir(parents=True)
    (folder / "aa.json").write_text('{"pid": 1')
    [found] = read_locks(f"file://{tmp_path}", "ibgw", "paper")
    assert holder(found, host="here", program_of=lambda _: None) is Holder.UNKNOWN


@pytest.mark.parametrize(
    ("host", "program", "expected"),
    [
        ("here", "pulumi", Holder.ALIVE),
        ("here", None, Holder.GONE),
        ("here", "postgres", Holder.GONE),  # the pid was recycled
        ("there", "pulumi", Holder.UNKNOWN),
        ("there", None, Holder.UNKNOWN),
    ],
)
def test_a_pid_is_believed_on_its_own_host_only(host: str, program: str | None, expected: Holder) -> None:
    lock = Lock(7, "me", host, "now")
    assert holder(lock, host="here", program_of=lambda _: program) is expected


PROGRAM = Path("/srv/ibgw/infra")
# The engine gives each plug-in its own address (seen in `ps`, pulumi 3.256).
ENGINE = "127.0.0.1:41231"


def test_strays_are_plugins_of_this_program_without_an_engine() -> None:
    running = [
        Process(1, 0, ("init",), Path("/")),
        Process(10, 1, ("pulumi", "up"), PROGRAM.parent),
        Process(11, 10, ("pulumi-resource-docker", ENGINE), PROGRAM),  # its engine lives
        Process(12, 10, ("python", "-m", "a.stand.in", ENGINE), PROGRAM),
        Process(20, 1, ("pulumi-resource-docker", ENGINE), PROGRAM),  # adopted by init
        Process(21, 999, ("python", "-m", "a.stand.in", ENGINE), PROGRAM),  # its parent is not this user's
        Process(22, 1, ("pulumi-resource-docker", ENGINE), Path("/srv/other/infra")),
        Process(23, 1, ("python3", "-i"), PROGRAM),
        Process(24, 1, ("vim", "127.0.0.1:41231.txt"), PROGRAM),
    ]
    assert [process.pid for process in stray_plugins(running, PROGRAM)] == [20, 21]


def test_the_program_under_a_language_host_is_no_stray_while_its_engine_lives() -> None:
    """pulumi-language-python runs the program as its own child, with the engine's address (seen in `ps`)."""
    program = ("python", "-u", "pulumi-language-python-exec", "--monitor", ENGINE, "--engine", ENGINE)
    host = ("pulumi-language-python", ENGINE)
    running = [
        Process(1, 0, ("init",), Path("/")),
        Process(10, 1, ("pulumi", "up"), PROGRAM.parent),
        Process(11, 10, host, PROGRAM),
        Process(12, 11, program, PROGRAM),
        Process(21, 1, host, PROGRAM),
        Process(22, 21, program, PROGRAM),
    ]
    assert [process.pid for process in stray_plugins(running, PROGRAM)] == [21, 22]


def test_the_package_names_modules_that_exist() -> None:
    folder = Path(operations.repair.__file__).parent
    named = set(re.findall(r"`(\w+)`", operations.repair.__doc__ or ""))
    assert named == {file.stem for file in folder.glob("*.py")} - {"__init__"}


@pytest.fixture
def sleeper(tmp_path: Path) -> "subprocess.Popen[bytes]":
    code = "import time\nprint(flush=True)\ntime.sleep(60)\n"
    process = subprocess.Popen([sys.executable, "-c", code, ENGINE], cwd=tmp_path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_own_processes_are_read_with_command_parent_and_folder(
    sleeper: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    found = {process.pid: process for process in own_processes()}
    sleeper.kill()
    sleeper.wait()
    read = found[sleeper.pid]
    assert (read.parent, read.folder) == (os.getpid(), tmp_path)
    assert read.command[0].startswith("python")
    assert read.command[-1] == ENGINE


def test_a_process_that_obeys_is_ended(sleeper: "subprocess.Popen[bytes]") -> None:
    end(sleeper.pid)
    assert sleeper.wait() == -15
    assert program_of(sleeper.pid) is None
    end(sleeper.pid)  # gone already


def test_a_process_that_does_not_obey_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PATIENCE", 0.3)
    code = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint(flush=True)\ntime.sleep(60)\n"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    end(process.pid)
    assert process.wait() == -9


def test_a_process_that_ended_but_was_not_asked_for_runs_no_more() -> None:
    process = subprocess.Popen(["true"])
    until(lambda: program_of(process.pid) is None)
    assert Path(f"/proc/{process.pid}").exists()
    process.wait()
