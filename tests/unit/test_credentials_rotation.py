"""`ibgw credentials rotate`: the versions' stages, whatever the login comes to and wherever it is killed.

Secrets Manager is the sandbox's; the update is a table here, and real in tests/engine/test_credentials_rotation.py.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from pydantic import SecretStr

from deployment.description import Deployment, Mode, SecondFactor
from deployment.errors import ExitCode, IbgwError
from infra.secret_document import render
from operations.batches import Result, Rules
from operations.credentials import rotation
from operations.credentials.place import Place
from operations.credentials.rotation import Ending, Person, Rotated, Rotation
from operations.credentials.secrets_manager import SecretsManager
from operations.plan.model import PlanVerdict
from operations.plan.reading import NEW_SECRET
from operations.rollout import Outcome, Rollout
from operations.stack import Configured, Stack
from tests.leaks import leaks
from tests.unit.gateways import gateway, stack
from tests.unit.secrets_manager import Server, emptied, served

NAME = "ibgw/paper/rotated"
OLD, NEW = "0ld-Passw0rt", "n3w-Passw0rt"
PLACE = Place("paper", "main", Mode.PAPER, NAME, None, SecondFactor.NONE)


class Killed(BaseException):
    """As a signal that cannot be caught: nothing of ours runs after it."""


@dataclass
class World:
    """A gateway that runs a version, IBKR's password, and who is asked. `kill`: the call at which it is killed."""

    server: Server
    runs: str
    accepts: str = NEW
    reason: str = "login_failed"
    waits: bool = False
    others: tuple[str, ...] = ()
    attempts: dict[str, int] = field(default_factory=dict)
    kill: str = ""
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    phase: str = "logged_in"
    stays_away: bool = False

    def step(self, name: str) -> None:
        if self.kill == name:
            self.kill = ""
            raise Killed

    def person(self) -> Person:
        def value(current: SecretStr) -> SecretStr:
            self.asked.append("value")
            assert OLD in current.get_secret_value()
            return SecretStr(render("somebody77", NEW, Mode.PAPER))

        def changed() -> None:
            self.asked.append("changed")
            if self.stays_away:
                raise IbgwError("not yet", exit_code=ExitCode.DECLINED)
            self.step("changed")

        return Person(value, changed, lambda *_: self.asked.append("consent"))

    def rollout(self, stack: Stack, gateways: list[str], _: Rules, *, say: Any) -> Rollout:
        """As the update: the version that the stack's file names, or the current one. One that runs logs in no more."""
        version = str(stack.file) if stack.file is not None else self.stages()["AWSCURRENT"]
        back = stack.file is None
        what = "the login" if not back else "the end" if version == self.runs else "the way back"
        self.step(f"before {what}")
        client = self.server.client()
        value = client.get_secret_value(SecretId=NAME, VersionId=version)["SecretString"]
        good = f'"{self.accepts}"' in value
        if version != self.runs:
            self.logins.append(version)
            self.attempts[version] = 0 if good else self.attempts.get(version, 0) + 1
            self.runs = version
        self.step(f"after {what}")
        result = Result.WAITING if self.waits else Result.VERIFIED if good else Result.FAILED
        why = () if result is Result.VERIFIED else (self.reason,)
        return Rollout(stack="paper", gateways=(Outcome(gateways[0], PlanVerdict.RELOGIN, result, why),))

    def stages(self) -> dict[str, str]:
        described = self.server.client().describe_secret(SecretId=NAME)
        return {stage: version for version, held in described["VersionIdsToStages"].items() for stage in held}

    def rotate(self) -> Rotated:
        return Rotation(SecretsManager("us-east-1"), PLACE, self.person(), self.said.append).run(dry_run=False)


@pytest.fixture(scope="module")
def everything() -> Iterator[Server]:
    with served() as made:
        yield made


@pytest.fixture
def server(everything: Server) -> Iterator[Server]:
    with emptied(everything):
        yield everything


