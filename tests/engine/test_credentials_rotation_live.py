"""`ibgw credentials rotate` on live: the hour and the leave that it wants, the second factor announced; killed at each
of its steps and run again, at one login a password.

The tests go through one story, in the order in which they stand.
"""

import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml

from tests.engine.conftest import Tools
from tests.engine.promotions import promotions
from tests.engine.test_credentials_rotation import Rotated
from tests.helpers import until

STACK = "live-rotated"
TYPED = ("--yes-live", STACK)
ALWAYS = {
    "timeZone": "UTC",
    "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
    "open": "00:00",
    "close": "23:59",
}
pytestmark = pytest.mark.exhaustive


class LiveRotated(Rotated):
    @contextmanager
    def trading(self) -> Iterator[None]:
        """Within the trading hours meanwhile, as the stack's file has them."""
        file = self.stack.folder / f"Pulumi.{self.name}.yaml"
        before = file.read_text()
        document = yaml.safe_load(before)
        document["config"]["ibgw:tradingHours"] = ALWAYS
        file.write_text(yaml.safe_dump(document))
        try:
            yield
        finally:
            file.write_text(before)

    def killed(self, effect: str, call: int, moment: str, password: str) -> None:
        words = [sys.executable, "-m", "tests.engine.killed_command", effect, str(call), moment]
        self.rotate(password, -signal.SIGKILL, *TYPED, by=shlex.join(words))


@pytest.fixture(scope="module")
def live(tools: Tools) -> Iterator[LiveRotated]:
    """Deployed by a promotion, as everything on live."""
    with promotions(tools, "rotated") as pair:
        pair.promote("", 0)
        yield LiveRotated(tools, pair.live.stack)


def test_not_within_the_trading_hours_and_not_without_the_name(live: LiveRotated) -> None:
    stages, counted = live.stages(), live.counted()
    with live.trading():
        assert "--during-market" in live.rotate("n0t-Yet", 7, *TYPED)["stderr"]
    said = live.rotate("n0t-Yet", 8)["stderr"]
    assert f"Open at IBKR under {STACK}" in said
    assert f"Type {STACK} to go on" in said
    live.rotate("n0t-Yet", 8, "--yes-live", "live")
    assert live.stages() == stages
    assert live.since(counted)["attempts"] == 0


def test_the_second_factor_is_announced_and_waited_for(live: LiveRotated) -> None:
    password, counted, broker = "4pproved-One", live.counted(), live.sandbox.broker()
    live.change_at_the_broker(password)
    broker.scenario("push-pending", live.user())
    tap = threading.Thread(target=lambda: until(lambda: broker.approve(live.user())))
    tap.start()
    try:
        done = live.rotate(password, 0, *TYPED)
    finally:
        tap.join()
        broker.clear(live.user())
    assert "approve the login in IBKR Mobile" in done["stderr"]
    assert done["result"] == "rotated"
    assert live.since(counted) == {"attempts": 1, "logins": 1, "failed_attempts": 0}


KILLS = [
    ("add a version", 1, "before"),
    ("add a version", 1, "after"),
    ("update for a rotation", 1, "before"),
    ("update for a rotation", 1, "after"),
    ("move a stage", 1, "before"),
    ("move a stage", 1, "after"),
    ("update for a rotation", 2, "after"),
    ("move a stage", 2, "before"),
    ("move a stage", 2, "after"),
]


@pytest.mark.parametrize(("effect", "call", "moment"), KILLS)
def test_killed_at_each_step_the_same_command_goes_on(live: LiveRotated, effect: str, call: int, moment: str) -> None:
    password = f"kill3d-{KILLS.index((effect, call, moment))}-One"
    before, counted = live.stages()["AWSCURRENT"], live.counted()
    live.change_at_the_broker(password)
    live.killed(effect, call, moment, password)
    if live.stages()["AWSCURRENT"] == before or "AWSPENDING" in live.stages():
        assert live.rotate(password, 0, *TYPED)["result"] == "rotated"
    stages = live.stages()
    assert set(stages) == {"AWSCURRENT", "AWSPREVIOUS"}
    assert stages["AWSPREVIOUS"] == before
    assert live.deployed() == stages["AWSCURRENT"]
    assert live.password() == password
    assert live.since(counted) == {"attempts": 1, "logins": 1, "failed_attempts": 0}
