"""`ibgw promote`, `rollback` and `releases` end to end: the real engine, two stacks in one project, a counting broker.

The tests go through one story, in the order in which they stand: each begins with what the one before has left.
"""

import json
import shlex
import threading
import time
from collections.abc import Iterator

import pytest

from sandbox.broker.control import BrokerControl
from sandbox.environment import Sandbox
from tests.engine.conftest import Completed
from tests.engine.docker_proxy import Moment
from tests.engine.promotions import (
    BROKEN,
    COMMENT,
    FAILING,
    FIRST,
    SECOND,
    World,
    kill_in_the_update,
    promotions,
    recover,
    worktrees,
)

PAPER, LIVE = "paper-promo", "live-promo"


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with promotions(request, "promo") as made:
        yield made


def test_a_work_tree_that_differs_from_its_commit_is_refused(world: World) -> None:
    stray = world.folder / "stray.txt"
    stray.write_text("not committed")
    assert "stray.txt" in world.promote("", 7).stderr
    stray.unlink()
    assert world.releases() == []


def test_a_no_keeps_the_release_and_a_good_promotion_costs_live_one_login(world: World) -> None:
    asked = world.promote("", 8, yes=False)
    assert f"Type {LIVE} to go on" in asked.stderr
    [kept] = world.releases()
    assert (kept["version"], kept["who"], kept["live_quote"]) == (FIRST, "trader@example.com", True)
    assert (kept["current"], kept["deployed"], world.named, world.journal()) == (False, None, None, None)
    assert world.counted(LIVE)["attempts"] == 0
    with world.costs(logins=1):
        done = world.promote(f"--release {kept['id']}", 0)
    assert f"{LIVE} runs release {kept['id']}, verified" in done.stderr
    assert "what-if order: not applicable" in done.stderr
    assert world.version_on(LIVE) == FIRST
    assert (world.named, world.journal()) == (kept["id"], None)
    assert COMMENT in (world.folder / f"Pulumi.{LIVE}.yaml").read_text()
    record = json.loads((world.folder / "releases" / f"{kept['id']}.json").read_text())
    assert record["report"]["stack"] == PAPER
    accounts = [one.account for one in world.sandbox.credentials()]
    assert not [account for account in accounts if account in json.dumps(record)]
    [listed] = world.releases()
    assert listed["current"]
    assert listed["deployed"] is not None


def test_a_prepared_release_changes_nothing_and_waits_for_its_second_factor(
    world: World, broker: BrokerControl
) -> None:
    world.paper_runs(SECOND)
    before = world.named
    with world.costs(logins=0):
        world.promote("--prepare", 0)
    assert world.named == world.release(SECOND) != before
    assert world.version_on(LIVE) == FIRST
    world.commit()
    broker.scenario("push-pending", world.user(LIVE))

    def approve() -> None:
        deadline = time.monotonic() + 90
        while not broker.approve(world.user(LIVE)) and time.monotonic() < deadline:
            time.sleep(0.5)

    phone = threading.Thread(target=approve)
    phone.start()
    prompts = world.counted(LIVE)["second_factor_prompts"]
    with world.costs(logins=1):
        done = world.promote(f"--release {world.release(SECOND)}", 0)
    phone.join()
    assert "approve it in IBKR Mobile" in done.stderr
    assert world.counted(LIVE)["second_factor_prompts"] - prompts == 1
    assert world.version_on(LIVE) == SECOND


def test_a_rollback_goes_to_the_release_before_with_one_login(world: World) -> None:
    with world.costs(logins=1):
        world.ibgw(f"rollback --stack {LIVE} --yes {LIVE}", 0)
    assert world.version_on(LIVE) == FIRST
    assert world.named == world.release(FIRST)


def test_a_second_factor_that_nobody_approves_is_not_asked_for_again_by_itself(
    world: World, broker: BrokerControl
) -> None:
    broker.scenario("push-pending", world.user(LIVE))
    prompts = world.counted(LIVE)["second_factor_prompts"]
    with world.costs(logins=0):
        done = world.promote(f"--release {world.release(SECOND)}", 6)
    assert f"ibgw promote --continue --to {LIVE}" in done.stderr
    assert world.counted(LIVE)["second_factor_prompts"] - prompts == 1
    assert not world.container(LIVE)["State"]["Running"]
    found = world.journal()
    assert found is not None
    assert (found["phase"], found["why"]) == ("waiting", ["second_factor_pending"])
    # Nothing new is begun meanwhile, and whoever looks is told.
    assert "Next: ibgw promote --continue" in world.promote("", 7).stderr
    assert "phase waiting" in world.ibgw(f"releases --stack {LIVE}", 0).stdout
    broker.clear(world.user(LIVE))
    with world.costs(logins=1):
        world.promote("--continue", 0)
    assert (world.version_on(LIVE), world.journal()) == (SECOND, None)


def test_rejected_credentials_stop_the_gateway_and_are_not_tried_with_the_old_image(
    world: World, broker: BrokerControl
) -> None:
    broker.scenario("wrong-password", world.user(LIVE))
    attempts = world.counted(LIVE)["attempts"]
    with world.costs(logins=0):
        world.promote(f"--release {world.release(FIRST)}", 11)
    assert world.counted(LIVE)["attempts"] - attempts <= 2
    assert not world.container(LIVE)["State"]["Running"]
    found = world.journal()
    assert found is not None
    assert found["phase"] == "stopped"
    broker.clear(world.user(LIVE))
    with world.costs(logins=1):
        world.ibgw(f"rollback --stack {LIVE} --yes {LIVE}", 0)
    assert (world.version_on(LIVE), world.journal()) == (SECOND, None)


