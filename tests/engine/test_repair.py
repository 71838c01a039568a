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
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from sandbox.environment import ROOT, Sandbox, Stack
from tests.engine.conftest import Completed, Pulumi
from tests.engine.docker_proxy import Call, DockerProxy, Moment

STACK = "paper-repair"
UP = ["up", "--yes", "--skip-preview"]
PATIENCE = 120
"""Seconds for a login or for the end of a process."""
UID = 1000
MARKER = "kept-through-everything"

Run = Callable[..., Completed]


@pytest.fixture(scope="module")
def proxy() -> Iterator[DockerProxy]:
    # A short path: the address of a Unix socket has room for 107 bytes (unix(7)).
    with tempfile.TemporaryDirectory(prefix="ibgw-") as folder, DockerProxy(Path(folder) / "docker.sock") as running:
        yield running


@pytest.fixture(scope="module")
def stack(proxy: DockerProxy, project: Callable[..., Stack]) -> Stack:
    return project(STACK, dockerHost=proxy.url)


@dataclass(frozen=True)
class World:
    """The stack under test, with everything that a test does to it or asks about it."""

    stack: Stack
    sandbox: Sandbox
    proxy: DockerProxy
    client: docker.DockerClient
    pulumi: Pulumi
    run: Run

    @property
    def base(self) -> str:
        return f"{self.sandbox.prefix}-{STACK}"

    @property
    def gateway(self) -> str:
        return f"{self.base}-main"

    def up(self) -> Completed:
        return self.pulumi(UP, stack=self.stack)

    def repair(self, *, check: bool = True) -> dict[str, Any]:
        done = self.run(["ibgw", "repair", "--stack", STACK, "--yes", "--json"], stack=self.stack, check=check)
        found: dict[str, Any] = json.loads(done.stdout)
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

    def export(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.pulumi(["stack", "export"], stack=self.stack).stdout)
        return found

    def recorded_ids(self) -> set[str]:
        return ids(self.export())

    def wait_for_login(self) -> None:
        user = self.sandbox.user_of(STACK, "main")
        wait_until(lambda: self.sandbox.broker().status()["users"][user]["sessions"] == ["paper"])

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


def wait_until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.1)


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
def deployed(
    stack: Stack, sandbox: Sandbox, proxy: DockerProxy, docker_client: docker.DockerClient, pulumi: Pulumi, run: Run
) -> Iterator[World]:
    """With whatever the test before has left: a settled stack, unless it failed."""
    yield World(stack, sandbox, proxy, docker_client, pulumi, run)
    proxy.forget_steps()


@pytest.fixture
def world(deployed: World, stack: Stack, docker_client: docker.DockerClient, pulumi: Pulumi, run: Run) -> World:
    """Before the test nothing of the stack exists, its settings volume included."""
    if any(deployed.names(kind) for kind in ("containers", "networks", "volumes")):
        destroy = ["destroy", "--yes", "--skip-preview"]
        if pulumi(destroy, stack=stack, check=False).returncode != 0:
            run(["ibgw", "repair", "--stack", STACK, "--yes"], stack=stack)
            pulumi(destroy, stack=stack)
        for name in deployed.names("volumes"):
            docker_client.volumes.get(name).remove()
    return deployed


def creates(kind: str) -> Callable[[World], Callable[[Call], bool]]:
    return lambda _: lambda call: call.method == "POST" and call.path == f"/{kind}/create"


def creates_container(ending: str) -> Callable[[World], Callable[[Call], bool]]:
    def matcher(world: World) -> Callable[[Call], bool]:
        name = f"name={world.gateway}{ending}"
        return lambda call: call.path == "/containers/create" and call.query.startswith(name)

    return matcher


def creates_gateway(world: World) -> Callable[[Call], bool]:
    return lambda call: call.path == "/containers/create" and call.query == f"name={world.gateway}"


