"""`ibgw destroy`: what is in the way is named before anything is done, and what is ours is no hindrance."""

import io
import json
from typing import Any, NoReturn, cast

import pytest

from deployment.errors import IbgwError
from deployment.tables import Kind
from healthcheck.verifier_container import ENTRY_POINT, PROBE
from operations import cli, destroy
from operations.stack import Configured, Stack
from tests.unit.fake_docker import FakeDocker

LABELS = {"ibgw.prefix": "ibgw", "ibgw.stack": "paper", "ibgw.role": "verifier", "ibgw.lifetime": "720"}
GATEWAY = {"a" * 64: {"Name": "ibgw-paper-main"}}


class FakeStack:
    """One gateway, with its two networks."""

    def __init__(self, name: str = "paper", *, succeeds: bool = True) -> None:
        self.name = name
        self.succeeds = succeeds
        self.destroyed = 0
        self.first_deployment = Stack(name).first_deployment

    def configured(self) -> Configured:
        return Configured(docker_host="unix:///var/run/docker.sock", name_prefix="ibgw")

    def export_state(self) -> str:
        recorded = [
            {"urn": name, "type": f"docker:index/{kind}", "id": identity, "outputs": {"name": name}}
            for kind, identity, name in (
                ("container:Container", "a" * 64, "ibgw-paper-main"),
                ("network:Network", "1" * 64, "ibgw-paper-main-api"),
                ("network:Network", "2" * 64, "ibgw-paper-egress"),
            )
        ]
        return json.dumps({"version": 3, "deployment": {"resources": recorded}})

    def trading_hours(self) -> NoReturn:
        """Then it could be within them."""
        raise IbgwError("its file is unreadable")

    def destroy(self) -> bool:
        self.destroyed += 1
        return self.succeeds


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    fake = FakeDocker()
    fake.objects[Kind.NETWORK] = {
        "ibgw-paper-main-api": {"Id": "1" * 64, "Containers": dict(GATEWAY)},
        "ibgw-paper-egress": {"Id": "2" * 64, "Containers": dict(GATEWAY)},
    }
    monkeypatch.setattr(destroy, "DockerHost", lambda _: fake)
    return fake


def attach(docker: FakeDocker, network: str, name: str, **inspected: Any) -> None:
    docker.objects[Kind.NETWORK][network]["Containers"][name] = {"Name": name}
    docker.objects[Kind.CONTAINER][name] = {"Id": name, "Mounts": [], **inspected}


def go(stack: FakeStack, said: list[str] | None = None) -> list[str]:
    asked: list[str] = []
    destroy.destroy(cast(Stack, stack), ask=asked.append, say=([] if said is None else said).append)
    return asked


def test_a_stack_with_nothing_in_its_way_is_destroyed_after_a_question(docker: FakeDocker) -> None:
    stack = FakeStack()
    [question] = go(stack)
    assert "ibgw-paper-main, each with its time to log out" in question
    assert "The settings volumes stay" in question
    assert stack.destroyed == 1


@pytest.mark.parametrize("network", ["ibgw-paper-main-api", "ibgw-paper-egress"])
@pytest.mark.parametrize("labels", [{}, LABELS])
def test_whoever_is_attached_is_named_with_what_to_do(docker: FakeDocker, network: str, labels: dict[str, str]) -> None:
    """Also with the labels of ours: what is not ours is not removed."""
    attach(docker, network, "bot", Config={"Labels": labels, "Entrypoint": ["bot"]})
    stack = FakeStack()
    with pytest.raises(IbgwError, match="nothing was changed") as refusal:
        go(stack)
    assert f"container bot is attached to {network} (`docker network disconnect {network} bot`)" in str(refusal.value)
    assert (refusal.value.exit_code, stack.destroyed, docker.done) == (7, 0, [])


def test_two_in_the_way_are_both_named(docker: FakeDocker) -> None:
    attach(docker, "ibgw-paper-main-api", "bot", Config={"Labels": {}, "Entrypoint": None})
    attach(docker, "ibgw-paper-egress", "other", Config={"Labels": {}, "Entrypoint": None})
    with pytest.raises(IbgwError, match=r"container bot .*; container other "):
        go(FakeStack())


