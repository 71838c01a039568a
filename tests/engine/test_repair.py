"""`ibgw repair` after the worst that can happen to a `pulumi up`, and after what people do by hand.

An update is killed at a chosen call of the Docker API by a proxy on the socket: BEFORE, Docker never hears of the call;
AFTER, Docker has done it and nobody was told, which is how objects get lost. Then: repair, and one plain `pulumi up`.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deployment.paths import kept_file
from sandbox.environment import ROOT, Stack
from tests.engine.conftest import Completed, Tools
from tests.engine.docker_proxy import Call, DockerProxy, Moment
from tests.engine.stacks import UP, StackUnderTest
from tests.helpers import until

STACK = "paper-repair"
PATIENCE = 120
"""Seconds for a login or for the end of a process."""
UID = 1000
MARKER = "kept-through-everything"


@pytest.fixture(scope="module")
def proxy() -> Iterator[DockerProxy]:
    # A short path: the address of a Unix socket has room for 107 bytes (unix(7)).
    with tempfile.TemporaryDirectory(prefix="ibgw-") as folder, DockerProxy(Path(folder) / "docker.sock") as running:
        yield running


@dataclass(frozen=True)
class BrokenStack(StackUnderTest):
    """With what breaks its updates, and what a repair has to leave."""

    proxy: DockerProxy

    @property
    def gateway(self) -> str:
        return f"{self.base}-main"

    def repair(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ibgw(f"repair --stack {STACK} --yes --json").stdout)
        return found

    def kill_up(self, moment: Moment, matches: Callable[[Call], bool], meanwhile: Callable[[], None]) -> None:
        """Runs `pulumi up` and kills the engine at the first call that matches, after `meanwhile`."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PULUMI_"))}
        process: list[subprocess.Popen[bytes]] = []

        def kill() -> None:
            meanwhile()
            process[0].kill()

        self.proxy.step_in(moment, matches, kill)
        process.append(
            subprocess.Popen(
                ["pulumi", *UP, "--stack", STACK, "--non-interactive", "--color", "never"],
                env=environment | dict(self.stack.env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        assert process[0].wait(timeout=PATIENCE) == -signal.SIGKILL

    def names(self, kind: str) -> list[str]:
        """The stack's objects on the Docker host, by label. `kind`: containers, networks or volumes."""
        filters = {"label": [f"ibgw.prefix={self.sandbox.prefix}", f"ibgw.stack={STACK}"]}
        options: dict[str, Any] = {"all": True} if kind == "containers" else {}
        return sorted(thing.name for thing in getattr(self.client, kind).list(filters=filters, **options))

    def recorded_ids(self) -> set[str]:
        return ids(self.export())

    def wait_for_login(self) -> None:
        until(lambda: self.counted()["sessions"] == ["paper"])

    def in_settings(self, command: str) -> str:
        """Runs a shell command as root where the settings volume is mounted."""
        output: bytes = self.client.containers.run(
            self.sandbox.gateway_image,
            entrypoint=["bash", "-c", command],
            user="0",
            network_mode="none",
            volumes={f"{self.gateway}-settings": {"bind": "/settings", "mode": "rw"}},
            remove=True,
        )
        return output.decode().strip()

    def assert_settled(self) -> None:
        """One gateway runs, everything on the host is recorded and nothing else is there, and nothing is pending."""
        assert self.names("containers") == [self.gateway, f"{self.gateway}-settings-owner"]
        assert self.names("networks") == [f"{self.base}-egress", f"{self.gateway}-api"]
        assert self.names("volumes") == [f"{self.gateway}-settings"]
        gateway = self.client.containers.get(self.gateway)
        assert gateway.status == "running"
        export = self.export()
        assert "pending_operations" not in export["deployment"]
        recorded = ids(export)
        for name in self.names("containers"):
            assert self.client.containers.get(name).id in recorded
        for name in self.names("networks"):
            assert self.client.networks.list(names=[f"^{name}$"])[0].id in recorded
        assert engine_processes(self.stack) == []
        assert self.in_settings("stat -c %u /settings") == str(UID)


def ids(export: Mapping[str, Any]) -> set[str]:
    return {resource["id"] for resource in export["deployment"].get("resources", []) if "id" in resource}


def engine_processes(stack: Stack) -> list[str]:
    """Command lines of this stack's engine, plug-ins and language hosts: those that have its project folder in their
    environment."""
    wanted = f"PULUMI_OPTION_CWD={stack.folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            environment = (entry / "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if wanted in environment and any(b"pulumi" in Path(os.fsdecode(word)).name.encode() for word in words[:3]):
            found.append(b" ".join(words).decode(errors="replace"))
    return found


@pytest.fixture
def deployed(tools: Tools, proxy: DockerProxy) -> Iterator[BrokenStack]:
    """With whatever the test before has left: a settled stack, unless it failed."""
    yield BrokenStack(tools, tools.project(STACK, dockerHost=proxy.url), proxy)
    proxy.forget_steps()


@pytest.fixture
def fresh(deployed: BrokenStack) -> BrokenStack:
    """Before the test nothing of the stack exists, its settings volume included."""
    if any(deployed.names(kind) for kind in ("containers", "networks", "volumes")):
        if deployed.destroy(check=False).returncode != 0:
            deployed.repair()
            deployed.destroy()
        for name in deployed.names("volumes"):
            deployed.client.volumes.get(name).remove()
    # Else the new volume would count as one that was lost.
    kept_file(Path(deployed.stack.env["PULUMI_OPTION_CWD"]), STACK).unlink(missing_ok=True)
    return deployed


def creates(kind: str) -> Callable[[BrokenStack], Callable[[Call], bool]]:
    return lambda _: lambda call: call.method == "POST" and call.path == f"/{kind}/create"


def creates_container(ending: str) -> Callable[[BrokenStack], Callable[[Call], bool]]:
    def matcher(fresh: BrokenStack) -> Callable[[Call], bool]:
        name = f"name={fresh.gateway}{ending}"
        return lambda call: call.path == "/containers/create" and call.query.startswith(name)

    return matcher


def creates_gateway(fresh: BrokenStack) -> Callable[[Call], bool]:
    return lambda call: call.path == "/containers/create" and call.query == f"name={fresh.gateway}"


def starts_gateway(fresh: BrokenStack) -> Callable[[Call], bool]:
    def matches(call: Call) -> bool:
        _, collection, container, *rest = [*call.path.split("/"), "", "", ""]
        if (call.method, collection, rest[:1]) != ("POST", "containers", ["start"]):
            return False
        return bool(fresh.client.containers.get(container).name == fresh.gateway)

    return matches


CALLS: dict[str, Callable[[BrokenStack], Callable[[Call], bool]]] = {
    "network": creates("networks"),
    "volume": creates("volumes"),
    "image-build": lambda _: lambda call: call.method == "POST" and call.path == "/build",
    "owner-create": creates_container("-settings-owner"),
    "gateway-create": creates_gateway,
    "gateway-start": starts_gateway,
    "verification": creates_container("-verifier-"),
}
EVERY_KILL = [(call, moment) for call in CALLS for moment in Moment]


def kill_repair_up(fresh: BrokenStack, call: str, moment: Moment) -> None:
    fresh.kill_up(moment, CALLS[call](fresh), meanwhile=lambda: None)
    settings = f"{fresh.gateway}-settings" in fresh.names("volumes")
    if settings:
        fresh.in_settings(f"echo here > /settings/{MARKER} && chown {UID}:{UID} /settings/{MARKER}")
    fresh.repair()
    assert fresh.repair()["done"] == []
    fresh.up()
    fresh.assert_settled()
    if settings:
        assert fresh.in_settings(f"cat /settings/{MARKER}") == "here"


@pytest.mark.exhaustive
@pytest.mark.parametrize(("call", "moment"), EVERY_KILL, ids=lambda value: getattr(value, "value", value))
def test_an_update_killed_at_any_creating_call_is_put_right(fresh: BrokenStack, call: str, moment: Moment) -> None:
    kill_repair_up(fresh, call, moment)


@pytest.mark.exhaustive
@pytest.mark.parametrize("moment", list(Moment), ids=lambda value: value.value)
@pytest.mark.parametrize("call", ["gateway-create", "gateway-start"])
def test_a_replacement_killed_in_the_middle_is_put_right(
    fresh: BrokenStack, project: Callable[..., Stack], call: str, moment: Moment
) -> None:
    """The old gateway is gone and its successor is not recorded; the settings survive."""
    fresh.up()
    old = fresh.client.containers.get(fresh.gateway).id
    fresh.in_settings(f"echo here > /settings/{MARKER}")
    changed = {"main": {"container": {"logMaxFiles": 6}}}
    project(STACK, dockerHost=fresh.proxy.url, gateways=changed)
    try:
        fresh.kill_up(moment, CALLS[call](fresh), meanwhile=lambda: None)
        fresh.repair()
        assert fresh.repair()["done"] == []
        fresh.up()
    finally:
        project(STACK, dockerHost=fresh.proxy.url)
    fresh.assert_settled()
    assert fresh.client.containers.get(fresh.gateway).id != old
    assert fresh.in_settings(f"cat /settings/{MARKER}") == "here"


def test_an_unrecorded_network_with_a_foreign_guest_is_removed_after_the_guest_was_named(fresh: BrokenStack) -> None:
    fresh.kill_up(Moment.AFTER, CALLS["network"](fresh), meanwhile=lambda: None)
    lost = [
        network for network in fresh.client.networks.list(names=[fresh.base]) if network.id not in fresh.recorded_ids()
    ]
    assert lost, "the kill left no unrecorded network"
    guest = fresh.client.containers.create(
        fresh.sandbox.base_image, ["sleep", "300"], name=f"{fresh.sandbox.prefix}-guest", network=lost[0].name
    )
    try:
        guest.start()
        plain = fresh.up(check=False)
        assert plain.returncode != 0
        assert "pulumi cancel" in plain.stderr + plain.stdout

        asked = fresh.ibgw(f"repair --stack {STACK}", 8)  # nobody answered
        assert f"disconnect {guest.name}" in asked.stderr
        assert lost[0].name in fresh.names("networks")

        done = fresh.repair()["done"]
        assert ("remove_network", lost[0].name) in [(action["action"], action["name"]) for action in done]
        assert "cancel_lock" in [action["action"] for action in done]
        assert "clear_pending" in [action["action"] for action in done]
        guest.reload()
        assert guest.status == "running"
        assert guest.attrs["NetworkSettings"]["Networks"] == {}
    finally:
        guest.remove(force=True)
    fresh.up()
    fresh.assert_settled()


def test_an_unrecorded_gateway_that_logged_in_is_logged_out_and_replaced_by_one(fresh: BrokenStack) -> None:
    fresh.kill_up(Moment.AFTER, CALLS["gateway-start"](fresh), meanwhile=lambda: None)
    lost = fresh.client.containers.get(fresh.gateway)
    assert lost.id not in fresh.recorded_ids()
    fresh.wait_for_login()
    before = fresh.counted()

    done = fresh.repair()["done"]
    assert ("remove_container", lost.id) in [(action["action"], action["id"]) for action in done]
    after = fresh.counted()
    assert (after["sessions"], after["logouts"]) == ([], before["logouts"] + 1)
    assert fresh.in_settings("test -e /settings/jts.ini && echo there") == "there"

    fresh.up()
    fresh.assert_settled()
    assert fresh.counted()["failed_attempts"] == before["failed_attempts"]


def test_a_running_update_is_left_alone_and_a_killed_verification_leaves_nothing(fresh: BrokenStack) -> None:
    refusals: list[Completed] = []

    def repair_meanwhile() -> None:
        refusals.append(fresh.ibgw(f"repair --stack {STACK} --yes", 7))

    fresh.kill_up(Moment.AFTER, CALLS["verification"](fresh), meanwhile=repair_meanwhile)
    [refused] = refusals
    assert "is running" in refused.stderr
    fresh.repair()
    assert not [name for name in fresh.names("containers") if "-verifier-" in name]
    login = fresh.client.containers.get(fresh.gateway).id
    fresh.up()
    fresh.assert_settled()
    # What was recorded before the kill stays: no second login.
    assert fresh.client.containers.get(fresh.gateway).id == login


def test_what_was_done_to_a_gateway_by_hand_is_undone(deployed: BrokenStack) -> None:
    if not deployed.names("containers"):
        deployed.up()
    gateway = deployed.client.containers.get(deployed.gateway)
    deployed.in_settings(f"echo here > /settings/{MARKER}")

    # Tampered with: another network, its own one taken away, another name. All of it is put back without a login.
    deployed.client.networks.get("bridge").connect(gateway)
    deployed.client.networks.get(f"{deployed.gateway}-api").disconnect(gateway)
    gateway.rename(f"{deployed.gateway}-renamed")
    assert {action["action"] for action in deployed.repair()["done"]} == {"rename", "connect", "disconnect"}

    # Stopped: the decision to start, which is a login, stays with the operator.
    gateway.stop(timeout=30)
    report = deployed.repair()
    assert report["done"] == []
    assert any(f"ibgw start --stack {STACK} --gateway main" in note for note in report["notes"])
    deployed.ibgw(f"start --stack {STACK}")
    deployed.up()
    deployed.assert_settled()
    assert deployed.client.containers.get(deployed.gateway).id == gateway.id

    # Removed: a plain update would say 'unchanged' for ever.
    gateway.remove(force=True)
    assert [action["action"] for action in deployed.repair()["done"]] == ["forget"]
    deployed.up()
    deployed.assert_settled()
    assert deployed.in_settings(f"cat /settings/{MARKER}") == "here"


def test_repair_says_what_is_in_the_way(deployed: BrokenStack) -> None:
    """A lock from another machine is not removed without a person's word."""
    folder = Path(deployed.stack.env["PULUMI_BACKEND_URL"].removeprefix("file://"))
    locks = folder / ".pulumi" / "locks" / "organization" / "ibgw" / STACK
    locks.mkdir(parents=True, exist_ok=True)
    lock = locks / "00000000-0000-4000-8000-000000000000.json"
    content = {
        "pid": os.getpid(),
        "username": "somebody",
        "hostname": f"not-{socket.gethostname()}",
        "timestamp": "2026-11-22T18:34:01Z",
    }
    lock.write_text(json.dumps(content))
    try:
        refused = deployed.ibgw(f"repair --stack {STACK} --yes", 7)
        assert f"somebody@not-{socket.gethostname()}" in refused.stderr
        assert lock.exists()
    finally:
        lock.unlink(missing_ok=True)
    deployed.ibgw(f"repair --stack {STACK}")


def test_a_plugin_that_outlived_its_engine_is_ended(deployed: BrokenStack) -> None:
    # What the engine gives each plug-in: the program's folder to work in, and its own address as an argument.
    script = f"{sys.executable} -c 'import time; time.sleep(300)' 127.0.0.1:1 </dev/null >/dev/null 2>&1 & echo $!"
    started = subprocess.run(["sh", "-c", script], cwd=ROOT / "infra", capture_output=True, text=True, check=True)
    pid = started.stdout.strip()
    done = deployed.repair()["done"]
    assert [(action["action"], action["id"]) for action in done] == [("end_process", pid)]
    status = Path("/proc", pid, "stat")
    # proc(5): Z is a process that has ended and that its parent, here whatever adopts orphans, has not asked about yet.
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"