@pytest.fixture
def world(server: Server, monkeypatch: pytest.MonkeyPatch) -> World:
    secret = server.client().create_secret(Name=NAME, SecretString=render("somebody77", OLD, Mode.PAPER))
    made = World(server, secret["VersionId"])

    def described(_stack: Stack, **_options: Any) -> Deployment:
        return stack(gateway(secret={"id": NAME, "version_id": made.runs}))

    @contextmanager
    def with_version(asked: Stack, _gateway: str, version: str) -> Iterator[Stack]:
        yield replace(asked, file=version)  # type: ignore[arg-type]

    class FakeDocker:
        def there(self, *_: Any) -> Any:
            return {"State": {"Running": True}}

    monkeypatch.setattr(Stack, "deployment", described)
    monkeypatch.setattr(Stack, "with_version", with_version)
    monkeypatch.setattr(Stack, "configured", lambda _: Configured("unix:///nowhere", "ibgw"))
    monkeypatch.setattr(Stack, "preview", lambda _: "")
    monkeypatch.setattr(rotation, "read", lambda *_: plan(made.others))
    monkeypatch.setattr(rotation, "rollout", made.rollout)
    monkeypatch.setattr(rotation, "DockerHost", lambda _: nullcontext(FakeDocker()))
    monkeypatch.setattr(rotation, "status_of", lambda *_: type("Status", (), {"phase": made.phase})())
    monkeypatch.setattr(rotation, "guard_attempts", lambda _, gateway: made.attempts.get(gateway.secret.version_id, 0))
    for call in ("add", "move"):
        monkeypatch.setattr(SecretsManager, call, killing(made, getattr(SecretsManager, call), call))
    return made


def plan(others: tuple[str, ...]) -> Any:
    reasons = [type("Reason", (), {"setting": name})() for name in (*others, NEW_SECRET, "credentials.versionId")]
    return type("Plan", (), {"gateways": [type("Planned", (), {"gateway": "main", "reasons": reasons})()]})()


def killing(world: World, real: Callable[..., None], call: str) -> Callable[..., None]:
    def called(secrets: SecretsManager, secret_id: str, *words: Any, **options: Any) -> None:
        name = f"{call} {words[-1]}" if words and str(words[-1]).startswith("AWS") else call
        world.step(f"before {name}")
        real(secrets, secret_id, *words, **options)
        world.step(f"after {name}")

    return called


def test_a_version_that_logs_in_becomes_current(world: World) -> None:
    before = world.runs
    done = world.rotate()
    assert (done.ending, done.exit_code, done.before, done.after) == (Ending.ROTATED, 0, before, world.runs)
    assert world.stages() == {"AWSCURRENT": world.runs, "AWSPREVIOUS": before}
    assert world.logins == [world.runs]
    assert world.asked == ["consent", "value", "changed"]
    assert leaks(done.human() + done.answer.as_json() + repr(done) + str(world.said), OLD, NEW) == []


def test_one_that_is_rejected_is_taken_back_and_its_attempt_shown(world: World) -> None:
    before, world.accepts = world.runs, OLD
    done = world.rotate()
    assert (done.ending, done.exit_code, done.attempts, done.why) == (Ending.TAKEN_BACK, 3, 1, ("login_failed",))
    assert world.runs == before
    assert world.stages() == {"AWSCURRENT": before}
    assert "1 of 2 attempts with it failed" in done.human()
    assert world.logins == [done.after, before]


def test_what_says_nothing_of_the_password_waits_and_the_same_command_goes_on(world: World) -> None:
    before, world.accepts, world.reason = world.runs, OLD, "maintenance_window"
    done = world.rotate()
    assert (done.ending, done.exit_code) == (Ending.WAITING, 6)
    assert world.stages() == {"AWSCURRENT": before, "AWSPENDING": world.runs}
    world.accepts = NEW
    assert world.rotate().ending is Ending.ROTATED
    assert world.logins == [world.runs], "the gateway logged in once"
    assert world.asked.count("value") == world.asked.count("changed") == 1


def test_a_pending_approval_waits(world: World) -> None:
    world.waits = True
    assert world.rotate().ending is Ending.WAITING
    assert "AWSPENDING" in world.stages()