@pytest.mark.parametrize("entry_point", [ENTRY_POINT, PROBE])
@pytest.mark.parametrize("status", ["running", "created", "exited"])
def test_our_own_verifiers_are_removed_running_or_not(docker: FakeDocker, entry_point: list[str], status: str) -> None:
    state = {"Status": status, "FinishedAt": docker.time}
    config = {"Labels": LABELS, "Entrypoint": entry_point}
    attach(docker, "ibgw-paper-main-api", "verifier", Config=config, State=state, Created=docker.time)
    docker.objects[Kind.NETWORK]["throwaway"] = {"Id": "throwaway", "Labels": LABELS, "Created": docker.time}
    remove = docker.remove

    def removed(container: str) -> None:
        remove(container)
        del docker.objects[Kind.NETWORK]["ibgw-paper-main-api"]["Containers"][container]

    docker.remove = removed  # type: ignore[method-assign]
    stack, said = FakeStack(), list[str]()
    go(stack, said)
    assert (said, stack.destroyed) == (["removed 2 of the verifier's objects"], 1)
    assert docker.did("remove_network") == [["throwaway"]]


def test_what_came_meanwhile_is_named_after_a_failure(docker: FakeDocker) -> None:
    class Failing(FakeStack):
        def destroy(self) -> bool:
            attach(docker, "ibgw-paper-main-api", "bot", Config={"Labels": {}, "Entrypoint": None})
            return False

    with pytest.raises(IbgwError, match="or not wholly: container bot is attached") as failure:
        go(Failing())
    assert failure.value.exit_code == 3
    docker.objects[Kind.NETWORK]["ibgw-paper-main-api"]["Containers"] = {}
    with pytest.raises(IbgwError, match="see what pulumi said"):
        go(FakeStack(succeeds=False))


def test_what_came_during_the_question_is_named(docker: FakeDocker) -> None:
    stack = FakeStack()

    def ask(_question: str) -> None:
        attach(docker, "ibgw-paper-main-api", "bot", Config={"Labels": {}, "Entrypoint": None})

    with pytest.raises(IbgwError, match="container bot is attached"):
        destroy.destroy(cast(Stack, stack), ask=ask, say=lambda _: None)
    assert stack.destroyed == 0


@pytest.mark.parametrize(
    ("name", "options", "typed", "code"),
    [
        ("paper", ["--yes"], "", 0),
        ("paper", [], "y\n", 0),
        ("paper", [], "\n", 8),
        ("live", ["--during-market", "--yes"], "", 8),
        ("live", ["--during-market", "--yes"], "y\n", 8),
        ("live", ["--during-market"], "live\n", 0),
        ("live", ["--during-market", "--yes-live", "live"], "", 0),
        ("live-two", ["--during-market", "--yes-live", "live"], "", 8),
        ("live", ["--yes-live", "live"], "", 7),
    ],
)
def test_on_live_the_stacks_name_is_typed_by_who_has_seen_what_is_open(
    monkeypatch: pytest.MonkeyPatch, docker: FakeDocker, name: str, options: list[str], typed: str, code: int
) -> None:
    stack, told = FakeStack(name), list[object]()
    monkeypatch.setattr("operations.stack.Stack", lambda _: stack)
    monkeypatch.setattr("operations.live.Stack", lambda _: stack)
    monkeypatch.setattr("operations.live.tell_open_of", lambda chosen, say: told.append(chosen))
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert cli.run(["destroy", "--stack", name, *options]) == code
    assert stack.destroyed == (code == 0)
    assert told == ([stack] if name != "paper" and code != 7 else [])


def test_programs_are_told_what_deploys_it_again(
    monkeypatch: pytest.MonkeyPatch, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("operations.stack.Stack", lambda _: FakeStack("paper"))
    assert cli.run(["destroy", "paper", "--yes", "--json"]) == 0
    answer = destroy.DestroyAnswer.model_validate_json(capsys.readouterr().out)
    assert (answer.stack, answer.exit_code, answer.next) == ("paper", 0, FakeStack("paper").first_deployment)
