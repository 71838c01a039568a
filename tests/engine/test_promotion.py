"""`ibgw promote`, `rollback` and `releases` end to end: the real engine, two stacks in one project, a counting broker.

The tests go through one story, in the order in which they stand: each begins with what the one before has left. Other
ways in which a promotion ends: test_promotion_ends.
"""

import json
from collections.abc import Iterator

import pytest

from sandbox.broker.control import BrokerControl
from tests.engine.conftest import Tools
from tests.engine.docker_proxy import Moment
from tests.engine.promotions import (
    COMMENT,
    FAILING,
    FIRST,
    SECOND,
    PaperAndLive,
    kill_in_the_update,
    promotions,
    recover,
    worktrees,
)

PAPER, LIVE = "paper-promo", "live-promo"


@pytest.fixture(scope="module")
def pair(tools: Tools) -> Iterator[PaperAndLive]:
    with promotions(tools, "promo") as made:
        yield made


def test_a_work_tree_that_differs_from_its_commit_is_refused(pair: PaperAndLive) -> None:
    stray = pair.folder / "stray.txt"
    stray.write_text("not committed")
    assert "stray.txt" in pair.promote("", 7).stderr
    stray.unlink()
    assert pair.releases() == []


def test_a_no_keeps_the_release_and_a_good_promotion_costs_live_one_login(pair: PaperAndLive) -> None:
    # What a live stack that was never deployed is told to run is what this test goes on with.
    assert f"Deploy it with `ibgw promote --to {LIVE}`." in pair.live.ibgw(f"status --stack {LIVE}", 5).stderr
    asked = pair.promote("", 8, yes=False)
    assert f"Type {LIVE} to go on" in asked.stderr
    [kept] = pair.releases()
    assert (kept["version"], kept["who"], kept["live_quote"]) == (FIRST, "trader@example.com", True)
    assert (kept["current"], kept["deployed"], pair.named, pair.journal()) == (False, None, None, None)
    assert pair.live.counted()["attempts"] == 0
    with pair.costs(logins=1):
        done = pair.promote(f"--release {kept['id']}", 0)
    assert f"{LIVE} runs release {kept['id']}, verified" in done.stderr
    assert "what-if order: not applicable" in done.stderr
    assert pair.version_on_live() == FIRST
    assert (pair.named, pair.journal()) == (kept["id"], None)
    assert COMMENT in (pair.folder / f"Pulumi.{LIVE}.yaml").read_text()
    record = json.loads((pair.folder / "releases" / f"{kept['id']}.json").read_text())
    assert record["report"]["stack"] == PAPER
    accounts = [one.account for one in pair.live.sandbox.credentials()]
    assert not [account for account in accounts if account in json.dumps(record)]
    [listed] = pair.releases()
    assert listed["current"]
    assert listed["deployed"] is not None


def test_a_prepared_release_changes_nothing(pair: PaperAndLive) -> None:
    pair.paper_runs(SECOND)
    before = pair.named
    with pair.costs(logins=0):
        pair.promote("--prepare", 0)
    assert pair.named == pair.release(SECOND) != before
    assert pair.version_on_live() == FIRST
    pair.commit()


def test_a_second_factor_that_nobody_approves_is_not_asked_for_again_by_itself(
    pair: PaperAndLive, broker: BrokerControl
) -> None:
    broker.scenario("push-pending", pair.live.user())
    prompts = pair.live.counted()["second_factor_prompts"]
    with pair.costs(logins=0):
        done = pair.promote(f"--release {pair.release(SECOND)}", 6)
    assert f"ibgw promote --continue --to {LIVE}" in done.stderr
    assert pair.live.counted()["second_factor_prompts"] - prompts == 1
    assert not pair.live.container()["State"]["Running"]
    found = pair.journal()
    assert found is not None
    assert (found["phase"], found["why"]) == ("waiting", ["second_factor_pending"])
    # Nothing new is begun meanwhile, and whoever looks is told.
    assert "Next: ibgw promote --continue" in pair.promote("", 7).stderr
    assert "phase waiting" in pair.live.ibgw(f"releases --stack {LIVE}", 0).stdout
    broker.clear(pair.live.user())
    with pair.costs(logins=1):
        pair.promote("--continue", 0)
    assert (pair.version_on_live(), pair.journal()) == (SECOND, None)


def test_a_rollback_goes_to_the_release_before_with_one_login(pair: PaperAndLive) -> None:
    with pair.costs(logins=1):
        pair.live.ibgw(f"rollback --stack {LIVE} --yes {LIVE}", 0)
    assert pair.version_on_live() == FIRST
    assert pair.named == pair.release(FIRST)


def test_a_program_whose_first_process_fails_on_live_is_taken_back_with_its_image(pair: PaperAndLive) -> None:
    command, before = pair.live.container()["Config"]["Cmd"], pair.releases()
    with pair.program(FAILING):
        pair.paper_runs(SECOND)
        with pair.costs(logins=1):
            done = pair.promote("", 10)
        new = pair.releases()[0]
        assert (
            f"Release {new['id']} fails on {LIVE} (crash_looping): going back to {pair.release(FIRST)}" in done.stderr
        )
        assert (pair.live.container()["Config"]["Cmd"], pair.version_on_live()) == (command, FIRST)
        assert (pair.named, pair.journal()) == (pair.release(FIRST), None)
        # The checkout is as it was, and whoever goes on in it is told.
        commit = next(one["commit"] for one in before if one["id"] == pair.release(FIRST))
        assert f"{LIVE} was deployed by the program of commit {commit}" in done.stderr
        assert not worktrees(pair.folder)
        # It is live's program that is verified, and a plan by the one that is checked out says what it would bring.
        pair.live.ibgw(f"verify --stack {LIVE} --wait 60s", 0)
        [planned] = json.loads(pair.live.ibgw(f"plan --stack {LIVE} --json", 0).stdout)["gateways"]
        assert [one["setting"] for one in planned["reasons"]] == ["this version of ibgw"]


def test_killed_with_its_update_it_goes_on(pair: PaperAndLive) -> None:
    """At the call that leaves most behind: a lock, a pending operation and a container that nobody knows. All other
    moments are test_promotion_killed's."""
    container, attempts = pair.paper.container()["Id"], pair.paper.counted()["attempts"]
    kill_in_the_update(pair, "create", Moment.AFTER, SECOND)
    recover(pair, allowed={SECOND})
    assert (pair.paper.container()["Id"], pair.paper.counted()["attempts"]) == (container, attempts)
