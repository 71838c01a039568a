"""A promotion that is killed anywhere: paper is as it was, and one command brings live to a release, verified."""

import signal
import sys
from collections.abc import Iterator

import pytest

from sandbox.broker.control import BrokerControl
from tests.engine.docker_proxy import Moment
from tests.engine.promotions import (
    BROKEN,
    CALLS,
    FIRST,
    SECOND,
    World,
    kill_in_the_update,
    promotions,
    recover,
)

PAPER, LIVE = "paper-killed", "live-killed"


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Live runs FIRST; SECOND and BROKEN are prepared."""
    with promotions(request, "killed") as made:
        for version in (BROKEN, SECOND):
            made.paper_runs(version)
            made.promote("--prepare", 0)
        made.paper_runs(FIRST)
        made.promote("", 0)
        made.commit()
        yield made


@pytest.fixture
def settled(world: World) -> Iterator[World]:
    """Live runs FIRST, verified, before the test and after it, and nothing has touched paper in the meantime."""
    container, attempts = world.container(PAPER)["Id"], world.counted(PAPER)["attempts"]
    yield world
    assert world.container(PAPER)["Id"] == container
    assert world.counted(PAPER)["attempts"] == attempts
    if world.journal() is not None or world.version_on(LIVE) != FIRST:
        world.sandbox.broker().clear(world.user(LIVE))
        world.ibgw(f"rollback --stack {LIVE} --to {world.release(FIRST)} --yes {LIVE}", 0)


def killed(world: World, effect: str, call: int, moment: str, line: str) -> None:
    command = [sys.executable, "-m", "tests.engine.killed_promotion", effect, str(call), moment, *line.split()]
    done = world.run(command, stack=world.live, check=False)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


# Each call of each side effect, in the course of a promotion that is good, one that is taken back, one that waits.
GOOD = [("journal", 1), ("file", 1), ("deploy", 1), ("close", 1)]
BACK = [("journal", 2), ("file", 2), ("deploy", 2), ("close", 1)]
WAITING = [("journal", 2), ("stop", 1)]
MOMENTS = ["before", "after"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("effect", "call"), GOOD)
def test_a_good_one_killed_anywhere_goes_on(settled: World, effect: str, call: int, moment: str) -> None:
    killed(settled, effect, call, moment, settled.promotion_of(SECOND))
    recover(settled, allowed={FIRST, SECOND})


@pytest.mark.exhaustive
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("effect", "call"), BACK)
def test_a_way_back_killed_anywhere_goes_on(settled: World, effect: str, call: int, moment: str) -> None:
    killed(settled, effect, call, moment, settled.promotion_of(BROKEN))
    recover(settled, allowed={FIRST})


@pytest.mark.exhaustive
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("effect", "call"), WAITING)
def test_one_that_waits_killed_anywhere_goes_on(
    settled: World, broker: BrokerControl, effect: str, call: int, moment: str
) -> None:
    broker.scenario("push-pending", settled.user(LIVE))
    killed(settled, effect, call, moment, settled.promotion_of(SECOND))
    # Somebody is there now. A third login that nobody approves would be held back by the start guard.
    broker.clear(settled.user(LIVE))
    recover(settled, allowed={SECOND})


@pytest.mark.exhaustive
@pytest.mark.parametrize("moment", MOMENTS)
def test_the_record_is_written_or_not(settled: World, moment: str) -> None:
    before = len(settled.releases())
    killed(settled, "record", 1, moment, f"promote --from {PAPER} --to {LIVE} --soak 0s --yes {LIVE}")
    assert len(settled.releases()) - before == (moment == "after")
    recover(settled, allowed={FIRST})


@pytest.mark.exhaustive
@pytest.mark.parametrize("moment", list(Moment), ids=lambda moment: moment.value)
@pytest.mark.parametrize("call", CALLS)
def test_killed_with_its_update_it_goes_on(settled: World, call: str, moment: Moment) -> None:
    kill_in_the_update(settled, call, moment, SECOND)
    recover(settled, allowed={SECOND})
