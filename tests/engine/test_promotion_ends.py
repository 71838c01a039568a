"""How a promotion ends, besides the ends in test_promotion: each follows from the report as the unit tests of
`operations.promotion` have it, and costs live what the broker counts.

The tests go through one story, in the order in which they stand: each begins with what the one before has left.
"""

import shlex
import threading
import time
from collections.abc import Iterator

import pytest

from sandbox.broker.control import BrokerControl
from sandbox.environment import Sandbox
from tests.engine.conftest import Completed, Tools
from tests.engine.promotions import BROKEN, FIRST, SECOND, PaperAndLive, promotions

pytestmark = pytest.mark.exhaustive

PAPER, LIVE = "paper-ends", "live-ends"


@pytest.fixture(scope="module")
def pair(tools: Tools) -> Iterator[PaperAndLive]:
    """Live runs FIRST; SECOND is prepared."""
    with promotions(tools, "ends") as made:
        made.promote("", 0)
        made.paper_runs(SECOND)
        made.promote("--prepare", 0)
        made.commit()
        yield made


def test_a_second_factor_is_waited_for_while_somebody_may_approve_it(pair: PaperAndLive, broker: BrokerControl) -> None:
    broker.scenario("push-pending", pair.live.user())

    def approve() -> None:
        deadline = time.monotonic() + 90
        while not broker.approve(pair.live.user()) and time.monotonic() < deadline:
            time.sleep(0.5)

    phone = threading.Thread(target=approve)
    phone.start()
    prompts = pair.live.counted()["second_factor_prompts"]
    with pair.costs(logins=1):
        done = pair.promote(f"--release {pair.release(SECOND)}", 0)
    phone.join()
    assert "approve it in IBKR Mobile" in done.stderr
    assert pair.live.counted()["second_factor_prompts"] - prompts == 1
    assert pair.version_on_live() == SECOND


def test_rejected_credentials_stop_the_gateway_and_are_not_tried_with_the_old_image(
    pair: PaperAndLive, broker: BrokerControl
) -> None:
    broker.scenario("wrong-password", pair.live.user())
    attempts = pair.live.counted()["attempts"]
    with pair.costs(logins=0):
        pair.promote(f"--release {pair.release(FIRST)}", 11)
    assert pair.live.counted()["attempts"] - attempts <= 2
    assert not pair.live.container()["State"]["Running"]
    found = pair.journal()
    assert found is not None
    assert found["phase"] == "stopped"
    broker.clear(pair.live.user())
    with pair.costs(logins=1):
        pair.live.ibgw(f"rollback --stack {LIVE} --yes {LIVE}", 0)
    assert (pair.version_on_live(), pair.journal()) == (SECOND, None)


def test_a_login_server_that_is_down_is_waited_for(pair: PaperAndLive, broker: BrokerControl) -> None:
    broker.scenario("login-server-down", pair.live.user())
    with pair.costs(logins=0):
        pair.promote(f"--release {pair.release(FIRST)}", 6)
    found = pair.journal()
    assert found is not None
    assert (found["phase"], found["target"]) == ("waiting", pair.release(FIRST))
    assert pair.version_on_live() == FIRST
    broker.clear(pair.live.user())
    with pair.costs(logins=1):
        pair.promote("--continue", 0)
    assert (pair.version_on_live(), pair.journal()) == (FIRST, None)


def test_what_is_not_as_it_should_be_is_refused_and_live_stays(
    pair: PaperAndLive, broker: BrokerControl, sandbox: Sandbox
) -> None:
    pair.commit()
    before, kept = pair.live.container()["Id"], pair.releases()
    broker.scenario("account-kind-swapped", pair.paper.user())
    with pair.costs(logins=0):
        assert "account_kind_mismatch" in pair.promote("", 7).stderr
    broker.clear(pair.paper.user())

    file = pair.folder / f"Pulumi.{LIVE}.yaml"
    text = file.read_text()
    secret = f"{sandbox.prefix}/live/ends/main"
    assert secret in text
    file.write_text(text.replace(secret, f"{secret}-missing"))
    assert f"{secret}-missing" in pair.promote(f"--release {pair.release(SECOND)}", 7).stderr
    # A setting that no release explains.
    file.write_text(text.replace("timeZone: America/New_York", "timeZone: America/Chicago"))
    assert "session.timeZone" in pair.promote(f"--release {pair.release(SECOND)}", 7).stderr
    file.write_text(text)
    assert (pair.live.container()["Id"], pair.releases(), pair.journal()) == (before, kept, None)


def test_what_changes_while_it_is_verified_is_not_promoted(pair: PaperAndLive) -> None:
    kept = pair.releases()
    soaking = threading.Thread(
        target=lambda: outcome.append(
            pair.live.tools.run(
                shlex.split(f"ibgw promote --from {PAPER} --to {LIVE} --soak 40s --yes {LIVE}"),
                stack=pair.live.stack,
                check=False,
            )
        )
    )
    outcome: list[Completed] = []
    soaking.start()
    time.sleep(15)
    pair.paper_runs(BROKEN, gateways={"main": {"resources": {"memory": 1600}}})
    soaking.join()
    assert outcome[0].returncode == 7, outcome[0].stderr
    assert "changed while it was verified" in outcome[0].stderr
    assert pair.releases() == kept