def test_a_login_server_that_is_down_is_waited_for(world: World, broker: BrokerControl) -> None:
    broker.scenario("login-server-down", world.user(LIVE))
    with world.costs(logins=0):
        world.promote(f"--release {world.release(FIRST)}", 6)
    found = world.journal()
    assert found is not None
    assert (found["phase"], found["target"]) == ("waiting", world.release(FIRST))
    assert world.version_on(LIVE) == FIRST
    broker.clear(world.user(LIVE))
    with world.costs(logins=1):
        world.promote("--continue", 0)
    assert (world.version_on(LIVE), world.journal()) == (FIRST, None)


def test_an_image_that_is_broken_on_live_is_taken_back(world: World) -> None:
    world.paper_runs(BROKEN)
    with world.costs(logins=1):
        done = world.promote("", 10)
    assert "crash_looping" in done.stderr
    assert world.version_on(LIVE) == FIRST
    assert (world.named, world.journal()) == (world.release(FIRST), None)
    rows = {one["version"]: one for one in world.releases()}
    assert (rows[BROKEN]["deployed"], rows[FIRST]["current"]) == (None, True)


def test_a_program_whose_first_process_fails_on_live_is_taken_back_with_its_image(world: World) -> None:
    command, before = world.container(LIVE)["Config"]["Cmd"], world.releases()
    with world.program(FAILING):
        world.paper_runs(SECOND)
        with world.costs(logins=1):
            done = world.promote("", 10)
        new = world.releases()[0]
        assert (
            f"Release {new['id']} fails on {LIVE} (crash_looping): going back to {world.release(FIRST)}" in done.stderr
        )
        assert (world.container(LIVE)["Config"]["Cmd"], world.version_on(LIVE)) == (command, FIRST)
        assert (world.named, world.journal()) == (world.release(FIRST), None)
        # The checkout is as it was, and whoever goes on in it is told.
        commit = next(one["commit"] for one in before if one["id"] == world.release(FIRST))
        assert f"{LIVE} was deployed by the program of commit {commit}" in done.stderr
        assert not worktrees(world.folder)
        # It is live's program that is verified, and a plan by the one that is checked out says what it would bring.
        world.ibgw(f"verify --stack {LIVE} --wait 60s", 0)
        [planned] = json.loads(world.ibgw(f"plan --stack {LIVE} --json", 0).stdout)["gateways"]
        assert [one["setting"] for one in planned["reasons"]] == ["this version of ibgw"]
    world.paper_runs(BROKEN)


def test_what_is_not_as_it_should_be_is_refused_and_live_stays(
    world: World, broker: BrokerControl, sandbox: Sandbox
) -> None:
    before, kept = world.container(LIVE)["Id"], world.releases()
    broker.scenario("account-kind-swapped", world.user(PAPER))
    with world.costs(logins=0):
        assert "account_kind_mismatch" in world.promote("", 7).stderr
    broker.clear(world.user(PAPER))

    file = world.folder / f"Pulumi.{LIVE}.yaml"
    text = file.read_text()
    secret = f"{sandbox.prefix}/live/promo/main"
    assert secret in text
    file.write_text(text.replace(secret, f"{secret}-missing"))
    assert f"{secret}-missing" in world.promote(f"--release {world.release(SECOND)}", 7).stderr
    # A setting that no release explains.
    file.write_text(text.replace("timeZone: America/New_York", "timeZone: America/Chicago"))
    assert "session.timeZone" in world.promote(f"--release {world.release(SECOND)}", 7).stderr
    file.write_text(text)
    assert (world.container(LIVE)["Id"], world.releases(), world.journal()) == (before, kept, None)


def test_what_changes_while_it_is_verified_is_not_promoted(world: World) -> None:
    kept = world.releases()
    soaking = threading.Thread(
        target=lambda: outcome.append(
            world.run(
                shlex.split(f"ibgw promote --from {PAPER} --to {LIVE} --soak 40s --yes {LIVE}"),
                stack=world.live,
                check=False,
            )
        )
    )
    outcome: list[Completed] = []
    soaking.start()
    time.sleep(15)
    world.paper_runs(BROKEN, gateways={"main": {"resources": {"memory": 1600}}})
    soaking.join()
    assert outcome[0].returncode == 7, outcome[0].stderr
    assert "changed while it was verified" in outcome[0].stderr
    assert world.releases() == kept


def test_killed_with_its_update_it_goes_on(world: World) -> None:
    """At the call that leaves most behind: a lock, a pending operation and a container that nobody knows. All other
    moments are test_promotion_killed's."""
    container, attempts = world.container(PAPER)["Id"], world.counted(PAPER)["attempts"]
    kill_in_the_update(world, "create", Moment.AFTER, SECOND)
    recover(world, allowed={SECOND})
    assert (world.container(PAPER)["Id"], world.counted(PAPER)["attempts"]) == (container, attempts)