def starts_gateway(world: World) -> Callable[[Call], bool]:
    def matches(call: Call) -> bool:
        _, collection, container, *rest = [*call.path.split("/"), "", "", ""]
        if (call.method, collection, rest[:1]) != ("POST", "containers", ["start"]):
            return False
        return bool(world.client.containers.get(container).name == world.gateway)

    return matches


CALLS: dict[str, Callable[[World], Callable[[Call], bool]]] = {
    "network": creates("networks"),
    "volume": creates("volumes"),
    "image-build": lambda _: lambda call: call.method == "POST" and call.path == "/build",
    "owner-create": creates_container("-settings-owner"),
    "gateway-create": creates_gateway,
    "gateway-start": starts_gateway,
    "verification": creates_container("-verifier-"),
}
EVERY_KILL = [(call, moment) for call in CALLS for moment in Moment]


def kill_repair_up(world: World, call: str, moment: Moment) -> None:
    world.kill_up(moment, CALLS[call](world), meanwhile=lambda: None)
    settings = f"{world.gateway}-settings" in world.names("volumes")
    if settings:
        world.in_settings(f"echo here > /settings/{MARKER} && chown {UID}:{UID} /settings/{MARKER}")
    world.repair()
    assert world.repair()["done"] == []
    world.up()
    world.assert_settled()
    if settings:
        assert world.in_settings(f"cat /settings/{MARKER}") == "here"


@pytest.mark.exhaustive
@pytest.mark.parametrize(("call", "moment"), EVERY_KILL, ids=lambda value: getattr(value, "value", value))
def test_an_update_killed_at_any_creating_call_is_put_right(world: World, call: str, moment: Moment) -> None:
    kill_repair_up(world, call, moment)


@pytest.mark.exhaustive
@pytest.mark.parametrize("moment", list(Moment), ids=lambda value: value.value)
@pytest.mark.parametrize("call", ["gateway-create", "gateway-start"])
def test_a_replacement_killed_in_the_middle_is_put_right(
    world: World, project: Callable[..., Stack], call: str, moment: Moment
) -> None:
    """The old gateway is gone and its successor is not recorded; the settings survive."""
    world.up()
    old = world.client.containers.get(world.gateway).id
    world.in_settings(f"echo here > /settings/{MARKER}")
    changed = {"main": {"container": {"logMaxFiles": 6}}}
    project(STACK, dockerHost=world.proxy.url, gateways=changed)
    try:
        world.kill_up(moment, CALLS[call](world), meanwhile=lambda: None)
        world.repair()
        assert world.repair()["done"] == []
        world.up()
    finally:
        project(STACK, dockerHost=world.proxy.url)
    world.assert_settled()
    assert world.client.containers.get(world.gateway).id != old
    assert world.in_settings(f"cat /settings/{MARKER}") == "here"


def test_an_unrecorded_network_with_a_foreign_guest_is_removed_after_the_guest_was_named(world: World) -> None:
    world.kill_up(Moment.AFTER, CALLS["network"](world), meanwhile=lambda: None)
    lost = [
        network for network in world.client.networks.list(names=[world.base]) if network.id not in world.recorded_ids()
    ]
    assert lost, "the kill left no unrecorded network"
    guest = world.client.containers.create(
        world.sandbox.base_image, ["sleep", "300"], name=f"{world.sandbox.prefix}-guest", network=lost[0].name
    )
    try:
        guest.start()
        plain = world.pulumi(UP, stack=world.stack, check=False)
        assert plain.returncode != 0
        assert "pulumi cancel" in plain.stderr + plain.stdout

        asked = world.run(["ibgw", "repair", "--stack", STACK], stack=world.stack, check=False)
        assert asked.returncode == 8  # nobody answered
        assert f"disconnect {guest.name}" in asked.stderr
        assert lost[0].name in world.names("networks")

        done = world.repair()["done"]
        assert ("remove_network", lost[0].name) in [(action["action"], action["name"]) for action in done]
        assert "cancel_lock" in [action["action"] for action in done]
        assert "clear_pending" in [action["action"] for action in done]
        guest.reload()
        assert guest.status == "running"
        assert guest.attrs["NetworkSettings"]["Networks"] == {}
    finally:
        guest.remove(force=True)
    world.up()
    world.assert_settled()


