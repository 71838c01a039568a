"""`ibgw rollout`: which gateways, in what order, when it stops, and how a container of 0.1.0 is asked to log out."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deployment.errors import ExitCode, IbgwError
from deployment.tables import Kind
from healthcheck.report import Report
from infra.verification import ONLY
from operations import cli, rollout
from operations.batches import Result, Rules
from operations.stack import Configured, Stack
from tests.unit.fake_docker import FakeDocker
from tests.unit.promotion_reports import report

PREVIEWS = Path(__file__).parent / "previews"
BASE = "urn:pulumi:paper::ibgw::"
EGRESS = f"{BASE}docker:index/network:Network::egress"
IMAGE = f"{BASE}docker:index/remoteImage:RemoteImage::gateway-image"
PROVIDER = f"{BASE}pulumi:providers:docker::docker-1"
OLD_PROVIDER = f"{BASE}pulumi:providers:aws::default_1"


def component(name: str) -> str:
    return f"{BASE}ibgw:gateway:Gateway::{name}"


def parts(name: str) -> list[str]:
    """A gateway's own resources, as the engine names them: by their type's path and no parent's name."""
    storage = f"{BASE}ibgw:gateway:Gateway$ibgw:storage:Storage"
    return [
        component(name),
        f"{BASE}ibgw:gateway:Gateway$docker:index/network:Network::{name}-api",
        f"{storage}::{name}",
        f"{storage}$docker:index/container:Container::{name}-settings-owner",
        f"{BASE}ibgw:gateway:Gateway$docker:index/container:Container::{name}",
    ]


def preview(operations: dict[str, str], **shared: str) -> str:
    """`operations`: of each gateway's container. `shared`: of `egress` and `image`, `same` unless given. The providers
    have another version, too: no object on the Docker host."""
    stack = f"{BASE}pulumi:pulumi:Stack::ibgw-paper"
    parents = {EGRESS: stack, IMAGE: stack}
    urns = {
        stack: "same",
        PROVIDER: "update",
        OLD_PROVIDER: "delete",
        EGRESS: shared.get("egress", "same"),
        IMAGE: shared.get("image", "same"),
    }
    for name, operation in operations.items():
        first, network, storage, owner, container = parts(name)
        urns |= dict.fromkeys((first, network, storage, owner), "create" if operation == "create" else "same")
        urns[container] = operation
        parents |= {first: stack, network: first, storage: first, owner: storage, container: first}
    steps = []
    for urn, operation in urns.items():
        state = {"parent": parents[urn]} if urn in parents else {}
        step: dict[str, Any] = {"op": operation, "urn": urn, "newState": state, "oldState": state}
        if operation == "create":
            del step["oldState"]
        if operation == "delete":
            del step["newState"]
        steps.append(step)
    return json.dumps({"steps": steps})


@dataclass
class FakeStack:
    """A stack that answers from a table. `reasons`: why a gateway is not verified after its update."""

    preview: str
    reasons: dict[str, str] = field(default_factory=dict)
    breaks_off: bool = False
    updates: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    logged_out: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    before: Callable[[], None] = lambda: None

    def run(self, pattern: str = "*", max_failures: int = 0, parallel: int = 1) -> dict[str, str]:
        rules = Rules(parallel=parallel, max_failures=max_failures)
        self.done = rollout.rollout(Stack("paper"), [pattern], rules, say=self.said.append, before=self.before)
        return {one.gateway: one.result for one in self.done.gateways}

    def update(self, stack: Stack, *, targets: Sequence[str], project: Path | None) -> tuple[bool, Report | None]:
        names = stack.environment[ONLY].split(",")
        self.updates.append((stack.environment[ONLY], frozenset(targets)))
        if self.breaks_off:
            return False, None
        gateways = [
            report(*filter(None, [self.reasons.get(name)])).gateways[0].model_copy(update={"gateway": name})
            for name in names
        ]
        made = Report.of("paper", gateways)
        return made.exit_code == 0, made

    @property
    def updated(self) -> list[str]:
        return [names for names, _ in self.updates]


Make = Callable[..., FakeStack]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Make:
    def make(operations: dict[str, str], *, reasons: dict[str, str] | None = None, **shared: str) -> FakeStack:
        made = FakeStack(preview(operations, **shared), reasons or {})
        monkeypatch.setattr(Stack, "preview", lambda _: made.preview)
        monkeypatch.setattr(rollout, "update", made.update)
        monkeypatch.setattr(rollout, "_log_out_old", lambda _, name, __: made.logged_out.append(name))
        return made

    return make


