"""A promotion that is killed anywhere: paper is as it was, and one command brings live to a release, verified."""

import json
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.broker.control import BrokerControl
from tests.engine.conftest import Tools
from tests.engine.docker_proxy import Moment
from tests.engine.promotions import (
    BROKEN,
    CALLS,
    FIRST,
    SECOND,
    PaperAndLive,
    kill_in_the_update,
    promotions,
    recover,
)
from tests.helpers import git

PAPER, LIVE = "paper-killed", "live-killed"


@pytest.fixture(scope="module")
def pair(tools: Tools) -> Iterator[PaperAndLive]:
    """Live runs FIRST; SECOND and BROKEN are prepared."""
    with promotions(tools, "killed") as made:
        for version in (BROKEN, SECOND):
            made.paper_runs(version)
            made.promote("--prepare", 0)
        made.paper_runs(FIRST)
        made.promote("", 0)
        made.commit()
        yield made


@pytest.fixture
def settled(pair: PaperAndLive) -> Iterator[PaperAndLive]:
    """Live runs FIRST, verified, before the test and after it, and nothing has touched paper in the meantime."""
    container, attempts = pair.paper.container()["Id"], pair.paper.counted()["attempts"]
    yield pair
    assert pair.paper.container()["Id"] == container
    assert pair.paper.counted()["attempts"] == attempts
    if pair.journal() is not None or pair.version_on_live() != FIRST:
        pair.live.sandbox.broker().clear(pair.live.user())
        pair.live.ibgw(f"rollback --stack {LIVE} --to {pair.release(FIRST)} --yes {LIVE}", 0)


def killed(pair: PaperAndLive, effect: str, call: int, moment: str, line: str) -> None:
    command = [sys.executable, "-m", "tests.engine.killed_command", effect, str(call), moment, *line.split()]
    done = pair.live.tools.run(command, stack=pair.live.stack, check=False)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


@pytest.mark.exhaustive
def test_an_image_that_is_broken_on_live_is_taken_back(settled: PaperAndLive) -> None:
    with settled.costs(logins=1):
        done = settled.live.ibgw(settled.promotion_of(BROKEN), 10)
    assert "crash_looping" in done.stderr
    assert settled.version_on_live() == FIRST
    assert (settled.named, settled.journal()) == (settled.release(FIRST), None)
    rows = {one["version"]: one for one in settled.releases()}
    assert (rows[BROKEN]["deployed"], rows[FIRST]["current"]) == (None, True)


# Each call of each side effect, in the course of a promotion that is good, one that is taken back, one that waits.
GOOD = [("journal", 1), ("file", 1), ("deploy", 1), ("close", 1)]
BACK = [("journal", 2), ("file", 2), ("deploy", 2), ("close", 1)]
WAITING = [("journal", 2), ("stop", 1)]
MOMENTS = ["before", "after"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("effect", "call"), GOOD)
def test_a_good_one_killed_anywhere_goes_on(settled: PaperAndLive, effect: str, call: int, moment: str) -> None:
    killed(settled, effect, call, moment, settled.promotion_of(SECOND))
    recover(settled, allowed={FIRST, SECOND})


@pytest.mark.exhaustive
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("effect", "call"), BACK)
def test_a_way_back_killed_anywhere_goes_on(settled: PaperAndLive, effect: str, call: int, moment: str) -> None:
    killed(settled, effect, call, moment, settled.promotion_of(BROKEN))
    recover(settled, allowed={FIRST})


@pytest.mark.exhaustive
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("effect", "call"), WAITING)
def test_one_that_waits_killed_anywhere_goes_on(
    settled: PaperAndLive, broker: BrokerControl, effect: str, call: int, moment: str
) -> None:
    broker.scenario("push-pending", settled.live.user())
    killed(settled, effect, call, moment, settled.promotion_of(SECOND))
    # Somebody is there now. A third login that nobody approves would be held back by the start guard.
    broker.clear(settled.live.user())
    recover(settled, allowed={SECOND})


@pytest.mark.exhaustive
@pytest.mark.parametrize("moment", MOMENTS)
def test_the_record_is_written_or_not(settled: PaperAndLive, moment: str) -> None:
    before = len(settled.releases())
    killed(settled, "record", 1, moment, f"promote --from {PAPER} --to {LIVE} --soak 0s --yes {LIVE}")
    assert len(settled.releases()) - before == (moment == "after")
    recover(settled, allowed={FIRST})


@pytest.mark.exhaustive
@pytest.mark.parametrize("moment", list(Moment), ids=lambda moment: moment.value)
@pytest.mark.parametrize("call", CALLS)
def test_killed_with_its_update_it_goes_on(settled: PaperAndLive, call: str, moment: Moment) -> None:
    kill_in_the_update(settled, call, moment, SECOND)
    recover(settled, allowed={SECOND})


@pytest.mark.exhaustive
def test_on_another_machine_it_is_promoted_again(settled: PaperAndLive) -> None:
    """The drill of docs/disaster.md: the machine is lost in the middle of live's update, and with it the journal, what
    was not committed, and whose lock that is."""
    kill_in_the_update(settled, "start", Moment.AFTER, SECOND)
    shutil.rmtree(settled.folder / ".ibgw")
    git(settled.folder, "checkout", "--", f"Pulumi.{LIVE}.yaml")
    backend = Path(settled.live.stack.env["PULUMI_BACKEND_URL"].removeprefix("file://"))
    [lock] = backend.glob(f".pulumi/locks/*/*/{LIVE}/*.json")
    lock.write_text(json.dumps(json.loads(lock.read_text()) | {"hostname": "lost.invalid"}))

    assert "no promotion" in settled.live.ibgw(f"promote --continue --to {LIVE}", 7).stderr
    assert "lost.invalid" in settled.live.ibgw(f"repair --stack {LIVE} --yes", 7).stderr
    settled.live.pulumi("cancel", "--yes")
    settled.live.ibgw(f"repair --stack {LIVE} --yes --yes-live {LIVE}")
    with settled.costs(logins=1):
        settled.live.ibgw(settled.promotion_of(SECOND))
    assert settled.journal() is None
    assert settled.version_on_live() == SECOND
    assert settled.named == settled.release(SECOND)