def test_no_login_before_the_password_is_changed(world: World) -> None:
    world.stays_away = True
    with pytest.raises(IbgwError, match="not yet"):
        world.rotate()
    assert world.logins == []
    world.stays_away = False
    assert world.rotate().ending is Ending.ROTATED
    assert world.asked.count("value") == 1


def test_a_version_that_failed_twice_is_not_tried_a_third_time(world: World) -> None:
    client, before = world.server.client(), world.runs
    text = render("somebody77", NEW, Mode.PAPER)
    after = client.put_secret_value(SecretId=NAME, SecretString=text, VersionStages=["AWSPENDING"])["VersionId"]
    world.attempts[after] = 2
    done = world.rotate()
    assert (done.ending, done.attempts, world.logins) == (Ending.TAKEN_BACK, 2, [])
    assert world.stages() == {"AWSCURRENT": before}


def test_it_can_be_abandoned(world: World) -> None:
    before, world.accepts, world.reason = world.runs, OLD, "maintenance_window"
    world.rotate()
    done = Rotation(SecretsManager("us-east-1"), PLACE, world.person(), world.said.append).abandon()
    assert (done.ending, world.runs, world.stages()) == (Ending.ABANDONED, before, {"AWSCURRENT": before})
    with pytest.raises(IbgwError, match="no rotation is under way"):
        Rotation(SecretsManager("us-east-1"), PLACE, world.person(), world.said.append).abandon()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"runs": "f" * 36}, "is current; deploy that first"),
        ({"others": ("session.autoRestart",)}, "session.autoRestart waits to be deployed as well"),
        ({"phase": "competing_session"}, "somebody else is logged in as this user"),
    ],
)
def test_what_would_prove_nothing_is_refused(world: World, change: dict[str, Any], found: str) -> None:
    for name, value in change.items():
        setattr(world, name, value)
    with pytest.raises(IbgwError, match=found) as refused:
        world.rotate()
    assert refused.value.exit_code is ExitCode.REFUSED
    assert world.logins == []
    assert "changed" not in world.asked


def test_a_dry_run_asks_nobody_and_changes_nothing(world: World) -> None:
    before = world.stages()
    done = Rotation(SecretsManager("us-east-1"), PLACE, world.person(), world.said.append).run(dry_run=True)
    assert (done.ending, world.stages(), world.asked, world.logins) == (Ending.PLANNED, before, [], [])


GOOD = [
    *("before add AWSPENDING", "after add AWSPENDING", "changed", "before the login", "after the login"),
    *("before move AWSCURRENT", "after move AWSCURRENT", "before the end", "after the end"),
    *("before move AWSPENDING", "after move AWSPENDING"),
]
BAD = [*GOOD[:5], "before the way back", "after the way back", "before move AWSPENDING", "after move AWSPENDING"]


@pytest.mark.parametrize(("good", "kill"), [*((True, at) for at in GOOD), *((False, at) for at in BAD)])
def test_killed_at_any_point_the_same_command_goes_on(world: World, good: bool, kill: str) -> None:
    """To the same end, with at most two logins on each version."""
    before, world.kill = world.runs, kill
    world.accepts = NEW if good else OLD
    with pytest.raises(Killed):
        world.rotate()
    over = world.stages().get("AWSPENDING") is None and len(world.stages()) > (1 if good else 0)
    if over and kill == "after move AWSPENDING":
        assert set(world.stages()) == ({"AWSCURRENT", "AWSPREVIOUS"} if good else {"AWSCURRENT"})
    else:
        done = world.rotate()
        assert done.ending is (Ending.ROTATED if good else Ending.TAKEN_BACK)
    current = world.stages()["AWSCURRENT"]
    assert "AWSPENDING" not in world.stages()
    assert (current == before) is not good
    assert world.runs == current
    assert all(world.logins.count(version) <= 2 for version in world.logins), world.logins
    assert all(world.attempts[version] <= 2 for version in world.attempts)