def test_an_unrecorded_gateway_that_logged_in_is_logged_out_and_replaced_by_one(world: World) -> None:
    user = world.sandbox.user_of(STACK, "main")
    world.kill_up(Moment.AFTER, CALLS["gateway-start"](world), meanwhile=lambda: None)
    lost = world.client.containers.get(world.gateway)
    assert lost.id not in world.recorded_ids()
    world.wait_for_login()
    before = world.sandbox.broker().status()["users"][user]

    done = world.repair()["done"]
    assert ("remove_container", lost.id) in [(action["action"], action["id"]) for action in done]
    after = world.sandbox.broker().status()["users"][user]
    assert (after["sessions"], after["logouts"]) == ([], before["logouts"] + 1)
    assert world.in_settings("test -e /settings/jts.ini && echo there") == "there"

    world.up()
    world.assert_settled()
    assert world.sandbox.broker().status()["users"][user]["failed_attempts"] == before["failed_attempts"]


def test_a_running_update_is_left_alone_and_a_killed_verification_leaves_nothing(world: World) -> None:
    refusals: list[Completed] = []

    def repair_meanwhile() -> None:
        refusals.append(world.run(["ibgw", "repair", "--stack", STACK, "--yes"], stack=world.stack, check=False))

    world.kill_up(Moment.AFTER, CALLS["verification"](world), meanwhile=repair_meanwhile)
    [refused] = refusals
    assert refused.returncode == 7
    assert "is running" in refused.stderr
    world.repair()
    assert not [name for name in world.names("containers") if "-verifier-" in name]
    login = world.client.containers.get(world.gateway).id
    world.up()
    world.assert_settled()
    # What was recorded before the kill stays: no second login.
    assert world.client.containers.get(world.gateway).id == login


def test_what_was_done_to_a_gateway_by_hand_is_undone(deployed: World) -> None:
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
    deployed.run(["ibgw", "start", "--stack", STACK], stack=deployed.stack)
    deployed.up()
    deployed.assert_settled()
    assert deployed.client.containers.get(deployed.gateway).id == gateway.id

    # Removed: a plain update would say 'unchanged' for ever.
    gateway.remove(force=True)
    assert [action["action"] for action in deployed.repair()["done"]] == ["forget"]
    deployed.up()
    deployed.assert_settled()
    assert deployed.in_settings(f"cat /settings/{MARKER}") == "here"


def test_repair_says_what_is_in_the_way(deployed: World) -> None:
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
        refused = deployed.run(["ibgw", "repair", "--stack", STACK, "--yes"], stack=deployed.stack, check=False)
        assert refused.returncode == 7
        assert f"somebody@not-{socket.gethostname()}" in refused.stderr
        assert lock.exists()
    finally:
        lock.unlink(missing_ok=True)
    assert deployed.run(["ibgw", "repair", "--stack", STACK], stack=deployed.stack).returncode == 0


def test_a_plugin_that_outlived_its_engine_is_ended(deployed: World) -> None:
    # What the engine gives each plug-in: the program's folder to work in, and its own address as an argument.
    script = f"{sys.executable} -c 'import time; time.sleep(300)' 127.0.0.1:1 </dev/null >/dev/null 2>&1 & echo $!"
    started = subprocess.run(["sh", "-c", script], cwd=ROOT / "infra", capture_output=True, text=True, check=True)
    pid = started.stdout.strip()
    done = deployed.repair()["done"]
    assert [(action["action"], action["id"]) for action in done] == [("end_process", pid)]
    status = Path("/proc", pid, "stat")
    # proc(5): Z is a process that has ended and that its parent, here whatever adopts orphans, has not asked about yet.
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"