def test_one_after_the_other_each_with_its_own_resources_and_what_all_share(fake: Make) -> None:
    made = fake({"b": "replace", "a": "replace"})
    assert made.run() == {"a": "verified", "b": "verified"}
    assert made.updated == ["a", "b"]
    assert made.updates[0][1] == {PROVIDER, EGRESS, IMAGE, *parts("a")}
    assert made.done.exit_code is ExitCode.OK
    assert made.logged_out == ["a", "b"]


def test_a_gateway_s_resources_are_known_by_their_parents_and_not_by_their_names(fake: Make) -> None:
    made = fake({"a": "replace", "a-api": "same"})
    made.run("a")
    assert made.updates[0][1] == {PROVIDER, EGRESS, IMAGE, *parts("a")}


def test_what_is_as_declared_is_verified_first_together_and_never_asked_to_log_out(fake: Make) -> None:
    made = fake({"a": "replace", "b": "same", "c": "same", "d": "update"})
    made.run()
    assert made.updated == ["b,c", "a", "d"]
    assert made.logged_out == ["a"]


def test_a_canary_that_fails_is_the_only_one_that_was_touched(fake: Make) -> None:
    made = fake({"a": "replace", "b": "replace", "c": "replace"}, reasons={"a": "wedged"})
    assert made.run() == {"a": "failed", "b": "not_reached", "c": "not_reached"}
    assert (made.updated, made.done.exit_code) == (["a"], ExitCode.FAILED)
    assert made.done.gateways[0].why == ("wedged",)
    assert made.said[-1] == "a: failed. Stopped, with 2 left as they were; the same command goes on with them."


def test_as_many_may_fail_as_allowed_and_it_is_still_a_failure(fake: Make) -> None:
    made = fake(dict.fromkeys("abcd", "replace"), reasons={"a": "wedged", "c": "wedged"})
    assert made.run(max_failures=1) == {"a": "failed", "b": "verified", "c": "failed", "d": "not_reached"}
    made = fake(dict.fromkeys("abcd", "replace"), reasons={"a": "wedged", "c": "wedged"})
    assert made.run(max_failures=2)["d"] == "verified"
    assert made.done.exit_code is ExitCode.FAILED


@pytest.mark.parametrize("first", ["replace", "same"])
def test_nothing_is_begun_while_an_approval_is_pending(fake: Make, first: str) -> None:
    made = fake({"a": first, "b": "replace"}, reasons={"a": "second_factor_pending"})
    assert made.run(max_failures=9) == {"a": "waiting", "b": "not_reached"}
    assert (made.updated, made.done.exit_code) == (["a"], ExitCode.TIMED_OUT)


def test_a_pattern_chooses_and_one_that_matches_nothing_is_bad_usage(fake: Make) -> None:
    made = fake(dict.fromkeys(("eu-1", "eu-2", "us-1"), "replace"))
    made.run("eu-*")
    assert made.updated == ["eu-1", "eu-2"]
    with pytest.raises(IbgwError, match=r"--gateway asia\*: no gateway .*matches, only eu-1, eu-2, us-1") as refused:
        made.run("asia*")
    assert refused.value.exit_code is ExitCode.BAD_USAGE


def test_what_left_the_configuration_is_left_to_an_update(fake: Make) -> None:
    made = fake({"a": "replace", "gone": "delete"})
    assert made.run() == {"a": "verified"}
    assert made.said[0] == "gone: left the configuration; `pulumi up --stack paper` removes it."


@pytest.mark.parametrize(
    ("operations", "shared", "named"),
    [
        ({"a": "replace", "new": "create", "newer": "create"}, {}, "new, newer: not there"),
        ({"a": "replace"}, {"egress": "replace"}, "egress: changes for all gateways at once"),
    ],
)
def test_what_cannot_be_done_one_after_the_other_is_refused(
    fake: Make, operations: dict[str, str], shared: dict[str, str], named: str
) -> None:
    made = fake(operations, **shared)
    with pytest.raises(IbgwError, match=named) as refused:
        made.run()
    assert (refused.value.exit_code, made.updates, made.logged_out) == (ExitCode.REFUSED, [], [])


def test_one_that_is_not_there_comes_first(fake: Make) -> None:
    """As a rollout leaves it that was killed while it replaced one. No update may leave it out."""
    made = fake({"a": "same", "b": "create", "c": "replace"})
    assert made.run() == {"b": "verified", "a": "verified", "c": "verified"}
    assert (made.updated, made.logged_out) == (["b", "a", "c"], ["c"])
    with pytest.raises(IbgwError, match="b: not there") as refused:
        made.run("c")
    assert refused.value.exit_code is ExitCode.REFUSED


def test_another_image_is_taken_to_them_one_after_the_other(fake: Make) -> None:
    made = fake({"a": "replace", "b": "replace"}, image="replace")
    assert made.run() == {"a": "verified", "b": "verified"}


