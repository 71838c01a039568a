"""`ibgw repair` as a whole, over a stack and a Docker host that are stand-ins."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from deployment.errors import IbgwError
from deployment.paths import project_folder
from deployment.tables import Kind
from healthcheck.docker_host import DockerError, NotFound
from operations.repair import adoption, command, processes
from operations.repair.adoption import Candidates
from operations.repair.command import Outcome, repair
from operations.repair.inventory import Scope
from operations.repair.processes import Process
from operations.stack import Configured, Stack, StackLockedError, program_folder
from tests.unit.fake_docker import FakeDocker

HOST = "unix:///var/run/docker.sock"
PENDING = [{"type": "creating", "resource": {"urn": "urn:pulumi:paper::ibgw::docker:index/network:Network::egress"}}]


class FakeStack:
    """A stack whose state has pending operations until they are cleared."""

    name = "paper"

    def __init__(self, backend: Path, *, pending: bool = True, host: str = HOST) -> None:
        self.backend = f"file://{backend}"
        self.pending = pending
        self.host = host
        self.locked_for_us = False
        self.done: list[str] = []
        self.recorded: list[dict[str, Any]] = []

    def configured(self) -> Configured:
        return Configured(docker_host=HOST, name_prefix="ibgw")

    def backend_url(self) -> str:
        return self.backend

    def export_state(self) -> str:
        provider = {"urn": "p", "type": "pulumi:providers:docker", "id": "x", "inputs": {"host": self.host}}
        pending = PENDING if self.pending else []
        return json.dumps(
            {"version": 3, "deployment": {"resources": [provider, *self.recorded], "pending_operations": pending}}
        )

    def clear_pending(self) -> None:
        if self.locked_for_us:
            raise StackLockedError("locked")
        self.done.append("clear")
        self.pending = False

    def cancel_lock(self) -> None:
        self.done.append("cancel")
        self.locked_for_us = False
        for lock in Path(self.backend.removeprefix("file://")).rglob("*.json"):
            lock.unlink()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    """One network that no state knows, until it is removed."""
    fake = FakeDocker()
    scope = Scope("ibgw", "ibgw", "paper")
    labels = {**scope.labels, "ibgw.role": "egress"}
    fake.objects[Kind.NETWORK]["n1"] = {"Id": "n1", "Name": "ibgw-paper-egress", "Labels": labels}
    monkeypatch.setattr(command, "DockerHost", lambda _: fake)
    monkeypatch.setattr(processes, "own_processes", lambda: ())
    return fake


def declined(_question: str) -> None:
    raise IbgwError("Nothing was changed.", exit_code=cast(Any, 8))


def go(stack: FakeStack, *, yes: bool = True, ask: Callable[[str], None] = declined) -> Outcome:
    return repair(cast(Stack, stack), yes=yes, say=lambda _: None, ask=ask)


def lock(backend: Path, *, pid: int, hostname: str) -> None:
    folder = backend / ".pulumi/locks/organization/ibgw/paper"
    folder.mkdir(parents=True)
    content = {"pid": pid, "username": "me", "hostname": hostname, "timestamp": "2026-11-22T18:34:01Z"}
    (folder / "aa.json").write_text(json.dumps(content))


def test_a_stack_is_put_right_and_the_second_run_finds_nothing(host: FakeDocker, tmp_path: Path) -> None:
    stack = FakeStack(tmp_path)
    outcome = go(stack)
    assert [done.action for done in outcome.answer.done] == ["remove_network", "clear_pending"]
    assert not host.objects[Kind.NETWORK]
    assert go(stack).done == ()


def test_only_objects_with_all_of_our_labels_are_looked_for(host: FakeDocker, tmp_path: Path) -> None:
    go(FakeStack(tmp_path, pending=False))
    looks = {kind: labels for kind, labels, network in host.looks("find") if not network}
    ours = {
        "ibgw.managed-by": "pulumi",
        "ibgw.prefix": "ibgw",
        "ibgw.project": "ibgw",
        "ibgw.stack": "paper",
    }
    assert looks == {Kind.CONTAINER: ours, Kind.NETWORK: ours, Kind.VOLUME: ours}


def test_nothing_is_changed_before_the_plan_was_shown_and_agreed_to(host: FakeDocker, tmp_path: Path) -> None:
    stack, said = FakeStack(tmp_path), list[str]()

    def ask(question: str) -> None:
        assert any("ibgw-paper-egress" in line for line in said)
        raise IbgwError("no", exit_code=cast(Any, 8))

    with pytest.raises(IbgwError) as refusal:
        repair(cast(Stack, stack), yes=False, say=said.append, ask=ask)
    assert refusal.value.exit_code == 8
    assert stack.done == []
    assert not host.done


def test_a_running_update_is_refused(host: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "program_of", lambda _: "pulumi")
    lock(tmp_path, pid=os.getpid(), hostname=socket.gethostname())
    stack = FakeStack(tmp_path)
    with pytest.raises(IbgwError, match=f"update of stack 'paper' is running.*process {os.getpid()}") as refusal:
        go(stack)
    assert refusal.value.exit_code == 7
    assert stack.done == []


def test_a_lock_of_a_dead_process_of_this_host_is_removed(
    host: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "program_of", lambda _: None)
    lock(tmp_path, pid=7, hostname=socket.gethostname())
    stack = FakeStack(tmp_path)
    go(stack)
    assert stack.done == ["cancel", "clear"]


def test_a_lock_of_another_host_is_not_removed_unasked(host: FakeDocker, tmp_path: Path) -> None:
    lock(tmp_path, pid=7, hostname="elsewhere.invalid")
    stack = FakeStack(tmp_path)
    with pytest.raises(IbgwError, match="pulumi cancel --stack paper") as refusal:
        go(stack, yes=True)
    assert refusal.value.exit_code == 7
    assert stack.done == []
    assert not host.done


def test_a_lock_of_another_host_is_removed_when_the_operator_says_so(host: FakeDocker, tmp_path: Path) -> None:
    lock(tmp_path, pid=7, hostname="elsewhere.invalid")
    stack, questions = FakeStack(tmp_path), list[str]()
    go(stack, yes=False, ask=questions.append)
    assert stack.done == ["cancel", "clear"]
    assert "elsewhere.invalid" in questions[0]


def test_a_lock_that_only_pulumi_sees_is_asked_about(host: FakeDocker, tmp_path: Path) -> None:
    stack, questions = FakeStack(tmp_path), list[str]()
    stack.backend = "s3://bucket"
    stack.locked_for_us = True
    go(stack, yes=False, ask=questions.append)
    assert stack.done == ["cancel", "clear"]
    assert any("Are you certain" in question for question in questions)
    assert not host.objects[Kind.NETWORK]


@pytest.mark.parametrize("pending", [True, False])
def test_a_lock_that_only_pulumi_sees_is_not_removed_unasked(
    host: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pending: bool
) -> None:
    stray = Process(8, 1, ("pulumi-resource-docker", "127.0.0.1:1"), program_folder(project_folder()))
    ended = list[int]()
    monkeypatch.setattr(processes, "own_processes", lambda: (stray,))
    monkeypatch.setattr(processes, "end", ended.append)
    stack = FakeStack(tmp_path, pending=pending)
    stack.backend = "s3://bucket"
    stack.locked_for_us = True
    with pytest.raises(IbgwError) as refusal:
        go(stack, yes=True)
    assert refusal.value.exit_code == 7
    assert stack.done == []
    assert ended == []
    assert not host.done


def test_a_remote_backend_leaves_a_note_about_locks(host: FakeDocker, tmp_path: Path) -> None:
    stack = FakeStack(tmp_path, pending=False)
    stack.backend = "s3://bucket"
    assert any("s3://bucket" in note for note in go(stack).notes)


def test_a_state_of_another_docker_host_is_refused(host: FakeDocker, tmp_path: Path) -> None:
    stack = FakeStack(tmp_path, host="ssh://me@elsewhere")
    with pytest.raises(IbgwError, match=r"ibgw:dockerHost.*ssh://me@elsewhere") as refusal:
        go(stack)
    assert refusal.value.exit_code == 7
    assert not host.done


def test_a_stack_that_never_settles_is_a_failure_and_not_a_loop(
    host: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "remove_network", lambda _: None)
    with pytest.raises(IbgwError, match="After 3 rounds") as refusal:
        go(FakeStack(tmp_path))
    assert refusal.value.exit_code == 3


def test_a_failure_of_dockers_is_passed_on(host: FakeDocker, tmp_path: Path) -> None:
    host.failing["remove_network"] = DockerError("network has active endpoints")
    with pytest.raises(IbgwError, match=r"network has active endpoints.*ibgw repair --stack paper") as refusal:
        go(FakeStack(tmp_path))
    assert refusal.value.exit_code == 5


def test_an_object_that_vanished_meanwhile_is_no_error(
    host: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanished(_id: str) -> None:
        host.objects[Kind.NETWORK].clear()
        raise NotFound("no such network")

    monkeypatch.setattr(host, "remove_network", vanished)
    assert go(FakeStack(tmp_path)).done


@pytest.fixture
def running(host: FakeDocker) -> FakeDocker:
    """A gateway runs there too, of which no state knows anything."""
    labels = {**Scope("ibgw", "ibgw", "paper").labels, "ibgw.role": "gateway", "ibgw.gateway": "main"}
    host.objects[Kind.CONTAINER]["c1"] = {
        "Id": "c1",
        "Name": "/ibgw-paper-main",
        "Names": ["/ibgw-paper-main"],
        "Config": {"Labels": labels},
        "State": {"Running": True, "ExitCode": 0},
        "NetworkSettings": {"Networks": {"ibgw-paper-egress": {"NetworkID": "n1"}}},
    }
    return host


def looked(monkeypatch: pytest.MonkeyPatch, gateways: dict[str, str], faults: dict[str, str]) -> list[str]:
    """Has adoption find these. What it has taken in."""
    taken: list[str] = []

    def take_in(stack: FakeStack, candidates: Candidates) -> Candidates:
        taken.extend(candidates.gateways)
        stack.recorded = [
            {"urn": "n", "type": "docker:index/network:Network", "id": "n1", "outputs": {}},
            {
                "urn": "c",
                "type": "docker:index/container:Container",
                "id": "c1",
                "outputs": {"name": "ibgw-paper-main"},
            },
        ]
        return candidates

    monkeypatch.setattr(adoption, "look", lambda *_: Candidates(gateways, faults, ()))
    monkeypatch.setattr(adoption, "take_in", take_in)
    return taken


@pytest.mark.parametrize("yes", [True, False])
def test_where_the_state_is_lost_what_runs_is_taken_in(
    running: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, yes: bool
) -> None:
    taken, questions = looked(monkeypatch, {"main": "ibgw-paper-main"}, {}), list[str]()
    outcome = go(FakeStack(tmp_path, pending=False), yes=yes, ask=questions.append)
    assert taken == ["main"]
    assert [done.action for done in outcome.answer.done] == ["adopt"]
    assert running.done == []
    assert questions == ([] if yes else ["Do this? It ends no session."])


def test_nothing_is_taken_in_unless_the_operator_agrees(
    running: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = looked(monkeypatch, {"main": "ibgw-paper-main"}, {})
    with pytest.raises(IbgwError, match="Nothing was changed"):
        go(FakeStack(tmp_path, pending=False), yes=False)
    assert taken == []


def test_where_the_state_is_lost_yes_ends_no_session(
    running: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked(monkeypatch, {}, {"main": "its image is another"})
    told = r"(?s)ibgw-paper-main.*gateway main: its image is another.*docs/disaster\.md.*without --yes"
    with pytest.raises(IbgwError, match=told) as refusal:
        go(FakeStack(tmp_path, pending=False), yes=True)
    assert refusal.value.exit_code == 7
    assert running.done == []


def test_where_the_state_is_lost_the_operator_is_asked_for_the_sessions(
    running: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked(monkeypatch, {}, {"main": "its image is another"})
    questions = list[str]()
    outcome = go(FakeStack(tmp_path, pending=False), yes=False, ask=questions.append)
    assert "ends its sessions" in questions[0]
    assert [done.action for done in outcome.answer.done] == ["remove_container", "remove_network"]