def test_an_update_that_breaks_off_ends_it(fake: Make) -> None:
    made = fake({"a": "replace", "b": "replace"})
    made.breaks_off = True
    with pytest.raises(IbgwError, match=r"update of a in stack 'paper' broke off.*ibgw repair --stack paper") as broken:
        made.run(max_failures=5)
    assert (broken.value.exit_code, made.updated) == (ExitCode.COULD_NOT_RUN, ["a"])


def test_the_command_prints_the_results_and_exits_by_them(fake: Make, capsys: pytest.CaptureFixture[str]) -> None:
    fake({"a": "replace", "b": "replace"}, reasons={"a": "wedged"})
    assert cli.run(["rollout", "--stack", "paper", "--parallel", "1"]) == 3
    assert capsys.readouterr().out == "a: failed (wedged)\nb: not reached\n"
    assert cli.run(["rollout", "--stack", "paper", "--json", "--max-failures", "1"]) == 3
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "stack": "paper",
        "exit_code": 3,
        "gateways": [
            {"gateway": "a", "plan": "relogin", "result": "failed", "why": ["wedged"]},
            {"gateway": "b", "plan": "relogin", "result": "verified", "why": []},
        ],
    }


# --- a container of 0.1.0 -----------------------------------------------------------------------------------------

POLICY = {"Name": "unless-stopped", "MaximumRetryCount": 0}


class OldContainer(FakeDocker):
    """A host with one, which ends `ends_after` looks after it was asked to."""

    def __init__(self, answer: str, *, command: Sequence[str] = rollout.OLD_COMMAND, ends_after: int = 2) -> None:
        super().__init__()
        self.ends_after = ends_after
        self.prints["echo STOP"] = answer
        self.container = {
            "Id": "a" * 64,
            "State": {"Running": ends_after > 0},
            "Config": {"Cmd": list(command), "StopTimeout": 0},
            "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}},
        }
        self.objects[Kind.CONTAINER]["ibgw-paper-a"] = self.container

    def there(self, kind: Kind, name: str) -> dict[str, Any]:
        if self.did("run"):
            self.ends_after -= 1
            self.container["State"] = {"Running": self.ends_after > 0}
        return super().there(kind, name)

    @property
    def steps(self) -> list[str]:
        return [what if what == "run" else arguments[-1] for what, *arguments in self.done]


def test_an_old_container_is_asked_and_is_not_started_again_meanwhile() -> None:
    made = OldContainer("OK Shutting down: STOP command\n")
    made.container["Config"]["StopTimeout"] = 90  # type: ignore[index]
    assert rollout.log_out(made, made.container)
    assert (made.steps, made.ends_after) == (["no", "run", "unless-stopped"], 0)
    assert "/dev/tcp/127.0.0.1/7462" in made.did("run")[0][1]


@pytest.mark.parametrize(("answer", "ends_after"), [("", 9), ("ERROR STOP already in progress\n", 9), ("OK\n", 99)])
def test_one_that_does_not_answer_or_does_not_end_has_not_logged_out(answer: str, ends_after: int) -> None:
    made = OldContainer(answer, ends_after=ends_after)
    assert not rollout.log_out(made, made.container)
    assert made.steps == ["no", "run", "unless-stopped"]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (OldContainer("OK\n"), ["ibgw-paper-a: logged out."]),
        (
            OldContainer(""),
            [
                "ibgw-paper-a: does not log out when it is asked: its session stays open at IBKR until it is ended "
                "there or times out."
            ],
        ),
        (OldContainer("OK\n", command=["/home/ibgateway/first-process"]), []),
        (OldContainer("OK\n", ends_after=0), []),
    ],
    ids=["asked", "deaf", "new", "stopped"],
)
def test_what_is_stranded_is_said(made: OldContainer, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    made.container["Config"]["StopTimeout"] = 90  # type: ignore[index]
    told = list[str]()
    monkeypatch.setattr(rollout, "DockerHost", lambda _: made)
    monkeypatch.setattr(Stack, "configured", lambda _: Configured("unix:///var/run/docker.sock", "ibgw"))
    rollout._log_out_old(Stack("paper"), "a", told.append)
    assert told == said
    assert made.closed


def test_a_container_that_is_gone_has_nothing_to_log_out(monkeypatch: pytest.MonkeyPatch) -> None:
    told = list[str]()
    monkeypatch.setattr(rollout, "DockerHost", lambda _: FakeDocker())
    monkeypatch.setattr(Stack, "configured", lambda _: Configured("unix:///var/run/docker.sock", "ibgw"))
    rollout._log_out_old(Stack("paper"), "a", told.append)
    assert told == []


def test_results_have_words_of_their_own() -> None:
    assert {str(one) for one in Result} == {"verified", "failed", "waiting", "not_reached"}
